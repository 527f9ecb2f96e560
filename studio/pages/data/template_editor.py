"""Which chat template writes the conversations: the model's own, a built-in one, none, or a file."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QSizePolicy

from core.spec.fields import FieldInfo
from studio.forms.editors import Editor
from studio.look.theme import look
from studio.widgets.controls import CalmList
from studio.words import tr

_FILE = "\0file"


class TemplateEditor(Editor):
    """A list of templates; its last entry asks for a file."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.list = CalmList()
        self.list.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.list.setMinimumWidth(look().px(180))
        self._value = ""
        for value, title, tip in _choices():
            self.list.addItem(title, value)
            self.list.setItemData(self.list.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._own = self.list.count()
        self.list.insertSeparator(self._own)
        self.list.addItem(tr("A file…"), _FILE)
        self.list.activated.connect(self._activated)
        self._is(self.list)
        self.box.addStretch(1)

    def show_value(self, value: Any) -> None:
        """Chooses the template; a file gets an entry of its own."""
        self._value = str(value)
        place = self.list.findData(self._value)
        if place < 0:
            self.list.insertItem(self._own, Path(self._value).name or self._value, self._value)
            self.list.setItemData(self._own, self._value, Qt.ItemDataRole.ToolTipRole)
            place = self._own
        self.list.setCurrentIndex(place)

    def main_widget(self) -> QComboBox:
        """The list."""
        return self.list

    def _activated(self, place: int) -> None:
        value = self.list.itemData(place)
        if value == _FILE:
            value = self._browse()
        if value and value != self._value:
            self.edited.emit(value)
        self.show_value(self._value)

    def _browse(self) -> str:
        kinds = ";;".join(
            (
                tr("Jinja templates ({endings})", endings="*.jinja *.jinja2 *.j2"),
                tr("All files ({endings})", endings="*"),
            )
        )
        start = str(Path(self._value).parent) if Path(self._value).is_file() else str(Path.home())
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
