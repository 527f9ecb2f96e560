"""The Settings page: everything about the program itself; what a run does is set on the other pages."""

from typing import cast

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QScrollBar, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.pages.model.token_card import TokenCard
from studio.pages.page import Page
from studio.pages.settings.about import AboutCard
from studio.pages.settings.appearance import AppearanceCard
from studio.pages.settings.attention import AttentionCard
from studio.pages.settings.computer import ComputerCard
from studio.pages.settings.folders import FoldersCard
from studio.pages.settings.keyboard import KeyboardCard
from studio.pages.settings.pack_maker import PackMakerCard
from studio.state.desk import Desk
from studio.words import tr

_WIDEST = 860
_SCROLL, _FOCUS = "settings.scroll", "settings.focus"


class SettingsPage(Page):
    """Appearance, folders, hub token, this computer, keyboard, about."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, tr("Settings"), tr("How this program looks, where it keeps things, and how it is doing.")
        )
        self.appearance = AppearanceCard(desk)
        self.folders = FoldersCard(desk)
        self.packs = PackMakerCard(desk)
        self.token = TokenCard()
        self.computer = ComputerCard(desk)
        self.attention = AttentionCard(desk)
        self.keyboard = KeyboardCard()
        self.about = AboutCard(desk)
        shown = (
            self.appearance, self.folders, self.packs, self.token, self.computer, self.attention, self.keyboard,
            self.about,
        )  # fmt: skip
        cards = QVBoxLayout()
        cards.setContentsMargins(0, 0, 0, 0)
        cards.setSpacing(tokens.SPACE_4)
        for card in shown:
            cards.addWidget(card)
        holder = QWidget()
        holder.setMaximumWidth(look().px(_WIDEST))
        holder.setLayout(cards)
        across = QHBoxLayout()
        across.addWidget(holder, 100)
        across.addStretch(1)
        self.add(across)
        self.body.addStretch(1)
        self._place = 0
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._return)
        self._scroll_bar().rangeChanged.connect(self._range_changed)

    def shown(self) -> None:
        """Measures and checks what is not known yet; after the window was made anew, goes back to where it was."""
        self.folders.measure()
        self.computer.check_once()
        self.attention.load()
        self._later.start(0)

    def close_page(self) -> None:
        """Remembers the place and ends the looking."""
        self._later.stop()
        focused = cast("QWidget | None", self.window().focusWidget())  # Qt's stubs do not know of none
        inside = focused is not None and self.isAncestorOf(focused)
        self.desk.memory[_FOCUS] = focused.objectName() if focused is not None and inside else ""
        self.desk.memory[_SCROLL] = self._scroll_bar().value()
        self.computer.cancel()

    def _return(self) -> None:
        name = self.desk.memory.pop(_FOCUS, "")
        found = self.findChild(QWidget, str(name)) if name else None
        if found is not None:
            found.setFocus()
        place = self.desk.memory.pop(_SCROLL, 0)
        self._place = place if isinstance(place, int) else 0
        self._scroll_there()

    def _range_changed(self, _low: int, _high: int) -> None:
        self._scroll_there()

    def _scroll_there(self) -> None:
        """Scrolls to where the page was as soon as it is long enough again."""
        bar = self._scroll_bar()
        if 0 < self._place <= bar.maximum():
            bar.setValue(self._place)
            self._place = 0

    def _scroll_bar(self) -> QScrollBar:
        area = self.findChild(QScrollArea)
        assert area is not None
        return area.verticalScrollBar()
