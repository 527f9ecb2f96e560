"""The Model page: which base model is tuned."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog, QLineEdit, QStackedWidget, QWidget

from core.hub.pack.manifest import is_pack
from studio.forms.form import FieldRow, MoreSettings, rows_of
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.pages.model.local import LocalPane
from studio.pages.page import Page
from studio.state.desk import Desk
from studio.state.downloads import OFFERED_PACK, arrivals
from studio.widgets.basics import button, row
from studio.widgets.controls import Segments
from studio.words import tr

if TYPE_CHECKING:
    from studio.pages.model.catalogue import CataloguePane
    from studio.pages.model.hub import HubPane

_PLACE = "model place"
_SEARCH = "model search"


class ModelPage(Page):
    """Models on this computer and on the hub, and the chosen one with its facts."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Model"), tr("The base model to start from: what it is, and whether it fits."))
        self.head.addWidget(button(tr("Open folder…"), self._open_folder, icon_name="folder-open", name="open-folder"))
        self.head.addWidget(button(tr("Import GGUF…"), self._open_gguf, icon_name="import", name="import-gguf"))
        self.places = Segments(
            [("local", tr("This computer")), ("catalogue", tr("Catalogue")), ("hub", tr("Hub"))],
            [
                tr("Models that lie here"),
                tr("Common models, to plan with before anything is downloaded"),
                tr("Models of the Hugging Face Hub"),
            ],
            "model-place",
        )
        self.places.chosen.connect(self._go_to)
        self.search = QLineEdit()
        self.search.setObjectName("model-search")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(look().px(120))
        self.search.addAction(icon("search", "muted"), QLineEdit.ActionPosition.LeadingPosition)
        self.search.setText(str(desk.memory.get(_SEARCH, "")))
        self.search.textEdited.connect(self._typed)
        self.search.textChanged.connect(self._remember)
        self.search.returnPressed.connect(self._entered)
        top = row(self.places, self.search, spacing=tokens.SPACE_3)
        top.setStretch(1, 1)
        self.add(top)
        self.local = LocalPane(desk)
        self.local.hub_asked.connect(self.show_on_hub)
        self.hub: HubPane | None = None
        self.catalogue: CataloguePane | None = None
        self._stack = QStackedWidget()
        self._stack.addWidget(self.local)
        self.add(self._stack, 1)
        arrivals(desk).pack_offered.connect(self._pack_offered)
        self.add(MoreSettings(desk, "model", [FieldRow(desk, "model.base"), *rows_of(desk, "model", advanced=True)]))
        place = "local" if desk.memory.get(OFFERED_PACK) else str(desk.memory.get(_PLACE, "local"))
        self.places.choose(place)
        self._show(place)

    def shown(self) -> None:
        """Models may have come and gone meanwhile."""
        self.local.reload()

    def close_page(self) -> None:
        """Ends the reading and asking; downloads and imports go on."""
        self.local.end()
        if self.hub is not None:
            self.hub.end()
        if self.catalogue is not None:
            self.catalogue.end()

    def show_on_hub(self, name: str) -> None:
        """Looks for a model on the hub."""
        self.search.setText(name)
        self.places.choose("hub")
        self._go_to("hub")
        if "/" in name and self.hub is not None:
            self.hub.look_up(name)

    def _used(self) -> None:
        """A model of the hub has been chosen: now its facts are of interest."""
        self.search.clear()
        self.places.choose("local")
        self._go_to("local")

    def _go_to(self, place: str) -> None:
        self.desk.memory[_PLACE] = place
        self._show(place)
        if place == "hub" and self.hub is not None:
            self.hub.begin(self.search.text())

    def _show(self, place: str) -> None:
        words = {
            "hub": tr("Search, or owner/model"),
            "catalogue": tr("Search the catalogue"),
        }.get(place, tr("Search these models"))
        self._stack.setCurrentWidget(self._pane(place))
        self.search.setPlaceholderText(words)
        self.search.setAccessibleName(words)
        if place != "hub":
            self._filter(self.search.text())

    def _pane(self, place: str) -> QWidget:
        """The pane of a place, made when it is first wanted."""
        if place == "hub":
            if self.hub is None:
                from studio.pages.model.hub import HubPane  # only now: it brings what speaks to the network

                self.hub = HubPane(self.desk)
                self.hub.detail.used.connect(self._used)
                self._stack.addWidget(self.hub)
            return self.hub
        if place == "catalogue":
            if self.catalogue is None:
                from studio.pages.model.catalogue import CataloguePane

                self.catalogue = CataloguePane(self.desk)
                self.catalogue.hub_asked.connect(self.show_on_hub)
                self._stack.addWidget(self.catalogue)
            return self.catalogue
        return self.local

    def _filter(self, text: str) -> None:
        if self.places.value() == "catalogue" and self.catalogue is not None:
            self.catalogue.filter(text)
        else:
            self.local.filter(text)

    def _remember(self, text: str) -> None:
        self.desk.memory[_SEARCH] = text
        if not text:
            self._typed(text)

    def _typed(self, text: str) -> None:
        if self.places.value() == "hub" and self.hub is not None:
            self.hub.search(text)
        else:
            self._filter(text)

    def _entered(self) -> None:
        text = self.search.text().strip()
        if self.places.value() != "hub" or self.hub is None:
            catalogue = self.catalogue if self.places.value() == "catalogue" else None
            (catalogue.view if catalogue is not None else self.local.view).setFocus()
            return
        self.hub.search(text, at_once=True)
        if "/" in text:
            self.hub.look_up(text)

    def _open_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, tr("Open the folder of a model or of an offline pack"), str(Path.home())
        )
        if chosen and is_pack(Path(chosen)):
            arrivals(self.desk).offer_pack(Path(chosen))
        elif chosen:
            self._choose_path(Path(chosen))

    def _pack_offered(self, folder: Path) -> None:
        self.places.choose("local")
        self._go_to("local")
        self.local.open_pack(folder)

    def _choose_path(self, path: Path) -> None:
        self.places.choose("local")
        self._go_to("local")
        self.desk.session.edit("model.base", str(path))

    def _open_gguf(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, tr("Import a GGUF file"), str(Path.home()), tr("GGUF files") + " (*.gguf)"
        )
        if chosen:
            self.places.choose("local")
            self._go_to("local")
            self.local.open_import(Path(chosen))
