"""Which files are trained and which are only measured: chips, adding, recent files, and the sample set."""

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QVBoxLayout, QWidget

from core.errors import Edit
from core.paths import resource
from core.spec.hub_data import is_hub_data, short_name
from studio.forms.form import FieldRow
from studio.look import tokens
from studio.pages.data.chips import FileChip
from studio.pages.data.hub_add import HubAdd, data_arrivals
from studio.state.desk import Desk
from studio.state.downloads import add_data_files, arrivals
from studio.widgets.basics import Card, Empty, button, column, label, line, row
from studio.widgets.flow import FlowLayout
from studio.words import tr, tr_count

TRAIN, VALIDATION = "data.train", "data.validation"
SAMPLE_TRAIN = ("data", "devils-dictionary.jsonl")
SAMPLE_VALIDATION = ("data", "devils-dictionary-held-back.jsonl")
_ENDINGS = "*.jsonl *.ndjson *.json *.csv *.tsv *.tab *.parquet *.pq *.txt *.md *.text *.gz"


def use_sample_set(desk: Desk) -> None:
    """Chooses the rows that come with the application, those held back included."""
    train, held = (str(resource(*parts)) for parts in (SAMPLE_TRAIN, SAMPLE_VALIDATION))
    desk.session.apply((Edit(TRAIN, (train,)), Edit(VALIDATION, (held,))))


class FilesCard(Card):
    """Both lists of files.

    Attributes:
        shown: the path of the file whose rows are to be shown; empty when there is none.
    """

    shown = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.current = ""
        self._train = _FileList(desk, TRAIN, tr("Training files"))
        self._validation = _FileList(desk, VALIDATION, tr("Validation files"))
        self._held_back = FieldRow(desk, "data.validation_share")
        self._share = QWidget()
        self._share.setLayout(column(self._held_back))
        sample = button(tr("Use the sample set"), lambda: use_sample_set(desk), name="use-sample-set")
        choose = button(tr("Choose files…"), self._train.browse, role="primary", name="choose-files")
        self.hub = HubAdd(desk)
        from_hub = button(
            tr("From Hugging Face…"), lambda: self.hub.open_for(TRAIN), icon_name="database", name="choose-hub"
        )
        self._empty = Empty(
            "table-2",
            tr("What should the model learn from?"),
            tr("Choose JSONL, JSON, CSV, TSV, Parquet or text files, or drop them anywhere in this window."),
            choose,
            from_hub,
            sample,
        )
        self._filled = QWidget()
        filled = QVBoxLayout(self._filled)
        filled.setContentsMargins(0, 0, 0, 0)
        filled.setSpacing(tokens.SPACE_3)
        for part in (self._train, line(), self._validation, self._share):
            filled.addWidget(part)
        self.add(self._empty)
        self.add(self._filled)
        self.add(self.hub)
        self.add(data_arrivals(desk))
        for files in (self._train, self._validation):
            files.chosen.connect(self.show_file)
            files.hub_asked.connect(self.hub.open_for)
        arrivals(desk).data_arrived.connect(self._data_arrived)
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.facts_changed.connect(self._facts_changed)
        self._refresh()
        self._count()

    @property
    def files(self) -> tuple[str, ...]:
        """All files in the order of the spec, training first."""
        data = self._desk.session.spec.data
        return (*data.train, *data.validation)

    def show_file(self, path: str) -> None:
        """Marks a file as the one that is shown, and says so."""
        self._train.mark(path)
        self._validation.mark(path)
        if path != self.current:
            self.current = path
            self.shown.emit(path)

    def browse(self) -> None:
        """Asks for training files."""
        self._train.browse()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if paths & {TRAIN, VALIDATION}:
            self._refresh()

    def _data_arrived(self, name: str) -> None:
        """Shows the rows of a file that could not be read before it came."""
        if name == self.current:
            self.shown.emit(name)

    def _refresh(self) -> None:
        files = self.files
        self._empty.setVisible(not files)
        self._filled.setVisible(bool(files))
        self._train.refresh()
        self._validation.refresh()
        self._share.setVisible(not self._desk.session.spec.data.validation)
        self.show_file(self.current if self.current in files else files[0] if files else "")

    def _facts_changed(self, name: str) -> None:
        if name == "data":
            self._count()

    def _count(self) -> None:
        facts = self._desk.session.data
        counts = {item.path: item.rows for item in facts.files} if facts is not None else {}
        for files in (self._train, self._validation):
            files.count(counts)


class _FileList(QWidget):
    """One list of files: its name, its chips, and the buttons that add to it.

    Attributes:
        chosen: a file that was clicked.
        hub_asked: a data set of the hub is wanted for this setting.
    """

    chosen = Signal(str)
    hub_asked = Signal(str)

    def __init__(self, desk: Desk, setting: str, title: str) -> None:
        super().__init__()
        self._desk, self._setting = desk, setting
        self._list_name = setting.partition(".")[2]
        self.chips: list[FileChip] = []
        self._title = title
        heading = label(title, "section")
        self._recent = button(tr("Recent"), self._show_recent, role="quiet", icon_name="history")
        self._recent.setObjectName(f"recent-{self._list_name}")
        self._recent.setAccessibleName(tr("Recent data files"))
        self.add_button = button(tr("Add files…"), self.browse, icon_name="plus", name=f"add-{self._list_name}")
        self.add_button.setAccessibleName(tr("{list}: add files", list=title))
        from_hub = button(
            tr("From Hugging Face…"), lambda: self.hub_asked.emit(setting), role="quiet", icon_name="database"
        )
        from_hub.setObjectName(f"hub-{self._list_name}")
        from_hub.setAccessibleName(tr("{list}: add a data set of the Hugging Face Hub", list=title))
        self._holder = QWidget()
        self._flow = FlowLayout(self._holder)
        none = tr("None: the share below is held back instead.") if setting == VALIDATION else tr("None yet.")
        self._none = label(none, "help", wrap=True)
        box = column(row(heading, None, self._recent, from_hub, self.add_button), self._none, self._holder)
        self.setLayout(box)

    def refresh(self) -> None:
        """Makes the chips anew where the list has changed; the focus goes to the neighbour of a chip that went."""
        self._recent.setVisible(bool(self.recent_files()))
        files = self._desk.session.spec.get(self._setting)
        if [chip.path for chip in self.chips] == list(files):
            return
        held = self.window().focusWidget()
        focused = next((place for place, chip in enumerate(self.chips) if chip in (held, held and held.parent())), -1)
        for chip in self.chips:
            self._flow.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.chips = []
        for path in files:
            chip = FileChip(path, self._list_name)
            chip.chosen.connect(self.chosen)
            chip.removed.connect(self.remove)
            self._flow.addWidget(chip)
            chip.show()
            self.chips.append(chip)
        self._holder.setVisible(bool(files))
        self._none.setVisible(not files)
        self._holder.updateGeometry()
        if focused >= 0:
            target = self.chips[min(focused, len(self.chips) - 1)] if self.chips else self.add_button
            target.setFocus(Qt.FocusReason.TabFocusReason)

    def mark(self, path: str) -> None:
        """Marks the chip of a file."""
        for chip in self.chips:
            chip.set_chosen(chosen=chip.path == path)

    def count(self, rows: dict[str, int]) -> None:
        """Writes how many rows each file has."""
        for chip in self.chips:
            known = rows.get(chip.path, rows.get(str(Path(chip.path).expanduser().absolute())))
            chip.set_count(tr_count(known, "one row", "{n} rows") if known is not None else "")

    def browse(self) -> None:
        """Asks for files and adds them."""
        files = self._desk.session.spec.get(self._setting) or self._desk.preferences.now.recent_data
        files = [file for file in files if not is_hub_data(file)]
        start = str(Path(files[0]).expanduser().parent) if files else str(Path.home())
        kinds = ";;".join((tr("Data files ({endings})", endings=_ENDINGS), tr("All files ({endings})", endings="*")))
        paths, _ = QFileDialog.getOpenFileNames(self, self._title, start, kinds)
        add_data_files(self._desk, self._setting, paths)

    def remove(self, path: str) -> None:
        """Takes a file out of the list; “Undo” brings it back."""
        files = self._desk.session.spec.get(self._setting)
        self._desk.session.edit(self._setting, tuple(item for item in files if item != path))

    def recent_files(self) -> tuple[str, ...]:
        """Recent data files that are not chosen yet."""
        data = self._desk.session.spec.data
        used = {*data.train, *data.validation}
        return tuple(path for path in self._desk.preferences.now.recent_data if path not in used)

    def recent_menu(self) -> QMenu:
        """The recent files as a menu."""
        menu = QMenu(self)
        for path in self.recent_files():
            name, folder = short_name(path), "Hugging Face" if is_hub_data(path) else Path(path).parent.name
            entry = menu.addAction(tr("{name}  in {folder}", name=name, folder=folder))
            entry.setToolTip(path)
            entry.triggered.connect(
                lambda _checked=False, path=path: add_data_files(self._desk, self._setting, (path,))
            )
        menu.setToolTipsVisible(True)
        return menu

    def _show_recent(self) -> None:
        menu = self.recent_menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self._recent.mapToGlobal(self._recent.rect().bottomLeft()))
