"""Puts the application together: look, language, desk and window, and makes the window anew when they change."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QLocale, QObject, Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from core import __version__
from studio.look.icons import icon
from studio.look.theme import apply_look, system_scheme
from studio.shell.announcements import Announcements
from studio.shell.crashes import FaultFile, install_crash_reports, tell_faults
from studio.shell.single import become_only, hand_over
from studio.shell.window import MainWindow
from studio.state.desk import Desk
from studio.state.drafts import Draft, draft_path, read_draft
from studio.state.preferences import Preferences
from studio.state.runs import Runs
from studio.state.session import Session
from studio.words import LANGUAGES, set_language, tr
from studio.workers.collector import Collector
from studio.workers.job_thread import end_jobs
from studio.workers.task import end_tasks

_SHOWN_MILLISECONDS = 60_000
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
        self.wants_restart = False
        self.desk.restarting.connect(self._restart)
        self.desk.runs.current_changed.connect(self._remember_run)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_scheme_changed)
        self._apply()
        self.window = MainWindow(self.desk)
        self.announcements = Announcements(self.desk, lambda: self.come_forward(()))

    def show(self) -> None:
        """Shows the window and begins reading facts once it is painted."""
        self.window.show()
        QTimer.singleShot(0, self, self._begin)

    def open_paths(self, names: Sequence[str]) -> None:
        """Opens what was named on the command line."""
        if names:
            self.window.files.open_paths([Path(name).absolute() for name in names])

    def come_forward(self, names: Sequence[str]) -> None:
        """Brings the window to the front, and opens what another start was asked to open."""
        window = self.window
        window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
        window.show()
        window.raise_()
        window.activateWindow()
        self.open_paths(names)

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
        tell_faults(self.desk)
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

    def _restart(self) -> None:
        self.draft.path = draft_path()
        self.wants_restart = True
        self.window.close()

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


def run(arguments: Sequence[str]) -> int:
    """Opens the window and returns when it has been closed; where it is open already, brings it to the front."""
    import signal

    app = make_application(arguments[:1])
    names = [str(Path(name).absolute()) for name in arguments[1:] if not name.startswith("-")]
    only = become_only()
    if only is None:
        if hand_over(names):
            return 0
        return _tell_hung()
    fault = _fault_file()
    studio = Studio(app)
    install_crash_reports(studio.desk)
    only.asked.connect(studio.come_forward)
    signal.signal(signal.SIGINT, lambda *_: studio.window.close())
    signal.signal(signal.SIGTERM, lambda *_: studio.window.close())
    awake = QTimer()  # Python's signal handlers run only between bytecodes, so Qt's loop has to come back now and then
    awake.setInterval(500)
    awake.timeout.connect(lambda: None)
    awake.start()
    studio.show()
    studio.open_paths(names)
    status = app.exec()
    studio.close()
    only.close()
    if fault is not None:
        fault.close()
    if studio.wants_restart:
        _start_again()
    return status


def _start_again() -> None:
    """Opens the window anew, in a process that outlives this one."""
    import subprocess

    command = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-P", "-m", "studio"]
    # A packaged program that started this way would else take itself for a worker of the one that ends.
    environment = {**os.environ, "PYINSTALLER_RESET_ENVIRONMENT": "1"}
    subprocess.Popen(command, env=environment, start_new_session=sys.platform != "win32")


def _fault_file() -> FaultFile | None:
    """Where a fault in native code is written; without it where the data folder cannot be written."""
    try:
        return FaultFile()
    except OSError:
        return None


def _tell_hung() -> int:
    """Another window holds this data folder and does not answer: a second one would write into the same files."""
    from PySide6.QtWidgets import QMessageBox

    set_language(system_language())
    message = tr("Lowrank Studio is open already, but it does not answer. End it, then start it again.")
    sys.stderr.write(f"{message}\n")
    box = QMessageBox(QMessageBox.Icon.Warning, "Lowrank Studio", message)
    QTimer.singleShot(_SHOWN_MILLISECONDS, box.accept)
    box.exec()
    return 1
