"""Rules for what is trained: ranks, alpha, target modules and layers. Whether a module exists is a fact, not a rule."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from core.errors import Edit, Fix, Problem, error, warning
from core.spec.layers import parse_layers
from core.spec.run_spec import RunSpec, field_at, is_visible
from core.spec.sections import AdapterSpec
from core.spec.values import one_line, quote, readable

MOST_LAYERS = 10_000
"""More layers than any model has; the syntax of `adapter.layers` is checked against it."""

_MODULE = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_RANKED_MODULE = re.compile(r"(?:\d+-\d+\.)?(?:\w+\.)*[^\W\d]\w*")
_GROUP_SLIPS: Mapping[str, str] = {
    "all": "all-linear",
    "all_linear": "all-linear",
    "alllinear": "all-linear",
    "all linear": "all-linear",
    "linear": "all-linear",
}
# alpha/rank in use: 16/64 in the QLoRA paper, 32/8 in ms-swift, twice that on either side; rsLoRA's paper lets the
# strength grow with the root of the rank.
_SCALE_BAND = (0.25, 8.0)
_RSLORA_SCALE_BAND = (0.25, 16.0)


def scale_band(method: str) -> tuple[float, float]:
    """The strengths of adapters (alpha/rank, under rsLoRA alpha/√rank) that pass without a warning."""
    return _RSLORA_SCALE_BAND if method == "rslora" else _SCALE_BAND


def changes_base(adapter: AdapterSpec) -> bool:
    """Whether adapters begin as a part of the weights, which are then trained without it."""
    return adapter.method != "full" and adapter.start in ("pissa", "olora")


def _check_start(spec: RunSpec) -> Iterator[Problem]:
    if not changes_base(spec.adapter):
        return
    if spec.adapter.start_from.strip():
        message = "Adapters cannot both go on from another run's and begin as a part of the weights."
        anew = Fix("Begin without an adapter", (Edit("adapter.start_from", ""),))
        kept = Fix("Go on from the adapter", (Edit("adapter.start", "default"),))
        yield error("adapter.start", message, "Choose one of the two.", kept, anew)
    usual = Fix("Let adapters begin as nothing", (Edit("adapter.start", "default"),))
    name = {"pissa": "PiSSA", "olora": "OLoRA"}[spec.adapter.start]
    if spec.model.quantization in ("nf4", "int8"):
        yield error(
            "adapter.start",
            f"{name} takes a part out of each weight, and what is left would be rounded anew in "
            f"{4 if spec.model.quantization == 'nf4' else 8} bits: the finished adapter would not fit the base model.",
            "Load the weights in full precision, or let adapters begin as nothing.",
            usual,
            Fix("Load full precision", (Edit("model.quantization", "none"),)),
        )
    if spec.adapter.method == "dora":
        yield error(
            "adapter.start",
            f"{name} and DoRA cannot be combined: both take the weights apart, each in its own way.",
            "Take LoRA, or let adapters begin as nothing.",
            usual,
            Fix("Take LoRA", (Edit("adapter.method", "lora"),)),
        )


def _check_alpha(spec: RunSpec) -> Iterator[Problem]:
    adapter = spec.adapter
    if not _bounded(spec, "adapter.rank") or not _bounded(spec, "adapter.alpha"):
        return
    root = adapter.method == "rslora"
    low, high = scale_band(adapter.method)
    scale = adapter.alpha / (math.sqrt(adapter.rank) if root else adapter.rank)
    if low <= scale <= high:
        return
    wanted = max(1.0, round(2 * math.sqrt(adapter.rank))) if root else 2.0 * adapter.rank
    effect = "so weakly that they hardly learn" if scale < low else "so strongly that the training may become unsteady"
    divisor = "the square root of the rank" if root else "the rank"
    yield warning(
        "adapter.alpha",
        f"Alpha {adapter.alpha:g} is far from rank {adapter.rank}: the adapters act with alpha divided by {divisor}, "
        f"{scale:.3g}, {effect}.",
        f"Set alpha to about {wanted:g}.",
        Fix(f"Set alpha to {wanted:g}", (Edit("adapter.alpha", wanted),)),
    )


def _bounded(spec: RunSpec, path: str) -> bool:
    bounds = field_at(path).setting.bounds
    return bounds is None or bounds.contains(spec.get(path))


def _check_targets(spec: RunSpec) -> Iterator[Problem]:
    adapter = spec.adapter
    if not any(name.strip() for name in adapter.targets):
        fix = Fix("Take all linear layers", (Edit("adapter.targets", ("all-linear",)),))
        message = "No target modules are named, so no adapter would be trained."
        yield error("adapter.targets", message, "Name modules, or take “all-linear”.", fix)
    for path in ("adapter.targets", "adapter.modules_to_save"):
        names = tuple(name for name in spec.get(path) if name.strip())
        once = tuple(dict.fromkeys(names))
        if len(once) < len(names):
            twice = next(name for name in once if names.count(name) > 1)
            fix = Fix("List it once", (Edit(path, once),))
            yield warning(path, f"{quote(twice)} is listed more than once.", "Once is enough.", fix)
        for name in once:
            if not _MODULE.fullmatch(name):
                yield _name_problem(path, name, names)
    for name in dict.fromkeys(adapter.targets):
        meant = _GROUP_SLIPS.get(name.strip().casefold())
        if meant:
            changed = tuple(meant if item == name else item for item in adapter.targets)
            fix = Fix(f"Write {meant}", (Edit("adapter.targets", tuple(dict.fromkeys(changed))),))
            yield error("adapter.targets", f"{quote(name)} is not a module.", f"Did you mean “{meant}”?", fix)
    both = set(adapter.targets) & set(adapter.modules_to_save)
    if both:
        name = next(item for item in adapter.targets if item in both)
        rest = tuple(item for item in adapter.modules_to_save if item not in both)
        yield error(
            "adapter.modules_to_save",
            f"{quote(name)} is both a target of adapters and trained in full.",
            "Keep it in one of the two lists.",
            Fix("Only adapt it", (Edit("adapter.modules_to_save", rest),)),
        )


def _name_problem(path: str, name: str, names: tuple[str, ...]) -> Problem:
    parts = tuple(part for part in re.split(r"[\s,;]+", name) if part)
    message = f"{quote(name)} is not a module's name."
    if len(parts) > 1 and all(_MODULE.fullmatch(part) for part in parts) and name.casefold() not in _GROUP_SLIPS:
        split = tuple(item for old in names for item in (parts if old == name else (old,)))
        fix = Fix("Make it several names", (Edit(path, tuple(dict.fromkeys(split))),))
        return error(path, message, "Write each name as an entry of its own.", fix)
    return error(path, message, "Names are letters, digits, “_” and dots, such as q_proj or self_attn.q_proj.")


def _check_layers(spec: RunSpec) -> Iterator[Problem]:
    text = spec.adapter.layers
    if text == "all":
        return
    fix = Fix("Adapt all layers", (Edit("adapter.layers", "all"),))
    advice = "Write “all”, “last 8”, “first 4”, or numbers such as “0-11, 20”."
    try:
        parse_layers(text, MOST_LAYERS)
    except ValueError as failure:
        yield error("adapter.layers", f"{quote(text)} names no layers: {one_line(str(failure))}.", advice, fix)


def _check_rank_pattern(spec: RunSpec) -> Iterator[Problem]:
    pattern = spec.adapter.rank_pattern
    bounds = field_at("adapter.rank").setting.bounds
    assert bounds is not None
    allowed = f"between {readable(bounds.low or 0)} and {readable(bounds.high or 0)}"
    good = {name: rank for name, rank in pattern.items() if _RANKED_MODULE.fullmatch(name) and bounds.contains(rank)}
    fix = Fix("Remove wrong entries", (Edit("adapter.rank_pattern", good),))
    for name, rank in pattern.items():
        if not _RANKED_MODULE.fullmatch(name):
            advice = "Write a module's name such as down_proj, or layers and a name such as 11.down_proj."
            message = f"{quote(name)} is not a module's name."
            yield error("adapter.rank_pattern", message, advice, fix)
        if not bounds.contains(rank):
            message = f"The rank of {quote(name)} is {readable(rank)}; it must be between {allowed}."
            yield error("adapter.rank_pattern", message, "Set another rank, or remove the entry.", fix)


_RULES = (_check_alpha, _check_start, _check_targets, _check_layers, _check_rank_pattern)


def _check_adapter(spec: RunSpec) -> Iterator[Problem]:
    if is_visible(spec, field_at("adapter.rank")):
        for rule in _RULES:
            yield from rule(spec)


ADAPTER_RULES: tuple[Callable[[RunSpec], Iterable[Problem]], ...] = (_check_adapter,)
