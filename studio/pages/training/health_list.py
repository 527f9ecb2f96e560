"""How the run is doing, in sentences: the worst first, each with what to do."""

import time

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.events.health import Note, health
from studio.look import tokens
from studio.pages.training.run_facts import RunFacts
from studio.state.runs import WatchedRun
from studio.widgets.basics import IconLabel, column, label
from studio.words import say, tr

_ICONS = {
    "good": ("circle-check", "good", "note-good"),
    "info": ("info", "accent", "note-info"),
    "warning": ("triangle-alert", "warn", "note-warn"),
    "bad": ("octagon-x", "bad", "note-bad"),
}
_MOST = 4
_EVERY_SECONDS = 1.0


class HealthList(QWidget):
    """Notes of `core.events.health`, asked for once a second at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("health")
        self.setAccessibleName(tr("Health of the run"))
        self.notes: tuple[Note, ...] = ()
        self._asked = 0.0
        self._heard = time.monotonic()
        self._events = 0.0
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        self.hide()

    def forget(self) -> None:
        """Begins another run."""
        self._asked, self._heard = 0.0, time.monotonic()
        self._show(())

    def refresh(self, run: WatchedRun, facts: RunFacts, *, at_once: bool = False) -> None:
        """Asks again, unless that was a moment ago."""
        now = time.monotonic()
        if run.state.last_time != self._events:
            self._events, self._heard = run.state.last_time, now
        if not at_once and now - self._asked < _EVERY_SECONDS:
            return
        self._asked = now
        notes = health(
            run.state,
            max_grad_norm=facts.max_grad_norm,
            memory_limit=facts.memory_limit,
            idle_seconds=now - self._heard if run.is_live else 0.0,
        )
        self._show(notes[:_MOST])

    def _show(self, notes: tuple[Note, ...]) -> None:
        if notes == self.notes:
            return
        self.notes = notes
        while (item := self._box.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for note in notes:
            self._box.addWidget(_note(note))
        self.setVisible(bool(notes))


def _note(note: Note) -> QFrame:
    icon_name, color, role = _ICONS[note.level]
    made = QFrame()
    made.setProperty("role", role)
    made.setObjectName(f"health-{note.code}")
    made.setAccessibleName(f"{say(note.message)} {say(note.advice)}".strip())
    texts = column(label(say(note.message), wrap=True, selectable=True), spacing=2)
    if note.advice:
        texts.addWidget(label(say(note.advice), "muted", wrap=True, selectable=True))
    box = QHBoxLayout(made)
    box.setContentsMargins(10, 8, 10, 8)
    box.setSpacing(tokens.SPACE_2)
    box.addWidget(IconLabel(icon_name, color), 0, Qt.AlignmentFlag.AlignTop)
    box.addLayout(texts, 1)
    return made
