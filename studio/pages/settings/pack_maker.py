"""Offline packs: models of this computer in a folder that one copies to a computer without a network."""

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QProgressBar, QPushButton, QWidget

from core.errors import Problem, UserError
from core.facts.locate import InstalledModel, list_models
from core.hub.pack.making import make_pack, plan_making
from core.hub.pack.manifest import Pack, is_pack
from core.units import format_bytes
from studio.pages.model.halves import clear
from studio.state.desk import Desk
from studio.state.downloads import arrivals
from studio.widgets.basics import Card, Elided, ProblemNote, button, column, label, row
from studio.widgets.controls import Switch
from studio.widgets.flow import FlowLayout
from studio.words import say, tr
from studio.workers.task import Report, Task, start_task

_FOLDER = "lowrank-pack"
_STEPS = 1000


class PackMakerCard(Card):
    """Lists the models of this computer, copies the chosen ones into a folder, and says how far it is."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Offline pack"), tr("Models in a folder that you copy to a computer without a network."))
        self._desk = desk
        self._task: Task | None = None
        self._made: Path | None = None
        self.boxes: dict[str, Switch] = {}
        self._list = column()
        self._words = label("", wrap=True)
        self._words.setObjectName("pack-words")
        self._notes = column()
        self._bar = QProgressBar()
        self._bar.setRange(0, _STEPS)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Making the pack"))
        self.make = button(tr("Make a pack…"), self.begin, icon_name="package", name="pack-make")
        self.take = button(tr("Take one in…"), self._ask_for_pack, icon_name="folder-open", name="pack-take")
        self.into = button(tr("Into the folder…"), self._ask_for_folder, role="primary", name="pack-into")
        self.leave = button(tr("Cancel"), self.cancel, name="pack-cancel")
        self.open = button(tr("Open folder"), self._open, name="pack-open")
        actions = FlowLayout()
        for action in (self.make, self.take, self.into, self.leave, self.open):
            actions.addWidget(action)
        for part in (self._list, self._words, self._notes, self._bar, actions):
            self.add(part)
        self._show("")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the models that go into the pack."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def begin(self) -> None:
        """Lists the models of this computer to choose from."""
        self._clear()
        self._task = start_task(
            lambda _report: list_models(), on_done=self._listed, on_failed=self._failed, parent=self
        )
        self._show(tr("Looking for models…"))

    def write_into(self, folder: Path) -> None:
        """Makes the pack; a folder that has other files in it gets a folder of ours inside."""
        other = folder.is_dir() and any(folder.iterdir()) and not is_pack(folder)
        target, names = (folder / _FOLDER if other else folder), self.chosen
        self._task = start_task(
            lambda report: _make(report, target, names),
            on_done=self._whole,
            on_failed=self._failed,
            on_progress=self._progressed,
            parent=self,
        )
        self._show(tr("Looking at {folder}…", folder=str(target)), is_working=True)

    def cancel(self) -> None:
        """Ends the making, where what is whole stays; or puts the list away."""
        working = self._task is not None and self._bar.isVisibleTo(self)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._clear()
        kept = tr("What is whole in the pack is kept; make it again in the same folder to go on.")
        self._show(kept if working else "")

    def _listed(self, models: tuple[InstalledModel, ...]) -> None:
        self._task = None
        for model in models:
            words = f"{model.name} · {format_bytes(model.bytes)}"
            box = Switch()
            box.setAccessibleName(words)
            box.setObjectName(f"pack-model-{model.name}")
            box.toggled.connect(lambda _on: self._count())
            self.boxes[model.name] = box
            line = QWidget()
            beside = row(box, Elided(words))
            beside.setStretch(1, 1)
            line.setLayout(beside)
            self._list.addWidget(line)
        if models:
            self._count()
        else:
            self._show(tr("There are no models on this computer yet."))

    def _count(self) -> None:
        self._show("" if self.chosen else tr("Choose what is to go into the pack."))

    def _progressed(self, progress: tuple[int, int, str]) -> None:
        done, total, words = progress
        self._bar.setValue(round(done / total * _STEPS) if total else _STEPS)
        numbers = tr("{done} of {total}", done=format_bytes(done), total=format_bytes(total))
        self._words.setText(f"{say(words)} · {numbers}")

    def _whole(self, pack: Pack) -> None:
        self._task = None
        self._made = pack.folder
        self._clear()
        size, folder = format_bytes(pack.bytes), str(pack.folder)
        self._show(tr("The pack is whole: {size} in {folder}. Copy the folder.", size=size, folder=folder))

    def _failed(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError | OSError):
            raise failure
        problems = failure.problems if isinstance(failure, UserError) else ()
        self._show("" if problems else str(failure), problems)

    def _clear(self) -> None:
        clear(self._list)
        self.boxes = {}

    def _show(self, words: str, problems: tuple[Problem, ...] = (), *, is_working: bool = False) -> None:
        clear(self._notes)
        for problem in problems:
            self._notes.addWidget(ProblemNote(problem))
        self._words.setText(words)
        self._words.setVisible(bool(words))
        self._bar.setValue(0)
        self._bar.setVisible(is_working)
        for box in self.boxes.values():
            box.setEnabled(not is_working)
        idle = not self.boxes and self._task is None
        self.into.setEnabled(bool(self.chosen) and not is_working)
        shown = {
            self.make: idle,
            self.take: idle,
            self.open: idle and self._made is not None,
            self.into: bool(self.boxes),
            self.leave: not idle,
        }
        self._show_buttons(shown)

    def _show_buttons(self, shown: Mapping[QPushButton, bool]) -> None:
        """Shows and hides buttons; the focus of one that goes stays in the card, else the page would scroll away."""
        for item in (item for item, is_shown in shown.items() if is_shown):
            item.setVisible(True)
        held = self.window().focusWidget()
        if any(item is held and not is_shown for item, is_shown in shown.items()):
            (self.make if shown[self.make] else self.leave).setFocus()
        for item in (item for item, is_shown in shown.items() if not is_shown):
            item.setVisible(False)

    def _ask_for_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Where the pack is to be made"), str(Path.home()))
        if chosen:
            self.write_into(Path(chosen))

    def _ask_for_pack(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Open the folder of an offline pack"), str(Path.home()))
        if chosen:
            arrivals(self._desk).offer_pack(Path(chosen))

    def _open(self) -> None:
        folder = str(self._made)
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(folder)):
            self._desk.warn(tr("The folder cannot be opened here."), folder)


def _make(report: Report, folder: Path, names: tuple[str, ...]) -> Pack:
    return make_pack(plan_making(folder, names), report)
