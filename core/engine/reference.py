"""What a run's model thinks of its pairs of answers before it learns: DPO's reference, measured once and kept.

Right after it is built, and before a saved state is taken over, a model is always as the run began: adapters do nothing
yet, or are those that the run goes on from, or the base is whole. So no second model is ever held in memory.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from core.data.order import step_rows, steps_per_epoch
from core.data.shares import shares
from core.data.types import EncodedRow, Pair
from core.engine.attention import documents
from core.engine.passes import Pass
from core.engine.preference import needs_reference
from core.engine.row_losses import groups_of, measuring, pass_losses
from core.engine.session import Session
from core.engine.shortage import give_back, make_do
from core.engine.spread import company
from core.events.types import Notice
from core.paths import write_atomic
from core.records import to_plain
from core.runs.saved_states import file_hash

SECONDS_BETWEEN_SAVES = 60.0
TURNS_BETWEEN_TALKS = 8
"""How many passes several processes make before they ask each other whether to go on."""
_FORMAT, _TENSOR, _BELONGS = "1", "log_probabilities", "belongs_to"


def measure_reference(session: Session, go_on: Callable[[], bool]) -> bool:
    """Gives the session's pairs their references; measures those that are missing, and keeps them in the run folder.

    Call it while the model is as the run began. Does nothing for a run that needs none.

    Args:
        session: as `core.engine.session.build` leaves it.
        go_on: asked between passes; once it returns False, what has been measured so far is kept.

    Returns:
        Whether all is known that the run will need.
    """
    if not needs_reference(session.order.spec):
        return True
    table = _Table(session)
    missing = table.missing()
    if missing:
        title = f"Measuring how likely both answers are before training, of {len(missing):,} pairs"
        with session.context.phase("reference", title), session.meter.during("evaluation"):
            _measure(session, table, go_on)
    rows, split = table.measured(), len(session.dataset.train)
    session.dataset = replace(
        session.dataset,
        train=tuple(rows[:split]),
        validation=tuple(rows[split:]),
    )
    return not table.missing()


def _measure(session: Session, table: "_Table", go_on: Callable[[], bool]) -> None:
    """Fills the table, in smaller passes when the memory runs out."""
    while True:
        missing = table.missing()
        try:
            return _fill(session, table, missing, go_on)
        except (RuntimeError, MemoryError) as error:
            rows = [table.rows[index] for index in missing]
            # Several processes would have to agree, as in an evaluation.
            if session.group is not None or not make_do(session, error, rows, learns=False):
                raise
        give_back(session)


def _fill(session: Session, table: "_Table", missing: Sequence[int], go_on: Callable[[], bool]) -> None:
    """Measures this process's share of the missing pairs; what all have measured is put together and kept."""
    group, rows = session.group, table.rows
    own = missing
    if group is not None:
        share = shares([len(rows[index]) for index in missing], group.place.size)[group.place.rank]
        own = [missing[place] for place in share]
    packed = groups_of([rows[index] for index in own], session.counters.micro_batch_tokens, packing=session.packing)
    passes = [[own[place] for place in places] for places in packed]
    others: list[Pass] = []
    if group is not None and session.spread:
        others = company(group, len(passes), [rows[index] for index in missing], session.device)
    turns = len(passes) if group is None else group.most(len(passes))
    alone = group is None or session.spread
    kept_at, done = time.monotonic(), 0
    with measuring(session.head):
        for turn in range(turns):
            if alone or turn % TURNS_BETWEEN_TALKS == 0:
                stops, due = not go_on(), time.monotonic() - kept_at >= SECONDS_BETWEEN_SAVES
                if group is not None:
                    stops, due = group.any_of((stops, due))
                if stops:
                    break
                if due:
                    table.keep(own)
                    kept_at = time.monotonic()
            session.context.progress("reference", done, len(own), "pairs")
            if turn < len(passes):
                together = passes[turn]
                found = pass_losses(session.head, [rows[index] for index in together], session.device)
                table.known[together] = -torch.tensor(found, dtype=torch.float64)
                done += len(together)
            elif others:
                with documents(others[0].documents):
                    session.head.summed(others[0])
    table.keep(own)


class _Table:
    """Log-probabilities of the answers of all pairs, those to be trained first; NaN where they are unknown.

    Attributes:
        rows: the pairs.
        known: (rows, 2) float64.
    """

    def __init__(self, session: Session) -> None:
        """Reads what the run folder keeps; of several processes, all go by what the first has read."""
        self.rows: Sequence[EncodedRow] = (*session.dataset.train, *session.dataset.validation)
        self._session, self._wanted = session, _wanted(session)
        self._belongs = _belongs_to(session, self.rows)
        self.known = torch.full((len(self.rows), 2), torch.nan, dtype=torch.float64)
        if session.leads:
            self._read()
        self._share(torch.full((len(self.rows),), session.leads))

    def missing(self) -> list[int]:
        """The places of the pairs that the run needs and that nobody has measured."""
        unknown = torch.isnan(self.known).any(dim=1).tolist()
        return [index for index in self._wanted if unknown[index]]

    def measured(self) -> list[EncodedRow]:
        """The pairs with what is known of them."""
        found: list[EncodedRow] = []
        for row, (chosen, rejected) in zip(self.rows, self.known.tolist(), strict=True):
            known = not (math.isnan(chosen) or math.isnan(rejected))
            found.append(replace(row, reference=(chosen, rejected)) if known and isinstance(row, Pair) else row)
        return found

    def keep(self, own: Sequence[int]) -> None:
        """Puts together what the processes have measured, and writes it down.

        Args:
            own: the places of the pairs that are this process's to measure.

        Raises:
            OSError: the disk is full or read-only; the file is as it was.
        """
        from safetensors.torch import save

        mine = torch.zeros(len(self.rows), dtype=torch.bool)
        mine[list(own)] = True
        self._share(mine)
        if self._session.leads:
            blob = save({_TENSOR: self.known}, metadata={_BELONGS: json.dumps(self._belongs)})
            write_atomic(self._session.context.folder.reference, blob)

    def _share(self, mine: torch.Tensor) -> None:
        """Takes over what the other processes have measured; ``mine`` (rows,) are the pairs that this one tells of."""
        group = self._session.group
        if group is None:
            return
        told = mine[:, None] & ~torch.isnan(self.known)
        numbers = torch.where(told, self.known, 0.0), told.double()
        sums = group.sums([number for one in numbers for number in one.flatten().tolist()])
        values, counts = torch.tensor(sums, dtype=torch.float64).view(2, -1, 2)
        self.known = torch.where(counts > 0, values, self.known)

    def _read(self) -> None:
        from safetensors import SafetensorError, safe_open

        file = self._session.context.folder.reference
        if not file.exists():
            return
        try:
            with safe_open(file, "pt") as held:
                belongs = json.loads((held.metadata() or {}).get(_BELONGS, "{}"))
                found = held.get_tensor(_TENSOR)
        except (OSError, ValueError, SafetensorError) as error:
            self._complain(f"cannot be read ({error})")
            return
        other = [word for word, value in self._belongs.items() if belongs.get(word) != value]
        if other or found.shape != self.known.shape or found.dtype != self.known.dtype:
            self._complain(f"was measured with another state of things ({', '.join(other) or 'the number of rows'})")
            return
        self.known = found.clone()  # nobody replaces a file that is mapped, on Windows

    def _complain(self, what: str) -> None:
        context = self._session.context
        message = (
            f"How likely the answers were before training is measured anew: {context.folder.reference.name} {what}."
        )
        context.emit(Notice("warning", "reference_anew", message))


def _wanted(session: Session) -> list[int]:
    """The pairs that the run's steps take, and those that are only measured, by their places in the table."""
    batch, count = session.order.batch, len(session.dataset.train)
    size, seed = batch.effective_batch, session.order.spec.training.seed
    steps = min(batch.steps, steps_per_epoch(count, size))  # an epoch takes every row once
    taken = {index for step in range(steps) for index in step_rows(count, size, seed, step)}
    return [*sorted(taken), *range(count, count + len(session.dataset.validation))]


def _belongs_to(session: Session, rows: Sequence[EncodedRow]) -> dict[str, str]:
    """What the numbers rest on, by a word for each part."""
    order, identity = session.order, session.identity
    start = session.context.folder.start
    begins = f"{file_hash(start)} {json.dumps(to_plain(order.spec.adapter), sort_keys=True)}" if start.exists() else ""
    return {
        "format": _FORMAT,
        "rows": _hash_of(rows),
        "data": identity.data,
        "template": identity.template,
        "tokenizer": identity.tokenizer,
        "model": identity.model,
        "weights": identity.weights,
        "adapter": begins,
        "quantization": f"{order.plan.choices.quantization.value} {order.spec.model.double_quant}",
        "number format": order.plan.choices.compute_dtype.value,
    }


def _hash_of(rows: Sequence[EncodedRow]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        for text in row.documents:
            digest.update(len(text).to_bytes(8, "little"))
            digest.update(text.ids)
            digest.update(text.marks)
    return digest.hexdigest()
