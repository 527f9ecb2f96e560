"""The chat template: which one applies, where it came from, and the way to another one or to its text."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QWidget

from core.data.types import Sample
from core.spec.run_spec import field_at
from core.spec.template_choice import is_template_text, without_tools
from studio.forms.form import FieldRow
from studio.look import tokens
from studio.pages.data.template_dialog import TEMPLATE, TemplateDialog
from studio.pages.data.template_editor import TemplateEditor
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, column, label, row, set_role
from studio.words import tr

Current = Callable[[], tuple[Sample | None, str]]
"""The row that is shown, and where it stands."""


class TemplateCard(Card):
    """One line of choice, one that says what it means, and buttons."""

    def __init__(self, desk: Desk, current: Current) -> None:
        """``current`` gives the row that the editor shows."""
        super().__init__()
        self.setAccessibleName(tr("Chat template"))
        self._desk, self._current = desk, current
        self.dialog: TemplateDialog | None = None
        self.field = FieldRow(desk, TEMPLATE, TemplateEditor(field_at(TEMPLATE)))
        self.origin = label("", "help", wrap=True)
        self.origin.setObjectName("template-origin")
        self.edit_button = button(tr("Edit…"), self.edit, icon_name="pencil", name="edit-template")
        self.own_button = button(
            tr("Back to the model’s own"), self._use_own, role="quiet", icon_name="rotate-ccw", name="own-template"
        )
        self.field.set_aside(self.edit_button)
        below = QWidget()
        below.setLayout(column(self.origin, row(self.own_button, None), spacing=tokens.SPACE_1))
        self.field.add_below(below)
        self.add(self.field)
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.facts_changed.connect(self._facts_changed)
        self._refresh()

    def edit(self) -> None:
        """Opens the editor on the row that is shown."""
        model = self._desk.session.model
        if model is None or not model.here:
            return
        sample, place = self._current()
        self.dialog = TemplateDialog(self._desk, model, sample, place or tr("an example, while no row is shown"), self)
        self.dialog.finished.connect(self._closed)
        self.dialog.open()

    def close_card(self) -> None:
        """Closes the editor without using its text."""
        if self.dialog is not None:
            self.dialog.reject()

    def _closed(self) -> None:
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            dialog.deleteLater()
        self.edit_button.setFocus()

    def _use_own(self) -> None:
        self._desk.session.edit(TEMPLATE, "auto")

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if TEMPLATE in paths:
            self._refresh()

    def _facts_changed(self, name: str) -> None:
        if name == "model":
            self._refresh()

    def _refresh(self) -> None:
        session = self._desk.session
        choice, model = session.spec.data.template, session.model
        can_edit = model is not None and model.here
        self.edit_button.setEnabled(can_edit)
        self.edit_button.setToolTip(
            tr("Change its text and see at once what becomes of a row.")
            if can_edit
            else tr("Choose a base model that is on this computer first: its tokens are part of the preview.")
        )
        self.own_button.setVisible(choice != "auto" and model is not None and bool(model.template))
        words, is_doubtful = self._words(choice)
        self.origin.setText(words)
        set_role(self.origin, "warn" if is_doubtful else "help")

    def _words(self, choice: str) -> tuple[str, bool]:
        """What applies and where it came from, and whether that wants attention."""
        model = self._desk.session.model
        name = without_tools(choice)
        is_doubtful = False
        if is_template_text(choice):
            return tr("Edited here. It is kept with the spec and goes into every export of the tuned model."), False
        if name == "auto" and model is None:
            words = tr("Which template that is, is known once a base model is chosen.")
        elif name == "auto" and model is not None and model.template:
            words = tr("The model’s own template, from its file {file}.", file=model.template_origin)
        elif name == "auto":
            is_doubtful = True
            words = tr(
                "This model has no chat template of its own, so “plain” is used: readable headings and the model’s own "
                "end token. Whoever uses the tuned model needs the same one; it goes into every export."
            )
        elif name == "none":
            words = tr("No template: prompt and answer are joined as they are.")
        elif Path(name).name == name and not Path(name).suffix:
            words = tr("“{name}” comes with this application.", name=name)
        else:
            words = tr("From the file {file}.", file=name)
        if name != choice:
            words = f"{words} {tr('Descriptions and calls of tools are written as text.')}"
        return words, is_doubtful
