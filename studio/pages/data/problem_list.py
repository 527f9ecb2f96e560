"""What is wrong with the files and their rows, each with its place; a long list is folded."""

import re
from collections.abc import Iterable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.errors import Problem, Severity
from core.spec.hub_data import short_name
from studio.look import tokens
from studio.state.desk import Desk
from studio.widgets.basics import LinkLabel, ProblemNote, button, row
from studio.words import tr, tr_count

FOLDED = 3
MOST = 100
_BAD_ROWS = "data.bad_rows"
_PLACE = re.compile(r"(.+):(\d+)")


def place_of(problem: Problem) -> tuple[str, int]:
    """The file and line that a problem names; line 0 where it names none."""
    found = _PLACE.fullmatch(problem.path)
    return (found.group(1), int(found.group(2))) if found else (problem.path, 0)


def is_about_a_file(problem: Problem) -> bool:
    """Whether a problem's path is a file and not a setting."""
    return not re.fullmatch(r"[a-z]+\.[a-z_]+", problem.path)


class ProblemList(QWidget):
    """Problems as notes, the first few at once.

    Attributes:
        asked: file and line of the problem whose row the user wants to see.
    """

    asked = Signal(str, int)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._problems: tuple[Problem, ...] = ()
        self._is_open = False
        self._notes: list[QWidget] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        self._more = button("", self._turn, role="quiet", name="more-problems")
        self._skip = button(tr("Skip the rows that cannot be used"), self._skip_rows, name="skip-rows")
        self._box.addLayout(row(self._skip, self._more, None))
        self.setAccessibleName(tr("Problems of the data"))
        self.hide()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is listed."""
        return self._problems

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """Lists other problems, each once."""
        unique: dict[tuple[str, str], Problem] = {}
        for problem in problems:
            unique.setdefault((problem.path, problem.message), problem)
        found = tuple(unique.values())
        if found == self._problems:
            return
        self._problems = found
        self._is_open = False
        self._refresh()

    def _skip_rows(self) -> None:
        self._desk.session.edit(_BAD_ROWS, "skip")

    def _turn(self) -> None:
        self._is_open = not self._is_open
        self._refresh()

    def _refresh(self) -> None:
        for note in self._notes:
            self._box.removeWidget(note)
            note.hide()
            note.deleteLater()
        most = MOST if self._is_open else FOLDED
        # one more than fits costs no more room than the button would
        most += 1 if len(self._problems) == most + 1 else 0
        self._notes = [self._note(problem) for problem in self._problems[:most]]
        for place, note in enumerate(self._notes):
            self._box.insertWidget(place, note)
        self._more.setVisible(len(self._problems) > FOLDED + 1)
        self._more.setText(
            tr("Show fewer problems")
            if self._is_open
            else tr_count(len(self._problems), "Show the problem", "Show all {n} problems")
        )
        broken = any(item.severity is Severity.ERROR and place_of(item)[1] for item in self._problems)
        self._skip.setVisible(broken and self._desk.session.spec.data.bad_rows == "stop")
        self.setVisible(bool(self._problems))

    def _note(self, problem: Problem) -> QWidget:
        where: QWidget | None = None
        file, line = place_of(problem)
        if is_about_a_file(problem):
            name = short_name(file)
            title = tr("{file}, line {line}: show this row", file=name, line=f"{line:,}") if line else name
            where = LinkLabel(title, lambda: self.asked.emit(file, line))
            where.setObjectName("problem-place")
            where.setToolTip(file)
        return ProblemNote(problem, lambda fix: self._desk.session.apply(fix.edits), above=where)
