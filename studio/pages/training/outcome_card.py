"""How a run ended: what happened, what to do next, the detail for those who want it, and the next steps as buttons."""

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from core.errors import UserError
from core.runs.outcome import Outcome
from core.units import format_duration
from studio.look.theme import look, mono_font
from studio.pages.training.consent import Consent
from studio.state.desk import Action, Desk
from studio.state.runs import WatchedRun, spec_of
from studio.widgets.basics import Card, IconLabel, ProblemNote, button, label, row
from studio.widgets.flow import FlowLayout
from studio.words import say, tr

_ICONS = {
    "completed": ("circle-check", "good"),
    "stopped": ("pause", "accent"),
    "failed": ("octagon-x", "bad"),
    "crashed": ("octagon-x", "bad"),
    "lost": ("circle-alert", "bad"),
}


class OutcomeCard(Card):
    """The end of a run.

    Attributes:
        settings_asked: the user wants to see the settings.
    """

    settings_asked = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("outcome")
        self._desk = desk
        self._run: WatchedRun | None = None
        self.mark = IconLabel("circle-check", "good", 20)
        self.heading = label("", "section")
        self.heading.setObjectName("outcome-title")
        self.message = label("", wrap=True, selectable=True)
        self.message.setObjectName("outcome-message")
        self.hint = label("", "help", wrap=True, selectable=True)
        self.detail = QPlainTextEdit()
        self.detail.setReadOnly(True)
        self.detail.setFont(mono_font())
        self.detail.setObjectName("outcome-detail")
        self.detail.setAccessibleName(tr("Details"))
        self.detail.setTabChangesFocus(True)
        self.detail.setFixedHeight(look().px(180))
        self._notes: list[QWidget] = []
        self._make_buttons()
        self.consent = Consent(desk)
        self.consent.given.connect(self._resume)
        self.add(row(self.mark, self.heading, None))
        self.add(self.message)
        self.add(self.hint)
        self.add(self.consent)
        self.add(self._actions)
        self.add(self.detail)

    def refresh(self, run: WatchedRun) -> None:
        """Shows how the run ended; hidden while it has not."""
        self.setVisible(not run.is_live)
        if run.is_live or run is self._run:
            return
        self._run = run
        self._clear_notes()
        if run.outcome is not None:
            self._show_outcome(run, run.outcome)
        else:
            self._show_refusal(run)

    def forget(self) -> None:
        """Another run is shown."""
        self._run = None
        self.hide()

    def _show_outcome(self, run: WatchedRun, outcome: Outcome) -> None:
        icon_name, color = _ICONS[outcome.kind]
        self.mark.set_icon(icon_name, color)
        self.heading.setText(say(outcome.title))
        self.message.setText(say(outcome.message))
        self.setAccessibleName(f"{say(outcome.title)}. {say(outcome.message)} {say(outcome.hint)}".strip())
        hint = say(outcome.hint) or _summary(outcome)
        self.hint.setText(hint)
        self.consent.ask_about(run.folder, outcome)
        self.hint.setVisible(bool(hint) and self.consent.isHidden())  # it says what to type for what is pressed here
        has_result = outcome.kind == "completed"
        self.resume.setVisible(outcome.resumable)
        self.try_it.setVisible(has_result)
        self.export.setVisible(has_result)
        self.further.setVisible(has_result)
        self._set_detail(outcome.detail)

    def _show_refusal(self, run: WatchedRun) -> None:
        self.mark.set_icon("octagon-x", "bad")
        self.heading.setText(tr("The run could not be started"))
        self.message.hide()
        self.hint.hide()
        self.consent.hide()
        for made in (self.resume, self.try_it, self.export, self.further):
            made.hide()
        for problem in run.problems:
            note = ProblemNote(problem)
            self._notes.append(note)
            self.body.insertWidget(1 + len(self._notes), note)
        self._set_detail("")

    def _clear_notes(self) -> None:
        for note in self._notes:
            note.hide()
            note.deleteLater()
        self._notes = []
        self.message.show()

    def _set_detail(self, text: str) -> None:
        self.detail.setPlainText(text)
        self.detail.hide()
        self.more.setVisible(bool(text))
        self.copy.setVisible(bool(text))
        self.more.setText(tr("Show details"))

    def _make_buttons(self) -> None:
        self.resume = button(tr("Resume"), self._resume, role="primary", icon_name="play", name="resume")
        self.try_it = button(tr("Try it"), self._try, role="primary", icon_name="message-square", name="outcome-try")
        self.export = button(tr("Export"), self._export, icon_name="package", name="outcome-export")
        self.further = button(tr("Train further"), self._further, icon_name="skip-forward", name="outcome-further")
        self.again = button(tr("Use these settings again"), self._duplicate, icon_name="copy", name="outcome-again")
        self.new = button(tr("New run"), self.settings_asked.emit, icon_name="plus", name="new-run")
        self.new.setToolTip(tr("Back to the settings; this run stays in the list of runs."))
        self.folder = button(tr("Open folder"), self._open, icon_name="folder-open", name="outcome-folder")
        self.more = button(tr("Show details"), self._turn_detail, icon_name="file-text", name="outcome-more")
        self.copy = button(tr("Copy details"), self._copy, icon_name="copy", name="outcome-copy")
        self._actions = FlowLayout()
        for made in (
            self.resume,
            self.try_it,
            self.export,
            self.further,
            self.new,
            self.again,
            self.folder,
            self.more,
            self.copy,
        ):
            self._actions.addWidget(made)

    # --- next steps

    def _resume(self) -> None:
        if self._run is not None:
            self._desk.runs.resume(self._run.folder)

    def _try(self) -> None:
        from studio.state.chat_choice import ChatChoice
        from studio.state.chats import chats_of

        if self._run is not None:
            chats_of(self._desk).choose(ChatChoice("run", self._run.folder.path))
            self._desk.go("try")

    def _export(self) -> None:
        from studio.state.exports import exports_of

        if self._run is not None:
            exports_of(self._desk).choose_run(self._run.folder.path)
            self._desk.go("export")

    def _further(self) -> None:
        if self._run is not None:
            self._desk.runs.ask_further(self._run.folder)
            self._desk.go("runs")

    def _duplicate(self) -> None:
        if self._run is None:
            return
        try:
            spec = spec_of(self._run.folder)
        except UserError as failure:
            self._desk.show_problems(failure.problems)
            return
        session = self._desk.session
        before = session.spec
        session.set_spec(spec)
        if session.spec != before:
            undo = (Action(tr("Undo"), lambda: session.set_spec(before)),)
            self._desk.tell(tr("The settings are those of “{name}” again.", name=self._run.name), actions=undo)
        self.settings_asked.emit()

    def _open(self) -> None:
        if self._run is None:
            return
        path = self._run.folder.path
        if not path.is_dir():
            self._desk.warn(tr("The folder {path} is no longer there.", path=str(path)))
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._desk.warn(tr("No program opens folders here."), str(path))

    def _turn_detail(self) -> None:
        shown = not self.detail.isVisibleTo(self)
        self.detail.setVisible(shown)
        self.more.setText(tr("Hide details") if shown else tr("Show details"))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.detail.toPlainText())


def _summary(outcome: Outcome) -> str:
    if not outcome.step:
        return ""
    return tr("It took {time}.", time=format_duration(outcome.seconds))
