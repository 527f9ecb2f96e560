"""Who answers the next question: a button for each voice, and a menu that lets others answer beside them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from core.runs.voices import BASE, MOST_VOICES, TUNED
from core.units import format_bytes
from studio.look import tokens
from studio.look.icons import icon
from studio.state.chat_choice import ChatChoice
from studio.state.chats import Chats
from studio.state.guests import Guest, GuestState
from studio.widgets.basics import Card, IconLabel, ProblemNote, button, label, row, tool_button
from studio.widgets.flow import FlowLayout
from studio.words import tr

_LONGEST = 28


class VoiceBar(QWidget):
    """Follows a `Chats`; a voice that is down answers, and at most three answer at once.

    Attributes:
        notes: what some guests need a word about, to be placed where it has the whole width.
    """

    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self._chats = chats
        self._shown: list[tuple[str, str]] = []
        self._buttons: dict[str, QPushButton] = {}
        self._chips: list[QWidget] = []
        self._flow = FlowLayout(spacing=tokens.SPACE_1)
        self.compare = button(tr("Compare with…"), self._open_menu, icon_name="columns-2", name="compare-with")
        self.notes = QVBoxLayout()
        self.notes.setSpacing(tokens.SPACE_2)
        self._noted: list[tuple[str, GuestState]] = []
        self.setLayout(self._flow)
        self._flow.addWidget(self.compare)
        chats.changed.connect(self.refresh)
        self.refresh()

    def button(self, voice: str) -> QPushButton:
        """The button of a voice."""
        return self._buttons[voice]

    def refresh(self) -> None:
        """Shows who is there, and who of them answers."""
        chats = self._chats
        voices = list(chats.voices.items()) if chats.choice is not None else []
        if voices != self._shown:
            self._shown = voices
            self._rebuild(voices)
        asked = chats.asked if voices else {}
        guests = {guest.key: guest for guest in chats.guests.all}
        for name, made in self._buttons.items():
            is_asked = name in asked
            made.setChecked(is_asked)
            made.setIcon(icon("check" if is_asked else "circle", "accent" if is_asked else "faint", 16, 4))
            made.setEnabled(is_asked or len(asked) < MOST_VOICES)
            made.setToolTip(_tip(name, guests.get(name)))
        for shown in self._chips:
            shown.setVisible(len(voices) > 1)
        self.compare.setEnabled(chats.choice is not None and not chats.guests.is_full)
        tip = tr("Let another run, checkpoint, adapter or model answer the same prompts, with the same seed.")
        self.compare.setToolTip(tr("Three answer at most.") if chats.guests.is_full else tip)
        self._show_notes()

    def _rebuild(self, voices: list[tuple[str, str]]) -> None:
        for old in self._chips:
            self._flow.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._flow.removeWidget(self.compare)
        self._buttons, self._chips = {}, []
        guests = {guest.key: guest for guest in self._chats.guests.all}
        for name, title in voices:
            made = button(_short(title) or voice_title(name), name=f"voice-{name}")
            made.setCheckable(True)
            made.clicked.connect(partial(self._pressed, name))
            self._buttons[name] = made
            chip: QWidget = made
            if name in guests:
                chip = QWidget()
                line = QHBoxLayout(chip)
                line.setContentsMargins(0, 0, 0, 0)
                line.setSpacing(0)
                line.addWidget(made)
                away = partial(self._chats.dismiss, guests[name])
                line.addWidget(tool_button("x", tr("Do not compare with {name}", name=title), away, name="dismiss"))
            self._chips.append(chip)
            self._flow.addWidget(chip)
        self._flow.addWidget(self.compare)

    def _pressed(self, name: str) -> None:
        self._chats.let_answer(name, answers=self._buttons[name].isChecked())

    # --- who can be compared with

    def _open_menu(self) -> None:
        menu = self.make_menu()
        menu.popup(self.compare.mapToGlobal(QPoint(0, self.compare.height())))

    def make_menu(self) -> QMenu:
        """Everybody who could answer as well, as a menu that goes away with its use."""
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        chats, results = self._chats, self._chats.results
        own = chats.choice
        if own is not None and own.kind == "run":
            self._offer_states(menu, own.path, tr("This run’s checkpoints"))
        for run in results.all:
            if own is None or run.path != own.path:
                self._offer(menu, tr("Run: {name}", name=run.name), ChatChoice("run", run.path))
                self._offer_states(menu, run.path, tr("Checkpoints of {name}", name=run.name))
        with_result = {run.path for run in results.all}
        for path in results.states:
            if path not in with_result and (own is None or path != own.path):
                self._offer_states(menu, path, tr("Checkpoints of {name}", name=path.name))
        if menu.actions():
            menu.addSeparator()
        target = chats.target
        for model in chats.models:
            if target is not None and model.path == target.model:
                continue  # it is the base, which is there
            self._offer(menu, tr("Model: {name}", name=model.name), ChatChoice("model", model.path))
        menu.addAction(tr("Folder of an adapter or a model…"), self._browse)
        return menu

    def _offer(self, menu: QMenu, text: str, choice: ChatChoice) -> None:
        if choice != self._chats.choice and all(guest.choice != choice for guest in self._chats.guests.all):
            menu.addAction(text, partial(self._chats.invite, choice))

    def _offer_states(self, menu: QMenu, run: Path, title: str) -> None:
        steps = self._chats.results.states.get(run, ())
        if not steps:
            return
        inner = QMenu(title, menu)
        for step in reversed(steps):
            self._offer(inner, tr("Step {step}", step=f"{step:,}"), ChatChoice("run", run, step))
        if inner.actions():
            menu.addMenu(inner)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Folder of an adapter or a model"), str(Path.home()))
        if chosen:
            self._chats.invite(ChatChoice("model", Path(chosen)))

    # --- guests who need a word

    def _show_notes(self) -> None:
        chats = self._chats
        wanted = [guest for guest in chats.guests.all if guest.state in (GuestState.ASKING, GuestState.REFUSED)]
        now = [(guest.key, guest.state) for guest in wanted]
        if now == self._noted:
            return
        self._noted = now
        while (item := self.notes.takeAt(0)) is not None:
            old = item.widget()
            if old is not None:
                old.hide()
                old.deleteLater()
        for guest in wanted:
            away = partial(chats.dismiss, guest)
            agree = partial(chats.guests.agree, guest)
            self.notes.addWidget(
                _CostNote(guest, agree, away) if guest.state is GuestState.ASKING else _refusal(guest, away)
            )


class _CostNote(Card):
    """What a model of its own will cost, and the two answers to it."""

    def __init__(self, guest: Guest, agree: Callable[[], object], away: Callable[[], object]) -> None:
        super().__init__(role="note-warn", margin=10)
        words = label(_cost(guest), wrap=True)
        words.setObjectName("guest-cost")
        heading = row(IconLabel("triangle-alert", "warn"), words)
        heading.setStretch(1, 1)
        self.add(heading)
        actions = FlowLayout()
        actions.addWidget(button(tr("Load it as well"), agree, name="load-guest"))
        actions.addWidget(button(tr("Not now"), away, role="quiet", name="dismiss-guest"))
        self.add(actions)


def _refusal(guest: Guest, away: Callable[[], object]) -> QWidget:
    """Why a guest cannot answer."""
    made = QWidget()
    line = QHBoxLayout(made)
    line.setContentsMargins(0, 0, 0, 0)
    line.addWidget(ProblemNote(guest.problems[0]), 1)
    line.addWidget(tool_button("x", tr("Do not compare with {name}", name=guest.title), away, name="dismiss-guest"))
    return made


def _cost(guest: Guest) -> str:
    cost = guest.cost
    if cost is None or not cost.bytes:
        return tr("{name} has weights of its own: a second model in memory.", name=guest.title)
    values = {"name": guest.title, "needed": format_bytes(cost.bytes), "free": format_bytes(cost.free_bytes)}
    if not cost.fits:
        return tr(
            "{name} has weights of its own: a second model that takes about {needed} more, and only {free} are free.",
            **values,
        )
    return tr("{name} has weights of its own: a second model that takes about {needed} more of {free} free.", **values)


def voice_title(voice: str) -> str:
    """What the page calls a voice that has no title of its own."""
    return {BASE: tr("Base"), TUNED: tr("Tuned")}.get(voice, voice)


def _tip(voice: str, guest: Guest | None) -> str:
    if guest is not None:
        if guest.state in (GuestState.LOOKING, GuestState.LOADING):
            return tr("{name} is being loaded.", name=guest.title)
        return tr("{name} answers on the same weights.", name=guest.title) if guest.shares else guest.title
    tips = {
        BASE: tr("The model as it was before the training."),
        TUNED: tr("The model with what it has learned."),
    }
    return tips.get(voice, "")


def _short(title: str) -> str:
    """A title for a button; its end tells one state from another, so the middle goes."""
    half = _LONGEST // 2
    return title if len(title) <= _LONGEST else f"{title[:half]}…{title[-half:]}"
