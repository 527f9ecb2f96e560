"""Finds the settings that fit: weights' format, optimizer, tokens a pass and checkpointed layers, by arithmetic alone.

Preferred in this order: 16-bit weights over 4-bit ones, then the pass size and number of checkpointed layers that
cost the least time. Recomputing every layer costs half a forward-and-backward more (4 to 6 operations a parameter and
token), and small passes leave the hardware idle: a pass costs as much as its tokens and some more.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from core.facts.types import Facts, LengthFacts, ModelFacts
from core.plan.ground import Ground
from core.plan.memory import FITS_SHARE, Experience, Footprint, Setup, Trained, experience_of, footprint
from core.spec.rules_adapter import changes_base
from core.spec.run_spec import RunSpec

CUDA_PASS_TOKENS = 4096
CPU_PASS_TOKENS = 2048
SMALLEST_PASS = 256
PASS_SIZES = (2048, 1024, 512)

RECOMPUTE_COST = 0.5
CUDA_PASS_OVERHEAD = 256
CPU_PASS_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """One point of the search.

    Attributes:
        tokens: tokens of the largest pass: the budget, a longer row, or all rows of a step where those are fewer.
        footprint: None while the model is not known.
        fits: whether the peak stays within 90 % of the free memory.
        refused_peak: smallest peak of the settings preferred to these, when those had to be left; else 0.
        sharers: how many processes share one base; 1 where each has its own.
    """

    quantization: str
    optimizer: str
    micro_batch_tokens: int
    checkpointed_layers: int
    tokens: int
    footprint: Footprint | None
    peak: int
    fits: bool
    refused_peak: int = 0
    sharers: int = 1


def longest_row(spec: RunSpec, facts: Facts) -> int:
    """Tokens of the longest row that training will see; the limit itself while the data is unknown or was cut lower."""
    limit = row_limit(spec)
    if facts.data is None:
        return limit
    rows = facts.data.train
    return limit if was_cut_lower(spec, rows) else max(1, min(limit, rows.longest))


def was_cut_lower(spec: RunSpec, rows: LengthFacts) -> bool:
    """Whether rows were cut at a lower limit than the spec's, so that nobody knows how long they would be."""
    return rows.truncated_rows > 0 and (rows.longest_document or rows.longest) < max(1, spec.data.max_length)


def row_limit(spec: RunSpec) -> int:
    """The most tokens that a row can have; the two answers of a pair are cut each by itself."""
    return max(1, spec.data.max_length) * documents_of_row(spec)


def documents_of_row(spec: RunSpec) -> int:
    """How many documents of its own a row is."""
    return 2 if spec.data.train_on == "preferences" else 1


def largest_pass(spec: RunSpec, budget: int, longest: int, *, packing: bool) -> int:
    """Tokens of the largest pass there can be; rows are never cut and a step's rows are never exceeded."""
    if not packing:
        return longest
    return min(max(budget, longest), longest * max(1, spec.training.effective_batch))


def search(spec: RunSpec, facts: Facts, ground: Ground, trained: Trained) -> Settings:
    """The best settings that fit, or the smallest ones when nothing does; what the spec fixes stays fixed."""
    model = facts.model
    assert model is not None, "memory needs a model"
    longest = longest_row(spec, facts)
    budgets = _budgets(spec, ground, longest)
    known = experience_of(facts.records, ground.gpu.name if ground.gpu else facts.hardware.cpu.name)
    tried: list[Settings] = []
    for (quantization, sharers), optimizer in itertools.product(_holdings(spec, model), optimizers(spec, ground)):
        if not (tried and tried[-1].fits):
            setup = _setup(spec, ground, quantization, optimizer, longest, known, sharers)
            tried.append(_settle(spec, ground, footprint(setup, trained, model), budgets, longest))
    best = len(tried) - 1 if tried[-1].fits else min(range(len(tried)), key=lambda index: tried[index].peak)
    return dataclasses.replace(tried[best], refused_peak=tried[best - 1].peak) if best else tried[best]


def quantizations(spec: RunSpec, model: ModelFacts | None) -> tuple[str, ...]:
    """The weights' formats to try, the preferred one first."""
    asked = spec.model.quantization
    if asked in ("none", "nf4", "int8"):
        return (asked,)
    fixed = spec.adapter.method == "full" or changes_base(spec.adapter)
    quantizable = model is not None and not model.prequantized and not fixed
    return ("none", "nf4") if quantizable else ("none",)


def _holdings(spec: RunSpec, model: ModelFacts) -> Iterator[tuple[str, int]]:
    """Ways to hold the base, the preferred one first: the weights' format, and how many processes share them.

    Shared weights are exact and quantized ones are not, so they come first where both would help.
    """
    asked = spec.hardware.sharding
    for quantization in quantizations(spec, model):
        shareable = spec.hardware.processes > 1 and quantization == "none" and spec.adapter.method != "full"
        if not shareable or asked != "base":
            yield quantization, 1
        if shareable and asked != "off":
            yield quantization, spec.hardware.processes
        if shareable and asked == "base":
            return


def optimizers(spec: RunSpec, ground: Ground) -> tuple[str, ...]:
    """The optimizers to try, the preferred one first."""
    asked = spec.training.optimizer
    if asked == "auto":
        paging_helps = spec.adapter.method == "full" and ground.kind == "cuda"
        return ("adamw", "paged_adamw_8bit") if paging_helps else ("adamw",)
    # There is nothing to page to on a processor; the plan says so and names what runs instead.
    return (asked.removeprefix("paged_") if ground.kind == "cpu" else asked,)


def fixed_layers(spec: RunSpec, layers: int) -> int | None:
    """How many layers the spec wants checkpointed; None when that is to be found."""
    asked = spec.hardware.activation_checkpointing
    if asked == "all":
        return layers
    if asked == "off":
        return 0
    return min(max(0, spec.hardware.checkpointed_layers), layers) if asked == "layers" else None


def preferred_budget(ground: Ground, longest: int) -> int:
    """The pass size without any want of memory."""
    return max(CUDA_PASS_TOKENS if ground.kind == "cuda" else CPU_PASS_TOKENS, longest)


def _budgets(spec: RunSpec, ground: Ground, longest: int) -> tuple[int, ...]:
    if spec.training.micro_batch_tokens > 0:
        return (spec.training.micro_batch_tokens,)
    most = preferred_budget(ground, longest)
    if not ground.packing.value:
        return (most,)
    least = max(SMALLEST_PASS, longest)
    smaller = [size for size in PASS_SIZES if least < size < most]
    return (most, *smaller, least) if least < most else (most,)


def _setup(
    spec: RunSpec, ground: Ground, quantization: str, optimizer: str, longest: int, experience: Experience, sharers: int
) -> Setup:
    return Setup(
        kind=ground.kind,
        quantization=quantization,
        number=ground.dtype.value,
        kernel=ground.kernel,
        longest=longest,
        optimizer=optimizer,
        double_quant=spec.model.double_quant,
        rows=max(1, spec.training.effective_batch) if ground.packing.value else 1,
        capability=ground.gpu.capability if ground.gpu is not None else (0, 0),
        experience=experience,
        sharers=sharers,
    )


def _settle(spec: RunSpec, ground: Ground, memory: Footprint, budgets: tuple[int, ...], longest: int) -> Settings:
    allowed = int(FITS_SHARE * ground.free_bytes)
    fixed = fixed_layers(spec, memory.layers)
    overhead = CUDA_PASS_OVERHEAD if ground.kind == "cuda" else CPU_PASS_OVERHEAD
    packing = ground.packing.value
    best: tuple[float, int, int, int] | None = None
    smallest = largest_pass(spec, budgets[-1], longest, packing=packing)
    most = fixed if fixed is not None else memory.layers
    hopeless = memory.static + memory.gradients > allowed
    for budget in () if hopeless else budgets:
        if best is not None and best[0] <= 1 + overhead / budget:
            break  # passes that are smaller still could not be faster with nothing recomputed at all
        tokens = largest_pass(spec, budget, longest, packing=packing)
        if memory.peak(tokens, most) > allowed:
            if memory.peak(smallest, most) > allowed:
                break  # nothing in between has to be tried
            continue
        count = fixed if fixed is not None else _fewest_layers(memory, tokens, allowed)
        share = max(0, count - memory.first) / max(1, memory.layers - memory.first)
        cost = (1 + RECOMPUTE_COST * share) * (1 + overhead / budget)
        if best is None or cost < best[0]:
            best = (cost, budget, count, tokens)
        if count <= memory.first:
            break
    if best is None:
        best = (0.0, budgets[-1], fixed if fixed is not None else memory.layers, smallest)
    _, budget, count, tokens = best
    peak = memory.peak(tokens, count)
    setup = memory.setup
    fits = peak <= allowed
    return Settings(
        setup.quantization, setup.optimizer, budget, count, tokens, memory, peak, fits, sharers=setup.sharers
    )


def _fewest_layers(memory: Footprint, tokens: int, allowed: int) -> int:
    """The smallest number of checkpointed layers that fits, or all of them; the peak never rises with their number."""
    if memory.layers < 1 or (memory.peak(tokens, 1) <= allowed and memory.peak(tokens, 0) <= allowed):
        return 0
    low, high = 0, memory.layers
    while low + 1 < high:
        middle = (low + high) // 2
        if memory.peak(tokens, middle) <= allowed:
            high = middle
        else:
            low = middle
    return high
