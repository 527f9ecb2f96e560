"""This computer and this installation: what was looked at, what is wrong, and what mends it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QGridLayout, QProgressBar, QWidget

from core.errors import UserError
from core.runs.checkup import Finding, report_text
from studio.look import tokens
from studio.look.theme import look
from studio.pages.settings.display import display_finding
from studio.state.desk import Desk
from studio.widgets.basics import Card, IconLabel, button, column, label, row
from studio.words import say, tr
from studio.workers.task import Report, Task, start_task

_MEMORY = "settings.findings"


@dataclass(frozen=True, slots=True)
class Mark:
    """How a level looks: an icon, a colour, a word."""

    icon: str
    color: str
    word: str


def mark_of(level: str) -> Mark:
    """The mark of "ok", "warn" or "bad"."""
    marks = {
        "ok": Mark("circle-check", "good", tr("OK")),
        "warn": Mark("triangle-alert", "warn", tr("Notice")),
        "bad": Mark("octagon-x", "bad", tr("Problem")),
    }
    return marks[level]


class ComputerCard(Card):
    """The check-up: findings, each with its remedy; looked at again with a button, copied with another."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("This computer"), tr("Whether runs can start here, and what to mend if not."))
        self._desk = desk
        self._task: Task | None = None
        self._again = button(tr("Check again"), self.check, icon_name="refresh-cw", name="check-again")
        self._copy = button(tr("Copy report"), self._copy_report, icon_name="copy", name="copy-report")
        self.head.addWidget(self._copy)
        self.head.addWidget(self._again)
        self._verdict = label("", "strong", wrap=True)
        self._verdict.setObjectName("check-verdict")
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Checking this computer"))
        self._busy = QWidget()
        asked = label(tr("Looking at this computer and asking PyTorch; this takes some seconds."), "muted", wrap=True)
        cancel = button(tr("Cancel"), self.cancel, name="cancel-check")
        busy = row(spacing=tokens.SPACE_4)
        busy.addLayout(column(asked, self._bar, spacing=tokens.SPACE_1), 1)
        busy.addWidget(cancel)
        self._busy.setLayout(busy)
        self._list = QWidget()
        self.add(self._busy)
        self.add(self._verdict)
        self.add(self._list)
        self._show(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found last; kept while the window is made anew."""
        found = self._desk.memory.get(_MEMORY, ())
        return found if isinstance(found, tuple) else ()

    def check_once(self) -> None:
        """Checks, unless that was done already or a run needs the computer's memory now."""
        if not self.findings and self._task is None and not self._desk.runs.is_live:
            self.check()

    def check(self) -> None:
        """Looks at everything in the background."""
        if self._task is None:
            self._task = start_task(_check, on_done=self._arrived, on_failed=self._failed, parent=self)
            self._show(self.findings)

    def cancel(self) -> None:
        """Ends the looking."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._show(self.findings)

    def _arrived(self, findings: tuple[Finding, ...]) -> None:
        self._task = None
        self._desk.memory[_MEMORY] = (*findings, display_finding())
        self._show(self.findings)

    def _failed(self, failure: Exception) -> None:
        self._task = None
        self._show(self.findings)
        if not isinstance(failure, UserError | OSError):
            raise failure
        self._desk.complain(tr("This computer could not be checked."), str(failure))

    def _show(self, findings: Sequence[Finding]) -> None:
        is_busy = self._task is not None
        self._busy.setVisible(is_busy)
        self._again.setEnabled(not is_busy)
        self._again.setText(tr("Check again") if findings else tr("Check"))
        self._copy.setVisible(bool(findings))
        self._copy.setEnabled(not is_busy)
        self._verdict.setVisible(bool(findings))
        bad = any(finding.level == "bad" for finding in findings)
        self._verdict.setText(
            tr("Something has to be mended before a run can start.") if bad else tr("Runs can start here.")
        )
        fresh = _table(findings)
        fresh.setEnabled(not is_busy)
        self.body.replaceWidget(self._list, fresh)
        self._list.hide()
        self._list.deleteLater()
        self._list = fresh
        fresh.show()

    def _copy_report(self) -> None:
        QGuiApplication.clipboard().setText(report_text(self.findings))
        self._desk.tell(
            tr("The report was copied."), tr("It names no folders of yours; paste it where you ask for help.")
        )


def _check(report: Report) -> tuple[Finding, ...]:
    from core.runs.checkup import check_all

    return check_all(report.check)


def _table(findings: Sequence[Finding]) -> QWidget:
    """A line for each finding: mark and word, subject, what was found and what to do."""
    holder = QWidget()
    grid = QGridLayout(holder)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(tokens.SPACE_3)
    grid.setVerticalSpacing(tokens.SPACE_2)
    grid.setColumnStretch(3, 1)
    top = Qt.AlignmentFlag.AlignTop
    for place, finding in enumerate(findings):
        mark = mark_of(finding.level)
        role = {"good": "good", "warn": "warn", "bad": "bad"}[mark.color]
        texts = column(label(say(finding.text), wrap=True, selectable=True), spacing=2)
        if finding.remedy:
            texts.addWidget(label(say(finding.remedy), "muted", wrap=True))
        grid.addWidget(IconLabel(mark.icon, mark.color, look().px(16)), place, 0, top)
        grid.addWidget(label(mark.word, role), place, 1, top)
        grid.addWidget(label(say(finding.subject), "strong"), place, 2, top)
        grid.addLayout(texts, place, 3)
    return holder
