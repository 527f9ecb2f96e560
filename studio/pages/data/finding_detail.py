"""A finding opened: what it means, what mends it, and its rows beside the tokens of the chosen one."""

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPushButton, QWidget

from core.data.report.types import Finding, Report, RowPlace
from core.errors import Fix, Problem
from core.spec.repairs import REPAIRS
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.pages.data.place_reader import PlaceReader
from studio.pages.data.places import PlacesView, place_words
from studio.pages.data.rows_table import TableRow
from studio.pages.data.sample import SampleReader
from studio.pages.data.sample_view import SampleFacts, SampleView
from studio.state.desk import Desk
from studio.state.repairs import REPAIRS_PATH, edits_of, is_applied, names_in
from studio.widgets.basics import breakable, button, column, label, show_inside
from studio.widgets.flow import FlowLayout
from studio.widgets.split import Split
from studio.words import say, tr, tr_count

_HEIGHT, _LIST_HEIGHT, _NARROW, _LEAST_WIDTH = 380, 220, 560, 260
_INDENT = 48
_SHOWN_BY = frozenset(("data.max_length", "data.train_on", "data.template", "data.repairs"))


class FindingDetail(QWidget):
    """Message, advice, fixes, rows.

    Attributes:
        place_chosen: the `RowPlace` that is shown now.
    """

    place_chosen = Signal(object)

    def __init__(self, desk: Desk, report: Report, finding: Finding, place: RowPlace | None = None) -> None:
        """``report`` is the one with the finding; ``place`` is the row to show first, where the finding names it."""
        super().__init__()
        self._desk, self._report = desk, report
        self.finding = finding
        self.reader = PlaceReader(self)
        self.samples = SampleReader(desk, self)
        self._row: TableRow | None = None
        self._is_narrow: bool | None = None
        self.fixes = [self._fix_button(fix) for fix in finding.fixes]
        holder = QWidget()
        flow = FlowLayout(holder)
        for made in self.fixes:
            flow.addWidget(made)
        show_inside(holder, is_shown=bool(self.fixes))
        message = label(breakable(say(finding.message)), wrap=True, selectable=True)
        advice = label(breakable(say(finding.advice)), "help", wrap=True)
        show_inside(advice, is_shown=bool(finding.advice))
        words = column(message, advice, holder)
        words.setContentsMargins(_INDENT, 0, 0, tokens.SPACE_1)  # below the title, whatever the size of its letters
        box = column(words)
        self.places = PlacesView()
        self.sample = SampleView(desk)
        self._splitter = self._make_rows()
        box.addWidget(self._splitter)
        show_inside(self._splitter, is_shown=bool(finding.rows))
        self.setLayout(box)
        self.places.chosen.connect(self._place_chosen)
        self.reader.found.connect(self._row_found)
        self.reader.refused.connect(self._row_refused)
        self.samples.ready.connect(self._sample_ready)
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.facts_changed.connect(self._facts_changed)
        self.mark_applied()
        self.places.show_places(finding.rows, place)

    def close_detail(self) -> None:
        """Reads no further."""
        self.reader.close()
        self.samples.forget()

    def mark_applied(self) -> None:
        """Shows which fixes are part of the spec already, until the rows have been looked through again."""
        for made, fix in zip(self.fixes, self.finding.fixes, strict=True):
            is_there = is_applied(fix, self._desk.session.spec, self._report)
            made.setEnabled(not is_there)
            made.setIcon(icon("check", "good", 16, 6) if is_there else icon("wand-sparkles", "text", 16, 6))
            title = say(fix.title)
            made.setAccessibleName(tr("{fix}: applied", fix=title) if is_there else title)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Puts the row below the list where both do not fit side by side."""
        super().resizeEvent(event)
        narrow = self.width() < look().px(_NARROW)
        if narrow is self._is_narrow:
            return
        self._is_narrow = narrow
        below = look().px(_LIST_HEIGHT) if narrow else 0
        self._splitter.stand(upright=narrow)
        self._splitter.setFixedHeight(look().px(_HEIGHT) + below)
        if narrow:
            self._splitter.setSizes([below, look().px(_HEIGHT)])
        else:
            self._splitter.halve()

    def _fix_button(self, fix: Fix) -> QPushButton:
        made = button(say(fix.title), lambda: self._apply(fix), icon_name="wand-sparkles", name="fix")
        names = [name for edit in fix.edits if edit.path == REPAIRS_PATH for name in names_in(edit, self._report)]
        made.setToolTip("\n".join(say(REPAIRS[name].help) for name in names if name in REPAIRS))
        return made

    def _apply(self, fix: Fix) -> None:
        session = self._desk.session
        session.apply(edits_of(fix, session.spec, self._report))

    def _make_rows(self) -> Split:
        left = QWidget()
        count, known = self.finding.count, len(self.finding.rows)
        words = tr_count(count, "One row", "{n} rows")
        if known < count:
            words = tr("The first {known} of {n} rows", known=f"{known:,}", n=f"{count:,}")
        left.setLayout(column(self.places, label(words, "muted")))
        made = Split(left, self.sample)
        made.setMinimumWidth(look().px(_LEAST_WIDTH))
        return made

    def _place_chosen(self, place: RowPlace) -> None:
        self._row = None
        self.sample.show_waiting()
        self.reader.read(place, self._desk.session.spec.data)
        self.place_chosen.emit(place)

    def _row_found(self, _place: RowPlace, row: TableRow) -> None:
        self._row = row
        self.samples.read(row)

    def _row_refused(self, place: RowPlace, problem: Problem) -> None:
        self.sample.show_sample(SampleFacts((), "", problem=problem), place_words(place))

    def _sample_ready(self, row: TableRow, facts: SampleFacts) -> None:
        place = self.places.current
        if row is self._row and place is not None:
            self.sample.show_sample(facts, place_words(place))

    def _spec_changed(self, paths: frozenset[str]) -> None:
        self.mark_applied()
        if paths & _SHOWN_BY and self._row is not None:
            self.samples.read(self._row)

    def _facts_changed(self, name: str) -> None:
        if name == "model" and self._row is not None:
            self.samples.read(self._row)
