"""What the rows of a file mean: a format recognised from the first rows."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.data.cells import find_column, is_template, template_columns
from core.data.samples import to_sample
from core.data.source import elide
from core.data.turns import is_turn, listed, parsed, speaker_roles
from core.data.types import Row, Sample, Shape
from core.errors import Edit, Fix, Problem, Severity, UserError, error, warning
from core.spec.sections import RecordFormat

ROWS_JUDGED = 200
PARTS = ("prompt", "completion", "system", "messages", "text")
ANSWERS_OF_PAIR = ("chosen", "rejected")
_MAPPED_PARTS = (*PARTS, *ANSWERS_OF_PAIR)
MAPPING = "data.mapping"
FORMAT = "data.format"

_LISTS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
_ANSWERS = ("completion", "response", "answer", "output", "target", "reply")
_ASKED = ("prompt", "source", "question", "query", "instruction")
_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "messages": {"messages": _LISTS},
    "sharegpt": {"messages": _LISTS},
    "alpaca": {"prompt": ("instruction",), "completion": ("output", *_ANSWERS)},
    "question_answer": {"prompt": ("question", "query", "q"), "completion": ("answer", "a", *_ANSWERS)},
    "prompt_completion": {"prompt": _ASKED, "completion": _ANSWERS},
    "preference": {
        "chosen": ("chosen", "chosen_messages", "chosen_response", "preferred", "accepted"),
        "rejected": ("rejected", "rejected_messages", "rejected_response", "dispreferred"),
    },
    "feedback": {"label": ("label", "kto_tag", "desirable", "is_desirable", "thumbs_up")},
    "text": {"text": ("text", "content", "document", "body")},
}
_OPTIONAL = {"system": ("system", "system_prompt"), "tools": ("tools", "functions")}
_OWN_OPTIONAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "alpaca": {"input": ("input", "context"), "history": ("history",)},
    "preference": {"prompt": _ASKED, "messages": _LISTS, "input": ("input",)},
    "feedback": {"messages": _LISTS, "prompt": _ASKED, "completion": _ANSWERS},
}
_MEDIA = ("images", "image", "videos", "video", "audios", "audio")
_SHOWN_COLUMNS = 12
_DOUBTFUL = 0.5
"""Below this share of rows that make sense a recognised format is doubtful and said to be."""


def recognise(rows: Sequence[Row], wanted: RecordFormat, mapping: Mapping[str, str], *, pairs: bool = False) -> Shape:
    """Finds out what the rows of one file are.

    Args:
        rows: the first rows of the file, up to `ROWS_JUDGED`; at least one.
        wanted: the format that the spec states, or "auto".
        mapping: part -> column or template of columns, as the spec states it.
        pairs: whether both answers of preference pairs are wanted, and nothing else will do.

    Raises:
        UserError: the rows fit no format, or not the one that is wanted, or are no pairs though such are wanted.
    """
    columns = list(dict.fromkeys(str(name) for row in rows for name in row.value))
    chosen = mapped_columns(rows[0].path, columns, mapping)
    is_guess = False
    if pairs and not _has_both(columns, chosen):
        raise UserError(_no_pairs_problem(rows, wanted, mapping, columns))
    if pairs or (wanted == "auto" and {*ANSWERS_OF_PAIR} & set(chosen)):
        wanted, reason = "preference", _pair_reason(wanted, columns, chosen)
    elif wanted == "auto" and set(chosen) - {"system"}:
        wanted = "text" if "text" in chosen else "messages" if "messages" in chosen else "prompt_completion"
        reason = "The column mapping says so."
    elif wanted == "auto":
        wanted, reason = _vote(rows, columns)
        is_guess = True
    else:
        reason = "The setting data.format says so."
    found = {part: chosen.get(part) or find_column(columns, names) for part, names in _NAMES[wanted].items()}
    _check_complete(rows[0].path, wanted, found, columns)
    if wanted in ("messages", "sharegpt"):
        wanted = _dialect(rows, found["messages"] or "")
    optional = {**_OPTIONAL, **_OWN_OPTIONAL.get(wanted, {})}
    found.update({part: chosen.get(part) or find_column(columns, names) for part, names in optional.items()})
    if wanted == "preference" and "prompt" in chosen and "messages" not in chosen:
        del found["messages"]  # a list of turns that was only recognised would take the place of what is mapped
    if wanted == "feedback":
        _check_feedback(rows[0].path, found, columns)
    shape = Shape(wanted, {part: column for part, column in found.items() if column}, reason, pairs=pairs)
    understood = sum(isinstance(to_sample(row, shape), Sample) for row in rows)
    shape = replace(shape, confidence=understood / len(rows))
    return replace(shape, notes=tuple(_notes(rows, shape, columns, is_guess=is_guess)))


def _has_both(columns: Sequence[str], mapped: Mapping[str, str]) -> bool:
    return all(part in mapped or find_column(columns, _NAMES["preference"][part]) for part in ANSWERS_OF_PAIR)


def _pair_reason(wanted: RecordFormat, columns: Sequence[str], mapped: Mapping[str, str]) -> str:
    if {*ANSWERS_OF_PAIR} & set(mapped):
        return "The column mapping says so."
    if wanted == "preference":
        return "The setting data.format says so."
    return f"Recognised because the rows have {_evidence('preference', columns)}."


def _no_pairs_problem(
    rows: Sequence[Row], wanted: RecordFormat, mapping: Mapping[str, str], columns: Sequence[str]
) -> Problem:
    """What the rows are instead of pairs, and the way back where they can be trained as that."""
    path = rows[0].path
    needed = "Learning preferences needs two answers to each prompt, in columns like “chosen” and “rejected”"
    advice = f"Name their columns with {MAPPING}, or choose a file of preference pairs."
    try:
        name = recognise(rows, wanted, mapping).name
    except UserError:
        return error(path, f"{needed}, but the columns are {_listed(columns)}.", advice)
    fix = Fix("Learn from answers without comparing them", (Edit("data.train_on", "completions"),))
    return error(path, f"{needed}, but these rows are “{name}”.", advice, fix)


def mapped_columns(path: str, columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """The mapping with the columns as they are written in the file.

    Raises:
        UserError: it names columns that are not there, or parts that do not exist.
    """
    problems: list[Problem] = []
    chosen = {}
    for part, name in mapping.items():
        if part not in _MAPPED_PARTS:
            hint = f"The parts are {', '.join(_MAPPED_PARTS)}."
            hint = f"Write “{name}: {part}” instead." if name in _MAPPED_PARTS else hint
            problems.append(error(MAPPING, f"“{part}” is no part that a column can play.", hint))
            continue
        column = name if name in columns else find_column(columns, (name,))
        if column is None and is_template(name):
            problems += _template_problems(path, part, name, columns)
            column = name
        if column is None:
            problems.append(_missing_column(path, name, columns))
            continue
        chosen[part] = column
    if problems:
        raise UserError(*problems)
    return chosen


def _template_problems(path: str, part: str, template: str, columns: Sequence[str]) -> list[Problem]:
    if part == "messages":
        message = f"The part “messages” needs one column with a list of turns, and “{template}” is a text."
        return [error(MAPPING, message, "Name the column alone.")]
    named = template_columns(template)
    return [_missing_column(path, name, columns) for name in named if find_column(columns, (name,)) is None]


def _missing_column(path: str, name: str, columns: Sequence[str]) -> Problem:
    close = difflib.get_close_matches(name, columns, n=1)
    hint = f"Did you mean “{close[0]}”?" if close else f"The columns are {_listed(columns)}."
    return error(MAPPING, f"{path} has no column “{name}”.", hint)


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
    found = [column for names in _NAMES[name].values() if (column := find_column(columns, names))]
    if name == "messages":
        return f"a list “{found[0]}” of turns with role and content"
    if name == "sharegpt":
        return f"a list “{found[0]}” of turns with “from” and “value”"
    if name == "text":
        return f"the text column “{found[0]}”"
    if name == "feedback":
        return f"answers with true or false in “{found[0]}”"
    return f"the columns “{found[0]}” and “{found[1]}”"


def _format_of(row: Row) -> RecordFormat | None:
    """The format that one row seems to have."""
    columns = [str(name) for name in row.value]
    turns = _turns_of(row, columns)
    is_pair = all(find_column(columns, names) for names in _NAMES["preference"].values())
    if turns:
        asks = is_pair and not _ends_with_answer(turns)
        if asks or _is_labelled(row, columns):
            return "preference" if asks else "feedback"
        return "sharegpt" if "from" in turns[0] and "role" not in turns[0] else "messages"
    names: tuple[RecordFormat, ...] = ("alpaca", "question_answer", "prompt_completion", "text")
    for name in names:
        if name == "text" and is_pair:
            return "preference"
        if all(find_column(columns, choices) for choices in _NAMES[name].values()):
            return "feedback" if name == "prompt_completion" and _is_labelled(row, columns) else name
    return None


def _turns_of(row: Row, columns: Sequence[str]) -> Sequence[Mapping[str, object]] | None:
    """The conversation that a row holds in a column of its own, if its first turn looks like one."""
    column = find_column(columns, _LISTS)
    turns = listed(parsed(row.value.get(column))) if column else None
    if isinstance(turns, list | tuple) and turns and is_turn(turns[0]):
        return turns
    if isinstance(turns, Mapping) and is_turn(turns):  # columns of turns; their first line is judged
        return [turns]
    return None


def _ends_with_answer(turns: Sequence[Mapping[str, object]]) -> bool:
    row = Row("", 0, {"messages": list(turns)})
    found = to_sample(row, Shape("messages", {"messages": "messages"}, ""))
    return isinstance(found, Sample) and found.messages[-1].role == "assistant"


def _is_labelled(row: Row, columns: Sequence[str]) -> bool:
    label = find_column(columns, _NAMES["feedback"]["label"])
    return label is not None and isinstance(row.value.get(label), bool)


def _dialect(rows: Sequence[Row], column: str) -> RecordFormat:
    for row in rows:
        turns = parsed(row.value.get(column))
        first = turns[0] if isinstance(turns, list | tuple) and turns else turns
        if isinstance(first, Mapping):
            return "sharegpt" if "from" in first and "role" not in first else "messages"
    return "messages"


def _check_complete(path: str, wanted: str, found: Mapping[str, str | None], columns: Sequence[str]) -> None:
    missing = [part for part, column in found.items() if column is None]
    if missing:
        names = " and ".join(f"“{_NAMES[wanted][part][0]}”" for part in missing)
        message = f"The format “{wanted}” needs a column {names}, but the columns are {_listed(columns)}."
        parts = ", ".join(f"{part}: <column>" for part in missing)
        advice = f"Set {MAPPING} to {{{parts}}}, or another {FORMAT}."
        if not set(missing) <= set(_MAPPED_PARTS):
            advice = f"Choose another {FORMAT}."
        raise UserError(error(path, message, advice))


def _check_feedback(path: str, found: Mapping[str, str | None], columns: Sequence[str]) -> None:
    if not found["messages"] and not (found["prompt"] and found["completion"]):
        message = (
            "The format “feedback” needs a list of messages, or a prompt and a completion, but the columns are "
            f"{_listed(columns)}."
        )
        raise UserError(error(path, message, f"Say with {MAPPING} which column is which."))


def _notes(rows: Sequence[Row], shape: Shape, columns: Sequence[str], *, is_guess: bool) -> list[Problem]:
    """What is to be known about rows of this shape."""
    path, notes = rows[0].path, []
    if shape.name == "preference" and not shape.pairs:
        message = (
            f"These are preference pairs. Only the answers in “{shape.columns['chosen']}” are trained; those in "
            f"“{shape.columns['rejected']}” are not used."
        )
        fix = Fix("Learn from both answers", (Edit("data.train_on", "preferences"),))
        advice = "Nothing has to be done if that is what you want."
        notes.append(Problem(Severity.INFO, path, message, advice, (fix,)))
    if shape.name == "feedback":
        message = (
            f"These answers are labelled. Where “{shape.columns['label']}” is true the last answer is trained; where "
            "it is false it carries no loss."
        )
        fix = Fix("Train all of them", (Edit(FORMAT, "messages"),))
        fixes = (fix,) if "messages" in shape.columns else ()
        advice = "Nothing has to be done if that is what you want."
        notes.append(Problem(Severity.INFO, path, message, advice, fixes))
    turns = _turns_of(rows[0], columns) if "messages" in shape.columns else None
    if turns and speaker_roles(turns):
        message = (
            "The speakers have names of their own: whoever speaks first is taken for the user, and the other one’s "
            "answers are trained."
        )
        advice = "Give the turns the roles “user” and “assistant” if it is the other way round."
        notes.append(Problem(Severity.INFO, path, message, advice))
    media = find_column(columns, _MEDIA)
    if media is not None and any(row.value.get(media) for row in rows):
        message = f"The rows refer to pictures, films or sounds in “{media}”; only their text is trained."
        notes.append(warning(path, message, "Leave such rows out if their text makes no sense alone."))
    if is_guess and shape.confidence < _DOUBTFUL:
        message = (
            f"The format “{shape.name}” makes sense of {shape.confidence:.0%} of the first {len(rows)} rows only, so "
            "it may be the wrong one."
        )
        notes.append(warning(path, message, f"Set {FORMAT} or {MAPPING} if the rows mean something else."))
    return notes


def _single_column_problem(path: str, column: str) -> Problem:
    name = elide(column)
    message = f"The rows have one column, “{name}”, and its name says nothing about what it holds."
    fix = Fix(f"Train “{name}” as running text", (Edit(MAPPING, {"text": column}),))
    return error(path, message, f"Set {MAPPING} to {{text: {name}}} if it holds running text.", fix)


def _unknown_problem(path: str, columns: Sequence[str]) -> Problem:
    message = f"The rows fit no known format; their columns are {_listed(columns)}."
    if not columns:
        message = "The rows fit no known format: they have no columns."
    lower = {column.lower() for column in columns}
    if "chosen" in lower and "prompt" in lower:
        advice = (
            f"They look like preference pairs; set {MAPPING} to {{completion: chosen}} to train the chosen answers."
        )
        return error(path, message, advice)
    advice = f"Say with {MAPPING} which column is the prompt and which the completion, or which holds the text."
    return error(path, message, advice)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"“{elide(column)}”" for column in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return (f"{shown} and {more} more" if more > 0 else shown) or "none"
