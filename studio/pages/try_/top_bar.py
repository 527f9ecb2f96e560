"""Whom to talk to, who of them answers, and whether the model is loaded."""

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QComboBox, QFileDialog, QProgressBar

from core.errors import Problem
from core.units import format_bytes, format_duration
from studio.look import tokens
from studio.look.theme import look
from studio.pages.try_.voice_bar import VoiceBar
from studio.state.chat_choice import ChatChoice
from studio.state.chat_engine import Phase
from studio.state.chats import Chats
from studio.widgets.basics import Card, IconLabel, ProblemNote, button, column, label, row, tool_button
from studio.widgets.controls import CalmList
from studio.widgets.flow import FlowLayout
from studio.words import say, tr

_NARROW = 860


class TopBar(Card):
    """The card above the conversation; follows a `Chats`."""

    def __init__(self, chats: Chats) -> None:
        super().__init__(margin=12)
        self._chats = chats
        self._items: list[ChatChoice] = []
        self._notes: list[_Note] = []
        self.picker = CalmList()
        self.picker.setObjectName("chat-target")
        self.picker.setAccessibleName(tr("Run or model"))
        self.picker.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.picker.setMinimumContentsLength(20)
        self.picker.activated.connect(self._picked)
        self.open = tool_button(
            "folder-open", tr("Open the folder of an adapter or a model"), self._browse, name="open-model"
        )
        self.load = button("", self._load_pressed, name="load")
        self.step = CalmList()
        self.step.setObjectName("chat-step")
        self.step.setAccessibleName(tr("Result or checkpoint"))
        self.step.activated.connect(self._step_picked)
        self._steps: list[int] = []
        self.voices = VoiceBar(chats)
        self._state = label("", "muted", wrap=True)
        self._state.setObjectName("chat-state")
        self._mark = IconLabel("circle", "faint")
        self._working = QProgressBar()
        self._working.setRange(0, 0)
        self._working.setAccessibleName(tr("Loading"))
        self._asking = _AskingNote(chats)
        self._problems = column()
        first = row(self.picker, self.step, self.open, self.load)
        first.setStretch(0, 1)
        state = row(self._mark, self._state)
        state.setStretch(1, 1)
        self._second = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._second.setSpacing(tokens.SPACE_3)
        self._second.addWidget(self.voices, 3)
        self._second.addLayout(state, 2)
        self.add(first)
        self.add(self._second)
        self.add(self.voices.notes)
        self.add(self._working)
        self.add(self._asking)
        self.add(self._problems)
        chats.changed.connect(self.refresh)
        chats.results.changed.connect(self.refresh)
        self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Two lines instead of one where there is little room."""
        super().resizeEvent(event)
        wide = self.width() >= look().px(_NARROW)
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._second.direction() != direction:
            self._second.setDirection(direction)

    def refresh(self) -> None:
        """Shows what is known now."""
        self._list()
        chats, phase = self._chats, self._chats.phase
        is_on = phase in (Phase.LOADING, Phase.READY)
        self.load.setText(tr("Unload") if is_on else tr("Load"))
        self.load.setToolTip(
            tr("Ends the engine and gives its memory back.") if is_on else tr("Loads the model, ready to answer.")
        )
        self.load.setEnabled(chats.choice is not None and phase is not Phase.UNLOADING)
        self._state.setText(_state(chats))
        self._mark.set_icon(*_MARKS[phase])
        self._working.setVisible(phase in (Phase.LOADING, Phase.UNLOADING))
        self._asking.setVisible(phase is Phase.ASKING)
        self._asking.refresh()
        self._show_problems()

    def _list(self) -> None:
        chats, results = self._chats, self._chats.results
        items = [(ChatChoice("run", run.path), tr("Run: {name}", name=run.name)) for run in results.all]
        with_result = {run.path for run in results.all}
        items += [
            (ChatChoice("run", path, steps[-1]), tr("Run without a result: {name}", name=path.name))
            for path, steps in results.states.items()
            if path not in with_result
        ]
        items += [(ChatChoice("model", model.path), tr("Model: {name}", name=model.name)) for model in chats.models]
        if chats.choice is not None and not any(_same(choice, chats.choice) for choice, _ in items):
            items.append((chats.choice, tr("Model: {name}", name=_title(chats.choice.path))))
        if [choice for choice, _ in items] != self._items:
            self._items = [choice for choice, _ in items]
            self.picker.clear()
            for choice, text in items:
                self.picker.addItem(text)
                self.picker.setItemData(self.picker.count() - 1, str(choice.path), Qt.ItemDataRole.ToolTipRole)
        chosen = chats.choice
        place = next((i for i, item in enumerate(self._items) if chosen is not None and _same(item, chosen)), -1)
        self.picker.setCurrentIndex(place)
        self._list_steps()

    def _list_steps(self) -> None:
        """The result and the saved states of the run that is chosen."""
        choice, results = self._chats.choice, self._chats.results
        steps: list[int] = []
        if choice is not None and choice.kind == "run":
            steps = [0] if results.find(choice.path) is not None else []
            steps += reversed(results.states.get(choice.path, ()))
        if steps != self._steps:
            self._steps = steps
            self.step.clear()
            self.step.addItems([tr("Step {step}", step=f"{step:,}") if step else tr("Result") for step in steps])
        if choice is not None and choice.step in steps:
            self.step.setCurrentIndex(steps.index(choice.step))
        self.step.setVisible(len(steps) > 1)

    def _show_problems(self) -> None:
        wanted = self._chats.problems
        if tuple(note.problem for note in self._notes) == wanted:
            return
        for old in self._notes:
            self._problems.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._notes = [_Note(problem) for problem in wanted]
        for note in self._notes:
            self._problems.addWidget(note)

    def _picked(self, place: int) -> None:
        self._chats.choose(self._items[place])

    def _step_picked(self, place: int) -> None:
        choice = self._chats.choice
        if choice is not None:
            self._chats.choose(ChatChoice("run", choice.path, self._steps[place]))

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Folder of an adapter or a model"), str(Path.home()))
        if chosen:
            self._chats.choose(ChatChoice("model", Path(chosen)))

    def _load_pressed(self) -> None:
        if self._chats.phase in (Phase.LOADING, Phase.READY):
            self._chats.unload()
        else:
            self._chats.load()


class _Note(ProblemNote):
    """A problem note that remembers its problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class _AskingNote(Card):
    """What loading beside a training will cost, and the two answers to it."""

    def __init__(self, chats: Chats) -> None:
        super().__init__(role="note-warn", margin=10)
        self._chats = chats
        self._words = label("", wrap=True)
        self._words.setObjectName("asking")
        heading = row(IconLabel("triangle-alert", "warn"), self._words)
        heading.setStretch(1, 1)
        self.add(heading)
        actions = FlowLayout()
        actions.addWidget(button(tr("Load anyway"), chats.load_anyway, name="load-anyway"))
        actions.addWidget(button(tr("Not now"), chats.not_now, role="quiet", name="not-now"))
        self.add(actions)

    def refresh(self) -> None:
        """The numbers may have changed."""
        cost = self._chats.cost
        if cost is None or not cost.bytes:
            words = tr("A training is under way. A second model takes memory that the training may need.")
        else:
            values = {"needed": format_bytes(cost.bytes), "free": format_bytes(cost.free_bytes)}
            if not cost.fits:
                words = tr(
                    "A training is under way. This model takes about {needed} more, and only {free} are free: either "
                    "may run out of memory.",
                    **values,
                )
            else:
                words = tr(
                    "A training is under way. This model takes about {needed} more of {free} free, and both will be "
                    "slower.",
                    **values,
                )
        self._words.setText(words)


_MARKS = {
    Phase.EMPTY: ("circle", "faint"),
    Phase.ASKING: ("circle", "faint"),
    Phase.LOADING: ("loader", "accent"),
    Phase.READY: ("circle-check", "good"),
    Phase.UNLOADING: ("loader", "muted"),
}


def _state(chats: Chats) -> str:
    """One line about the engine."""
    phase, cost, loaded = chats.phase, chats.cost, chats.loaded
    if phase is Phase.UNLOADING:
        return tr("Unloading…")
    if phase is Phase.LOADING:
        return say(loaded.words) if loaded is not None and loaded.words else tr("Starting the engine…")
    if phase is Phase.READY and loaded is not None and loaded.ready is not None:
        ready = loaded.ready
        device = tr("the processor") if ready.device == "cpu" else ready.device
        return tr("Ready on {device} · loaded in {time}", device=device, time=format_duration(ready.seconds))
    if cost is not None and cost.bytes:
        needed, free = format_bytes(cost.bytes), format_bytes(cost.free_bytes)
        return tr("Not loaded · takes about {needed} of {free} free memory", needed=needed, free=free)
    return tr("Not loaded")


def _same(item: ChatChoice, choice: ChatChoice) -> bool:
    """Whether the list's item stands for a choice; a run's one stands for all of its states."""
    return (item.kind, item.path) == (choice.kind, choice.path)


def _title(path: Path) -> str:
    """What to call a folder: its own name alone may be no more than “merged”."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name
