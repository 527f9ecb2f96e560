"""“Catalogue”: common base models, known by their shapes before a byte of them is downloaded."""

from collections.abc import Iterable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.facts.catalogue import Entry, entries
from core.units import format_count
from studio.look import tokens
from studio.pages.model.cards import CardData, CardView
from studio.pages.model.detail import ModelDetail
from studio.pages.model.halves import Halves
from studio.state.desk import Desk
from studio.widgets.basics import Empty, button, column, label
from studio.words import tr, tr_count
from studio.workers.task import Report, Task, start_task

_COUNTED = "catalogue parameters"


class CataloguePane(QWidget):
    """The list on the left, the chosen model on the right. Choosing plans with a model, it fetches nothing.

    Attributes:
        hub_asked: the name of a model that the user wants to download.
    """

    hub_asked = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._filter = ""
        self._counting: Task | None = None
        self._entries = entries()
        self._counts: dict[str, int] = desk.memory.setdefault(_COUNTED, {})  # type: ignore[assignment]  # knows no types
        self._found = label("", "muted", wrap=True)
        self._found.setObjectName("catalogue-found")
        self.view = CardView(tr("Models of the catalogue"), "catalogue-list")
        self.view.picked.connect(self._pick)
        to_hub = button(tr("Search the hub"), self._search_hub, icon_name="search", name="catalogue-to-hub")
        words = tr("The catalogue has no such model; the hub may.")
        self._nothing = Empty("search", tr("Nothing found"), words, to_hub)
        self.detail = ModelDetail(desk)
        self.detail.hub_asked.connect(self.hub_asked)
        left = QWidget()
        box = column(self._found, spacing=tokens.SPACE_2)
        box.addWidget(self.view, 1)
        box.addWidget(self._nothing, 1)
        left.setLayout(box)
        self.setLayout(column(Halves(left, self.detail)))
        desk.session.spec_changed.connect(self._spec_changed)
        self._show()
        self._count()

    def filter(self, text: str) -> None:
        """Shows only models that a search for ``text`` finds."""
        self._filter = text.strip()
        self._show()

    def end(self) -> None:
        """Ends the counting."""
        if self._counting is not None:
            self._counting.cancel()

    def _count(self) -> None:
        missing = tuple(entry for entry in self._entries if entry.name not in self._counts)
        if missing:
            self._counting = start_task(
                lambda report: _parameters(missing, report), on_done=self._counted, on_failed=_raise, parent=self
            )

    def _counted(self, found: dict[str, int]) -> None:
        self._counting = None
        self._counts.update(found)
        self._show()

    def _pick(self, key: str) -> None:
        self._desk.session.edit("model.base", key)

    def _search_hub(self) -> None:
        self.hub_asked.emit(self._filter)

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if "model.base" in paths:
            self._show()

    def _show(self) -> None:
        base = self._desk.session.spec.model.base.strip()
        found = [entry for entry in self._entries if _matches(entry, self._filter)]
        self._found.setText(tr_count(len(found), "one model", "{n} models"))
        self._found.setVisible(bool(found))
        self.view.show_cards(
            [_card(entry, self._counts.get(entry.name, 0), is_chosen=entry.name == base) for entry in found]
        )
        self.view.setVisible(bool(found))
        self._nothing.setVisible(not found)


def _matches(entry: Entry, text: str) -> bool:
    hay = f"{entry.name} {entry.title} {entry.family} {entry.licence}".lower()
    return all(word in hay for word in text.lower().split())


def _card(entry: Entry, parameters: int, *, is_chosen: bool) -> CardData:
    context = tr("{n} tokens", n=f"{entry.context:,}") if entry.context else ""
    pieces = [format_count(parameters) if parameters else "", context, entry.licence]
    return CardData(
        key=entry.name,
        title=entry.name.rpartition("/")[2],
        numbers=" · ".join(piece for piece in pieces if piece),
        place=entry.name.partition("/")[0],
        icon="lock" if entry.gated else "box",
        mark=tr("terms to accept") if entry.gated else "",
        tone="warn",
        chosen=is_chosen,
    )


def _parameters(missing: Iterable[Entry], report: Report) -> dict[str, int]:
    """How large each is; a millisecond or so for each, so in the background."""
    found = {}
    for entry in missing:
        report.check()
        found[entry.name] = entry.facts.parameters
    return found


def _raise(failure: Exception) -> None:
    raise failure
