"""Files with prompts and expected answers, and with questions and choices, read row by row; each bad row is named."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.cells import find_column
from core.data.formats import detect_named, read_rows
from core.data.reading import FileSamples, Progress, capped, collect_samples, file_hash
from core.data.types import Message, Row, Sample
from core.errors import Problem, UserError, error
from core.spec.sections import DataSpec

QUESTION = ("question", "prompt", "query", "ctx", "goal", "instruction", "input")
CHOICES = ("choices", "options", "endings", "answers")
RIGHT = ("answer", "label", "answerKey", "answer_key", "correct", "gold", "target")


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """A conversation up to an answer, and that answer."""

    place: str
    messages: tuple[Message, ...]
    expected: str

    @property
    def prompt(self) -> str:
        """What was said last."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its choices and the index of the right one."""

    place: str
    text: str
    choices: tuple[str, ...]
    right: int


@dataclass(frozen=True, slots=True)
class AnswersFile:
    """Its usable rows, what is wrong with the others (the first ones by name), and the hash of the file."""

    items: tuple[ExpectedAnswer, ...]
    problems: tuple[Problem, ...]
    skipped: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ChoicesFile:
    """The same of questions."""

    items: tuple[Question, ...]
    problems: tuple[Problem, ...]
    skipped: int
    fingerprint: str


def data_of_file(spec: DataSpec, path: str) -> DataSpec:
    """The section ``data`` for another file than the run's: cut, masked and tokenised as in training, and all of it."""
    return replace(
        spec, train=(path,), validation=(), validation_share=0.0, max_rows=0, weights={}, repairs=(), bad_rows="skip"
    )


def read_answers(path: str, spec: DataSpec) -> AnswersFile:
    """Prompts and answers, in any row format that can be trained on; the last answer of a row is the expected one.

    Args:
        path: the file.
        spec: the run's section ``data``; its format and mapping are tried first, then what the rows look like.

    Raises:
        UserError: the file cannot be read, or none of its rows is of use.
    """
    found = _understood(path, spec)
    items: list[ExpectedAnswer] = []
    problems: list[Problem] = []
    for sample in found.samples:
        item = _expected(sample)
        if isinstance(item, Problem):
            problems.append(item)
        else:
            items.append(item)
    skipped = found.skipped + len(problems)
    listed = (*found.problems, *capped(problems, len(problems))) if problems else found.problems
    if not items:
        message = "No row of the file has a prompt and an answer."
        raise UserError(error(path, message, "Each row needs both, such as “prompt” and “completion”."), *listed)
    return AnswersFile(tuple(items), tuple(listed), skipped, found.facts.sha256)


def _understood(path: str, spec: DataSpec) -> FileSamples:
    own = data_of_file(spec, path)
    try:
        (found,), _ = collect_samples(own, Progress(None))
    except UserError:
        if own.format == "auto" and not own.mapping:
            raise
        (found,), _ = collect_samples(replace(own, format="auto", mapping={}), Progress(None))
    return found


def _expected(sample: Sample) -> ExpectedAnswer | Problem:
    if sample.tools:
        message = "The row describes tools, which greedy answers are not asked with."
        return error(sample.place, message, "Measure its loss instead, with --data.")
    messages, answer = sample.messages, sample.completion
    if messages:
        if messages[-1].role != "assistant" or len(messages) < 2:
            return error(sample.place, "The row does not end with an answer to something.", "Mend or remove the row.")
        messages, answer = messages[:-1], messages[-1].content
    elif sample.prompt.strip():
        messages = (Message("user", sample.prompt),)
    else:
        return error(sample.place, "The row is running text: there is nothing to ask.", "Add a prompt to it.")
    if not answer.strip():
        return error(sample.place, "The expected answer is empty.", "Mend or remove the row.")
    return ExpectedAnswer(sample.place, messages, answer)


def read_choices(path: str) -> ChoicesFile:
    """Questions with choices, in any file format; `docs/evaluation.md` names the columns.

    Raises:
        UserError: the file cannot be read, or none of its rows is of use.
    """
    file = detect_named(path)
    items: list[Question] = []
    problems: list[Problem] = []
    for row in read_rows(file):
        item = row if isinstance(row, Problem) else read_question(row)
        if isinstance(item, Problem):
            problems.append(item)
        else:
            items.append(item)
    listed = capped(problems, len(problems)) if problems else []
    if not items:
        message = "No row of the file has a question, choices and a right answer."
        advice = 'Write rows such as {"question": "…", "choices": ["…", "…"], "answer": 0}.'
        raise UserError(error(path, message, advice), *listed)
    return ChoicesFile(tuple(items), tuple(listed), len(problems), file_hash(file, lambda: None))


def read_question(row: Row) -> Question | Problem:
    """A row as a question, or what is wrong with it."""
    columns = list(row.value)
    asked, offered, right = (find_column(columns, names) for names in (QUESTION, CHOICES, RIGHT))
    if asked is None or not isinstance(row.value[asked], str) or not row.value[asked].strip():
        return _bad(row, f"The row has no question: none of the columns {_named(QUESTION)} holds a text.")
    found = _choices(row.value[offered]) if offered is not None else None
    if found is None or len(found[0]) < 2:
        return _bad(row, f"The row has no choices: none of the columns {_named(CHOICES)} lists two texts or more.")
    choices, labels = found
    if any(not choice.strip() for choice in choices) or len(set(choices)) < len(choices):
        return _bad(row, "A choice is empty or there twice.")
    if right is None or row.value[right] in (None, ""):
        return _bad(row, f"The row does not say which choice is right: none of the columns {_named(RIGHT)} is filled.")
    index = _index(row.value[right], choices, labels)
    if index is None:
        return _bad(row, f"“{row.value[right]}” in “{right}” is none of the row’s {len(choices)} choices.")
    return Question(row.place, row.value[asked], choices, index)


def _bad(row: Row, message: str) -> Problem:
    return error(row.place, message, "Mend or remove the row.")


def _named(columns: Sequence[str]) -> str:
    return ", ".join(f"“{name}”" for name in columns)


def _choices(value: object) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Texts and labels of a list of texts, or of ``{"text": […], "label": […]}`` as in ARC."""
    labels: object = ()
    if isinstance(value, Mapping):
        labels = value.get("label", ())
        value = value.get("text")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return None
    known = isinstance(labels, list | tuple) and len(labels) == len(value)
    return tuple(value), tuple(map(str, labels)) if known and isinstance(labels, list | tuple) else ()


def _index(value: object, choices: Sequence[str], labels: Sequence[str]) -> int | None:
    """Which choice is meant: by its place from 0, by its label, by its text, or by its letter, in this order."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():  # as tables hold whole numbers beside empty cells
        value = int(value)
    if isinstance(value, int) and str(value) not in labels:
        return value if 0 <= value < len(choices) else None
    text = str(value).strip()
    for known in (labels, choices):
        if text in known:
            return known.index(text)
    if len(text) == 1 and text.upper() in string.ascii_uppercase[: len(choices)]:
        return string.ascii_uppercase.index(text.upper())
    return int(text) if text.isascii() and text.isdigit() and int(text) < len(choices) else None


def as_given(path: str) -> str:
    """A file as an engine in another folder finds it; names of hub data sets stay as they are."""
    from core.spec.hub_data import is_hub_data

    return path if is_hub_data(path) else str(Path(path).expanduser().absolute())
