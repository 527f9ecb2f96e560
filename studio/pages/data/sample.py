"""A row of the table made ready to be shown: its turns, its tokens, its text in the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.data.preview import PreviewRow
from core.errors import UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from studio.pages.data.rows_table import TableRow
from studio.pages.data.sample_view import SampleFacts, Turn
from studio.pages.data.token_view import Piece
from studio.state.desk import Desk
from studio.workers.task import Task, start_task


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
    """A row ready to be shown, and what wrote its tokens, for the next one."""
    turns, raw = _turns(row, data), _raw(row)
    if row.sample is None or model is None:
        understood = row.sample is not None or row.problem is not None
        return SampleFacts(turns, raw, understood, row.problem), writer
    try:
        writer = _writer(data, model, writer)
        pieces = _pieces(row, writer, data)
    except UserError as failure:
        return SampleFacts(turns, raw, token_problem=failure.problems[0]), writer
    return SampleFacts(turns, raw, pieces=pieces), writer


def _writer(data: DataSpec, model: ModelFacts, known: _Writer | None) -> _Writer:
    from core.data.templates import choose_template
    from core.data.tokenizer import Tokenizer

    changed = Path(data.template).stat().st_mtime_ns if Path(data.template).is_file() else 0
    key = (model.path, model.fingerprint, data.template, changed)
    if known is not None and known.key == key:
        return known
    tokenizer = Tokenizer.load(Path(model.path))
    template = choose_template(data.template, model, tokenizer)
    return _Writer(key, tokenizer, template, frozenset(tokenizer.added_tokens()))


def _pieces(row: PreviewRow, writer: _Writer, data: DataSpec) -> tuple[Piece, ...]:
    from core.data.token_preview import preview_tokens

    assert row.sample is not None
    found = preview_tokens(row.sample, writer.tokenizer, writer.template, data)
    cut = len(found.ids) if found.cut_at is None else found.cut_at
    return tuple(
        Piece(text, token, "cut" if place >= cut else "trained" if trained else "masked", token in writer.special)
        for place, (text, token, trained) in enumerate(zip(found.pieces, found.ids, found.trained, strict=True))
    )


def _turns(row: PreviewRow, data: DataSpec) -> tuple[Turn, ...]:
    from core.data.spans import trained_turns

    sample = row.sample
    if sample is None:
        return ()
    if not row.messages:
        return (Turn("text", sample.completion, trained=True),)
    turns = [
        Turn(message.role, _words(message.content, message.extra), trained)
        for message, trained in zip(row.messages, trained_turns(row.messages, data.train_on), strict=True)
    ]
    if sample.tools:
        turns.insert(0, Turn("tools", _json(list(sample.tools)), trained=False))
    return tuple(turns)


def _words(content: str, extra: Mapping[str, Any]) -> str:
    """A turn's text, with thoughts before it and calls of tools behind it."""
    thoughts = next((extra[name] for name in ("reasoning_content", "thinking", "reasoning") if extra.get(name)), "")
    calls = extra.get("tool_calls")
    parts = (str(thoughts), content, _json(calls) if calls else "")
    return "\n\n".join(part for part in parts if part)


def _raw(row: PreviewRow) -> str:
    return _json(dict(row.value)) if row.value is not None else ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
