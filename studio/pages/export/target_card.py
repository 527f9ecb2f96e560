"""Where an export goes: the folder, what it takes of the disk, what stands against it, and the button that makes it."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog, QLineEdit, QVBoxLayout

from core.errors import Problem
from core.paths import existing_parent
from studio.look import tokens
from studio.pages.export.space_bar import SpaceBar
from studio.state.exports import Exports
from studio.widgets.basics import Card, ProblemNote, breakable, button, label, row
from studio.widgets.controls import Switch
from studio.words import tr

if TYPE_CHECKING:
    from core.export.result import ExportPlan


class TargetCard(Card):
    """The card “Where to”; shows and edits the target of the desk's `Exports`."""

    def __init__(self, exports: Exports) -> None:
        super().__init__(tr("Where to"))
        self._exports = exports
        self.field = QLineEdit()
        self.field.setObjectName("target")
        self.field.setAccessibleName(tr("Target folder"))
        self.field.textEdited.connect(exports.choose_target)
        self.field.returnPressed.connect(self._start)
        browse = button(tr("Browse…"), self._browse, icon_name="folder-open", name="browse")
        self.start = button(tr("Export"), self._start, role="primary", icon_name="upload", name="start-export")
        self._space = SpaceBar()
        self._notes = QVBoxLayout()
        self._notes.setSpacing(tokens.SPACE_2)
        self._shown: tuple[Problem, ...] = ()
        self._hint = label("", "muted", wrap=True)
        self.verify = Switch(tr("Check it afterwards"))
        self.verify.setObjectName("verify-export")
        self.verify.setToolTip(tr("Opens it in a process of its own and compares what it says with the run's result."))
        self.verify.setChecked(exports.verify)
        self.verify.toggled.connect(self._turn_verify)
        top = row(self.field, browse)
        top.setStretch(0, 1)
        self.add(top)
        self.add(self._hint)
        self.add(self._space)
        self.add(self._notes)
        self.add(row(self.verify, None, self.start))
        self.refresh()

    def refresh(self) -> None:
        """Shows what the exports say now."""
        exports = self._exports
        plan = exports.outlook.plan if exports.outlook is not None else None
        shown = exports.target or (str(plan.place) if plan is not None else "")
        if self.field.text() != shown and not (self.field.hasFocus() and exports.target == ""):
            self.field.setText(shown)
            self.field.setCursorPosition(0 if not self.field.hasFocus() else len(shown))
        self._space.setVisible(plan is not None and plan.bytes_needed > 0)
        if plan is not None:
            self._space.show_space(plan.bytes_needed, plan.free_bytes)
        self.verify.setVisible(plan is not None and plan.verify_arguments is not None)
        self._hint.setText(_hint(plan))
        self.start.setText(tr("Export and upload") if exports.kind == "hub" else tr("Export"))
        self.start.setEnabled(exports.can_start)
        self._show_problems((*exports.problems, *(plan.problems if plan is not None else ())))

    def _show_problems(self, problems: tuple[Problem, ...]) -> None:
        if problems == self._shown:
            return
        self._shown = problems
        while (item := self._notes.takeAt(0)) is not None:
            note = item.widget()
            if note is not None:
                note.deleteLater()
        for problem in problems:
            self._notes.addWidget(ProblemNote(problem))
        is_bad = bool(problems)
        self.field.setProperty("state", "bad" if is_bad else "")
        self.field.style().unpolish(self.field)
        self.field.style().polish(self.field)

    def _turn_verify(self, on: bool) -> None:
        self._exports.verify = on

    def _start(self) -> None:
        self._exports.start()

    def _browse(self) -> None:
        beginning = existing_parent(Path(self.field.text()).expanduser()) if self.field.text() else Path.home()
        chosen = QFileDialog.getExistingDirectory(self, tr("Folder for the export"), str(beginning))
        if chosen:
            self._exports.choose_target(str(_inside(Path(chosen), self._exports)))


def _hint(plan: "ExportPlan | None") -> str:
    """What becomes of the place that is shown above it."""
    if plan is not None and plan.target != plan.place:
        inside = str(plan.target.relative_to(plan.place))
        return tr("Writes {name} in it. Nothing is overwritten.", name=breakable(inside))
    if plan is not None and plan.kind == "hub":
        return tr("A copy stays here. A folder that does not exist yet, or is empty.")
    if plan is not None and plan.kind in ("gguf", "gguf_adapter"):
        return tr("A file that does not exist yet. Nothing is overwritten.")
    return tr("A folder that does not exist yet, or is empty. Nothing is overwritten.")


def _inside(chosen: Path, exports: Exports) -> Path:
    """A folder with things in it is where the export's own folder goes; others put a file of their own into it."""
    if exports.kind in ("gguf", "gguf_adapter", "lm_studio"):
        return chosen
    if any(chosen.iterdir()) and exports.run is not None:
        return chosen / f"{exports.run.name}-{exports.kind}"
    return chosen
