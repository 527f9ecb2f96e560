"""One training step in bytes: traces of its layers and its head, evaluated for a pass, put on top of each other."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from core.facts.types import DeviceKind, ModelFacts
from core.plan.memory.blocks.families import block_name
from core.plan.memory.blocks.structure import Structure
from core.plan.memory.counted import Counted, Moments
from core.plan.memory.head import HeadForm
from core.plan.memory.kinds import Kind, adapter_widths, matrix_widths
from core.plan.memory.layers import Group, Trained
from core.plan.memory.passes import PassMemory, Run, Size, Ways
from core.plan.memory.statics import rounded
from core.plan.memory.trace import Trace, traced, traced_head
from core.plan.memory.widths import model_widths
from core.plan.parameters import head_of

CHUNK_BYTES, CACHED_BYTES = 128 * 1024**2, 4 * 1024**2  # core.engine.loss
SMALLEST_CHUNK, CACHED_CHUNK = 64, 256
BLOCK_ROWS = 256  # core.engine.kernels.block_attention
_NONE: frozenset[str] = frozenset()
_HEAD = frozenset(("lm_head",))
LARGEST_FUSED_4BIT = 4  # bitsandbytes/backends/cuda/ops.py, _GEMM_4BIT_CUSTOM_FLOOR_M


@dataclass(frozen=True, slots=True)
class Setting:
    """What the order of allocations depends on beside the model and what is trained."""

    quantization: str
    number: str
    kernel: str
    double_quant: bool = True
    kind: DeviceKind = "cuda"
    fused: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of a number in the compute format."""
        return 4 if self.number == "fp32" else 2


@dataclass(frozen=True, slots=True)
class StepMemory:
    """The activations of one model in one setting, ready to be asked for any pass."""

    setting: Setting
    trained: Trained
    model: ModelFacts
    gradients: int

    def of(self, size: Size) -> PassMemory:
        """A pass in bytes; remembered, because most edits change nothing of it, and settings are tried one by one."""
        key = (self.setting, id(self.trained), id(self.model), size)
        known = _known.get(key)
        if known is not None:
            return known[2]
        made = self._pass(size)
        if len(_known) >= _KEPT_PASSES:
            del _known[next(iter(_known))]
        _known[key] = (self.trained, self.model, made)  # which keeps the two alive, and so their ids their own
        return made

    def _pass(self, size: Size) -> PassMemory:
        trained, model, number = self.trained, self.model, self.setting.bytes
        runs, alike = [], {}
        lowest = True
        for group in trained.groups:
            learns_input = not lowest or trained.embeddings > 0
            lowest = lowest and not group.alive
            # Where cells are painted here and there, layers far from each other are alike.
            key = (group.kind, group.alive, group.ranks, group.learned, learns_input)
            if key not in alike:
                alike[key] = self._ways(group, size, learns_input=learns_input)
            runs.append(Run(group.count, alike[key]))
        wrapped = trained.head == "wrapped"
        tied = trained.full and model.tied_embeddings
        head = HeadForm(
            self._form(None, size, learns_input=not lowest or trained.embeddings > 0),
            stock=wrapped,
            learns=trained.full or (wrapped and not trained.head_rank),
            tied=tied,
            capped=model.family == "gemma2",
            by_rows=self.setting.kind == "cpu",
        )
        return PassMemory(
            tuple(runs),
            self._counted(traced_head(head, grad=True), size, None).moments(self._head_adapter()),
            size.first,
            self.gradients,
            embedded=rounded(size.tokens * model.hidden_size * number),
            waiting=rounded(model.vocab_size * model.hidden_size * number) if tied else 0,
            table=rounded(trained.embeddings * number),
            table_sum=rounded(trained.embeddings * 4),
        )

    def without_gradients(self, size: Size) -> int:
        """The highest point of a pass that keeps nothing: one layer, with the embeddings' output, or the head."""
        highest = 0
        for group in {(group.kind, group.ranks, group.learned): group for group in self.trained.groups}.values():
            form = _at_rest(self._form(group, size, learns_input=False))
            counted = self._counted(traced(form, "dead"), size, group.kind)
            highest = max(highest, counted.moments(group.adapters).forward)
        at_rest = _at_rest(self._form(None, size, learns_input=False))
        head = HeadForm(
            at_rest,
            stock=self.trained.head == "wrapped",
            capped=self.model.family == "gemma2",
            by_rows=self.setting.kind == "cpu",
        )
        last = self._counted(traced_head(head, grad=False), size, None).moments(self._head_adapter()).forward
        embedded = rounded(size.tokens * self.model.hidden_size * self.setting.bytes)
        return max(highest + embedded, last)

    def _form(self, group: Group | None, size: Size, *, learns_input: bool) -> Structure:
        trained, model = self.trained, self.model
        kind = None if group is None else group.kind
        block = block_name(model, None if kind is None else kind.linears.keys())
        kernel = _kernel(self.setting, model)
        several = size.documents > 1 and kernel != "varlen"
        return Structure(
            block=block,
            adapted=frozenset([label for label, _ in group.ranks]) if group else _HEAD if trained.head_rank else _NONE,
            learned=group.learned if group else _NONE,
            biased=kind.biased if kind else _NONE,
            attention=kind.in_role("attention") if kind and block == "other" else (),
            mlp=kind.in_role("mlp") if kind and block == "other" else (),
            full=trained.full,
            dropout=trained.dropout,
            dora=trained.dora,
            quantization=self.setting.quantization,
            number=self.setting.number,
            kernel=kernel,
            before=several and size.before > 0,
            after=several and (size.after > 0 or size.before == 0),
            learns_input=learns_input,
            grouped=model.num_heads != model.num_kv_heads,
            residual_dropout=model.residual_dropout > 0,
            fused=self.setting.fused and (self.setting.kind == "cuda" or self.setting.quantization == "none"),
            fused_norms=self.setting.kind == "cpu" and not trained.full,
        )

    def _rebuilding(self, size: Size) -> dict[str, int]:
        """Scales are decoded where they are quantized; few tokens have a kernel that rebuilds nothing."""
        decoded = self.setting.quantization == "nf4" and self.setting.double_quant
        return {"decoded": 1 if decoded else 0, "rebuilt": 1 if size.tokens > LARGEST_FUSED_4BIT else 0}

    def _ways(self, group: Group, size: Size, *, learns_input: bool) -> Ways:
        form = self._form(group, size, learns_input=learns_input)

        def evaluated(mode: str) -> Moments:
            return self._counted(traced(form, mode), size, group.kind).moments(group.adapters)

        return Ways(evaluated, alive=group.alive)

    def _counted(self, trace: Trace, size: Size, kind: Kind | None) -> Counted:
        """A layer of this kind, or the head, with all but its adapters counted; remembered for other ranks."""
        key = (trace, size, id(self.model), kind, self.setting.double_quant)
        known = _counts.get(key)
        if known is not None:
            return known[1]
        if len(_counts) >= _KEPT_COUNTS:
            del _counts[next(iter(_counts))]
        rows = rows_of(size, self.model, by_rows=self.setting.kind == "cpu") | self._rebuilding(size)
        made = Counted(trace, rows, {**model_widths(self.model), **(kind.widths if kind else self._head_widths())})
        _counts[key] = (self.model, made)  # which keeps the model alive, and so its id its own
        return made

    def _head_widths(self) -> Mapping[str, int]:
        head = head_of(self.model)
        # Whatever it is called, the blocks call it lm_head.
        return {} if head is None else matrix_widths("lm_head", head)

    def _head_adapter(self) -> Mapping[str, int]:
        head, rank = head_of(self.model), self.trained.head_rank
        return adapter_widths("lm_head", head, rank) if head is not None and rank else {}


_known: dict[tuple[Setting, int, int, Size], tuple[Trained, ModelFacts, PassMemory]] = {}
_KEPT_PASSES = 512
_counts: dict[tuple[Trace, Size, int, Kind | None, bool], tuple[ModelFacts, Counted]] = {}
_KEPT_COUNTS = 512

# Their scores are biased by distance, in code of their own that writes them out (modeling_bloom.py and its like).
# Heads of gpt-oss have sinks, which no fused kernel knows.
_OWN_ATTENTION = frozenset(("bloom", "falcon", "mpt", "gpt_oss"))


def _kernel(setting: Setting, model: ModelFacts) -> str:
    """The kernel behind a choice: flash where it can run, else the memory-efficient one."""
    if model.family == "gemma2":
        return "capped"  # no fused kernel knows its soft cap
    if model.family in _OWN_ATTENTION:
        return "eager"
    kernel = "flash" if setting.kernel == "varlen" and model.attention_dropout else setting.kernel
    if kernel not in ("sdpa", "flash"):
        return kernel
    if setting.kind == "cpu":
        return "processor"
    return "flash" if setting.number != "fp32" else "efficient"


def rows_of(size: Size, model: ModelFacts, *, by_rows: bool) -> dict[str, int]:
    """The numbers behind the ledger's rows; ``by_rows`` as in `core.plan.memory.head.HeadForm`."""
    before = min(size.next_before or size.longest, size.before)
    after = min(size.next_after or size.longest, size.after)
    chunk = max(SMALLEST_CHUNK, CHUNK_BYTES // max(1, 4 * model.vocab_size))
    if by_rows:
        chunk = min(chunk, CACHED_CHUNK)
    return {
        "tokens": size.tokens,
        "kept": size.kept,
        "chunk": min(chunk, size.kept),
        "again": min(chunk, max(0, size.kept - chunk)),
        "cached": min(chunk, size.kept, max(1, CACHED_BYTES // max(1, 4 * model.vocab_size))),
        "padded": size.tokens + 128 * size.documents,
        "longest": size.longest,
        "longest_padded": -(-size.longest // 128) * 128,
        "longest_pairs": size.longest**2,
        # As many as documents of a block each would keep: other passes have shorter ones than the longest.
        "longest_first_pairs": size.longest * min(size.longest, BLOCK_ROWS),
        "before_first_pairs": size.before * min(before, BLOCK_ROWS),
        "after_first_pairs": size.after * min(after, BLOCK_ROWS),
        "before": size.before,
        "before_once": before,
        "before_once_padded": -(-before // 128) * 128,
        "before_pairs": max(0, size.pairs - size.longest**2 - size.after_pairs),
        "before_once_pairs": before**2,
        "after": size.after,
        "after_once": after,
        "after_once_padded": -(-after // 128) * 128,
        "after_pairs": size.after_pairs,
        "after_once_pairs": after**2,
        "routed": size.tokens * max(1, model.active_experts),
        "one": 1,
        "none": 0,
        "first": 1 if size.first else 0,
    }


def _at_rest(form: Structure) -> Structure:
    """The same layer while nothing is dropped."""
    return dataclasses.replace(form, dropout=False, residual_dropout=False)
