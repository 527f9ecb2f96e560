"""The first page of the first start: the starter model and the sample rows, so that training is three clicks away."""

import os
import shutil

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from core import paths
from core.errors import UserError
from core.runs.starter import ensure_starter, has_starter
from core.spec.demo import demo_spec
from core.units import format_bytes
from studio.look import tokens
from studio.look.icons import pixmap
from studio.look.theme import look
from studio.pages.settings.move_card import MoveCard
from studio.state.desk import Desk
from studio.widgets.basics import Card, IconLabel, LinkLabel, button, column, label
from studio.widgets.scrolled import ScrolledContent
from studio.words import say, tr
from studio.workers.task import Task, start_task


class WelcomePage(QWidget):
    """Offers the starter model with the sample rows, own files, or a spec; gone once something is chosen."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self._task: Task | None = None
        self.setObjectName("page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName(tr("Welcome"))
        middle = QWidget()
        middle.setMaximumWidth(look().px(680))
        box = QVBoxLayout(middle)
        box.setSpacing(tokens.SPACE_4)
        box.addStretch(2)
        logo = QLabel()
        logo.setPixmap(pixmap("layers", "accent", 40, self.devicePixelRatioF()))
        title = label(tr("Fine-tune a language model on this computer"), "title", wrap=True)
        text = label(
            tr(
                "Choose a base model, show it examples, train a small adapter, talk to the result and take it with "
                "you. Nothing is sent anywhere."
            ),
            "help",
            wrap=True,
        )
        for item in (logo, title, text):
            box.addWidget(item)
        box.addWidget(self._first_card())
        box.addLayout(self._other_ways())
        box.addWidget(self._place())
        box.addStretch(3)
        content = ScrolledContent()
        content.setObjectName("pageBody")
        outer = QHBoxLayout(content)
        outer.setContentsMargins(tokens.SPACE_6, tokens.SPACE_4, tokens.SPACE_6, tokens.SPACE_4)
        outer.addStretch(1)
        outer.addWidget(middle, 8)
        outer.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(content)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.setFocusProxy(self.begin_button)

    def _first_card(self) -> QFrame:
        card = Card(tr("Your first training, in a few minutes"))
        steps = (
            ("box", tr("SmolLM2-135M-Instruct: a real chat model, small enough for any computer (Apache-2.0).")),
            ("database", tr("846 entries of Ambrose Bierce’s Devil’s Dictionary (public domain).")),
            ("activity", tr("45 steps that teach the model his voice, with the loss live on the screen.")),
        )
        for icon_name, words in steps:
            holder = QHBoxLayout()
            holder.setSpacing(tokens.SPACE_3)
            holder.addWidget(IconLabel(icon_name, "accent", 18))
            holder.addWidget(label(words, wrap=True), 1)
            card.add(holder)
        self._doing = label("", "muted", wrap=True)
        self._doing.setObjectName("welcome-progress")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setRange(0, 1000)
        self._bar.setAccessibleName(tr("Progress of fetching the starter model"))
        self.begin_button = button(
            tr("Use the starter model and the sample rows"), self.begin, role="primary", name="welcome-begin"
        )
        self.begin_button.setMinimumHeight(look().px(tokens.START))
        self._cancel = button(tr("Cancel"), self._give_up, name="welcome-cancel")
        card.add(self._doing)
        card.add(self._bar)
        buttons = QHBoxLayout()
        buttons.addWidget(self.begin_button)
        buttons.addWidget(self._cancel)
        buttons.addStretch(1)
        card.add(buttons)
        self._show_working(None)
        return card

    def _other_ways(self) -> QHBoxLayout:
        box = QHBoxLayout()
        box.setSpacing(tokens.SPACE_2)
        box.addWidget(label(tr("Or:"), "help"))
        box.addWidget(button(tr("Choose my own model"), lambda: self._leave("model"), name="welcome-own"))
        box.addWidget(button(tr("Look around first"), lambda: self._leave("training"), name="welcome-look"))
        box.addStretch(1)
        return box

    def _place(self) -> QWidget:
        """Where everything will lie, and a way to choose another disk before anything lies there."""
        place = paths.home()
        try:
            free = format_bytes(shutil.disk_usage(paths.existing_parent(place)).free)
            words = tr("Models, runs and exports are kept in {folder}, where {free} are free.", folder=place, free=free)
        except OSError as failure:
            words = tr("The data folder {folder} cannot be looked at: {reason}.", folder=place, reason=failure.strerror)
        move = MoveCard(self.desk)
        said = label(words, "muted", wrap=True)
        said.setObjectName("welcome-place")
        change = LinkLabel(tr("Keep them elsewhere…"), move.ask)
        change.setObjectName("welcome-move")
        change.setVisible(not os.environ.get(paths.HOME_VARIABLE))
        holder = QWidget()
        holder.setLayout(column(said, change, move, spacing=tokens.SPACE_1))
        return holder

    def begin(self) -> None:
        """Fetches the starter model if need be, and fills in the first spec."""
        if self._task is not None:
            return
        if _is_there():
            self._finish(None)
            return
        self._show_working((tr("Fetching the starter model…"), 0.0))
        self._task = start_task(
            ensure_starter,
            on_done=self._finish,
            on_failed=self._failed,
            on_progress=lambda progress: self._show_working((say(str(progress[0])), float(progress[1]))),
            parent=self,
        )

    def _finish(self, _folder: object) -> None:
        self._task = None
        self._show_working(None)
        self.desk.session.set_spec(demo_spec("starter"))
        self.desk.tell(
            tr("The starter model and the sample rows are chosen."),
            tr("Look at the plan on the right, then press Start."),
        )
        self._leave("adapter")

    def _failed(self, failure: Exception) -> None:
        self._task = None
        self._show_working(None)
        if not isinstance(failure, UserError):
            raise failure
        problem = failure.problems[0]
        self._doing.setText(f"{say(problem.message)} {say(problem.advice)}")
        self._doing.show()

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._show_working(None)

    def _leave(self, page: str) -> None:
        self.desk.preferences.set("welcomed", value=True)
        self.desk.go(page)

    def _show_working(self, state: tuple[str, float] | None) -> None:
        working = state is not None
        self._doing.setVisible(working)
        self._bar.setVisible(working)
        self._cancel.setVisible(working)
        self.begin_button.setEnabled(not working)
        if state is not None:
            self._doing.setText(state[0])
            self._bar.setValue(round(state[1] * 1000))


def _is_there() -> bool:
    try:
        return has_starter()
    except UserError:  # something else lies in its place; fetching it will say what and where
        return False
