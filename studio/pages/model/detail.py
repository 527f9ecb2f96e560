"""The right side of the Model page: the chosen model with its facts, whether it fits, and what is wrong with it."""

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from core.errors import Problem, Severity
from core.facts.locate import STARTER
from core.runs.starter import starter_folder
from studio.look import tokens
from studio.pages.model.entries import STARTER_NAME
from studio.pages.model.facts_card import FactsCard, HeadCard
from studio.pages.model.fit_bars import FitCard
from studio.pages.model.halves import clear
from studio.state.desk import Desk
from studio.state.downloads import arrivals
from studio.widgets.basics import Card, Empty, ProblemNote, button, label, row
from studio.words import say, tr


class ModelDetail(QWidget):
    """The chosen model; follows the session.

    Attributes:
        import_asked: the GGUF file that the user wants to import.
        hub_asked: the name of a model that the user wants to find on the hub.
    """

    import_asked = Signal(object)
    hub_asked = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._shown: object = None
        self._stale = True
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_3)
        self._notes = QVBoxLayout()
        self._notes.setSpacing(tokens.SPACE_2)
        self._content: QWidget | None = None
        self._fit = FitCard(desk)
        self._below = QVBoxLayout()
        self._below.setSpacing(tokens.SPACE_3)
        self._box.addLayout(self._notes)
        self._box.addWidget(self._fit)
        self._box.addLayout(self._below)
        self._box.addStretch(1)
        session = desk.session
        session.plan_changed.connect(self._changed)
        session.facts_changed.connect(self._changed)
        session.busy_changed.connect(self._changed)
        session.spec_changed.connect(self._changed)
        self.refresh()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Catches up with what changed meanwhile."""
        super().showEvent(event)
        if self._stale:
            self.refresh()

    def _changed(self, *_what: object) -> None:
        self._stale = True
        if self.isVisible():
            self.refresh()

    def refresh(self) -> None:
        """Shows the model as it is known now."""
        self._stale = False
        session = self._desk.session
        base = session.spec.model.base.strip()
        problems = self._problems()
        state = (base, session.model, problems, "model" in session.busy, session.model_problems)
        if state != self._shown:
            self._shown = state
            self._show_problems(problems)
            self._show_content(base)
        self._fit.refresh()

    def _problems(self) -> tuple[Problem, ...]:
        """What is wrong with the base model itself; what concerns other settings stands beside those."""
        session = self._desk.session
        if not session.spec.model.base.strip():
            return ()
        planned = session.plan.problems if session.plan is not None else ()
        paths = ("model.base", "model.revision", "model.trust_remote_code", "model.quantization")
        found = [item for item in planned if item.path in paths and item.severity is not Severity.INFO]
        return tuple(dict.fromkeys(self._in_words_of_the_window(item) for item in (*session.model_problems, *found)))

    def _in_words_of_the_window(self, problem: Problem) -> Problem:
        """What the core tells people at a command line is a button here."""
        session = self._desk.session
        if problem.path != "model.base":
            return problem
        if session.model is not None and _is_gguf(session.model.path):
            message = tr("This is a GGUF file, which holds weights for running a model and not for training it.")
            return replace(problem, message=message, advice=tr("Import it first; then the imported model is trained."))
        if session.model is not None and not session.model.here:
            message = tr("This model is not on this computer yet. It can be planned with, but not trained.")
            advice = tr("Download it before the start.")
            # Nothing is wrong: that is what the catalogue is for.
            return replace(problem, severity=Severity.INFO, message=message, advice=advice)
        if session.model is None and session.spec.model.base.strip() == STARTER and not starter_folder().exists():
            message = tr("The starter model is not on this computer yet.")
            return replace(problem, message=message, advice=tr("Fetch it; that takes a minute or two."))
        return problem

    def _show_problems(self, problems: tuple[Problem, ...]) -> None:
        clear(self._notes)
        for problem in problems:
            note = ProblemNote(problem, lambda fix: self._desk.session.apply(fix.edits))
            note.setObjectName("model-problem")
            self._notes.addWidget(note)
        remedy = self._remedy() if problems else None
        if remedy is not None:
            holder = QWidget()
            holder.setLayout(row(remedy, None))
            self._notes.addWidget(holder)

    def _remedy(self) -> QPushButton | None:
        """A button that mends what no edit of the spec can mend."""
        session = self._desk.session
        base, facts = session.spec.model.base.strip(), session.model
        if facts is not None and _is_gguf(facts.path):
            source = Path(facts.path)
            return button(
                tr("Import this file…"), lambda: self.import_asked.emit(source), role="primary", name="import-this"
            )
        if facts is None and base == STARTER:
            fetch = arrivals(self._desk).fetch_starter
            return button(tr("Fetch the starter model"), fetch, role="primary", icon_name="download", name="fetch-this")
        if facts is not None and not facts.here:
            return button(
                tr("Download it…"), lambda: self.hub_asked.emit(base), role="primary", icon_name="download",
                name="download-this",
            )  # fmt: skip
        if facts is None and _could_be_on_the_hub(base):
            return button(
                tr("Find it on the hub"), lambda: self.hub_asked.emit(base), icon_name="search", name="find-on-hub"
            )
        return None

    def _show_content(self, base: str) -> None:
        if self._content is not None:
            self._box.removeWidget(self._content)
            self._content.hide()
            self._content.deleteLater()
        clear(self._below)
        session = self._desk.session
        facts = session.model
        if facts is not None:
            self._content = HeadCard(facts, _name_of(base))
            self._below.addWidget(FactsCard(facts))
            for sentence in (*facts.notes, *facts.assumptions):
                self._below.addWidget(ProblemNote(Problem(Severity.INFO, "", say(sentence), "")))
        elif not base:
            self._content = self._nothing()
        elif session.model_problems:
            self._content = None
        else:
            card = Card()
            card.add(label(tr("Reading the base model’s files…"), "help", wrap=True))
            self._content = card
        if self._content is not None:
            self._box.insertWidget(1, self._content)

    def _nothing(self) -> QWidget:
        card = Card()
        text = tr("Choose one from the list, open a folder, or find one on the hub. Its facts then stand here.")
        card.add(Empty("box", tr("No base model chosen yet"), text))
        return card


def _is_gguf(path: str) -> bool:
    return Path(path).suffix.lower() == ".gguf"


def _name_of(base: str) -> str:
    """What people call the model: a path's last part, else the name as it stands."""
    if base == STARTER:
        return STARTER_NAME
    path = Path(base).expanduser()
    return path.name if path.is_absolute() or base.startswith(".") else base


def _could_be_on_the_hub(base: str) -> bool:
    owner, slash, name = base.partition("/")
    return bool(slash and owner and name) and not base.startswith((".", "~")) and "/" not in name and "\\" not in base
