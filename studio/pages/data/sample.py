"""A row of the table made ready to be shown: its turns, its tokens, its text in the file."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.data.preview import PreviewRow
from core.data.token_preview import TokenPreview
from core.data.types import Message, Sample
from core.errors import Problem, UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from core.spec.template_choice import is_template_text, without_tools
from studio.pages.data.mended import mended, split_notes
from studio.pages.data.rows_table import TableRow
from studio.pages.data.sample_view import SampleFacts, Turn
from studio.pages.data.token_view import Piece
from studio.state.desk import Desk
from studio.workers.task import Task, start_task

Documents = tuple[tuple[Piece, ...], tuple[Piece, ...]]
"""The tokens of a row, and of a pair those of its rejected answer."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """What turns a row into tokens; made once for each model and template."""

    key: object
    tokenizer: Any
    template: Any
    special: frozenset[int]


class SampleReader(QObject):
    """Makes one row ready at a time; a newer wish replaces an older one.

    Attributes:
        ready: the `TableRow` and its `SampleFacts`.
    """

    ready = Signal(object, object)

    def __init__(self, desk: Desk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._task: Task | None = None
        self._writer: _Writer | None = None

    def read(self, row: TableRow) -> None:
        """Makes a row ready, with its tokens if there is a model."""
        self.forget()
        session, writer = self._desk.session, self._writer
        data, model = session.spec.data, session.model
        self._task = start_task(
            lambda _report: (row, *_facts(row.row, data, model, writer)),
            on_done=self._arrived,
            on_failed=self._failed,
            parent=self,
        )

    def forget(self) -> None:
        """Delivers nothing that was asked for before."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _arrived(self, result: tuple[TableRow, SampleFacts, _Writer | None]) -> None:
        self._task = None
        row, facts, self._writer = result
        self.ready.emit(row, facts)

    def _failed(self, failure: Exception) -> None:
        self._task = None
        raise failure


def _facts(
    row: PreviewRow, data: DataSpec, model: ModelFacts | None, writer: _Writer | None
) -> tuple[SampleFacts, _Writer | None]:
    """A row ready to be shown as it is trained, and what wrote its tokens, for the next one."""
    found, raw = mended(row, data), _raw(row)
    row = found.row
    shown = _shown(row, raw, data)
    if found.left_out is not None:
        return replace(shown, problem=found.left_out), writer
    if row.sample is None or model is None:
        understood = row.sample is not None or row.problem is not None
        return replace(shown, understood=understood, problem=row.problem), writer
    try:
        writer = _writer(data, model, writer)
        (pieces, rejected), notes = _pieces(row.sample, writer, data)
        notes = (*found.notes, *split_notes(row, writer.tokenizer, writer.template, data), *notes)
    except UserError as failure:
        return replace(shown, token_problem=failure.problems[0]), writer
    return replace(shown, pieces=pieces, rejected_pieces=rejected, notes=notes), writer


def _writer(data: DataSpec, model: ModelFacts, known: _Writer | None) -> _Writer:
    from core.data.templates import choose_template
    from core.data.tokenizer import Tokenizer

    key = (model.path, model.fingerprint, data.template, _changed(without_tools(data.template)))
    if known is not None and known.key == key:
        return known
    tokenizer = Tokenizer.load(Path(model.path))
    template = choose_template(data.template, model, tokenizer)
    return _Writer(key, tokenizer, template, frozenset(tokenizer.added_tokens()))


def _changed(template: str) -> int:
    """When a file with a template was changed last; 0 for templates that are no files."""
    try:
        return 0 if is_template_text(template) else Path(template).stat().st_mtime_ns
    except OSError:
        return 0


def _pieces(sample: Sample, writer: _Writer, data: DataSpec) -> tuple[Documents, tuple[Problem, ...]]:
    from core.data.token_preview import preview_documents

    found = preview_documents(sample, writer.tokenizer, writer.template, data)
    notes = list(found[0].notes)
    notes += [note for item in found[1:] for note in item.notes if note not in notes]
    return documents_of(found, writer.special), tuple(notes)


def documents_of(found: Sequence[TokenPreview], special: Container[int]) -> Documents:
    """The tokens of a row, or of the chosen and the rejected answer of a pair, as they are shown."""
    shown = [pieces_of(item, special) for item in found]
    return shown[0], shown[1] if len(shown) > 1 else ()


def pieces_of(found: TokenPreview, special: Container[int]) -> tuple[Piece, ...]:
    """A row's tokens as they are shown; ``special`` are the ids of control tokens."""
    cut = len(found.ids) if found.cut_at is None else found.cut_at
    return tuple(
        Piece(text, token, "cut" if place >= cut else "trained" if trained else "masked", token in special)
        for place, (text, token, trained) in enumerate(zip(found.pieces, found.ids, found.trained, strict=True))
    )


def _shown(row: PreviewRow, raw: str, data: DataSpec) -> SampleFacts:
    """A row's words: of a pair what stands before both answers once, and the answers."""
    from core.data.sides import answer_place

    sample = row.sample
    if sample is None:
        return SampleFacts((), raw)
    if not row.messages:
        return SampleFacts((Turn("text", sample.completion, trained=True),), raw)
    turns = _turns(row.messages, data)
    tools = (Turn("tools", _json(list(sample.tools)), trained=False),) if sample.tools else ()
    if not sample.rejected:
        return SampleFacts((*tools, *turns), raw)
    place, worse = answer_place(sample.messages), _turns(sample.rejected, data)
    rejected = worse[answer_place(sample.rejected) :]
    return SampleFacts((*tools, *turns[:place]), raw, chosen=turns[place:], rejected=rejected)


def _turns(messages: tuple[Message, ...], data: DataSpec) -> tuple[Turn, ...]:
    from core.data.spans import trained_turns

    return tuple(
        Turn(message.role, message.content, trained, _thoughts(message.extra), _calls(message.extra))
        for message, trained in zip(messages, trained_turns(messages, data.train_on), strict=True)
    )


def _thoughts(extra: Mapping[str, Any]) -> str:
    return str(next((extra[name] for name in ("reasoning_content", "thinking", "reasoning") if extra.get(name)), ""))


def _calls(extra: Mapping[str, Any]) -> str:
    return _json(extra["tool_calls"]) if extra.get("tool_calls") else ""


def _raw(row: PreviewRow) -> str:
    return _json(dict(row.value)) if row.value is not None else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
