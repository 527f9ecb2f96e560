"""Puts the application together: look, language, desk and window, and makes the window anew when they change."""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QLocale, QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from core import __version__, paths
from studio.look.icons import icon
from studio.look.theme import apply_look, system_scheme
from studio.shell.window import MainWindow
from studio.state.desk import Desk
from studio.state.drafts import Draft, read_draft
from studio.state.preferences import Preferences
from studio.state.runs import Runs
from studio.state.session import Session
from studio.words import LANGUAGES, set_language, tr
from studio.workers.collector import Collector
from studio.workers.job_thread import end_jobs
from studio.workers.task import end_tasks

_REBUILDS = frozenset(("language", "theme", "text_scale"))


def make_application(arguments: Sequence[str]) -> QApplication:
    """The Qt application, named; the window's look comes later, with the preferences."""
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    app = QApplication(list(arguments))
    app.setApplicationName("Lowrank Studio")
    app.setDesktopFileName("lowrank-studio")
    app.setApplicationVersion(__version__)
    return app


class Studio(QObject):
    """The running application: one desk, and one window that is made anew when language, theme or text size change."""

    def __init__(self, app: QApplication) -> None:
        super().__init__()
        self.app = app
        self.collector = Collector()
        self.preferences = Preferences()
        spec, self._draft_problems = read_draft()
        self.desk = Desk(Session(spec), Runs(), self.preferences)
        self.draft = Draft(self.desk.session)
        self.draft.unsaved.connect(self.desk.show_problems)
        self.desk.runs.failed.connect(self.desk.show_problems)
        self.preferences.unsaved.connect(self._preferences_unsaved)
        self.preferences.changed.connect(self._preference_changed)
        self.desk.runs.current_changed.connect(self._remember_run)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_scheme_changed)
        self._apply()
        self.window = MainWindow(self.desk)

    def show(self) -> None:
        """Shows the window and begins reading facts once it is painted."""
        self.window.show()
        QTimer.singleShot(0, self, self._begin)

    def open_paths(self, names: Sequence[str]) -> None:
        """Opens what was named on the command line."""
        if names:
            self.window.files.open_paths([Path(name).absolute() for name in names])

    def close(self) -> None:
        """Saves the draft and lets go of everything: trainings go on, chats and short jobs end with the window."""
        from studio.workers.chat_thread import end_chats, live_chats  # with what it needs, too much for the start

        self.draft.save()
        self.desk.runs.close()
        self.desk.queue.close()
        for chat in live_chats():
            chat.leave()  # they end while the others are waited for
        end_jobs()
        end_chats()
        end_tasks()
        self.collector.stop()

    def rebuild(self) -> None:
        """Makes the window anew on the same desk, where it was."""
        old = self.window
        old.save_place()
        old.close_pages()
        self._apply()
        self.window = MainWindow(self.desk, old.page)
        if old.isVisible():
            self.window.show()
        old.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        old.hide()
        old.deleteLater()

    def _begin(self) -> None:
        self.desk.session.begin()
        self.desk.runs.begin(self.preferences.now.last_run)
        self.desk.queue.begin()
        if self._draft_problems:
            self.desk.show_problems(self._draft_problems)
        if self.preferences.problem:
            self.desk.warn(tr("The preferences could not be read, so the defaults are used."), self.preferences.problem)

    def _apply(self) -> None:
        now = self.preferences.now
        code = now.language or system_language()
        set_language(code)
        scheme = system_scheme() if now.theme == "system" else now.theme
        apply_look(self.app, scheme, now.text_scale)
        self.app.setWindowIcon(icon("layers", "accent", 64))

    def _preference_changed(self, name: str) -> None:
        if name in _REBUILDS:
            QTimer.singleShot(0, self, self.rebuild)

    def _remember_run(self) -> None:
        run = self.desk.runs.current
        self.preferences.set("last_run", str(run.folder.path) if run is not None else "")

    def _system_scheme_changed(self, _scheme: object) -> None:
        if self.preferences.now.theme == "system":
            QTimer.singleShot(0, self, self.rebuild)

    def _preferences_unsaved(self, sentence: str) -> None:
        self.desk.warn(tr("The preferences could not be saved."), sentence)


def system_language() -> str:
    """The first language of the system that the window speaks; English where it speaks none."""
    for name in QLocale.system().uiLanguages():
        code = name.replace("-", "_")
        if code in LANGUAGES:
            return code
        if code.startswith("zh") and "TW" not in code and "Hant" not in code and "HK" not in code:
            return "zh_CN"
        if code.startswith("en"):
            return "en"
    return "en"


def install_crash_reports(studio: Studio) -> None:
    """Exceptions that reach nobody are written into the data folder and shown in the window; nothing is sent."""

    def report(kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, failure, trace))
        sys.stderr.write(text)
        path = paths.home() / "crashes" / f"window-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            paths.write_atomic(path, text)
            where = tr("The details are in {path}.", path=str(path))
        except OSError as trouble:
            where = tr("The details could not be saved: {reason}.", reason=str(trouble))
        studio.desk.complain(
            tr("An error in Lowrank Studio: {words}", words=f"{kind.__name__}: {failure}"), where, detail=text
        )

    sys.excepthook = report


def run(arguments: Sequence[str]) -> int:
    """Opens the window and returns when it has been closed."""
    import signal

    app = make_application(arguments[:1])
    studio = Studio(app)
    install_crash_reports(studio)
    signal.signal(signal.SIGINT, lambda *_: studio.window.close())
    signal.signal(signal.SIGTERM, lambda *_: studio.window.close())
    awake = QTimer()  # Python's signal handlers run only between bytecodes, so Qt's loop has to come back now and then
    awake.setInterval(500)
    awake.timeout.connect(lambda: None)
    awake.start()
    studio.show()
    studio.open_paths([name for name in arguments[1:] if not name.startswith("-")])
    status = app.exec()
    studio.close()
    return status
