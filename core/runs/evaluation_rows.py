"""The rows of an evaluation as tokens: cut, masked and tokenised by the functions that the training used."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from core.data.dataset import Dataset, load_dataset
from core.data.labels import encode_samples
from core.data.prompts import encode_conversation
from core.data.reading import capped
from core.data.templates import ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, Sample
from core.errors import Problem, UserError, error
from core.facts.types import ModelFacts
from core.runs.evaluation_files import ExpectedAnswer, Question, data_of_file, read_answers, read_choices
from core.runs.layout import RunFolder
from core.runs.store import load_facts, load_spec
from core.spec.run_spec import RunSpec

Progress = Callable[[int, int], None]
VALIDATION = "validation"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows whose loss is measured.

    Attributes:
        source: `VALIDATION`, or the file.
        texts: of each row, what carries loss.
        seen: how many were trained as well; None where that is not known.
    """

    source: str
    rows: tuple[Encoded, ...]
    texts: tuple[str, ...]
    skipped: int = 0
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts and the answers expected; ``tokens`` of each prompt, ready to be answered."""

    source: str
    fingerprint: str
    items: tuple[ExpectedAnswer, ...]
    tokens: tuple[tuple[int, ...], ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions, and a row for each of their choices, in their order; only the choice carries loss."""

    source: str
    fingerprint: str
    items: tuple[Question, ...]
    rows: tuple[Encoded, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that is measured."""

    held: Rows | None = None
    prompts: Prompts | None = None
    questions: Questions | None = None
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[Encoded, ...]:
        """All rows whose loss is needed."""
        return (*(self.held.rows if self.held else ()), *(self.questions.rows if self.questions else ()))


@dataclass(frozen=True, slots=True)
class Asked:
    """What an evaluation is about: files, empty for none, and the most rows of each (0 for all)."""

    data: str = ""
    answers: str = ""
    choices: str = ""
    rows: int = 0


def check_asked(folder: RunFolder, asked: Asked) -> tuple[Problem, ...]:
    """Reads what can be read without the model, so that a bad file is named at once; returns its skipped rows.

    Raises:
        UserError: a file cannot be read or has no usable row, or the run held nothing back and no file is named.
    """
    spec = load_spec(folder)
    found: list[Problem] = []
    if asked.data:
        from core.data.formats import detect_named

        detect_named(asked.data, spec.data)
    elif not asked.answers and not asked.choices:
        _require_validation(folder)
    if asked.answers:
        found += read_answers(asked.answers, spec.data).problems
    if asked.choices:
        found += read_choices(asked.choices).problems
    return tuple(found)


def _require_validation(folder: RunFolder) -> None:
    facts = load_facts(folder).data
    if facts is None or not facts.validation.rows:
        name = folder.path.name
        message = f"The run “{name}” held no rows back, so there are none that it has not learned."
        raise UserError(error("data", message, "Name a file of rows with --data, --answers or --choices."))


def read_material(
    folder: RunFolder,
    asked: Asked,
    model: ModelFacts,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    on_progress: Progress,
) -> Material:
    """Reads and tokenises what is asked for; without any file, the rows that the run held back.

    Args:
        folder: the run.
        asked: what is measured.
        model: the base.
        tokenizer: its tokenizer.
        template: the chat template of the training.
        on_progress: told how many rows are done, of how many; may raise to end the work.

    Raises:
        UserError: nothing can be measured, or the data have changed since the training.
    """
    spec = load_spec(folder)
    spec = spec.replace("data.template", template.choice)
    notes: list[str] = []
    held = prompts = questions = None
    if asked.data:
        held = _rows_of_file(folder, spec, asked, model, tokenizer, on_progress, notes)
    elif not asked.answers and not asked.choices:
        held = _held_back(folder, spec, asked, model, tokenizer, on_progress)
    if asked.answers:
        prompts = _prompts(spec, asked, model, tokenizer, template, notes)
    if asked.choices:
        questions = _questions(asked, model, tokenizer, template, notes)
    return Material(held, prompts, questions, tuple(notes))


def _held_back(
    folder: RunFolder, spec: RunSpec, asked: Asked, model: ModelFacts, tokenizer: Tokenizer, on_progress: Progress
) -> Rows:
    _require_validation(folder)
    dataset = _of_run(folder, spec, model, on_progress)
    # Of a pair the better answer is measured: it is what the model is to say.
    rows = tuple(row.documents[0] for row in _some(dataset.validation, asked.rows))
    return Rows(VALIDATION, rows, _texts(rows, tokenizer), seen=0)


def _of_run(folder: RunFolder, spec: RunSpec, model: ModelFacts, on_progress: Progress) -> Dataset:
    """The run's own rows.

    Raises:
        UserError: they are gone, or not what was trained: nobody knows any more which rows were held back.
    """
    dataset = load_dataset(spec.data, spec.training.seed, model, on_progress=on_progress)
    trained = load_facts(folder).data
    if trained is None or dataset.facts.fingerprint != trained.fingerprint:
        message = (
            "The data files have changed since the training, so nobody can tell which of their rows were held back."
        )
        raise UserError(error("data.train", message, "Put them back, or name a file of rows with --data."))
    return dataset


def _rows_of_file(
    folder: RunFolder,
    spec: RunSpec,
    asked: Asked,
    model: ModelFacts,
    tokenizer: Tokenizer,
    on_progress: Progress,
    notes: list[str],
) -> Rows:
    own = data_of_file(spec.data, asked.data)
    if own.train_on == "preferences":  # the file need not hold pairs; of one that does, the better answers are measured
        own = replace(own, train_on="completions")
    try:
        dataset = load_dataset(own, 0, model, on_progress=on_progress)
    except UserError:
        if own.format == "auto" and not own.mapping:
            raise
        dataset = load_dataset(replace(own, format="auto", mapping={}), 0, model, on_progress=on_progress)
    notes += [str(problem) for problem in dataset.problems]
    rows = tuple(row.documents[0] for row in _some(dataset.train, asked.rows))
    seen: int | None = None
    try:
        trained = {row.documents[0].ids for row in _of_run(folder, spec, model, on_progress).train}
    except UserError as failure:
        notes.append(f"Whether rows of the file were trained is not known. {failure.problems[0].message}")
    else:
        seen = sum(row.ids in trained for row in rows)
        if seen:
            notes.append(f"{seen} of {len(rows)} rows were trained: their loss says nothing of new rows.")
    skipped = dataset.facts.skipped_rows + dataset.facts.fully_masked_rows
    return Rows(asked.data, rows, _texts(rows, tokenizer), skipped, seen)


def _some(rows: Sequence[T], most: int) -> tuple[T, ...]:
    """All rows, or so many spread evenly over them: the same ones every time."""
    if most <= 0 or most >= len(rows):
        return tuple(rows)
    return tuple(rows[index * len(rows) // most] for index in range(most))


def _texts(rows: Sequence[Encoded], tokenizer: Tokenizer) -> tuple[str, ...]:
    return tuple(
        tokenizer.decode([token for token, learned in zip(row.tokens, row.trained, strict=True) if learned][:64])
        for row in rows
    )


def _prompts(
    spec: RunSpec,
    asked: Asked,
    model: ModelFacts,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    notes: list[str],
) -> Prompts:
    file = read_answers(asked.answers, spec.data)
    items, tokens, bad = [], [], []
    for item in _some(file.items, asked.rows):
        try:
            prompt = encode_conversation(item.messages, tokenizer, template)
        except UserError as failure:
            bad.append(replace(failure.problems[0], path=item.place))
            continue
        if model.context_length and len(prompt) >= model.context_length:
            message = f"The prompt has {len(prompt):,} tokens; the model reads {model.context_length:,}."
            bad.append(error(item.place, message, "Shorten it."))
            continue
        items.append(item)
        tokens.append(tuple(prompt))
    if not items:
        raise UserError(*capped(bad, len(bad)))
    notes += [str(problem) for problem in (*file.problems, *(capped(bad, len(bad)) if bad else ()))]
    fingerprint = _hash([file.fingerprint, str(asked.rows)])
    return Prompts(asked.answers, fingerprint, tuple(items), tuple(tokens), file.skipped + len(bad))


def _questions(
    asked: Asked, model: ModelFacts, tokenizer: Tokenizer, template: ChatTemplate, notes: list[str]
) -> Questions:
    file = read_choices(asked.choices)
    longest = model.context_length or 1 << 20
    items: list[Question] = []
    rows: list[Encoded] = []
    bad: list[Problem] = []
    for item in _some(file.items, asked.rows):
        found = _choice_rows(item, tokenizer, template, longest)
        if isinstance(found, Problem):
            bad.append(found)
        else:
            items.append(item)
            rows += found
    if not items:
        raise UserError(*capped(bad, len(bad)))
    notes += [str(problem) for problem in (*file.problems, *(capped(bad, len(bad)) if bad else ()))]
    fingerprint = _hash([file.fingerprint, str(asked.rows)])
    return Questions(asked.choices, fingerprint, tuple(items), tuple(rows), file.skipped + len(bad))


def _choice_rows(item: Question, tokenizer: Tokenizer, template: ChatTemplate, longest: int) -> list[Encoded] | Problem:
    """A row for each choice: the question, answered by it. What ends the answer carries no loss."""
    samples = [Sample(item.place, prompt=item.text, completion=choice) for choice in item.choices]
    ends = set(template.stop_ids(tokenizer))
    rows: list[Encoded] = []
    for row in encode_samples(samples, tokenizer, template, "completions", longest):
        if isinstance(row, Problem):
            return row
        marks = list(row.trained)
        for index in range(len(marks) - 1, -1, -1):
            if marks[index] and row.tokens[index] not in ends:
                break
            marks[index] = False
        if row.lost_tokens:
            return error(
                item.place, f"A choice ends beyond the {longest:,} tokens that the model reads.", "Shorten it."
            )
        if not any(marks):
            return error(item.place, "A choice has no token of its own.", "Mend or remove the row.")
        rows.append(Encoded(row.tokens, marks, row.place))
    return rows


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def rows_fingerprint(rows: Sequence[Encoded]) -> str:
    """Of the tokens of rows and of what carries loss in them."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(len(row).to_bytes(8, "little") + row.ids + row.marks)
    return digest.hexdigest()
