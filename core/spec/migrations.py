"""Old spec files stay readable: what changed from each schema version to the next, applied one after the other.

A setting that is renamed or moved gets an entry in `STEPS` under the version that still had the old name, and
`SCHEMA_VERSION` goes up by one; a golden file in `tests/golden/old_specs` keeps that version readable for good.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.errors import Problem, UserError, error
from core.spec.run_spec import SCHEMA_VERSION
from core.spec.values import describe

VERSION_KEY = "version"

Tree = dict[str, object]


@dataclass(frozen=True, slots=True)
class Step:
    """How a spec of one version becomes a spec of the next.

    Attributes:
        renames: dotted path of a setting before and after; applied first.
        convert: changes values in place afterwards, where a name alone is not enough.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    convert: Callable[[Tree], None] | None = None


STEPS: Mapping[int, Step] = {}
"""The step that leads away from each version below the current one."""


def migrate(
    data: Mapping[str, object],
    source: str = "",
    *,
    steps: Mapping[int, Step] = STEPS,
    current: int = SCHEMA_VERSION,
) -> Mapping[str, object]:
    """The same settings under today's names, without the version key; a file without a version is taken as today's.

    Raises:
        UserError: the version is no version, or newer than this program.
    """
    version = _version_of(data, source, current)
    if version == current:
        return data
    tree: Tree = {
        name: dict(section) if isinstance(section, Mapping) else section
        for name, section in data.items()
        if name != VERSION_KEY
    }
    problems: list[Problem] = []
    for number in range(version, current):
        step = steps[number]
        for old, new in step.renames.items():
            problems += _rename(tree, old, new, source)
        if step.convert:
            step.convert(tree)
    if problems:
        raise UserError(*problems)
    return tree


def renamed(path: str, *, steps: Mapping[int, Step] = STEPS) -> str:
    """Today's path of a setting that once was called ``path``; empty if none was."""
    found = ""
    for number in sorted(steps):
        new = steps[number].renames.get(found or path)
        found = new or found
    return found


def _version_of(data: Mapping[str, object], source: str, current: int) -> int:
    raw = data.get(VERSION_KEY, current)
    where = source or VERSION_KEY
    text = str(raw).strip()
    if isinstance(raw, bool) or not isinstance(raw, int | str) or not text.isdecimal() or not 1 <= len(text) <= 9:
        message = f"The version of the settings should be a whole number such as {current}, but found {describe(raw)}."
        raise UserError(error(where, message, f"Write “version: {current}”, or remove the line."))
    version = int(text)
    if version > current:
        message = (
            f"These settings are of version {version}; this program knows versions up to {current}, so it cannot tell "
            "what they mean."
        )
        raise UserError(error(where, message, "Update Lowrank Studio, or export the settings again from this version."))
    if version < 1:
        raise UserError(error(where, "There is no version 0 of the settings.", f"Write “version: {current}”."))
    return version


def _rename(tree: Tree, old: str, new: str, source: str) -> list[Problem]:
    old_section, _, old_name = old.partition(".")
    new_section, _, new_name = new.partition(".")
    section = tree.get(old_section)
    if not isinstance(section, dict) or old_name not in section:
        return []
    target = tree.setdefault(new_section, {})
    if target is None:
        target = tree[new_section] = {}
    if not isinstance(target, dict):
        return []  # the codec says what is wrong with that section
    if new_name in target:
        where = f" in {source}" if source else ""
        message = f"“{old}” is now called “{new}”, and both are given{where}."
        return [error(new, message, f"Keep “{new}” and remove “{old}”.")]
    target[new_name] = section.pop(old_name)
    if not section:
        del tree[old_section]
    return []
