"""What is wrong or unwise in a spec by itself, before anyone looks at the machine, the model or the data.

`check` is the only entry. Bounds, choices and types come from the table of settings; what concerns several settings
at once is a rule in one of the `rules_…` modules. A setting that is not visible is ignored here as everywhere.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from core.errors import Edit, Fix, Problem, error
from core.spec.fields import FieldInfo, Kind
from core.spec.names import choice_hint
from core.spec.rules_adapter import ADAPTER_RULES
from core.spec.rules_data import DATA_RULES
from core.spec.rules_training import TRAINING_RULES
from core.spec.run_spec import RunSpec, fields, is_visible
from core.spec.template_choice import is_template_text
from core.spec.values import LIST_KINDS, TEXT_KINDS, describe, expected, fits, quote, readable

Rule = Callable[[RunSpec], Iterable[Problem]]

RULES: tuple[Rule, ...] = (*DATA_RULES, *ADAPTER_RULES, *TRAINING_RULES)


def check(spec: RunSpec) -> tuple[Problem, ...]:
    """Every problem of the spec, warnings included, in the order of the form.

    Values of a wrong type are reported alone, because no rule can say anything sensible beside them.
    """
    doubtful = tuple(_doubtful(spec))
    misfits = tuple(_misfit(info, spec) for info in doubtful if not fits(info, spec.get(info.path)))
    if misfits:
        return misfits
    found = [problem for info in doubtful if is_visible(spec, info) for problem in _check_field(info, spec)]
    found += [problem for rule in RULES for problem in rule(spec)]
    places = {info.path: number for number, info in enumerate(fields())} if len(found) > 1 else {}
    return tuple(sorted(found, key=lambda problem: places[problem.path]) if places else found)


# Sections never change, and an edit makes a new one of the section that it is in only.
_sound: dict[int, object] = {}
_KEPT_SOUND = 64


def _doubtful(spec: RunSpec) -> Iterator[FieldInfo]:
    """The settings that may be wrong by themselves: those of sections that were not seen to be sound before."""
    for name, infos in _by_section().items():
        section = getattr(spec, name)
        if _sound.get(id(section)) is section:
            continue
        if not all(fits(info, spec.get(info.path)) and not any(_check_field(info, spec)) for info in infos):
            yield from infos
            continue
        if len(_sound) >= _KEPT_SOUND:
            _sound.clear()
        _sound[id(section)] = section  # which keeps it alive, and so its id its own


@functools.cache
def _by_section() -> Mapping[str, tuple[FieldInfo, ...]]:
    return {name: tuple(infos) for name, infos in itertools.groupby(fields(), lambda info: info.section)}


def _misfit(info: FieldInfo, spec: RunSpec) -> Problem:
    message = f"“{info.setting.title}” should be {expected(info)}, but holds {describe(spec.get(info.path))}."
    return error(info.path, message, "Set it again.", _back_to_default(info))


def _back_to_default(info: FieldInfo) -> Fix:
    return Fix("Use the default", (Edit(info.path, info.default),))


def _check_field(info: FieldInfo, spec: RunSpec) -> Iterator[Problem]:
    value = spec.get(info.path)
    kind = info.setting.kind
    if kind in (Kind.INTEGER, Kind.NUMBER):
        yield from _check_bounds(info, value)
    elif kind is Kind.CHOICE:
        allowed = [choice.value for choice in info.setting.choices]
        if value not in allowed:
            message = f"“{info.setting.title}” should be {expected(info)}, but is {quote(value)}."
            yield error(info.path, message, choice_hint(value, allowed) or "Choose one.", _back_to_default(info))
    elif kind in TEXT_KINDS:
        lines = kind is Kind.TEMPLATE and is_template_text(value)
        if _has_control(value) and not lines:
            message = f"“{info.setting.title}” holds a line break or another control character."
            cleaned = "".join(letter for letter in value if letter.isprintable())
            fix = Fix("Remove it", (Edit(info.path, cleaned),))
            yield error(info.path, message, "Write it on one line.", fix)
    elif kind in LIST_KINDS:
        yield from _check_items(info, value)


def _check_bounds(info: FieldInfo, value: float) -> Iterator[Problem]:
    bounds = info.setting.bounds
    if bounds is None or bounds.contains(value):
        return
    if bounds.low is not None and bounds.high is not None:
        wanted = f"between {readable(bounds.low)} and {readable(bounds.high)}"
    elif bounds.low is not None:
        wanted = f"at least {readable(bounds.low)}"
    else:
        wanted = f"at most {readable(bounds.high or 0)}"
    unit = f" {info.setting.unit}" if info.setting.unit else ""
    nearest = _nearest(info, value)
    message = f"“{info.setting.title}” is {readable(value)}{unit}; it must be {wanted}."
    fix = Fix(f"Set it to {readable(nearest)}", (Edit(info.path, nearest),))
    yield error(info.path, message, f"Set it to a value {wanted}.", fix)


def _nearest(info: FieldInfo, value: float) -> float:
    """The allowed value closest to one outside the bounds; the default for NaN."""
    bounds = info.setting.bounds
    assert bounds is not None
    nearest = float(info.default)
    if bounds.low is not None and value < bounds.low:
        nearest = bounds.low
    elif bounds.high is not None and value > bounds.high:
        nearest = bounds.high
    return int(nearest) if info.setting.kind is Kind.INTEGER else nearest


def _has_control(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def _check_items(info: FieldInfo, items: tuple[str, ...]) -> Iterator[Problem]:
    if any(not item.strip() for item in items):
        kept = tuple(item for item in items if item.strip())
        fix = Fix("Remove empty entries", (Edit(info.path, kept),))
        yield error(info.path, f"“{info.setting.title}” has an empty entry.", "Remove it or fill it in.", fix)
    if info.setting.kind is Kind.PARAGRAPHS:
        return
    broken = [item for item in items if _has_control(item)]
    if broken:
        kept = tuple(item for item in items if not _has_control(item))
        fix = Fix("Remove these entries", (Edit(info.path, kept),))
        message = f"{quote(broken[0])} in “{info.setting.title}” holds a line break or another control character."
        yield error(info.path, message, "Write each entry on one line.", fix)
