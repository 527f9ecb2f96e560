"""Adapters that are larger than what they adapt or than what there is to learn, and odd strengths of them."""

from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.plan.parameters import head_of
from core.plan.problems.case import Case
from core.plan.types import Target
from core.plan.usual import LARGE_SET, holds, scale_of, task_of, usual_alpha, usual_rank, widest_rank
from core.spec.rules_adapter import changes_base, scale_band
from core.spec.run_spec import field_at
from core.units import format_count

SMALL_RANK = 64
"""Ranks up to this cost little whatever the data."""
RANK_SPARE = 4
MOST_DROPOUT = 0.2
"""Twice the most that the LoRA and QLoRA papers tried, and that trainers in use suggest."""


def adapter_problems(case: Case) -> Iterator[Problem]:
    """Ranks, strengths, targets and dropout against the model and the data."""
    if case.full:
        return
    wide = list(_wide(case))
    yield from wide
    yield from (problem for problem in _room(case) if not wide or problem.path != wide[0].path)
    yield from _pattern_scales(case)
    yield from _start(case)
    yield from _attention_only(case)
    yield from _dropout(case)


def _start(case: Case) -> Iterator[Problem]:
    """Models and targets whose weights cannot give a part of themselves to the adapters."""
    training, model, adapter = case.decision.training, case.model, case.spec.adapter
    if training is None or model is None or not changes_base(adapter):
        return
    usual = Fix("Let adapters begin as nothing", (Edit("adapter.start", "default"),))
    head = head_of(model)
    narrow = next((t for t in training.targets if t.rank > min(t.in_features, t.out_features)), None)
    if model.prequantized:
        yield error(
            "adapter.start",
            f"The base model's weights are quantized already ({model.prequantized}), and no part can be taken out of "
            "them exactly.",
            "Choose the same model in 16 or 32 bits, or let adapters begin as nothing.",
            usual,
        )
    elif model.tied_embeddings and head is not None and any(t.module == head.name for t in training.targets):
        yield error(
            "adapter.start",
            "Embeddings and head share one matrix in this model; a part taken out of the head would be missing in the "
            "embeddings.",
            "Leave the head out of the target modules, or let adapters begin as nothing.",
            usual,
        )
    elif narrow is not None:
        yield error(
            "adapter.start",
            f"“{narrow.module}” has {min(narrow.in_features, narrow.out_features):,} directions and its adapter is to "
            f"begin with {narrow.rank:,} of them.",
            "Take a lower rank, or let adapters begin as nothing.",
            usual,
        )


def _size(target: Target) -> int:
    return target.in_features * target.out_features


def _is_larger(target: Target) -> bool:
    return target.rank * (target.in_features + target.out_features) > _size(target)


def _wide(case: Case) -> Iterator[Problem]:
    """Adapters with more numbers than the layer that they change."""
    training, spec = case.decision.training, case.spec.adapter
    if training is None or max((spec.rank, *spec.rank_pattern.values())) <= widest_rank(case.model):
        return
    wide = [target for target in training.targets if _is_larger(target)]
    if not wide:
        return
    first = wide[0]
    limit = _size(first) // (first.in_features + first.out_features)
    where = f"“{first.module}”" if len(wide) == 1 else f"“{first.module}” and of {len(wide) - 1:,} more modules"
    rank = min(widest_rank(case.model), spec.rank)
    smaller = {name: min(other, rank) for name, other in spec.rank_pattern.items()}
    edits = (*_rank_edits(case, rank), *((Edit("adapter.rank_pattern", smaller),) if smaller else ()))
    yield warning(
        "adapter.rank",
        f"Rank {first.rank:,} makes the adapter of {where} larger than the layer itself "
        f"({first.in_features:,} × {first.out_features:,}), so it saves nothing.",
        f"Take a rank of at most {max(1, limit):,} there, in adapter.rank or in adapter.rank_pattern.",
        Fix(f"Take rank {rank:,}", edits),
    )


def _rank_edits(case: Case, rank: int) -> tuple[Edit, ...]:
    """Another rank with alpha moved along, so that the adapters act as strongly as before."""
    spec = case.spec.adapter
    usual = usual_alpha(spec.method, rank)
    before = usual_alpha(spec.method, spec.rank)  # 0 where the rank is out of its bounds
    alpha = float(f"{spec.alpha * usual / before:.3g}") if before > 0 else usual
    bounds = field_at("adapter.alpha").setting.bounds
    allowed = bounds is None or bounds.contains(alpha)
    return Edit("adapter.rank", rank), Edit("adapter.alpha", alpha if allowed else usual)


def _room(case: Case) -> Iterator[Problem]:
    """Room for far more than the data teaches, or for less."""
    rows, training, rank = case.rows, case.decision.training, case.spec.adapter.rank
    if rows is None or training is None or not training.targets:
        return
    tokens = format_count(rows.supervised_tokens)
    usual = min(usual_rank(task_of(case.spec, case.data), rows), widest_rank(case.model))
    if rank > SMALL_RANK and rank > RANK_SPARE * usual:
        yield Problem(
            Severity.INFO,
            "adapter.rank",
            f"Rank {rank:,} has room for far more than {tokens} trained tokens teach; rank {usual} learns them as well "
            "and takes less memory and disk.",
            f"Rank {usual} to {RANK_SPARE * usual} is usual for that much; keep more for new knowledge.",
            (Fix(f"Take rank {usual}", _rank_edits(case, usual)),),
        )
    if not holds(training.parameters.trainable, rows):
        edits = _rank_edits(case, usual)
        fixes = (Fix(f"Take rank {usual}", edits),) if usual > rank and case.still_fits(*edits) else ()
        yield Problem(
            Severity.INFO,
            "adapter.rank",
            f"{tokens} trained tokens may teach more than {format_count(training.parameters.trainable)} adapter "
            "parameters can hold, at about one bit a token and two a parameter.",
            "Raise the rank or adapt more modules if the loss stops falling early.",
            fixes,
        )


def _pattern_scales(case: Case) -> Iterator[Problem]:
    """Modules with a rank of their own share alpha, so they act more or less strongly than the others."""
    training, spec = case.decision.training, case.spec.adapter
    if training is None or not spec.rank_pattern:
        return
    low, high = scale_band(spec.method)
    own = scale_of(spec.method, spec.rank, spec.alpha)
    for module, rank in training.targets.places.own.items():
        scale = scale_of(spec.method, rank, spec.alpha)
        if low <= own <= high and not low <= scale <= high:
            yield warning(
                "adapter.rank_pattern",
                f"“{module}” has rank {rank:,} beside alpha {spec.alpha:g}, so its adapter acts "
                f"{scale:.3g}-fold where the others act {own:.3g}-fold.",
                "Take a rank closer to the others, or rsLoRA, whose strength moves less with the rank.",
                Fix("Give all modules the same rank", (Edit("adapter.rank_pattern", {}),)),
            )
            return


def _attention_only(case: Case) -> Iterator[Problem]:
    training, model = case.decision.training, case.model
    if training is None or model is None or not training.targets or case.spec.adapter.rank_pattern:
        return
    if any(linear.role != "attention" for linear in training.targets.places.linears):
        return
    if all(linear.role != "mlp" for linear in model.linears):
        return
    everything = Edit("adapter.targets", ("all-linear",))
    yield Problem(
        Severity.INFO,
        "adapter.targets",
        "Only attention gets adapters; the same number of parameters on all linear layers learns more.",
        "Take all linear layers, with a lower rank if memory is short.",
        (Fix("Take all linear layers", (everything,)),) if case.still_fits(everything) else (),
    )


def _dropout(case: Case) -> Iterator[Problem]:
    share, rows = case.spec.adapter.dropout, case.rows
    if share > MOST_DROPOUT:
        yield warning(
            "adapter.dropout",
            f"Dropout zeroes {share * 100:.0f} % of what adapters see, so they learn slowly; up to 10 % is usual.",
            "Set it to 0, or to 0.05 for a small set.",
            Fix("Set it to 0.05", (Edit("adapter.dropout", 0.05),)),
        )
    elif share > 0 and rows is not None and rows.rows >= LARGE_SET and 0 < case.epochs <= 1:
        yield Problem(
            Severity.INFO,
            "adapter.dropout",
            f"Each of {rows.rows:,} rows is seen at most once, so nothing can be learned by heart; dropout only "
            "costs time and memory.",
            "Set it to 0.",
            (Fix("Set it to 0", (Edit("adapter.dropout", 0.0),)),),
        )
