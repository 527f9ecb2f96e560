"""What the report found, as a list: worst first; one finding at a time is opened and shows its rows."""

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from core.data.report.types import Finding, Report, RowPlace
from core.errors import Severity
from studio.look import tokens
from studio.pages.data.finding_detail import FindingDetail
from studio.pages.data.finding_header import FindingHeader
from studio.state.desk import Desk
from studio.state.repairs import is_applied
from studio.widgets.basics import button, line, show_inside
from studio.words import tr, tr_count

FOLDED, MOST = 12, 200
_MEMORY = "data.finding"
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def ordered(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The worst first; of equal ones those that the report names first."""
    return tuple(sorted(findings, key=lambda item: _ORDER[item.severity]))


class FindingEntry(QWidget):
    """One finding: its line, and what opens below it.

    Attributes:
        turned: it was opened or closed.
    """

    turned = Signal()

    def __init__(self, desk: Desk, report: Report, finding: Finding) -> None:
        super().__init__()
        self._desk, self._report = desk, report
        self.finding = finding
        self.detail: FindingDetail | None = None
        self.header = FindingHeader(finding)
        self.header.clicked.connect(self._clicked)
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        self._box.addWidget(self.header)
        self.mark_applied()

    def open(self, place: RowPlace | None = None) -> None:
        """Shows what is below the line; ``place`` is the row to choose."""
        if self.detail is not None:
            return
        self.header.setChecked(True)
        self.detail = FindingDetail(self._desk, self._report, self.finding, place)
        self.detail.place_chosen.connect(self._remember)
        self.detail.setContentsMargins(tokens.SPACE_1, 0, tokens.SPACE_1, tokens.SPACE_3)
        self._box.addWidget(self.detail)
        show_inside(self.detail, is_shown=True)
        self._remember(self.detail.places.current)

    def close_entry(self) -> None:
        """Leaves the line alone."""
        self.header.setChecked(False)
        detail, self.detail = self.detail, None
        if detail is not None:
            detail.close_detail()
            self._box.removeWidget(detail)
            detail.hide()
            detail.deleteLater()

    def mark_applied(self) -> None:
        """Shows whether a fix of it is in the spec already."""
        spec = self._desk.session.spec
        mended = any(is_applied(fix, spec, self._report) for fix in self.finding.fixes)
        self.header.set_applied(applied=mended)

    def _remember(self, place: RowPlace | None) -> None:
        self._desk.memory[_MEMORY] = (self.finding.name, place)

    def _clicked(self) -> None:
        if self.detail is None:
            self.open()
        else:
            self.close_entry()
            self._desk.memory.pop(_MEMORY, None)
        self.turned.emit()


class FindingList(QWidget):
    """All findings. Which one is open, and at which row, is remembered while reports come and go."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._report: Report | None = None
        self._is_long = False
        self.entries: list[FindingEntry] = []
        self._lines: list[QWidget] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(2)
        self._more = button("", self._turn, role="quiet", name="more-findings")
        self._box.addWidget(self._more, 0, Qt.AlignmentFlag.AlignLeft)
        self.setAccessibleName(tr("Findings"))
        desk.session.spec_changed.connect(self._spec_changed)

    def show_report(self, report: Report | None) -> None:
        """Lists the findings of another report."""
        if report is self._report:
            return
        before, self._report = self._report, report
        if before is not None and report is not None and _same_findings(before, report):
            return
        self._fill()

    def close_list(self) -> None:
        """Ends what the open finding is reading."""
        for entry in self.entries:
            if entry.detail is not None:
                entry.detail.close_detail()

    @property
    def open_entry(self) -> FindingEntry | None:
        """The finding that is open."""
        return next((entry for entry in self.entries if entry.detail is not None), None)

    def _fill(self) -> None:
        held = self._focused()
        self._empty()
        found = ordered(self._report.findings) if self._report is not None else ()
        shown = found[:MOST] if self._is_long or len(found) <= FOLDED + 1 else found[:FOLDED]
        memory = self._desk.memory.get(_MEMORY)
        name, place = memory if isinstance(memory, tuple) else ("", None)
        for number, finding in enumerate(shown):
            assert self._report is not None
            entry = FindingEntry(self._desk, self._report, finding)
            entry.turned.connect(lambda entry=entry: self._turned(entry))
            entry.header.stepped.connect(lambda by, number=number: self._step(number + by))
            if number:
                self._lines.append(self._add(line()))
            self._add(entry)
            self.entries.append(entry)
            if finding.name == name:
                entry.open(place)
        self._more.setVisible(len(found) > FOLDED + 1)
        self._more.setText(tr("Show fewer") if self._is_long else tr_count(len(found), "Show it", "Show all {n}"))
        self.setVisible(bool(found))
        if held >= 0 and self.entries:
            self._step(min(held, len(self.entries) - 1))

    def _add(self, item: QWidget) -> QWidget:
        self._box.insertWidget(self._box.count() - 1, item)
        show_inside(item, is_shown=True)
        return item

    def _empty(self) -> None:
        for entry in self.entries:
            entry.close_entry()
        for item in (*self.entries, *self._lines):
            self._box.removeWidget(item)
            item.hide()
            item.deleteLater()
        self.entries, self._lines = [], []

    def _focused(self) -> int:
        """Which entry has the focus; -1 for none."""
        held = self.window().focusWidget()
        return next((place for place, item in enumerate(self.entries) if held and item.isAncestorOf(held)), -1)

    def _turned(self, turned: FindingEntry) -> None:
        for entry in self.entries:
            if entry is not turned:
                entry.close_entry()
        if turned.detail is not None:
            QTimer.singleShot(0, turned, lambda: _bring_into_sight(turned))  # when it has its height

    def _turn(self) -> None:
        self._is_long = not self._is_long
        self._fill()

    def _step(self, place: int) -> None:
        if 0 <= place < len(self.entries):
            self.entries[place].header.setFocus(Qt.FocusReason.TabFocusReason)

    def _spec_changed(self, _paths: object) -> None:
        for entry in self.entries:
            entry.mark_applied()


def _bring_into_sight(entry: FindingEntry) -> None:
    """Scrolls as far as needed: to the end of what has opened, but not beyond its beginning."""
    area = entry.parentWidget()
    while area is not None and not isinstance(area, QScrollArea):
        area = area.parentWidget()
    if area is not None and (content := area.widget()) is not None:
        top = entry.mapTo(content, QPoint(0, 0)).y()
        bottom, bar = top + entry.height() + tokens.SPACE_4, area.verticalScrollBar()
        wanted = max(bar.value(), bottom - area.viewport().height())
        bar.setValue(min(wanted, max(0, top - tokens.SPACE_4)))


def _same_findings(one: Report, other: Report) -> bool:
    return one.findings == other.findings and one.repaired.keys() == other.repaired.keys()
