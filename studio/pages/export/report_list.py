"""The report of a verification as a short list: what was compared, what was measured, and whether it passed."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from core.export.verification.records import Check
from studio.look import tokens
from studio.state.export_facts import CheckReport
from studio.widgets.basics import IconLabel, column, label, row
from studio.words import say, tr, tr_count


class ReportList(QWidget):
    """A verdict, and below it one line for each check."""

    def __init__(self, report: CheckReport | None) -> None:
        super().__init__()
        icon_name, tone, words = _verdict(report)
        verdict = label(words, tone, wrap=True)
        head = row(IconLabel(icon_name, tone), verdict)
        head.setStretch(1, 1)
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_1)
        grid.setColumnStretch(1, 1)
        for line, check in enumerate(report.checks if report is not None else ()):
            _add(grid, line, check)
        notes = [label(say(note), "muted", wrap=True) for note in (report.notes if report is not None else ())]
        self.setLayout(column(head, grid, *notes))
        self.setAccessibleName(words)


def _verdict(report: CheckReport | None) -> tuple[str, str, str]:
    if report is None:
        return "info", "muted", tr("Not checked.")
    if report.problem:
        return "triangle-alert", "warn", tr("The check could not be made: {reason}", reason=say(report.problem))
    if not report.checks:
        return "triangle-alert", "warn", tr("Nothing could be compared.")
    failed = sum(not check.passed for check in report.checks)
    if failed:
        return "octagon-x", "bad", tr("{failed} of {all} checks failed.", failed=failed, all=len(report.checks))
    if report.verdict == "not_compared":
        return "triangle-alert", "warn", tr("Its texts agree, but what was trained in it could not be compared.")
    words = tr_count(len(report.checks), "The one check passed.", "All {n} checks passed.")
    if report.read_by:
        words = tr("{verdict} Read by {program}.", verdict=words, program=report.read_by)
    return "circle-check", "good", words


def _add(grid: QGridLayout, line: int, check: Check) -> None:
    tone = "good" if check.passed else "bad"
    mark = IconLabel("check" if check.passed else "x", tone)
    mark.setAccessibleName(tr("passed") if check.passed else tr("failed"))
    grid.addWidget(mark, line, 0, Qt.AlignmentFlag.AlignTop)
    grid.addWidget(label(say(check.words or check.name), "help" if check.passed else "bad", wrap=True), line, 1)
    measured = check.measured
    if check.measured and check.limit:
        measured = tr("{measured} (at most {limit})", measured=check.measured, limit=check.limit)
    grid.addWidget(label(measured, "muted"), line, 2, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignRight)
