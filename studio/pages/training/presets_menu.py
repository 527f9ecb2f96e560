"""“Start from a preset”: the bundled starting points, each with what it is for."""

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QPushButton

from core.errors import UserError
from studio.look.icons import icon
from studio.state.desk import Action, Desk
from studio.widgets.basics import button
from studio.words import say, tr
from studio.workers.task import Report, start_task

if TYPE_CHECKING:
    from core.spec.presets import Preset


def presets_button(desk: Desk) -> QPushButton:
    """A button with the menu of presets; they are read in the background."""
    made = button(tr("Start from a preset"), icon_name="sliders-horizontal", name="presets")
    menu = QMenu(made)
    menu.setToolTipsVisible(True)
    menu.setObjectName("presets-menu")
    made.setMenu(menu)
    made.setEnabled(False)

    def fill(presets: "tuple[Preset, ...]") -> None:
        for preset in presets:
            action = QAction(icon("sliders-horizontal", "muted"), say(preset.title), menu)
            action.setToolTip(say(preset.help))
            action.setStatusTip(say(preset.help))
            action.triggered.connect(partial(_take, desk, preset))
            menu.addAction(action)
        made.setEnabled(True)

    def refuse(failure: Exception) -> None:
        if not isinstance(failure, UserError):
            raise failure
        desk.show_problems(failure.problems)

    start_task(_read, on_done=fill, on_failed=refuse, parent=made)
    return made


def _read(_report: Report) -> "tuple[Preset, ...]":
    from core.spec.presets import presets

    return presets()


def _take(desk: Desk, preset: "Preset", _checked: bool = False) -> None:
    before = desk.session.spec
    desk.session.apply(preset.edits, gesture=f"preset {preset.name}")
    if desk.session.spec == before:
        desk.tell(tr("“{title}” changes nothing: these settings are already so.", title=say(preset.title)))
        return
    undo = (Action(tr("Undo"), partial(desk.session.set_spec, before)),)
    desk.tell(tr("The settings are those of “{title}”.", title=say(preset.title)), say(preset.help), actions=undo)
