"""A list of problem notes that follows every edit: what stays of the same shape keeps its widgets."""

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from core.errors import Fix, Problem
from studio.look import tokens
from studio.widgets.basics import ProblemNote


class ProblemNotes(QWidget):
    """Notes below each other; hidden while there is nothing to say.

    While a slider moves, a problem often stays and only its numbers change. Then the words change and the widgets
    stay, because making and styling new ones takes longer than a frame.
    """

    def __init__(
        self, on_fix: Callable[[Fix], object], *, compact: bool = False, spacing: int = tokens.SPACE_1
    ) -> None:
        super().__init__()
        self._on_fix, self._compact = on_fix, compact
        self._shown: tuple[Problem, ...] = ()
        self._notes: list[ProblemNote] = []
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(spacing)
        self.hide()

    def show_problems(self, problems: Sequence[Problem], *, awaiting: bool = False) -> None:
        """Shows other problems.

        With ``awaiting`` their fixes may still be on their way: a note keeps the place of those that it had.
        """
        found = tuple(problems)
        if found == self._shown:
            return
        self._shown = found
        for number, problem in enumerate(found):
            note = self._notes[number] if number < len(self._notes) else None
            if note is not None and (note.take(problem) or (awaiting and note.take_early(problem))):
                continue
            self._drop(number)
            note = ProblemNote(problem, self._on_fix, compact=self._compact)
            # As high as its texts at the width there is: a maximum would be that of its preferred, wider form.
            note.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
            self._notes.append(note)
            self._box.addWidget(note)
        self._drop(len(found))
        self.setVisible(bool(found))

    def _drop(self, start: int) -> None:
        for note in self._notes[start:]:
            self._box.removeWidget(note)
            note.hide()
            note.deleteLater()
        del self._notes[start:]
