"""The report about the whole set: what is in it, what is wrong with it, and what is mended."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QProgressBar, QWidget

from core.data.report.types import Report
from core.errors import Severity
from core.units import format_share
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.findings import FindingList
from studio.pages.data.languages_bar import LanguagesBar
from studio.pages.data.progress import show_progress
from studio.pages.data.repaired_list import RepairedList
from studio.state.desk import Desk
from studio.widgets.basics import (
    Card,
    Elided,
    IconLabel,
    Pill,
    button,
    column,
    label,
    line,
    row,
    show_inside,
    tool_button,
)
from studio.widgets.notes import ProblemNotes
from studio.words import tr, tr_count

_BAR_WIDTH = 120


class ReportCard(Card):
    """Counts, languages, findings and repairs; or what is being done, or why there is no report."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Report"))
        self._desk = desk
        self._source = desk.report
        self._pill = Pill()
        self._pill.setObjectName("report-verdict")
        self._again = tool_button(
            "refresh-cw", tr("Look through the rows again"), self._source.again, name="report-again"
        )
        keeps = self._again.sizePolicy()
        keeps.setRetainSizeWhenHidden(True)  # else the card grows and shrinks while its report comes and goes
        self._again.setSizePolicy(keeps)
        self._progress = _Progress(desk)
        self.head.insertWidget(1, self._pill)
        self.head.insertWidget(2, self._progress, 100)
        self.head.addWidget(self._again)
        self._missing = _Missing(desk)
        self._notes = ProblemNotes(lambda fix: desk.session.apply(fix.edits))
        self._counts = label("", "help", wrap=True, selectable=True)
        self._counts.setObjectName("report-counts")
        self._epoch = label("", "help", wrap=True, selectable=True)
        self._epoch.setObjectName("report-epoch")
        self.languages = LanguagesBar()
        self.findings = FindingList(desk)
        self.repaired = RepairedList(desk)
        self._nothing = _Nothing()
        self._line = line()
        for part in (
            self._missing, self._notes, self._counts, self._epoch, self.languages, self._nothing, self.findings,
            self._line, self.repaired,
        ):  # fmt: skip
            self.add(part)
        self._source.changed.connect(self._refresh)
        desk.session.spec_changed.connect(self._refresh)
        self._source.begin()
        self._refresh()

    def close_card(self) -> None:
        """Ends what the open finding is reading."""
        self.findings.close_list()

    def _refresh(self, _what: object = None) -> None:
        source, session = self._source, self._desk.session
        show_inside(self, is_shown=bool(session.spec.data.train))
        report = source.report
        self._progress.refresh()
        self._missing.refresh()
        known = {problem.message for problem in session.data_problems}  # they stand on the page already
        self._notes.show_problems([problem for problem in source.problems if problem.message not in known])
        fresh = report if not source.is_stale else None
        self.repaired.show_repairs(report)
        self._counts.setVisible(report is not None)
        self._epoch.setVisible(report is not None and _differs(report))
        self.languages.show_languages(report.languages if report is not None else ())
        self.findings.show_report(report)
        self.findings.setVisible(report is not None and bool(report.findings))
        self._nothing.setVisible(report is not None and not report.findings)
        self._line.setVisible(bool(session.spec.data.repairs) and report is not None)
        self._pill.setVisible(fresh is not None)
        self._again.setVisible(source.busy is None and report is not None)
        if report is not None:
            self._show(report)

    def _show(self, report: Report) -> None:
        share = report.supervised_tokens / report.tokens if report.tokens else 0.0
        parts = [
            tr_count(report.rows, "One row", "{n} rows"),
            tr_count(report.tokens, "one token", "{n} tokens"),
            tr("{n} of them trained ({share})", n=f"{report.supervised_tokens:,}", share=format_share(share)),
        ]
        if report.validation_rows:
            parts.append(tr_count(report.validation_rows, "one row for validation", "{n} rows for validation"))
        if not report.is_complete:
            parts.append(tr("very many rows are alike, and not all of them were looked for"))
        self._counts.setText(" · ".join(parts))
        self._epoch.setText(_epoch_words(report))
        doubts = sum(1 for item in report.findings if item.severity is not Severity.INFO)
        if doubts:
            self._pill.show_text(tr_count(doubts, "one thing to look at", "{n} things to look at"), "warn")
        else:
            self._pill.show_text(tr("nothing to mend"), "good")


def _differs(report: Report) -> bool:
    """Whether an epoch takes anything but each row once."""
    return bool(report.epoch.unused_rows) or report.epoch.rows != report.rows


def _epoch_words(report: Report) -> str:
    """What an epoch takes of the rows, where files have weights or not all rows are taken."""
    epoch = report.epoch
    if (epoch.rows, epoch.tokens) == (report.rows, report.tokens):  # then the line above has said the rest
        return tr_count(epoch.unused_rows, "One row is taken by no epoch", "{n} rows are taken by no epoch")
    parts = [
        tr_count(epoch.rows, "One epoch takes one row", "One epoch takes {n} rows"),
        tr_count(epoch.tokens, "one token", "{n} tokens"),
        tr_count(epoch.supervised_tokens, "one of them trained", "{n} of them trained"),
    ]
    if epoch.unused_rows:
        parts.append(tr_count(epoch.unused_rows, "one row is taken by none", "{n} rows are taken by none"))
    return " · ".join(parts)


class _Nothing(QWidget):
    """Nothing was found."""

    def __init__(self) -> None:
        super().__init__()
        title = label(tr("Nothing to mend"), "strong")
        words = label(tr("Every row was looked through, and none of them needs anything."), "help", wrap=True)
        box = row(IconLabel("circle-check", "good", 20), column(title, words, spacing=2), spacing=tokens.SPACE_3)
        box.setStretch(1, 1)
        self.setLayout(box)
        self.setObjectName("nothing-to-mend")


class _Missing(QWidget):
    """What a report says, while there is none: why, and what to do about it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._words = label("", "help", wrap=True)
        self._act = button("", self._perform, name="report-action")
        self.setLayout(column(self._words, row(self._act, None)))

    def refresh(self) -> None:
        """Says it."""
        source, session = self._desk.report, self._desk.session
        self.setVisible(source.report is None)
        if source.report is not None:
            return
        kinds = tr("Every row is looked through: for duplicates, damaged letters, wrong roles, placeholders and more.")
        words, action = kinds, ""
        if source.busy is not None:
            pass
        elif source.is_waiting:
            words = tr("The rows are looked through as soon as they have been read.")
        elif session.model is None:
            words, action = f"{kinds} {tr('That needs a base model.')}", tr("Choose a base model")
        elif source.problems:
            words, action = tr("The rows cannot be looked through as they are."), tr("Look again")
        else:
            words, action = tr("The rows have not been looked through."), tr("Look through the rows")
        self._words.setText(words)
        self._act.setText(action)
        self._act.setVisible(bool(action))

    def _perform(self) -> None:
        if self._desk.session.model is None:
            self._desk.go("model")
        else:
            self._desk.report.again()


class _Progress(QWidget):
    """How far the work is, with a button that ends it; beside the title, so that nothing moves when it comes."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._words = Elided("", "muted")
        self._words.setObjectName("report-progress")
        self._words.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(look().px(_BAR_WIDTH))
        self._bar.setAccessibleName(tr("Progress of the report"))
        cancel = button(tr("Cancel"), desk.report.cancel, name="cancel-report")
        box = row(self._words, self._bar, cancel, spacing=tokens.SPACE_3)
        box.setStretch(0, 1)
        self.setLayout(box)

    def refresh(self) -> None:
        """Shows what is done now; hidden when nothing is."""
        busy = self._desk.report.busy
        self.setVisible(busy is not None)
        if busy is None:
            return
        self._words.set_text(show_progress(self._bar, busy))
