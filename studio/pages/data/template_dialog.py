"""The chat template in an editor, and beside it what it makes of a row of the user's, while one types."""

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QFrame, QSizePolicy, QWidget

from core.data.types import Sample
from core.errors import Problem
from core.facts.types import ModelFacts
from core.paths import write_atomic
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.template_trials import TemplateTrials, Tried
from studio.pages.data.tokens_panel import TokensPanel
from studio.state.desk import Desk
from studio.widgets.basics import Elided, LinkLabel, button, column, label, row
from studio.widgets.code_edit import CodeEdit, editor_height
from studio.widgets.controls import CalmList
from studio.widgets.split import Split
from studio.words import tr

TEMPLATE = "data.template"
_WIDE, _HIGH, _NARROW = 1040, 660, 760


class TemplateDialog(QDialog):
    """Edits a template. Nothing changes before “Use this template”; then the spec holds it, and Undo takes it back."""

    def __init__(self, desk: Desk, model: ModelFacts, sample: Sample | None, place: str, parent: QWidget) -> None:
        """``sample`` is the row to show, and ``place`` where it stands; without one an example is shown."""
        super().__init__(parent)
        self._desk = desk
        self._model = model
        self._tried: Tried | None = None
        self.trials = TemplateTrials(model, desk.session.spec.data, sample, self)
        self.setWindowTitle(tr("Edit the chat template"))
        self.setObjectName("template-dialog")
        self.start = self._make_start()
        self.editor = CodeEdit()
        self.editor.setObjectName("template-text")
        self.editor.setAccessibleName(tr("Text of the chat template"))
        self.editor.setMinimumHeight(editor_height())
        self.editor.setEnabled(False)
        self.panel = TokensPanel(desk)
        self._place = Elided(tr("Preview: {place}", place=place), "muted", mode=Qt.TextElideMode.ElideMiddle)
        self.state = label("", "muted", wrap=True)
        self.state.setObjectName("template-state")
        self.go_to = LinkLabel("", self._go_to_line)
        self.go_to.setObjectName("go-to-line")
        self.go_to.hide()
        self.use = button(tr("Use this template"), self._use, role="primary", name="use-template")
        self.reset = button(tr("Back to the model’s own"), self._reset, role="quiet", icon_name="rotate-ccw")
        self.reset.setObjectName("reset-template")
        self.save = button(tr("Save as a file…"), self._save, role="quiet", icon_name="save", name="save-template")
        self._arrange()
        self.editor.textChanged.connect(self._typed)
        self.trials.tried.connect(self._show)
        self.trials.loaded.connect(self._loaded)
        self.trials.refused.connect(self._refused)
        self.trials.busy_changed.connect(self._refresh)
        self.resize(look().px(_WIDE), look().px(_HIGH))
        self._refresh()
        self.trials.load(desk.session.spec.data.template)

    def _make_start(self) -> CalmList:
        from core.data.templates import builtin_templates

        made = CalmList()
        made.setObjectName("template-start")
        made.setAccessibleName(tr("Begin with"))
        made.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        made.addItem(tr("Begin with…"), "")
        if self._model.template:
            made.addItem(tr("The model’s own"), "auto")
        for name in builtin_templates():
            made.addItem(name, name)
        made.activated.connect(self._begin_with)
        return made

    def _arrange(self) -> None:
        left, right, frame = QWidget(), QWidget(), QFrame()
        left.setLayout(column(label(tr("Template"), "caption"), self.editor, spacing=tokens.SPACE_1))
        frame.setProperty("role", "card")
        framed = column(self.panel, spacing=0)
        framed.setContentsMargins(1, 1, 1, 1)
        frame.setLayout(framed)
        beside = column(self._place, frame, spacing=tokens.SPACE_1)
        beside.setStretch(1, 1)
        right.setLayout(beside)
        self._splitter = Split(left, right)
        words = label(
            tr("Writes each row for the training, and each question in everything that is made of the model."),
            "help",
            wrap=True,
        )
        top = row(words, self.start, spacing=tokens.SPACE_3)
        top.setStretch(0, 1)
        box = column(top, self._splitter, column(self.state, self.go_to, spacing=0), spacing=tokens.SPACE_3)
        box.setStretch(1, 1)
        cancel = button(tr("Cancel"), self.reject, name="cancel-template")
        box.addLayout(row(self.reset, self.save, None, cancel, self.use))
        box.setContentsMargins(tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4, tokens.SPACE_4)
        self.setLayout(box)

    # --- the text

    def text(self) -> str:
        """The text as it is now."""
        return self.editor.toPlainText()

    def _begin_with(self, place: int) -> None:
        choice = self.start.itemData(place)
        self.start.setCurrentIndex(0)
        if choice:
            self.trials.load(choice)

    def _reset(self) -> None:
        self.trials.load("auto")

    def _loaded(self, text: str) -> None:
        self.editor.setEnabled(True)
        if text == self.text():
            self._typed()
            return
        cursor = self.editor.textCursor()
        cursor.beginEditBlock()  # one step to undo
        cursor.select(cursor.SelectionType.Document)
        cursor.insertText(text)
        cursor.endEditBlock()
        cursor.setPosition(0)
        self.editor.setTextCursor(cursor)
        self.editor.setFocus(Qt.FocusReason.OtherFocusReason)

    def _typed(self) -> None:
        self.trials.try_soon(self.text())

    # --- what came of it

    def _show(self, tried: Tried) -> None:
        self._tried = tried
        trial = tried.trial
        self.editor.mark_line(trial.line)
        if tried.pieces is not None and trial.preview is not None:
            self.panel.show_tokens(tried.pieces, None, trial.preview.notes, rejected=tried.rejected)
        elif trial.problem is not None:
            self.panel.show_tokens(None, _without_fixes(trial.problem))
        self._refresh()

    def _refused(self, problem: Problem) -> None:
        """The model's own files are broken; a template can be written all the same, from a built-in one."""
        self.editor.setEnabled(True)
        self.panel.show_tokens(None, _without_fixes(problem))
        self._refresh()

    def _refresh(self) -> None:
        tried = self._tried
        is_tried = tried is not None and tried.text == self.text() and not self.trials.is_busy
        self.use.setEnabled(is_tried and tried is not None and tried.trial.is_valid)
        self.save.setEnabled(bool(self.text().strip()))
        self.reset.setVisible(bool(self._model.template))
        line = tried.trial.line if tried is not None and is_tried else 0
        self.go_to.setVisible(line > 0)
        words = tr("Go to line {line}", line=line)
        self.go_to.setText(words)
        self.go_to.setAccessibleName(words)
        self.state.setText(self._state_words(tried, is_tried=is_tried))

    def _state_words(self, tried: Tried | None, *, is_tried: bool) -> str:
        if tried is None or not is_tried:
            return tr("Trying the template…")
        trial = tried.trial
        if trial.problem is not None:
            return tr("This row cannot be written.") if trial.is_valid else tr("This is no template yet.")
        if tried.choice == "auto":
            return tr("This is the model’s own template.")
        if tried.choice != tried.text:
            return tr("This is the template “{name}”, which comes with the application.", name=tried.choice)
        return tr("An edited template. It is kept with the spec and goes into every export.")

    def _go_to_line(self) -> None:
        if self._tried is not None:
            self.editor.go_to(self._tried.trial.line)

    # --- ends

    def _use(self) -> None:
        if self._tried is not None:
            self._desk.session.edit(TEMPLATE, self._tried.choice)
        self.accept()

    def _save(self) -> None:
        start = str(Path.home() / "chat_template.jinja")
        kinds = tr("Jinja templates ({endings})", endings="*.jinja")
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save the chat template"), start, kinds)
        if not chosen:
            return
        path = Path(chosen) if Path(chosen).suffix else Path(chosen).with_suffix(".jinja")
        try:
            write_atomic(path, self.text())
        except OSError as failure:
            self._desk.complain(tr("{path} cannot be written: {reason}.", path=str(path), reason=str(failure.strerror)))
            return
        self._desk.tell(tr("Saved as {name}.", name=str(path)))

    def done(self, result: int) -> None:
        """Ends the trials with the dialog."""
        self.trials.close()
        super().done(result)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """The same for the window's own cross."""
        self.trials.close()
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Ctrl+Enter uses the template; Enter alone belongs to the text."""
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            if self.use.isEnabled():
                self._use()
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Puts the preview below the text where both do not fit side by side."""
        super().resizeEvent(event)
        self._splitter.stand(upright=self.width() < look().px(_NARROW))


def _without_fixes(problem: Problem) -> Problem:
    """Fixes would change the spec behind the editor's back."""
    from dataclasses import replace

    return replace(problem, fixes=())
