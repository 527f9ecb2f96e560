"""Every kind of change that can lower the peak of a run: what it edits, what it is called, what quality it costs.

The order is that of preference: what costs nothing first, then what costs speed, then what costs quality.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from core.errors import Edit
from core.plan.memory import FITS_SHARE, state_bytes
from core.plan.search import SMALLEST_PASS, documents_of_row, longest_row
from core.plan.solve.rows import cut_at
from core.plan.solve.trials import Trial
from core.spec.rules_adapter import changes_base
from core.units import format_bytes

NOTHING, HARDLY, SOME, MUCH, OTHER = 0, 1, 2, 3, 6
"""How much quality a change may cost, up to another model altogether; several changes cost the sum."""

SHORTEST_ROW = 128
ROW_STEP = 64
LEAST_RANK = 4
PASS_STEP = 256
# Up to this share of rows that lose their ends, shorter rows cost some quality and not much.
FEW_CUT = 0.05
# Beyond this a processor is too slow to be offered as a way out.
CPU_PARAMETERS = 2_000_000_000
# The usual learning rates of full fine-tuning and of adapters; see core.plan.suggest.
FULL_RATE, ADAPTER_RATE = 1e-4, 2e-4


@dataclass(frozen=True, slots=True)
class Change:
    """One way to need less memory, before anyone knows how much less.

    Attributes:
        kind: a stable name; a set holds one change of a kind at most.
        title: what a button says; `noun` is the same within a list. Both are empty until `named` has seen a trial
            where the planner chooses the number.
        loss: NOTHING to OTHER; `quality` the same in a word or two.
    """

    kind: str
    title: str
    noun: str
    edits: tuple[Edit, ...]
    loss: int = NOTHING
    quality: str = "nothing"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A change in all its strengths: ``values`` from the strongest to the mildest, each made by ``make``.

    Attributes:
        alone: not for a set of changes: another of the same set does more, or nothing else matters beside it.
        settles: the strongest leaves the planner a choice, so that beside other changes no milder one is looked for.
    """

    kind: str
    values: Sequence[int]
    make: Callable[[int], Change]
    alone: bool = False
    settles: bool = False

    @property
    def strongest(self) -> Change:
        """The change that helps most."""
        return self.make(self.values[0])


def named(change: Change, trial: Trial) -> Change:
    """The change with the number that the planner chose in its title."""
    if change.kind == "checkpointing":
        count, layers = trial.settings.checkpointed_layers, trial.model.num_layers
        noun = f"{count} checkpointed layers" if count != 1 else "1 checkpointed layer"
        return dataclasses.replace(change, title=f"Checkpoint {count} of {layers} layers", noun=noun)
    if change.kind == "passes":
        noun = f"{trial.settings.micro_batch_tokens:,} tokens a pass"
        return dataclasses.replace(change, title=f"Take {noun}", noun=noun)
    return change


def _one(change: Change, *, alone: bool = False) -> Option:
    return Option(change.kind, (0,), lambda _value: change, alone)


def options(now: Trial) -> Iterator[Option]:
    """What can be changed in a run, in the order of preference; whether it helps is for trials to say."""
    yield from _free(now)
    yield from _slower(now)
    yield from _coarser(now)
    yield from _int8(now)
    yield from _less_trained(now)
    yield from _shorter_rows(now)
    yield from _other_training(now)
    yield from _processor(now)


def _free(now: Trial) -> Iterator[Option]:
    spec = now.spec
    if spec.hardware.device == "cpu" and now.facts.hardware.gpus:
        reason = "This machine has a GPU, which is many times faster than its processor."
        edits = (Edit("hardware.device", "auto"),)
        yield _one(Change("gpu", "Train on the GPU", "the GPU", edits, reason=reason), alone=True)
    if now.settings.quantization == "nf4" and not spec.model.double_quant:
        reason = "The 4-bit weights' scale factors are quantized as well, at no loss that anyone has measured."
        edits = (Edit("model.double_quant", value=True),)
        yield _one(
            Change("double_quant", "Quantize the scale factors too", "double quantization", edits, reason=reason)
        )
    if spec.hardware.attention in ("eager", "sdpa"):
        reason = "The result is the same; only the kernel that computes it is another."
        edits = (Edit("hardware.attention", "auto"),)
        title = "Choose the attention automatically"
        yield _one(Change("attention", title, "automatic attention", edits, reason=reason))


def _slower(now: Trial) -> Iterator[Option]:
    spec, settings = now.spec, now.settings
    if spec.hardware.activation_checkpointing != "auto" and settings.checkpointed_layers < now.model.num_layers:
        reason = "Activations are computed again in the backward pass, for as few layers as memory demands."
        edits = (Edit("hardware.activation_checkpointing", "auto"),)
        yield _one(Change("checkpointing", "", "", edits, reason=reason))
    yield from _smaller_passes(now)
    optimizer = settings.optimizer
    if now.ground.kind == "cuda" and optimizer == "adamw" and _states_fit(now, optimizer):
        reason = "The optimizer's states move to RAM when the GPU is full, and back for every step."
        edits = (Edit("training.optimizer", "paged_adamw"),)
        yield _one(Change("paging", "Page optimizer states to RAM", "paged optimizer states", edits, reason=reason))


def _states_fit(now: Trial, optimizer: str) -> bool:
    """Whether RAM has room for the states; elsewhere the plan warns when it has not."""
    states = state_bytes(optimizer.removeprefix("paged_"), now.training.parameters.trainable, "cpu")
    return states <= FITS_SHARE * now.facts.hardware.ram_free_bytes


def _smaller_passes(now: Trial) -> Iterator[Option]:
    """Only for a size that the spec fixes; an automatic one is already as small as it has to be."""
    asked, longest = now.spec.training.micro_batch_tokens, longest_row(now.spec, now.facts)
    least = max(SMALLEST_PASS, longest)
    if asked <= least or not now.ground.packing.value:
        return
    rows = now.spec.training.effective_batch

    def make(size: int) -> Change:
        reason = f"A step still learns from {rows:,} rows, worked off in more and smaller passes."
        edits = (Edit("training.micro_batch_tokens", size),)
        return Change("passes", "", "", edits, reason=reason)

    sizes = _spread(-(-least // PASS_STEP) * PASS_STEP, asked, PASS_STEP)
    yield Option("passes", (0, *sizes), make, settles=True)


def _coarser(now: Trial) -> Iterator[Option]:
    """Numbers of fewer bits: weights, optimizer states, products."""
    spec, settings = now.spec, now.settings
    if spec.model.compute_dtype == "fp32":
        reason = "Products are made in 16 bits, which training hardly notices; what is trained stays in 32."
        edits = (Edit("model.compute_dtype", "auto"),)
        title, noun = "Choose the number format automatically", "automatic number format"
        yield _one(Change("dtype", title, noun, edits, HARDLY, "slightly less exact products", reason))
    if settings.optimizer == "lion":
        reason = "Lion's state takes 1 byte a trained parameter instead of 4."
        edits = (Edit("training.optimizer", "lion_8bit"),)
        title, noun = "Keep the optimizer's state in 8 bits", "an 8-bit optimizer state"
        yield _one(Change("optimizer", title, noun, edits, HARDLY, "slightly less exact steps", reason))
    elif settings.optimizer in ("adamw", "paged_adamw"):
        paged = settings.optimizer.startswith("paged") or (now.ground.kind == "cuda" and spec.adapter.method == "full")
        name = "paged_adamw_8bit" if paged else "adamw_8bit"
        title = "Page 8-bit optimizer states to RAM" if paged else "Keep the optimizer's states in 8 bits"
        noun = "paged 8-bit optimizer states" if paged else "8-bit optimizer states"
        reason = "AdamW's two states take 2 bytes a trained parameter instead of 8."
        edits = (Edit("training.optimizer", name),)
        if not paged or _states_fit(now, name):
            yield _one(Change("optimizer", title, noun, edits, HARDLY, "slightly less exact steps", reason))
    if spec.adapter.method == "full" or now.model.prequantized or changes_base(spec.adapter):
        return
    if settings.quantization != "nf4":
        edits = (Edit("model.quantization", "nf4"),)
        reason = "The frozen weights take a quarter of 16 bits and are unpacked for every product (QLoRA)."
        title = "Load the weights in 4 bits"
        yield _one(Change("nf4", title, "4-bit weights", edits, HARDLY, "slightly less exact weights", reason))


def _int8(now: Trial) -> Iterator[Option]:
    if now.spec.adapter.method == "full" or now.model.prequantized or now.settings.quantization != "none":
        return
    edits = (Edit("model.quantization", "int8"),)
    reason = "The frozen weights take half of 16 bits; outliers stay in 16 (LLM.int8)."
    title, quality = "Load the weights in 8 bits", "slightly less exact weights"
    yield _one(Change("int8", title, "8-bit weights", edits, HARDLY, quality, reason), alone=True)


def _less_trained(now: Trial) -> Iterator[Option]:
    adapter, targets = now.spec.adapter, now.training.targets
    if adapter.method == "full":
        return
    if adapter.dropout > 0:
        reason = "Dropout keeps a copy of every adapter's input; small sets may be learned by heart sooner without it."
        edits = (Edit("adapter.dropout", 0.0),)
        change = Change("dropout", "Train without dropout", "no dropout", edits, SOME, "sooner overfitted", reason)
        yield _one(change)
    if adapter.method == "dora":
        reason = "LoRA learns a little less than DoRA and is faster."
        edits = (Edit("adapter.method", "lora"),)
        title = "Train LoRA instead of DoRA"
        change = Change("lora", title, "LoRA instead of DoRA", edits, SOME, "slightly less is learned", reason)
        yield _one(change)
    yield from _lower_rank(now)
    attention = sum(linear.role == "attention" for linear in targets.places.linears)
    if 0 < attention < len(targets):
        reason = f"{attention:,} of {len(targets):,} modules keep their adapters; more rank makes up for a part of it."
        pattern = (Edit("adapter.rank_pattern", {}),) if adapter.rank_pattern else ()
        edits = (Edit("adapter.targets", ("attention",)), *pattern)
        title = "Train the attention modules alone"
        change = Change("targets", title, "attention modules alone", edits, SOME, "fewer modules learn", reason)
        yield _one(change)


def _lower_rank(now: Trial) -> Iterator[Option]:
    """Alpha keeps its ratio to the rank, so that the adapters act as strongly as before."""
    adapter = now.spec.adapter
    if adapter.rank <= LEAST_RANK or not now.training.targets:
        return

    def make(rank: int) -> Change:
        ratio = rank / adapter.rank
        edits = [Edit("adapter.rank", rank)]
        alpha = adapter.alpha * (ratio**0.5 if adapter.method == "rslora" else ratio)
        edits.append(Edit("adapter.alpha", round(alpha, 3)))
        pattern = {name: min(rank, value) for name, value in adapter.rank_pattern.items()}
        if pattern != adapter.rank_pattern:
            edits.append(Edit("adapter.rank_pattern", pattern))
        reason = f"The adapters have {rank} instead of {adapter.rank} dimensions to learn in; alpha goes along."
        title, noun = f"Lower the rank to {rank}", f"rank {rank}"
        return Change("rank", title, noun, tuple(edits), SOME, "less room to learn", reason)

    yield Option("rank", range(LEAST_RANK, adapter.rank, LEAST_RANK), make)


def _shorter_rows(now: Trial) -> Iterator[Option]:
    parts = documents_of_row(now.spec)
    longest = -(-longest_row(now.spec, now.facts) // parts)
    if longest <= SHORTEST_ROW:
        return
    data = now.facts.data

    def make(limit: int) -> Change:
        edits = (Edit("data.max_length", limit),)
        title, noun = f"Cut rows at {limit:,} tokens", f"rows of {limit:,} tokens"
        if data is None or data.train.rows == 0 or parts * limit >= data.train.longest:
            reason = f"Rows that are longer than {limit:,} tokens lose their ends."
            return Change("rows", title, noun, edits, SOME, "longer rows lose their ends", reason)
        cut = cut_at(data.train, parts * limit)
        loss = SOME if cut.rows <= FEW_CUT * data.train.rows else MUCH
        quality = f"about {cut.rows:,} rows lose their ends"
        reason = f"About {cut.rows:,} of {data.train.rows:,} rows lose about {cut.tokens:,} tokens at their ends."
        return Change("rows", title, noun, edits, loss, quality, reason)

    yield Option("rows", _spread(SHORTEST_ROW, longest, ROW_STEP), make)


def _spread(low: int, high: int, step: int) -> tuple[int, ...]:
    """Round numbers from ``low`` to below ``high``, about 6 % apart where they are large."""
    found, value = [], low
    while value < high:
        found.append(value)
        value += max(step, value // (16 * step) * step)
    return tuple(found)


def _other_training(now: Trial) -> Iterator[Option]:
    adapter = now.spec.adapter
    if adapter.method == "full":
        rate = now.spec.training.learning_rate
        faster = (Edit("training.learning_rate", ADAPTER_RATE),) if rate <= FULL_RATE else ()
        edits = (Edit("adapter.method", "lora"), *faster)
        reason = "Adapters need a tenth of the memory; they change style and format well, and add less new knowledge."
        title = "Train a LoRA adapter instead"
        change = Change("adapter", title, "a LoRA adapter", edits, MUCH, "adapters alone learn", reason)
        yield _one(change)
    elif adapter.modules_to_save and now.training.targets:
        reason = "New tokens keep the embeddings that they start with."
        edits = (Edit("adapter.modules_to_save", ()),)
        title = "Train no module in full"
        change = Change("saved", title, "no module trained in full", edits, MUCH, "new tokens are not learned", reason)
        yield _one(change)


def _processor(now: Trial) -> Iterator[Option]:
    if now.ground.kind != "cuda" or now.model.parameters > CPU_PARAMETERS:
        return
    optimizer = now.spec.training.optimizer
    plain = (Edit("training.optimizer", optimizer.removeprefix("paged_")),) if optimizer.startswith("paged_") else ()
    edits = (Edit("hardware.device", "cpu"), *plain)
    free = format_bytes(now.facts.hardware.ram_free_bytes)
    reason = f"RAM has {free} free, but a processor takes many times as long."
    yield _one(Change("processor", "Train on the processor, slowly", "the processor", edits, reason=reason), alone=True)
