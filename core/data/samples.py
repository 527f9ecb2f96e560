"""Each row understood by the shape of its file."""

from collections.abc import Callable, Mapping
from typing import Any

from core.data.cells import answer_cell, cell, is_template, optional_text, text_cell
from core.data.messages import MisfitError, plain_messages, to_messages, to_text, to_tools
from core.data.sides import answer_place
from core.data.source import elide
from core.data.templates import WEIGHT
from core.data.transcripts import split_transcript
from core.data.turns import is_plain_text, is_too_deep, is_turn, parsed
from core.data.types import Message, Row, Sample, Shape
from core.errors import Problem, error

_SHOWN = 6


def to_sample(row: Row, shape: Shape) -> Sample | Problem:
    """A row understood, or the sentence that says why it does not fit its file's format."""
    try:
        if (plain := _plain_conversation(row, shape)) is not None:
            return plain
        if is_too_deep(row.value):
            return error(row.place, "The row is nested too deeply.", "Mend or remove the row.")
        return _READERS[shape.name](row, shape)
    except MisfitError as misfit:
        message = _without_column(row, shape, str(misfit)) or str(misfit)
        return error(row.place, message[:1].upper() + message[1:], "Mend or remove the row.")


def _plain_conversation(row: Row, shape: Shape) -> Sample | None:
    """What most rows are, in half the time: a list of turns of a role and a text each; None for any other row."""
    if shape.name in ("messages", "sharegpt") and len(row.value) == 1:
        messages = plain_messages(row.value.get(shape.columns["messages"]))
        return Sample(row.place, messages) if messages else None
    return None


def _without_column(row: Row, shape: Shape, message: str) -> str:
    """What to say where a row does not even have the column that a complaint is about: it is of another shape."""
    absent = [column for column in shape.columns.values() if column not in row.value and f"“{column}”" in message]
    if not absent or is_template(absent[0]):
        return ""
    has = ", ".join(f"“{elide(str(name), 30)}”" for name in list(row.value)[:_SHOWN]) or "none"
    return f"the row has no column “{absent[0]}”, unlike the first rows of the file; its columns are {has}."


def _read_messages(row: Row, shape: Shape) -> Sample:
    column = shape.columns["messages"]
    system, messages = _system(row, shape), to_messages(cell(row, column), f"“{column}”")
    if system and messages[0].role == "system":
        raise MisfitError(f"the row has two system texts: in “{shape.columns['system']}” and in “{column}”.")
    return Sample(row.place, (*system, *messages), tools=_tools(row, shape))


def _read_alpaca(row: Row, shape: Shape) -> Sample:
    asked = optional_text(row, shape.columns["prompt"])
    given = optional_text(row, shape.columns.get("input"))
    prompt = "\n\n".join(part for part in (asked, given) if part.strip())
    if not prompt:
        raise MisfitError(f"the columns “{shape.columns['prompt']}” and “input” are both empty.")
    earlier = _history(row, shape.columns.get("history"))
    messages = (
        *_system(row, shape),
        *earlier,
        Message("user", prompt),
        Message("assistant", answer_cell(row, shape.columns["completion"])),
    )
    return Sample(row.place, messages, tools=_tools(row, shape))


def _history(row: Row, column: str | None) -> tuple[Message, ...]:
    pairs = parsed(cell(row, column)) if column else None
    if pairs in (None, "", [], ()):
        return ()
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise MisfitError(f"“{column}” is not a list of pairs of a question and its answer.")
    messages: list[Message] = []
    for question, answer in pairs:
        messages.append(Message("user", to_text(question, f"a question in “{column}”")))
        messages.append(Message("assistant", to_text(answer, f"an answer in “{column}”")))
    return tuple(messages)


def _read_pair(row: Row, shape: Shape) -> Sample:
    """Prompt and completion; either may be a list of turns instead of a text."""
    asked, answered = cell(row, shape.columns["prompt"]), cell(row, shape.columns["completion"])
    before, after = _turns(asked), _turns(answered)
    system, tools = _system(row, shape), _tools(row, shape)
    if before is None and after is None and not system and not tools:
        prompt = to_text(asked, f"the column “{shape.columns['prompt']}”")
        if not prompt.strip():
            raise MisfitError(f"the column “{shape.columns['prompt']}” is empty.")
        return Sample(row.place, prompt=prompt, completion=answer_cell(row, shape.columns["completion"]))
    if before is None:
        before = (Message("user", to_text(asked, f"the column “{shape.columns['prompt']}”")),)
    if after is None:
        after = (Message("assistant", answer_cell(row, shape.columns["completion"])),)
    return Sample(row.place, (*system, *_without_loss(before), *after), tools=tools)


def _turns(value: object) -> tuple[Message, ...] | None:
    """A list of turns, or a single one; None for anything else, a text with brackets included."""
    if value is None or is_plain_text(value):
        return None
    turns = parsed(value)
    turns = [turns] if isinstance(turns, Mapping) and is_turn(turns) else turns
    if isinstance(turns, list | tuple) and turns and is_turn(turns[0]):
        return to_messages(turns, "the list")
    return None


def _without_loss(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(Message(turn.role, turn.content, {**turn.extra, WEIGHT: 0}) for turn in messages)


def _only_last_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns; those up to the last thing that a user says carry no loss."""
    start = answer_place(messages)
    return (*_without_loss(messages[:start]), *messages[start:])


def _read_preference(row: Row, shape: Shape) -> Sample:
    """Both answers behind what was asked, or the chosen alone; of the turns before them none carries loss."""
    tools = _tools(row, shape)
    better = _answered(row, shape, "chosen")
    if not shape.pairs:
        return Sample(row.place, better, tools=tools)
    worse = _answered(row, shape, "rejected")
    chosen, rejected = shape.columns["chosen"], shape.columns["rejected"]
    if better[: answer_place(better)] != worse[: answer_place(worse)]:
        raise MisfitError(
            f"the answers in “{chosen}” and “{rejected}” are not to the same: what stands before them differs."
        )
    if _said(better[answer_place(better) :]) == _said(worse[answer_place(worse) :]):
        raise MisfitError(f"the answers in “{chosen}” and “{rejected}” are the same, so there is nothing to prefer.")
    return Sample(row.place, better, tools=tools, rejected=worse)


def _answered(row: Row, shape: Shape, part: str) -> tuple[Message, ...]:
    """What was asked, without loss, with one of the two answers behind it."""
    column = shape.columns[part]
    value, system = cell(row, column), _system(row, shape)
    answer, asked = _turns(value), _asked(row, shape)
    if answer is None:
        text = answer_cell(row, column)
        answer = split_transcript(text) if not asked else None
        answer = answer or (Message("assistant", text),)
    if answer[0].role != "assistant":  # the whole conversation stands with its answer, once for each of the two
        asked, system = (), (() if answer[0].role == "system" else system)
    if answer[-1].role != "assistant":
        raise MisfitError(f"the conversation in “{column}” does not end with an answer.")
    if not asked and answer[0].role == "assistant":
        raise MisfitError(f"nothing is asked: there is only the answer in “{column}”.")
    return (*system, *_only_last_answer((*asked, *answer)))


def _said(messages: tuple[Message, ...]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Turns by what they say; spaces around do not matter, for templates cut them off."""
    return [(turn.role, turn.content.strip(), turn.extra) for turn in messages]


def _asked(row: Row, shape: Shape) -> tuple[Message, ...]:
    """What stands before the two answers of a preference pair."""
    talk = _turns(cell(row, shape.columns.get("messages")))
    if talk and shape.pairs:  # UltraFeedback's “messages” end with the chosen answer, which is a column, too
        while talk and talk[-1].role == "assistant":
            talk = talk[:-1]
    turns = talk or _turns(cell(row, shape.columns.get("prompt")))
    if turns is not None:
        return turns
    parts = [optional_text(row, shape.columns.get(part)) for part in ("prompt", "input")]
    text = "\n\n".join([part for part in parts if part.strip()])
    return split_transcript(text) or ((Message("user", text),) if text else ())


def _read_feedback(row: Row, shape: Shape) -> Sample:
    """An answer that somebody approved or not. The label is about the last one; the others carry no loss."""
    label = shape.columns["label"]
    approved = cell(row, label)
    if not isinstance(approved, bool):
        raise MisfitError(f"the column “{label}” says neither true nor false.")
    if "messages" in shape.columns:
        found = _read_messages(row, shape)
        turns = _only_last_answer(found.messages) if approved else _without_loss(found.messages)
        return Sample(found.place, turns, tools=found.tools)
    asked = _turns(cell(row, shape.columns["prompt"])) or (Message("user", text_cell(row, shape.columns["prompt"])),)
    answer = _turns(cell(row, shape.columns["completion"]))
    answer = answer or (Message("assistant", answer_cell(row, shape.columns["completion"])),)
    answer = answer if approved else _without_loss(answer)
    return Sample(row.place, (*_system(row, shape), *_without_loss(asked), *answer), tools=_tools(row, shape))


def _read_text(row: Row, shape: Shape) -> Sample:
    column = shape.columns["text"]
    text = text_cell(row, column)
    if not text.strip():
        raise MisfitError(f"the column “{column}” is empty.")
    return Sample(row.place, completion=text)


def _system(row: Row, shape: Shape) -> tuple[Message, ...]:
    text = optional_text(row, shape.columns.get("system"))
    return (Message("system", text),) if text.strip() else ()


def _tools(row: Row, shape: Shape) -> tuple[Mapping[str, Any], ...]:
    column = shape.columns.get("tools")
    return to_tools(cell(row, column)) if column else ()


_READERS: Mapping[str, Callable[[Row, Shape], Sample]] = {
    "messages": _read_messages,
    "sharegpt": _read_messages,
    "alpaca": _read_alpaca,
    "question_answer": _read_pair,
    "prompt_completion": _read_pair,
    "text": _read_text,
    "preference": _read_preference,
    "feedback": _read_feedback,
}
