"""An offline pack that was opened: what is in it, what taking it in would copy, and Take in."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QVBoxLayout

from core.errors import Problem, UserError
from core.hub.pack.manifest import PackedItem, read_pack
from core.hub.pack.taking import Taking, plan_taking
from core.spec.hub_data import short_name
from core.units import format_bytes
from studio.look import tokens
from studio.pages.model.halves import clear
from studio.state.downloads import Arrivals
from studio.widgets.basics import Card, Elided, IconLabel, ProblemNote, button, label, row, tool_button
from studio.widgets.controls import Switch
from studio.words import tr
from studio.workers.task import Task, start_task


class PackCard(Card):
    """One pack that may be taken in, or a part of it; closes when that begins or is not wanted."""

    def __init__(self, arrivals: Arrivals, folder: Path, on_close: Callable[[], object]) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self.setObjectName("pack-card")
        self.setAccessibleName(tr("Offline pack {name}", name=folder.name))
        self._arrivals, self.folder, self._close = arrivals, folder, on_close
        self._task: Task | None = None
        self.boxes: dict[str, Switch] = {}
        title = Elided(tr("Offline pack {name}", name=folder.name), "strong")
        away = tool_button("x", tr("Close"), on_close, name="pack-close")
        head = row(IconLabel("package", "accent"), title, away)
        head.setStretch(1, 1)
        words = tr("Models for a computer without a network. Every file is compared with what was packed.")
        self._items = QVBoxLayout()
        self._numbers = label(tr("Reading…"), "muted", wrap=True)
        self._numbers.setObjectName("pack-numbers")
        self._problems = QVBoxLayout()
        self.go = button(tr("Take in"), self._go, role="primary", icon_name="download", name="pack-go")
        self.go.setEnabled(False)
        self.body.setSpacing(tokens.SPACE_2)
        self.add(head)
        self.add(label(words, "muted", wrap=True))
        for part in (self._items, self._numbers, self._problems, row(self.go, None)):
            self.add(part)
        self._plan()

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of what is to be taken in."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def _plan(self) -> None:
        """Asks what taking in the chosen ones would do; everything at first."""
        if self._task is not None:
            self._task.cancel()
        folder, names = self.folder, self.chosen
        self.go.setEnabled(False)
        if self.boxes and not names:
            self._task = None
            self._complain(())
            self._numbers.setText(tr("Nothing is chosen."))
            return
        self._task = start_task(
            lambda _report: plan_taking(read_pack(folder), names),
            on_done=self._planned,
            on_failed=self._impossible,
            parent=self,
        )

    def _planned(self, taking: Taking) -> None:
        self._task = None
        for item in () if self.boxes else taking.items:
            self._add_box(item, is_here=item.name in taking.is_here)
        size, free = format_bytes(taking.bytes), format_bytes(taking.free)
        words = tr("{size} are to be copied; {free} are free.", size=size, free=free)
        self._numbers.setText(words if taking.bytes else tr("All of it is on this computer already."))
        self._complain(taking.problems)
        self.go.setEnabled(not taking.problems and bool(taking.bytes))

    def _add_box(self, item: PackedItem, *, is_here: bool) -> None:
        pieces = [short_name(item.name), format_bytes(item.bytes), item.licence, tr("is here") if is_here else ""]
        words = " · ".join(piece for piece in pieces if piece)
        box = Switch()
        box.setAccessibleName(words)
        box.setObjectName(f"pack-item-{item.name}")
        box.setChecked(True)
        box.toggled.connect(lambda _on: self._plan())
        self.boxes[item.name] = box
        line = row(box, Elided(words))
        line.setStretch(1, 1)
        self._items.addLayout(line)

    def _impossible(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self._numbers.setText("")
        self._complain(failure.problems)

    def _complain(self, problems: tuple[Problem, ...]) -> None:
        clear(self._problems)
        for problem in problems:
            note = ProblemNote(problem)
            note.setObjectName("pack-problem")
            self._problems.addWidget(note)

    def _go(self) -> None:
        if self.go.isEnabled():
            self._arrivals.take_pack(self.folder, self.chosen)
            self._close()
