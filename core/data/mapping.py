"""Which column plays which part, changed one column at a time: what a click on a column does to the settings."""

from collections.abc import Mapping

from core.data.shapes import ANSWERS_OF_PAIR, FORMAT, MAPPING, PARTS
from core.data.types import Shape
from core.errors import Edit
from core.spec.sections import DataSpec

_PAIR = ("prompt", "completion")
_PARTS_OF_PAIRS = ("prompt", *ANSWERS_OF_PAIR, "system", "messages")
ALL_PARTS = ("prompt", "completion", *ANSWERS_OF_PAIR, "system", "messages", "text")
"""Every part that a column can play, in the order in which they are shown."""
_PREFERENCES = "preferences"
"""The value of data.train_on with which rows are pairs and nothing else."""
EXCLUDED: Mapping[str, tuple[str, ...]] = {
    "text": ("prompt", "completion", *ANSWERS_OF_PAIR, "system", "messages"),
    "messages": ("prompt", "completion", "text"),
    "prompt": ("messages", "text"),
    "completion": (*ANSWERS_OF_PAIR, "messages", "text"),
    "chosen": ("completion", "text"),
    "rejected": ("completion", "text"),
    "system": ("text",),
}
"""The parts that cannot stand beside a part."""
_KEEPS_MORE = "alpaca"
"""The format whose further columns (input, history) would be lost if its pair were mapped as a plain one."""


def current(data: DataSpec, shape: Shape | None) -> dict[str, str]:
    """The columns of the parts, by the mapping or else as they were recognised; those that rows can have now."""
    found = {**(shape.columns if shape is not None else {}), **data.mapping}
    possible = parts_of(data, shape)
    return {part: held for part, held in found.items() if part in possible}


def parts_of(data: DataSpec, shape: Shape | None) -> tuple[str, ...]:
    """The parts that columns can play: those of pairs where preferences are learned, else all that there may be.

    The two answers of a pair are among them where preferences are learned, and where rows are pairs already.
    """
    if data.train_on == _PREFERENCES:
        return _PARTS_OF_PAIRS
    is_pair = {*ANSWERS_OF_PAIR} & {*data.mapping} or (shape is not None and shape.name == "preference")
    return ALL_PARTS if is_pair else PARTS


def assigned(data: DataSpec, shape: Shape | None, part: str, column: str) -> Mapping[str, str]:
    """The mapping in which a column, or a template of several, plays a part.

    The other parts stay as they are, by the mapping or as they were recognised. Running text, a conversation, and a
    prompt with its answer exclude each other; so do an answer and the two of a pair. Where the column played another
    part, the two trade places.

    Args:
        data: the section ``data`` of the spec.
        shape: what the rows of the file are taken for; None where they were not recognised.
        part: one of `parts_of`.
        column: the column, or a template of several.
    """
    before = current(data, shape)
    excluded = {part, *EXCLUDED[part]}
    if part == "messages" and data.train_on != _PREFERENCES:
        excluded |= {*ANSWERS_OF_PAIR}  # a conversation of its own, and not what is said before two answers
    mapping = {name: held for name, held in before.items() if name not in excluded}
    other = next((name for name, held in mapping.items() if held == column), None)
    if other is not None:
        del mapping[other]
        if before.get(part):
            mapping[other] = before[part]
    return {name: held for name in ALL_PARTS if (held := {**mapping, part: column}.get(name))}


def is_complete(mapping: Mapping[str, str], *, pairs: bool = False) -> bool:
    """Whether rows can be understood by the mapping alone; ``pairs`` says that nothing but pairs will do."""
    if pairs or {*ANSWERS_OF_PAIR} & {*mapping}:
        return all(part in mapping for part in ANSWERS_OF_PAIR)
    return "text" in mapping or "messages" in mapping or all(part in mapping for part in _PAIR)


def mapping_edits(data: DataSpec, shape: Shape | None, mapping: Mapping[str, str]) -> tuple[Edit, ...]:
    """What to change in the spec so that the mapping counts.

    A stated format would contradict the mapping, so it is recognised from it; but Alpaca rows stay what they are as
    long as they have a prompt and an answer, because only as such do they keep their inputs.
    """
    is_alpaca = shape is not None and shape.name == _KEEPS_MORE and all(part in mapping for part in _PAIR)
    wanted = _KEEPS_MORE if is_alpaca else "auto"
    edits = [Edit(MAPPING, dict(mapping))]
    if data.format != wanted:
        edits.append(Edit(FORMAT, wanted))
    return tuple(edits)


def forgotten() -> tuple[Edit, ...]:
    """What has the columns recognised by themselves again."""
    return Edit(MAPPING, {}), Edit(FORMAT, "auto")
