"""What can be mended in the rows while they are read: the names that the setting ``data.repairs`` takes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repair:
    """A change to the rows in memory; the files stay as they are.

    Attributes:
        title: what a button says.
        help: what it does, one sentence.
    """

    name: str
    title: str
    help: str


REPAIRS: Mapping[str, Repair] = {
    repair.name: repair
    for repair in (
        Repair("fix_encoding", "Put damaged letters right", "Turns “Ã©” back into “é” where that loses nothing."),
        Repair("merge_turns", "Merge turns of one speaker", "Joins turns of the same speaker that follow each other."),
        Repair("trim_turns", "Cut off what has no answer", "Leaves out the turns behind the last answer."),
        Repair(
            "drop_wrong_order",
            "Leave out chats in wrong order",
            "Leaves out chats that begin with an answer, or have system texts or tool results where none belong.",
        ),
        Repair("drop_damaged", "Leave out damaged rows", "Leaves out rows whose letters were damaged or lost."),
        Repair("drop_placeholders", "Leave out unfilled rows", "Leaves out rows with placeholders such as {{name}}."),
        Repair("drop_loops", "Leave out endless rows", "Leaves out rows that repeat one thing without end."),
        Repair(
            "drop_refusals",
            "Leave out refusals",
            "Leaves out rows with an answer that refuses or says that it is a program.",
        ),
        Repair("drop_duplicates", "Keep one of equal rows", "Keeps the first of rows that say the same."),
        Repair("drop_near_duplicates", "Keep one of similar rows", "Keeps the first of rows that say almost the same."),
        Repair("split_long", "Split long rows", "Makes several rows of one that is longer than data.max_length."),
    )
}
"""In the order in which they are done, whatever the order in the spec."""


def with_repairs(present: Iterable[str], *more: str) -> tuple[str, ...]:
    """The value of ``data.repairs`` with further names, each once and in the order in which they are done."""
    names = {*present, *more}
    return (*(name for name in REPAIRS if name in names), *sorted(names - set(REPAIRS)))
