"""One list of files: its chips, and every way to add to it: dialogs, the hub, recent files, and dropping."""

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QMimeData, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from core.data.hub_files import pinned_name
from core.errors import Edit
from core.spec.hub_data import is_hub_data, short_name
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.chips import FileChip
from studio.pages.data.weight_button import WEIGHTS, with_weight
from studio.state.desk import Desk
from studio.state.downloads import add_data_files
from studio.widgets.basics import button, column, label, row, tool_button
from studio.widgets.flow import FlowLayout
from studio.words import tr, tr_count

TRAIN, VALIDATION = "data.train", "data.validation"
_ENDINGS = (
    "*.jsonl *.ndjson *.json *.csv *.tsv *.tab *.parquet *.pq *.arrow *.feather *.ipc "
    "*.txt *.text *.md *.markdown *.gz *.zst"
)


class FileList(QWidget):
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
        from_hub = button(tr("Hugging Face…"), lambda: self.hub_asked.emit(setting), role="quiet", icon_name="database")
        from_hub.setObjectName(f"hub-{self._list_name}")
        from_hub.setAccessibleName(tr("{list}: add a data set of the Hugging Face Hub", list=title))
        folder = tool_button("folder", tr("{list}: add a folder", list=title), self.browse_folder)
        folder.setObjectName(f"folder-{self._list_name}")
        self.setAcceptDrops(True)
        self._holder = QWidget()
        self._flow = FlowLayout(self._holder)
        none = tr("None: the share below is held back instead.") if setting == VALIDATION else tr("None yet.")
        self._none = label(none, "help", wrap=True)
        box = column(row(heading, None, self._recent, from_hub, folder, self.add_button), self._none, self._holder)
        self.setLayout(box)

    def refresh(self) -> None:
        """Makes the chips anew where the list has changed; the focus goes to the neighbour of a chip that went."""
        self._recent.setVisible(bool(self.recent_files()))
        files = self._desk.session.spec.get(self._setting)
        if [chip.path for chip in self.chips] == list(files):
            self._weigh()
            return
        held = self.window().focusWidget()
        focused = next((place for place, chip in enumerate(self.chips) if chip in (held, held and held.parent())), -1)
        for chip in self.chips:
            self._flow.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.chips = []
        for path in files:
            chip = FileChip(self._desk, path, self._list_name)
            chip.chosen.connect(self.chosen)
            chip.removed.connect(self.remove)
            self._flow.addWidget(chip)
            chip.show()
            self.chips.append(chip)
        self._weigh()
        self._holder.setVisible(bool(files))
        self._none.setVisible(not files)
        self._holder.updateGeometry()
        if focused >= 0:
            target = self.chips[min(focused, len(self.chips) - 1)] if self.chips else self.add_button
            target.setFocus(Qt.FocusReason.TabFocusReason)

    def _weigh(self) -> None:
        """Weights matter where files are mixed, and where one was given."""
        weights = self._desk.session.spec.data.weights
        is_shown = self._setting == TRAIN and (len(self.chips) > 1 or bool(weights))
        for chip in self.chips:
            chip.show_weight(is_shown=is_shown)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Files and folders may be dropped on the list that they are meant for."""
        if _dropped(event.mimeData()):
            event.acceptProposedAction()
            self._mark_drop(on=True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802 (Qt's name)
        """They are meant for something else."""
        self._mark_drop(on=False)
        super().dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 (Qt's name)
        """Adds them, after the drag has ended."""
        self._mark_drop(on=False)
        paths = _dropped(event.mimeData())
        event.acceptProposedAction()
        QTimer.singleShot(0, self, lambda: add_data_files(self._desk, self._setting, paths))

    def _mark_drop(self, *, on: bool) -> None:
        self.setProperty("drop", on)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """A ring while something is held over the list."""
        super().paintEvent(event)
        if self.property("drop"):
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(look().colors.accent), 2, Qt.PenStyle.DashLine))
            painter.setBrush(QColor(look().colors.accent_soft))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), tokens.RADIUS, tokens.RADIUS)
            painter.end()

    def mark(self, path: str) -> None:
        """Marks the chip of a file."""
        for chip in self.chips:
            chip.set_chosen(chosen=chip.path == path)

    def count(self, rows: dict[str, int]) -> None:
        """Writes how many rows each file has."""
        for chip in self.chips:
            read = pinned_name(chip.path) if is_hub_data(chip.path) else str(Path(chip.path).expanduser().absolute())
            known = rows.get(chip.path, rows.get(read))
            if known is not None:
                chip.setToolTip(read)  # with the commit that was read, where the spec names none
            chip.set_count(tr_count(known, "one row", "{n} rows") if known is not None else "")

    def browse(self) -> None:
        """Asks for files and adds them."""
        start = _folder_of(self._desk.session.spec.get(self._setting) or self._desk.preferences.now.recent_data)
        kinds = ";;".join((tr("Data files ({endings})", endings=_ENDINGS), tr("All files ({endings})", endings="*")))
        paths, _ = QFileDialog.getOpenFileNames(self, self._title, start, kinds)
        add_data_files(self._desk, self._setting, paths)

    def browse_folder(self) -> None:
        """Asks for a folder of files and adds it as one set of rows."""
        start = _folder_of(self._desk.session.spec.get(self._setting))
        path = QFileDialog.getExistingDirectory(self, self._title, start)
        if path:
            add_data_files(self._desk, self._setting, (path,))

    def remove(self, path: str) -> None:
        """Takes a file out of the list; “Undo” brings it back."""
        data = self._desk.session.spec.data
        files = self._desk.session.spec.get(self._setting)
        edits = [Edit(self._setting, tuple(item for item in files if item != path))]
        if self._setting == TRAIN and data.weights:  # a weight of no file would be a mistake
            edits.append(Edit(WEIGHTS, with_weight(data.weights, path, 1.0)))
        self._desk.session.apply(edits)

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


def _folder_of(names: Iterable[str]) -> str:
    """Where the first of these files lies; the user's own folder without one."""
    first = next((Path(name).expanduser() for name in names if not is_hub_data(name)), None)
    return str(first.parent if first is not None else Path.home())


def _dropped(data: QMimeData) -> tuple[str, ...]:
    """The files and folders of this computer that are dragged."""
    paths = (Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile())
    return tuple(str(path.absolute()) for path in paths if path.exists())
