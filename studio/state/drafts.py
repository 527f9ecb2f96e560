"""The unfinished spec on disk: saved a moment after each change, there again at the next start."""

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import Problem, UserError
from core.paths import home
from core.spec.codec import read_spec, write_spec
from core.spec.run_spec import RunSpec
from studio.state.session import Session

_SAVE_MS = 600


class Draft(QObject):
    """Keeps the session's spec in a file of its own, whatever else the user saves.

    Attributes:
        unsaved: problems of saving; the work goes on.
        saved: the draft is on disk.
    """

    unsaved = Signal(object)
    saved = Signal()

    def __init__(self, session: Session, path: Path | None = None) -> None:
        super().__init__()
        self.path = path or draft_path()
        self._session = session
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SAVE_MS)
        self._timer.timeout.connect(self.save)
        session.spec_changed.connect(lambda _paths: self._timer.start())

    def save(self) -> None:
        """Writes the draft now."""
        self._timer.stop()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_spec(self._session.spec, self.path)
        except UserError as failure:
            self.unsaved.emit(failure.problems)
        except OSError as failure:
            from core.errors import error

            message = f"The unfinished spec cannot be saved: {failure.strerror or failure}."
            self.unsaved.emit((error(str(self.path), message, "Check the data folder and its disk."),))
        else:
            self.saved.emit()


def draft_path() -> Path:
    """Where the unfinished spec lies."""
    return home() / "draft.yaml"


def read_draft() -> tuple[RunSpec, tuple[Problem, ...]]:
    """The spec of the last time, or an empty one with what is wrong with the draft.

    A draft that cannot be read is kept under another name, so that nothing is lost.
    """
    path = draft_path()
    if not path.exists():
        return RunSpec(), ()
    try:
        return read_spec(path), ()
    except UserError as failure:
        kept = path.with_suffix(".broken.yaml")
        try:
            path.replace(kept)
        except OSError:
            kept = path
        return RunSpec(), tuple(failure.problems)
