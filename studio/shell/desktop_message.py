"""A message of the desktop's own, outside the window, by whatever shows such messages here."""

import html
import shutil
import sys

from PySide6.QtCore import QObject, QProcess, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QSystemTrayIcon

from studio.look.icons import icon

_SHOWN_MS = 10_000


class DesktopMessages(QObject):
    """Shows messages outside the window.

    On Linux `notify-send` speaks to every desktop that follows freedesktop.org's “Desktop Notifications”; a tray, the
    only way that Qt knows, is missing in some. Elsewhere it is the tray, with an icon for as long as the message may
    be read.

    Attributes:
        clicked: somebody answered a message by clicking it; `notify-send` does not tell.
    """

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._tray: QSystemTrayIcon | None = None
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(_SHOWN_MS)
        self._leaving.timeout.connect(self._leave_tray)

    def show(self, title: str, text: str) -> bool:
        """Shows a message; returns whether anything here shows such messages."""
        program = speaker()
        if program:
            # the text may hold markup according to the standard, the title may not
            words = ["--app-name", QGuiApplication.applicationDisplayName(), "--icon", "lowrank-studio"]
            started, _ = QProcess.startDetached(program, [*words, "--", title, html.escape(text, quote=False)])
            return bool(started)
        if not QSystemTrayIcon.isSystemTrayAvailable() or not QSystemTrayIcon.supportsMessages():
            return False
        if self._tray is None:
            self._tray = QSystemTrayIcon(icon("layers", "accent", 64), self)
            self._tray.messageClicked.connect(self.clicked)
        self._tray.show()
        self._tray.showMessage(title, text, icon("layers", "accent", 64), _SHOWN_MS)
        self._leaving.start()
        return True

    def _leave_tray(self) -> None:
        if self._tray is not None:
            self._tray.hide()


def speaker() -> str:
    """The program that shows messages on this desktop; empty where there is none and Qt has to."""
    return (shutil.which("notify-send") or "") if sys.platform == "linux" else ""
