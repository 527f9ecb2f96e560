"""“This computer”: models that lie here, those on their way, and the chosen one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.facts.locate import STARTER
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.pages.model.arrival_cards import ArrivalList
from studio.pages.model.cards import CardData, CardView
from studio.pages.model.detail import ModelDetail
from studio.pages.model.entries import STARTER_NAME, Entry, EntryOrigin, read_entries
from studio.pages.model.halves import Halves, clear
from studio.pages.model.import_card import ImportCard
from studio.pages.model.pack_card import PackCard
from studio.state.desk import Desk
from studio.state.downloads import OFFERED_PACK, Arrivals, arrivals
from studio.widgets.basics import Card, Elided, Empty, IconLabel, button, column, label, row
from studio.words import say, tr
from studio.workers.task import Task, start_task

_KNOWN = "model entries"
_LISTED = "model list"
_IMPORT = "model import"
_ICONS: dict[EntryOrigin, str] = {
    "starter": "star",
    "imported": "package",
    "hub cache": "box",
    "folder": "folder",
    "gguf": "file",
}


class StarterOffer(Card):
    """The card of the starter model while it is not here: what it is, and Fetch."""

    def __init__(self, on_fetch: Callable[[], object]) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self.setObjectName("starter-offer")
        self.setAccessibleName(tr("Starter model"))
        self.body.setSpacing(tokens.SPACE_1)
        title = Elided(tr("Starter model {name}", name=STARTER_NAME), "strong")
        head = row(IconLabel("star", "accent"), title)
        head.setStretch(1, 1)
        self.add(head)
        self.add(label(tr("135 M parameters · 260 MB · Apache-2.0"), "muted", wrap=True))
        self.add(label(tr("A small chat model to begin with. It trains on any computer."), "muted", wrap=True))
        self.fetch = button(tr("Fetch"), on_fetch, role="primary", icon_name="download", name="fetch-starter")
        self.fetch.setAccessibleDescription(title.full_text())
        self.add(row(self.fetch, None))


class LocalPane(QWidget):
    """The list on the left, the chosen model on the right.

    Attributes:
        hub_asked: a name to look for on the hub.
    """

    hub_asked = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._filter = ""
        self._reading: Task | None = None
        self._again = False
        listed = desk.memory.get(_LISTED)
        self._entries: tuple[Entry, ...] = listed if isinstance(listed, tuple) else ()
        self._complete = bool(self._entries)
        self._arrivals: Arrivals = arrivals(desk)
        self.offer = StarterOffer(self._arrivals.fetch_starter)
        self.view = CardView(tr("Models on this computer"), "model-list")
        self.view.picked.connect(self._pick)
        self._nothing = QWidget()
        self._nothing_box = column()
        self._nothing.setLayout(self._nothing_box)
        self._nothing_shown = ""
        self.detail = ModelDetail(desk)
        self.detail.hub_asked.connect(self.hub_asked)
        self.detail.import_asked.connect(self.open_import)
        self._import_box = column()
        left = QWidget()
        box = column(
            self.offer,
            self._import_box,
            ArrivalList(self._arrivals, "starter", "import", "download", "pack"),
            spacing=tokens.SPACE_2,
        )
        box.addWidget(self.view, 1)
        box.addWidget(self._nothing, 1)
        box.addStretch(0)
        left.setLayout(box)
        self.setLayout(column(Halves(left, self.detail)))
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.facts_changed.connect(self._facts_changed)
        self._arrivals.changed.connect(self._show_offer)
        self._arrivals.arrived.connect(self._arrived)
        source = desk.memory.get(_IMPORT)
        pack = desk.memory.get(OFFERED_PACK)
        if isinstance(source, Path):
            self.open_import(source)
        elif isinstance(pack, Path):
            self.open_pack(pack)
        self._show()
        self.reload()

    def open_import(self, source: Path) -> None:
        """Shows what the import of a GGUF file would make, to be confirmed."""
        self._close_card()
        self._desk.memory[_IMPORT] = source
        card = ImportCard(self._arrivals, source, self._close_card)
        self._import_box.addWidget(card)
        card.name.setFocus()

    def open_pack(self, folder: Path) -> None:
        """Shows what is in an offline pack and what taking it in would do, to be confirmed."""
        self._close_card()
        self._desk.memory[OFFERED_PACK] = folder
        card = PackCard(self._arrivals, folder, self._close_card)
        self._import_box.addWidget(card)
        card.setFocus()

    def _close_card(self) -> None:
        for name in (_IMPORT, OFFERED_PACK):
            self._desk.memory.pop(name, None)
        item = self._import_box.takeAt(0)
        card = item.widget() if item is not None else None
        if card is not None:
            card.hide()
            card.deleteLater()

    def filter(self, text: str) -> None:
        """Shows only models that a search for ``text`` finds."""
        self._filter = text.strip()
        self._show()

    def reload(self) -> None:
        """Lists the models again in the background."""
        if self._reading is not None:
            self._again = True
            return
        recent = self._desk.preferences.now.recent_models
        known = self._desk.memory.setdefault(_KNOWN, {})
        self._reading = start_task(
            lambda report: read_entries(recent, known, report),  # type: ignore[arg-type]  # memory knows no types
            on_done=self._read,
            on_failed=self._not_read,
            on_progress=self._grew,
            parent=self,
        )

    def end(self) -> None:
        """Ends what is being read."""
        if self._reading is not None:
            self._reading.cancel()

    def _grew(self, progress: tuple[Any, ...]) -> None:
        self._entries = progress[0]
        self._complete = True
        self._show()

    def _read(self, entries: tuple[Entry, ...]) -> None:
        self._reading = None
        self._entries = self._desk.memory[_LISTED] = entries
        self._complete = True
        self._show()
        if self._again:
            self._again = False
            self.reload()

    def _not_read(self, failure: Exception) -> None:
        self._reading = None
        self._complete = True
        if not isinstance(failure, OSError):
            raise failure
        self._desk.complain(
            tr("The models on this computer cannot be listed: {why}", why=str(failure)), tr("Check the data folder.")
        )
        self._show()

    def _arrived(self, _base: str) -> None:
        self.reload()

    def _pick(self, key: str) -> None:
        self._desk.session.edit("model.base", key)

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if "model.base" in paths:
            self._show()

    def _facts_changed(self, what: str) -> None:
        """A folder that turned out to be a model is listed from now on."""
        session = self._desk.session
        base = session.spec.model.base.strip()
        if what != "model" or session.model is None or base in {entry.base for entry in self._entries}:
            return
        path = Path(base).expanduser()
        if path.is_absolute() and str(path) not in {str(entry.path) for entry in self._entries}:
            self._desk.preferences.remember("recent_models", str(path))
            self.reload()

    def _show(self) -> None:
        base = self._desk.session.spec.model.base.strip()
        found = [entry for entry in self._entries if entry.matches(self._filter)]
        self.view.show_cards([_card(entry, is_chosen=_is(entry, base)) for entry in found])
        self.view.setVisible(bool(found))
        self._show_offer()
        self._nothing.setVisible(not found and self._complete and self.offer.isHidden())
        if not found:
            self._show_nothing()

    def _show_offer(self) -> None:
        here = any(entry.origin == STARTER for entry in self._entries)
        on_its_way = self._arrivals.find("starter") is not None
        self.offer.setVisible(self._complete and not here and not on_its_way and not self._filter)

    def _show_nothing(self) -> None:
        wanted = f"no {self._filter}"
        if wanted == self._nothing_shown:
            return
        self._nothing_shown = wanted
        clear(self._nothing_box)
        if self._filter:
            text = self._filter
            to_hub = button(tr("Search the hub"), lambda: self.hub_asked.emit(text), icon_name="search", name="to-hub")
            words = tr("No model on this computer is called “{query}”.", query=text)
            empty = Empty("search", tr("Nothing found"), words, to_hub)
        else:
            words = tr(
                "Fetch the starter model, open a folder or an offline pack, import a GGUF file, or search the hub."
            )
            empty = Empty("box", tr("No models here yet"), words)
        self._nothing_box.addWidget(empty)


def _is(entry: Entry, base: str) -> bool:
    return bool(base) and (entry.base == base or str(entry.path) == base)


def _card(entry: Entry, *, is_chosen: bool) -> CardData:
    if entry.problem:
        numbers = say(entry.problem)
    else:
        pieces = [
            format_count(entry.parameters) if entry.parameters else "",
            format_bytes(entry.bytes) if entry.bytes else "",
            entry.family,
        ]
        numbers = " · ".join(piece for piece in pieces if piece) or tr("Reading…")
    mark, tone = (tr("cannot be used"), "warn") if entry.problem else (tr("to import"), "muted")
    return CardData(
        key=entry.base,
        title=entry.name,
        numbers=numbers,
        place=_place(entry),
        icon=_ICONS[entry.origin],
        mark=mark if entry.problem or entry.origin == "gguf" else "",
        tone=tone,
        chosen=is_chosen,
        tip=say(entry.problem),
    )


def _place(entry: Entry) -> str:
    if entry.origin == STARTER:
        return tr("Starter model")
    if entry.origin == "imported":
        return tr("Imported")
    return tr("Hugging Face cache") if entry.origin == "hub cache" else str(entry.path)
