"""Repairs in the spec being edited: which a fix asks for, whether they are there, putting them in, taking them out."""

from core.data.report.types import Report
from core.errors import Edit, Fix
from core.spec.repairs import with_repairs
from core.spec.run_spec import RunSpec

REPAIRS_PATH = "data.repairs"


def edits_of(fix: Fix, spec: RunSpec, report: Report) -> tuple[Edit, ...]:
    """The changes of a fix to the spec of now.

    A report was made with the repairs of then. Since then others may have been put in or taken back, and the fix must
    not undo that: only what it adds to those of then counts.
    """
    return tuple(
        Edit(REPAIRS_PATH, with_repairs(spec.data.repairs, *names_in(edit, report)))
        if _is_about_repairs(edit)
        else edit
        for edit in fix.edits
    )


def names_in(edit: Edit, report: Report) -> tuple[str, ...]:
    """The repairs that an edit adds to those that a report was made with."""
    value = edit.value if isinstance(edit.value, tuple | list) else ()
    return tuple(str(name) for name in value if name not in report.repaired)


def is_applied(fix: Fix, spec: RunSpec, report: Report) -> bool:
    """Whether a fix would change nothing any more."""
    return all(spec.get(edit.path) == edit.value for edit in edits_of(fix, spec, report))


def without_repair(spec: RunSpec, name: str) -> Edit:
    """The change that takes a repair back."""
    return Edit(REPAIRS_PATH, tuple(item for item in spec.data.repairs if item != name))


def _is_about_repairs(edit: Edit) -> bool:
    return edit.path == REPAIRS_PATH
