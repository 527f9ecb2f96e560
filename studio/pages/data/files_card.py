"""Which files are trained and which are only measured: chips, adding, recent files, and the sample set."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.errors import Edit
from core.paths import resource
from studio.forms.form import FieldRow
from studio.look import tokens
from studio.pages.data.file_list import TRAIN, VALIDATION, FileList
from studio.pages.data.hub_add import HubAdd, data_arrivals
from studio.pages.data.weight_button import WEIGHTS
from studio.state.desk import Desk
from studio.state.downloads import arrivals
from studio.widgets.basics import Card, Empty, button, column, line
from studio.words import tr

SAMPLE_TRAIN = ("data", "devils-dictionary.jsonl")
SAMPLE_VALIDATION = ("data", "devils-dictionary-held-back.jsonl")


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
        self._train = FileList(desk, TRAIN, tr("Training files"))
        self._validation = FileList(desk, VALIDATION, tr("Validation files"))
        self._held_back = FieldRow(desk, "data.validation_share")
        self._share = QWidget()
        self._share.setLayout(column(self._held_back))
        sample = button(tr("Use the sample set"), lambda: use_sample_set(desk), name="use-sample-set")
        choose = button(tr("Choose files…"), self._train.browse, role="primary", name="choose-files")
        self.hub = HubAdd(desk)
        from_hub = button(
            tr("Hugging Face…"), lambda: self.hub.open_for(TRAIN), icon_name="database", name="choose-hub"
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
        if paths & {TRAIN, VALIDATION, WEIGHTS}:
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
