"""Which chat template writes the conversations: the model's own, a built-in one, none, a file, or an edited one."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QSizePolicy

from core.spec.fields import FieldInfo
from core.spec.template_choice import TOOLS, is_template_text, without_tools
from studio.forms.editors import Editor
from studio.look.theme import look
from studio.widgets.controls import CalmList, Switch
from studio.words import tr

_FILE = "\0file"


class TemplateEditor(Editor):
    """A list of templates, whose last entry asks for a file, and a switch that has tools written as text."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.list = CalmList()
        self.list.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.list.setMinimumWidth(look().px(180))
        self._value = ""
        for value, title, tip in _choices():
            self.list.addItem(title, value)
            self.list.setItemData(self.list.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._own, self._has_own = self.list.count(), False
        self.list.insertSeparator(self._own)
        self.list.addItem(tr("A file…"), _FILE)
        self.list.activated.connect(self._activated)
        self._is(self.list)
        self.tools = Switch(tr("Tools as text"))
        self.tools.setObjectName("tools-as-text")
        self.tools.setToolTip(
            tr("Writes descriptions and calls of tools as plain text, for templates that have no place for them.")
        )
        self.tools.clicked.connect(self._tools_turned)
        self.box.addWidget(self.tools)
        self.box.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Chooses the template; a file and an edited text get an entry of their own."""
        self._value = str(value)
        name = without_tools(self._value)
        is_edited = is_template_text(name)
        place = self.list.findData(name)
        if place < 0:
            if self._has_own:
                self.list.removeItem(self._own)
            self._has_own = True
            title = tr("Edited here") if is_edited else Path(name).name or name
            self.list.insertItem(self._own, title, name)
            self.list.setItemData(self._own, "" if is_edited else name, Qt.ItemDataRole.ToolTipRole)
            place = self._own
        self.list.setCurrentIndex(place)
        self.tools.setVisible(not is_edited and name != "none")
        self.tools.setChecked(self._value != name)

    def main_widget(self) -> QComboBox:
        """The list."""
        return self.list

    def _tools_turned(self, on: bool) -> None:
        self.edited.emit(without_tools(self._value) + (TOOLS if on else ""))

    def _activated(self, place: int) -> None:
        value = self.list.itemData(place)
        if value == _FILE:
            value = self._browse()
        if value and value != without_tools(self._value):
            keeps_tools = self._value != without_tools(self._value) and value != "none" and not is_template_text(value)
            self.edited.emit(value + TOOLS if keeps_tools else value)
        self.show_value(self._value)

    def _browse(self) -> str:
        kinds = ";;".join(
            (
                tr("Jinja templates ({endings})", endings="*.jinja *.jinja2 *.j2"),
                tr("All files ({endings})", endings="*"),
            )
        )
        known = without_tools(self._value)
        is_file = not is_template_text(known) and Path(known).is_file()
        start = str(Path(known).parent) if is_file else str(Path.home())
        path, _ = QFileDialog.getOpenFileName(self, self.title, start, kinds)
        return path


def _choices() -> list[tuple[str, str, str]]:
    """Value, title and tip of each entry."""
    from core.data.templates import NONE, builtin_templates

    own = tr("What the model’s files say; “plain” where they say nothing.")
    none = tr("Prompt and answer are joined as they are.")
    built_in = tr("Comes with this application.")
    return [
        ("auto", tr("The model’s own"), own),
        (NONE, tr("None"), none),
        *((name, name, built_in) for name in builtin_templates()),
    ]
