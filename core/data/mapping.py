"""Which column plays which part, changed one column at a time: what a click on a column does to the settings."""

from collections.abc import Mapping

from core.data.shapes import FORMAT, MAPPING, PARTS
from core.data.types import Shape
from core.errors import Edit
from core.spec.sections import DataSpec

_PAIR = ("prompt", "completion")
_KEEPS_MORE = "alpaca"
"""The format whose further columns (input, history) would be lost if its pair were mapped as a plain one."""


def current(data: DataSpec, shape: Shape | None) -> dict[str, str]:
    """The columns of the parts, by the mapping or else as they were recognised."""
    found = {part: held for part, held in shape.columns.items() if part in PARTS} if shape is not None else {}
    return {**found, **data.mapping}


def assigned(data: DataSpec, shape: Shape | None, part: str, column: str) -> Mapping[str, str]:
    """The mapping in which a column, or a template of several, plays a part.

    The other parts stay as they are, by the mapping or as they were recognised. Running text, a conversation, and a
    prompt with its answer exclude each other. Where the column played another part, the two trade places.

    Args:
        data: the section ``data`` of the spec.
        shape: what the rows of the file are taken for; None where they were not recognised.
        part: one of `core.data.shapes.PARTS`.
        column: the column, or a template of several.
    """
    before = current(data, shape)
    if part == "text":
        return {"text": column}
    kept: tuple[str, ...]
    if part == "messages":
        kept = ("system",)
    elif part == "system" and "messages" in before:
        kept = ("messages",)
    else:
        kept = (*_PAIR, "system")
    mapping = {name: held for name, held in before.items() if name in kept and name != part}
    other = next((name for name, held in mapping.items() if held == column), None)
    if other is not None:
        del mapping[other]
        if before.get(part):
            mapping[other] = before[part]
    return {name: held for name in PARTS if (held := {**mapping, part: column}.get(name))}


def is_complete(mapping: Mapping[str, str]) -> bool:
    """Whether rows can be understood by the mapping alone."""
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
