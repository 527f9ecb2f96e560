"""Templates tried while they are typed: one at a time, off the main thread, the newest text last."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from core.data.template_trial import EXAMPLE, Trial, choice_of, try_template
from core.data.types import Sample
from core.errors import UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from studio.pages.data.sample import documents_of
from studio.pages.data.token_view import Piece
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.data.tokenizer import Tokenizer

SETTLE_MS = 250


@dataclass(frozen=True, slots=True)
class Tried:
    """A text and what came of it.

    Attributes:
        choice: the value of the setting that stands for the text: a name where it is nothing but a known template.
        pieces: the row's tokens; None where it could not be written.
        rejected: of a preference pair, those with its rejected answer.
    """

    text: str
    choice: str
    trial: Trial
    pieces: tuple[Piece, ...] | None
    rejected: tuple[Piece, ...] = ()


class TemplateTrials(QObject):
    """Tries texts on one row. A text that comes while another is tried waits for it; only the newest waits.

    Attributes:
        tried: a `Tried`.
        loaded: the text of a template that was asked for by its name.
        refused: why such a template cannot be shown, or the tokenizer not be read: the first `Problem`.
        busy_changed: something is being tried, or nothing any more.
    """

    tried = Signal(object)
    loaded = Signal(str)
    refused = Signal(object)
    busy_changed = Signal()

    def __init__(self, model: ModelFacts, data: DataSpec, sample: Sample | None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model, self._data = model, data
        self._sample = sample or EXAMPLE
        self._tokenizer: Tokenizer | None = None
        self._task: Task | None = None
        self._next: str | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._start)

    @property
    def is_busy(self) -> bool:
        """Whether the newest text has not been tried yet."""
        return self._task is not None or self._next is not None

    def load(self, choice: str) -> None:
        """Asks for the text of the template that a value of the setting stands for."""
        start_task(lambda _report: self._source(choice), on_done=self.loaded.emit, on_failed=self._failed, parent=self)

    def try_soon(self, text: str) -> None:
        """Tries a text once no other has come for a moment."""
        self._next = text
        self._timer.start()
        self.busy_changed.emit()

    def close(self) -> None:
        """Tries nothing more."""
        self._timer.stop()
        self._next = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _start(self) -> None:
        text = self._next
        if text is None or self._task is not None:
            return
        self._next = None
        self._task = start_task(
            lambda _report: self._tried(text), on_done=self._arrived, on_failed=self._failed, parent=self
        )

    def _arrived(self, found: Tried) -> None:
        self._task = None
        if self._next is None:
            self.tried.emit(found)
        elif not self._timer.isActive():
            self._start()
        self.busy_changed.emit()

    def _failed(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self.refused.emit(failure.problems[0])
        self.busy_changed.emit()

    # --- in the threads

    def _known(self) -> "Tokenizer":
        from core.data.tokenizer import Tokenizer

        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(Path(self._model.path))
        return self._tokenizer

    def _source(self, choice: str) -> str:
        from core.data.templates import choose_template

        return choose_template(choice, self._model, self._known()).source

    def _tried(self, text: str) -> Tried:
        tokenizer = self._known()
        trial = try_template(text, self._sample, self._model, tokenizer, self._data)
        choice = choice_of(text, self._model, tokenizer) if trial.is_valid else text
        special = frozenset(tokenizer.added_tokens())
        found = [item for item in (trial.preview, trial.rejected) if item is not None]
        return Tried(text, choice, trial, *documents_of(found, special)) if found else Tried(text, choice, trial, None)
