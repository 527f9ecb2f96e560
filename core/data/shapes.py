"""What the rows of a file mean: a format recognised from the first rows, and each row understood by it."""

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.data.messages import MisfitError, parsed, to_messages, to_text, to_tools
from core.data.templates import WEIGHT
from core.data.types import Message, Row, Sample
from core.errors import Edit, Fix, Problem, UserError, error
from core.spec.sections import RecordFormat

ROWS_JUDGED = 200
PARTS = ("prompt", "completion", "system", "messages", "text")
MAPPING = "data.mapping"
FORMAT = "data.format"

_LISTS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
_ANSWERS = ("completion", "response", "answer", "output", "target", "reply")
_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "messages": {"messages": _LISTS},
    "sharegpt": {"messages": _LISTS},
    "alpaca": {"prompt": ("instruction",), "completion": ("output", *_ANSWERS)},
    "question_answer": {"prompt": ("question", "query", "q"), "completion": ("answer", "a", *_ANSWERS)},
    "prompt_completion": {
        "prompt": ("prompt", "source", "question", "query", "instruction"),
        "completion": _ANSWERS,
    },
    "text": {"text": ("text", "content", "document", "body")},
}
_OPTIONAL = {"system": ("system", "system_prompt"), "tools": ("tools", "functions")}
_ALPACA_ONLY = {"input": ("input", "context"), "history": ("history",)}
_SHOWN_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """A recognised format.

    Attributes:
        name: one of `RecordFormat` without "auto".
        columns: part -> the column that plays it.
        reason: why it was recognised, one sentence.
    """

    name: RecordFormat
    columns: Mapping[str, str]
    reason: str


def recognise(rows: Sequence[Row], wanted: RecordFormat, mapping: Mapping[str, str]) -> Shape:
    """Finds out what the rows of one file are.

    Args:
        rows: the first rows of the file, up to `ROWS_JUDGED`; at least one.
        wanted: the format that the spec states, or "auto".
        mapping: part -> column, as the spec states it.

    Raises:
        UserError: the rows fit no format, or not the one that is wanted.
    """
    columns = list(dict.fromkeys(str(name) for row in rows for name in row.value))
    chosen = _mapped_columns(rows[0].path, columns, mapping)
    if wanted == "auto" and set(chosen) - {"system"}:
        wanted = "text" if "text" in chosen else "messages" if "messages" in chosen else "prompt_completion"
        reason = "The column mapping says so."
    elif wanted == "auto":
        wanted, reason = _vote(rows, columns)
    else:
        reason = "The setting data.format says so."
    found = {part: chosen.get(part) or _column(columns, names) for part, names in _NAMES[wanted].items()}
    _check_complete(rows[0].path, wanted, found, columns)
    if wanted in ("messages", "sharegpt"):
        wanted = _dialect(rows, found["messages"] or "")
    optional = {**_OPTIONAL, **(_ALPACA_ONLY if wanted == "alpaca" else {})}
    found.update({part: chosen.get(part) or _column(columns, names) for part, names in optional.items()})
    return Shape(wanted, {part: column for part, column in found.items() if column}, reason)


def to_sample(row: Row, shape: Shape) -> Sample | Problem:
    """A row understood, or the sentence that says why it does not fit its file's format."""
    try:
        return _READERS[shape.name](row, shape)
    except MisfitError as misfit:
        message = str(misfit)
        return error(row.place, message[:1].upper() + message[1:], "Mend or remove the row.")


def _mapped_columns(path: str, columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    problems, chosen = [], {}
    for part, name in mapping.items():
        if part not in PARTS:
            hint = f"Write “{name}: {part}” instead." if name in PARTS else f"The parts are {', '.join(PARTS)}."
            problems.append(error(MAPPING, f"“{part}” is no part that a column can play.", hint))
            continue
        column = name if name in columns else _column(columns, (name,))
        if column is None:
            close = difflib.get_close_matches(name, columns, n=1)
            hint = f"Did you mean “{close[0]}”?" if close else f"The columns are {_listed(columns)}."
            problems.append(error(MAPPING, f"{path} has no column “{name}”.", hint))
            continue
        chosen[part] = column
    if problems:
        raise UserError(*problems)
    return chosen


def _vote(rows: Sequence[Row], columns: Sequence[str]) -> tuple[RecordFormat, str]:
    """The format that most of the rows have, and why."""
    votes = Counter(found for row in rows if (found := _format_of(row)))
    if votes:
        name, count = votes.most_common(1)[0]
        evidence = _evidence(name, columns)
        because = f"{count} of the first {len(rows)} rows have {evidence}"
        if count == len(rows):
            because = f"all of the first {len(rows)} rows have {evidence}"
        if len(rows) == 1:
            because = f"the only row has {evidence}"
        return name, f"Recognised because {because}."
    if len(columns) == 1 and any(isinstance(row.value.get(columns[0]), str) for row in rows):
        raise UserError(_single_column_problem(rows[0].path, columns[0]))
    raise UserError(_unknown_problem(rows[0].path, columns))


def _evidence(name: str, columns: Sequence[str]) -> str:
    found = [column for names in _NAMES[name].values() if (column := _column(columns, names))]
    if name == "messages":
        return f"a list “{found[0]}” of turns with role and content"
    if name == "sharegpt":
        return f"a list “{found[0]}” of turns with “from” and “value”"
    if name == "text":
        return f"the text column “{found[0]}”"
    return f"the columns “{found[0]}” and “{found[1]}”"


def _format_of(row: Row) -> RecordFormat | None:
    """The format that one row seems to have."""
    columns = [str(name) for name in row.value]
    listed = _column(columns, _LISTS)
    turns = parsed(row.value[listed]) if listed else None
    if isinstance(turns, list | tuple) and turns and isinstance(turns[0], Mapping):
        if "role" in turns[0]:
            return "messages"
        if "from" in turns[0]:
            return "sharegpt"
    names: tuple[RecordFormat, ...] = ("alpaca", "question_answer", "prompt_completion", "text")
    for name in names:
        if all(_column(columns, choices) for choices in _NAMES[name].values()):
            return name
    return None


def _dialect(rows: Sequence[Row], column: str) -> RecordFormat:
    for row in rows:
        turns = parsed(row.value.get(column))
        if isinstance(turns, list | tuple) and turns and isinstance(turns[0], Mapping):
            return "sharegpt" if "from" in turns[0] and "role" not in turns[0] else "messages"
    return "messages"


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of ``names`` that is a column; capital letters and spaces around do not matter."""
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    return next((by_name[name.strip().lower()] for name in names if name.strip().lower() in by_name), None)


def _check_complete(path: str, wanted: str, found: Mapping[str, str | None], columns: Sequence[str]) -> None:
    missing = [part for part, column in found.items() if column is None]
    if missing:
        names = " and ".join(f"“{_NAMES[wanted][part][0]}”" for part in missing)
        message = f"The format “{wanted}” needs a column {names}, but the columns are {_listed(columns)}."
        parts = ", ".join(f"{part}: <column>" for part in missing)
        raise UserError(error(path, message, f"Set {MAPPING} to {{{parts}}}, or another {FORMAT}."))


def _single_column_problem(path: str, column: str) -> Problem:
    message = f"The rows have one column, “{column}”, and its name says nothing about what it holds."
    fix = Fix(f"Train “{column}” as running text", (Edit(MAPPING, {"text": column}),))
    return error(path, message, f"Set {MAPPING} to {{text: {column}}} if it holds running text.", fix)


def _unknown_problem(path: str, columns: Sequence[str]) -> Problem:
    message = f"The rows fit no known format; their columns are {_listed(columns)}."
    lower = {column.lower() for column in columns}
    if "chosen" in lower and "prompt" in lower:
        advice = (
            f"They look like preference pairs; set {MAPPING} to {{completion: chosen}} to train the chosen answers."
        )
        return error(path, message, advice)
    advice = f"Say with {MAPPING} which column is the prompt and which the completion, or which holds the text."
    return error(path, message, advice)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"“{column}”" for column in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return (f"{shown} and {more} more" if more > 0 else shown) or "none"


def _read_messages(row: Row, shape: Shape) -> Sample:
    column = shape.columns["messages"]
    system, messages = _system(row, shape), to_messages(row.value.get(column), f"“{column}”")
    if system and messages[0].role == "system":
        raise MisfitError(f"the row has two system texts: in “{shape.columns['system']}” and in “{column}”.")
    return Sample(row.place, (*system, *messages), tools=_tools(row, shape))


def _read_alpaca(row: Row, shape: Shape) -> Sample:
    asked = _optional_text(row, shape.columns["prompt"])
    given = _optional_text(row, shape.columns.get("input"))
    prompt = "\n\n".join(part for part in (asked, given) if part.strip())
    if not prompt:
        raise MisfitError(f"the columns “{shape.columns['prompt']}” and “input” are both empty.")
    earlier = _history(row, shape.columns.get("history"))
    messages = (*_system(row, shape), *earlier, Message("user", prompt), Message("assistant", _answer(row, shape)))
    return Sample(row.place, messages, tools=_tools(row, shape))


def _history(row: Row, column: str | None) -> tuple[Message, ...]:
    pairs = parsed(row.value.get(column)) if column else None
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
    asked, answered = row.value.get(shape.columns["prompt"]), row.value.get(shape.columns["completion"])
    before, after = _turns(asked), _turns(answered)
    system, tools = _system(row, shape), _tools(row, shape)
    if before is None and after is None and not system and not tools:
        prompt = to_text(asked, f"the column “{shape.columns['prompt']}”")
        if not prompt.strip():
            raise MisfitError(f"the column “{shape.columns['prompt']}” is empty.")
        return Sample(row.place, prompt=prompt, completion=_answer(row, shape))
    if before is None:
        before = (Message("user", to_text(asked, f"the column “{shape.columns['prompt']}”")),)
    if after is None:
        after = (Message("assistant", _answer(row, shape)),)
    context = tuple(Message(turn.role, turn.content, {**turn.extra, WEIGHT: 0}) for turn in before)
    return Sample(row.place, (*system, *context, *after), tools=tools)


def _turns(value: object) -> tuple[Message, ...] | None:
    """A list of turns; None for anything else, a text with brackets included."""
    turns = parsed(value)
    if (
        isinstance(turns, list | tuple)
        and turns
        and isinstance(turns[0], Mapping)
        and {"role", "from"} & turns[0].keys()
    ):
        return to_messages(turns, "the list")
    return None


def _read_text(row: Row, shape: Shape) -> Sample:
    column = shape.columns["text"]
    text = to_text(row.value.get(column), f"the column “{column}”")
    if not text.strip():
        raise MisfitError(f"the column “{column}” is empty.")
    return Sample(row.place, completion=text)


def _answer(row: Row, shape: Shape) -> str:
    column = shape.columns["completion"]
    text = to_text(row.value.get(column), f"the column “{column}”")
    if not text.strip():
        raise MisfitError(f"the answer in the column “{column}” is empty.")
    return text


def _system(row: Row, shape: Shape) -> tuple[Message, ...]:
    text = _optional_text(row, shape.columns.get("system"))
    return (Message("system", text),) if text.strip() else ()


def _tools(row: Row, shape: Shape) -> tuple[Mapping[str, Any], ...]:
    column = shape.columns.get("tools")
    return to_tools(row.value.get(column)) if column else ()


def _optional_text(row: Row, column: str | None) -> str:
    value = row.value.get(column) if column else None
    return "" if value is None else to_text(value, f"the column “{column}”")


_READERS: Mapping[str, Callable[[Row, Shape], Sample]] = {
    "messages": _read_messages,
    "sharegpt": _read_messages,
    "alpaca": _read_alpaca,
    "question_answer": _read_pair,
    "prompt_completion": _read_pair,
    "text": _read_text,
}
