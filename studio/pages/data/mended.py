"""A row as the training reads it: mended by the repairs of the spec, or left out by one of them."""

from dataclasses import dataclass, replace
from typing import Any

from core.data.preview import PreviewRow
from core.errors import Edit, Fix, Problem, Severity
from core.spec.repairs import REPAIRS
from core.spec.sections import DataSpec
from studio.words import say, tr


@dataclass(frozen=True, slots=True)
class MendedRow:
    """What the repairs made of a row.

    Attributes:
        row: the row with the sample that is trained; as it was where it is left out.
        notes: what was done to it.
        left_out: why it is not trained at all.
    """

    row: PreviewRow
    notes: tuple[Problem, ...] = ()
    left_out: Problem | None = None


def mended(row: PreviewRow, data: DataSpec) -> MendedRow:
    """Does the repairs that look at one row at a time."""
    from core.data.repairs import RowRepairs

    if row.sample is None or not data.repairs:
        return MendedRow(row)
    repairs = RowRepairs(data.repairs)
    sample = repairs.mend(row.sample)
    done = [name for name in REPAIRS if name in repairs.counts]
    if sample is None:
        return MendedRow(row, left_out=_left_out(done[-1], data))
    if sample is row.sample:
        return MendedRow(row)
    titles = ", ".join(say(REPAIRS[name].title) for name in done)
    message = tr("This row is mended while it is read: {repairs}.", repairs=titles)
    return MendedRow(replace(row, sample=sample), (Problem(Severity.INFO, "data.repairs", message, ""),))


def split_notes(row: PreviewRow, tokenizer: Any, template: Any, data: DataSpec) -> tuple[Problem, ...]:
    """Says that a long row becomes several, where the spec asks for that."""
    from core.data.splitting import Splitter

    if row.sample is None or "split_long" not in data.repairs:
        return ()
    parts = len(Splitter(tokenizer, template, data).split(row.sample))
    if parts < 2:
        return ()
    message = tr("This row is split into {n}: what is struck out is in the others.", n=parts)
    return (Problem(Severity.INFO, "data.repairs", message, ""),)


def _left_out(name: str, data: DataSpec) -> Problem:
    message = tr("This row is not trained: “{repair}”.", repair=say(REPAIRS[name].title))
    rest = tuple(item for item in data.repairs if item != name)
    fix = Fix(tr("Take that back"), (Edit("data.repairs", rest),))
    return Problem(Severity.INFO, "data.repairs", message, tr("The report lists what is mended and left out."), (fix,))
