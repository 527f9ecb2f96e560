"""Tells outside the window that long work has ended, to somebody who has turned to something else meanwhile."""

import time
from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication

from studio.shell.desktop_message import DesktopMessages
from studio.state.desk import Desk
from studio.words import say, tr, tr_count

_AT_WORK = ("going", "pausing", "stopping")


class Announcements(QObject):
    """Listens for ends of trainings, of the queue, and of whatever else a `Desk` announces.

    Nothing is told while the window is in front: it says the same itself.
    """

    def __init__(self, desk: Desk, come_forward: Callable[[], None]) -> None:
        """``come_forward`` brings the window to the front when somebody clicks a message."""
        super().__init__()
        self._desk = desk
        self._messages = DesktopMessages()
        self._messages.clicked.connect(come_forward)
        self._queue_began = 0.0
        desk.announced.connect(self._say)
        desk.runs.current_ended.connect(self._run_ended)
        desk.queue.changed.connect(self._queue_moved)

    def _say(self, title: str, text: str) -> None:
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        if app.activeWindow() is not None or not self._desk.preferences.now.announce:
            return
        for window in app.topLevelWidgets():
            if window.isWindow() and window.isVisible():
                app.alert(window)
                break
        self._messages.show(title, text)

    def _run_ended(self) -> None:
        run = self._desk.runs.current
        if run is None or run.outcome is None:
            return
        well = run.outcome.kind in ("completed", "stopped")
        if well and self._desk.queue.now.state in _AT_WORK:
            return  # the queue goes on, and tells of all of them at its end
        title = tr("{run}: {title}", run=run.name, title=say(run.outcome.title))
        self._say(title, f"{say(run.outcome.message)} {say(run.outcome.hint)}".strip())

    def _queue_moved(self) -> None:
        now = self._desk.queue.now
        if now.state in _AT_WORK:
            self._queue_began = self._queue_began or time.time()
            return
        began, self._queue_began = self._queue_began, 0.0
        if not began or now.state == "paused":
            return  # it was not at work, or somebody has just paused it
        if now.state == "interrupted":
            self._say(tr("The queue broke off."), tr("It goes on from the last saved state when you start it."))
            return
        ended = [entry for entry in now.queue.ended if entry.ended >= began]
        bad = sum(entry.state in ("failed", "skipped") for entry in ended)
        words = [tr_count(len(ended) - bad, "One run has ended.", "{n} runs have ended.")]
        if bad:
            words.append(tr_count(bad, "One failed or was skipped.", "{n} failed or were skipped."))
        self._say(tr("The queue is done."), " ".join(words))
