"""Changes that make a run fit: each one is planned again, and only those that help are offered."""

import dataclasses
from collections.abc import Iterable, Iterator

from core.errors import Edit, Fix, Problem, Severity, UserError, error, warning
from core.facts.types import Facts
from core.plan.choices import Decision, training_of
from core.plan.ground import ground_of
from core.plan.memory import FITS_SHARE, verdict_of
from core.plan.search import Settings, longest_row, search
from core.spec.run_spec import RunSpec
from core.units import GIB, format_bytes

SHORTEST_ROW = 128
ROW_STEP = 64
# A change that lowers the peak by less is not worth a click.
LEAST_GAIN = 0.03
# Beyond this a processor is too slow to be offered as a way out.
CPU_PARAMETERS = 2_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One way to need less memory, before anyone knows how much less."""

    title: str
    edits: tuple[Edit, ...]
    keeps_training: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Weighed:
    """A change and the peak that it leads to."""

    change: Change
    peak: int
    fits: bool

    def fix(self) -> Fix:
        """The change with its new peak in the title."""
        words = "fits with about" if self.fits else "lowers the peak to about"
        return Fix(f"{self.change.title}: {words} {format_bytes(self.peak)}", self.change.edits)


def memory_problems(spec: RunSpec, facts: Facts, decision: Decision) -> tuple[Problem, ...]:
    """A problem with its fixes when the run does not fit or hardly does; nothing when it fits or nobody knows."""
    memory = decision.memory
    if memory.verdict not in ("does_not_fit", "tight"):
        return ()
    offered = weigh(spec, facts, decision)
    where = f"{decision.ground.title} has {format_bytes(memory.free_bytes)} free of {format_bytes(memory.limit_bytes)}"
    fixes = tuple(item.fix() for item in offered)
    if memory.verdict == "tight":
        return (
            warning(
                "hardware.device",
                f"The run needs about {format_bytes(memory.peak_bytes)} and {where}: more than "
                f"{FITS_SHARE:.0%} of it, so the run may end for want of memory.",
                "Close other programs, or take one of the changes." if fixes else "Close other programs.",
                *fixes,
            ),
        )
    missing = format_bytes(memory.peak_bytes - memory.free_bytes)
    if any(item.fits for item in offered):
        advice = "Take one of the changes that make it fit, or close programs that use this memory."
    elif fixes:
        advice = "None of the changes is enough alone: take several, a smaller base model, or larger hardware."
    else:
        advice = "Take a smaller base model or larger hardware; no setting lowers the peak enough to matter."
    return (
        error(
            "hardware.device",
            f"The run needs about {format_bytes(memory.peak_bytes)}, but {where}: about {missing} are missing.",
            advice,
            *fixes,
        ),
    )


def weigh(spec: RunSpec, facts: Facts, decision: Decision) -> tuple[Weighed, ...]:
    """The changes that make the run fit, in order of preference, then those that at least help."""
    now = decision.memory.peak_bytes
    enough = now * (1 - LEAST_GAIN)
    weighed = []
    for change in _changes(spec, facts, decision):
        result = _weigh(spec, facts, decision, change)
        if result is not None and result.peak < now and (result.fits or result.peak <= enough):
            weighed.append(result)
    if not any(item.fits for item in weighed):
        weighed += _together(spec, facts, decision, weighed)
    return tuple(sorted(weighed, key=lambda item: not item.fits))


def _together(spec: RunSpec, facts: Facts, decision: Decision, weighed: list[Weighed]) -> Iterator[Weighed]:
    """All changes that keep the kind of training at once, where each alone is too little."""
    parts = [item.change for item in weighed if item.change.keeps_training]
    if len(parts) < 2:
        return
    merged = {edit.path: edit for part in parts for edit in part.edits}
    result = _weigh(spec, facts, decision, Change("All of these together", tuple(merged.values())))
    if result is not None and result.peak < min(item.peak for item in weighed):
        yield result


def _changes(spec: RunSpec, facts: Facts, decision: Decision) -> Iterable[Change]:
    settings, model = decision.settings, facts.model
    assert model is not None
    full = spec.adapter.method == "full"
    if settings.quantization != "nf4" and not full and not model.prequantized:
        yield Change("Load the weights in 4 bits", (Edit("model.quantization", "nf4"),))
    if settings.checkpointed_layers < model.num_layers and spec.hardware.activation_checkpointing != "auto":
        yield Change("Checkpoint all layers", (Edit("hardware.activation_checkpointing", "all"),))
    yield from _smaller_passes(spec, facts, settings)
    if full and decision.ground.kind == "cuda" and settings.optimizer != "paged_adamw_8bit":
        yield Change("Page 8-bit optimizer states to RAM", (Edit("training.optimizer", "paged_adamw_8bit"),))
    if spec.hardware.attention == "eager":
        yield Change("Choose the attention automatically", (Edit("hardware.attention", "auto"),))
    if spec.model.compute_dtype == "fp32":
        yield Change("Choose the number format automatically", (Edit("model.compute_dtype", "auto"),))
    if spec.adapter.modules_to_save and not full:
        yield Change("Train no module in full", (Edit("adapter.modules_to_save", ()),), keeps_training=False)
    if full:
        yield Change("Train a LoRA adapter instead", (Edit("adapter.method", "lora"),), keeps_training=False)
    half = _half_row(spec, facts)
    if half:
        yield Change(f"Cut rows at {half:,} tokens", (Edit("data.max_length", half),), keeps_training=False)
    if decision.ground.kind == "cuda" and model.parameters <= CPU_PARAMETERS:
        yield Change("Train on the processor, slowly", (Edit("hardware.device", "cpu"),), keeps_training=False)


def _smaller_passes(spec: RunSpec, facts: Facts, settings: Settings) -> Iterable[Change]:
    """Only for a size that the spec fixes; an automatic one is already as small as it can be."""
    asked = spec.training.micro_batch_tokens
    longest = longest_row(spec, facts)
    half = max(longest, asked // 2)
    if 0 < half < asked and settings.tokens > half:
        yield Change(f"Take {half:,} tokens a pass", (Edit("training.micro_batch_tokens", half),))


def _half_row(spec: RunSpec, facts: Facts) -> int:
    """Half of the longest row, in steps of 64 tokens; 0 when rows are short already."""
    longest = longest_row(spec, facts)
    half = longest // 2 // ROW_STEP * ROW_STEP
    return half if half >= SHORTEST_ROW else 0


def _weigh(spec: RunSpec, facts: Facts, decision: Decision, change: Change) -> Weighed | None:
    model = facts.model
    assert model is not None
    changed = spec
    for edit in change.edits:
        changed = changed.replace(edit.path, edit.value)
    ground = ground_of(changed, facts)
    if any(problem.severity is Severity.ERROR for problem in ground.problems):
        return None
    training = decision.training
    if changed.adapter is not spec.adapter or training is None:
        try:
            training = training_of(changed, model)
        except UserError:
            return None
    settings = search(changed, facts, ground, training.trained)
    # The record's parts are what the user will see; their sum is the peak.
    return Weighed(change, settings.peak, verdict_of(settings.peak, ground.free_bytes) == "fits")


def paging_problems(facts: Facts, decision: Decision) -> Iterator[Problem]:
    """A warning when paged optimizer states would not fit into RAM either."""
    if decision.training is None or decision.ground.kind != "cuda":
        return
    if not decision.settings.optimizer.startswith("paged"):
        return
    trained = decision.training.parameters.trainable
    states = trained * (2 if decision.settings.optimizer.endswith("8bit") else 8)
    free = facts.hardware.ram_free_bytes
    if states > FITS_SHARE * free:
        yield warning(
            "training.optimizer",
            f"The optimizer's states take about {states / GIB:,.1f} GiB and move to RAM when the GPU is full, but only "
            f"{format_bytes(free)} of RAM are free.",
            "Close other programs, or train an adapter instead of every weight.",
            Fix("Train a LoRA adapter instead", (Edit("adapter.method", "lora"),)),
        )
