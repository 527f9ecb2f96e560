"""One editor for each kind of setting. An editor shows a value and says when the user changed it; it knows no spec."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLineEdit, QPlainTextEdit, QSizePolicy, QWidget

from core.spec.fields import FieldInfo, Kind
from studio.look import tokens
from studio.look.theme import look
from studio.widgets.basics import button
from studio.widgets.controls import CalmList, CalmSpin, NumberSlider, Segments, Switch
from studio.words import say, tr

_MOST_SEGMENTS = 4
_MOST_LETTERS = 44
_WIDEST_SEGMENTS = 600
"""Pixels, whatever the text size: what a page of the smallest window has for an editor."""

_SLACK = 4


class Editor(QWidget):
    """The base of all editors.

    Attributes:
        edited: the new value, in the setting's own Python type.
    """

    edited = Signal(object)

    def __init__(self, info: FieldInfo) -> None:
        super().__init__()
        self.info = info
        self.title = say(info.setting.title)
        self.box = QHBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(tokens.SPACE_2)

    def show_value(self, value: Any) -> None:
        """Shows a value without saying that it was edited."""
        raise NotImplementedError

    def main_widget(self) -> QWidget:
        """The widget that takes the focus."""
        return self

    def _is(self, widget: QWidget, stretch: int = 0) -> None:
        widget.setAccessibleName(self.title)
        widget.setAccessibleDescription(say(self.info.setting.help))
        widget.setObjectName(self.info.path)
        self.setFocusProxy(widget)
        self.box.addWidget(widget, stretch)


class TextEditor(Editor):
    """One line of text."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.field = QLineEdit()
        if info.setting.zero_means:
            self.field.setPlaceholderText(say(info.setting.zero_means))
        self.field.editingFinished.connect(self._finished)
        self._is(self.field, 1)

    def show_value(self, value: Any) -> None:
        """Shows the text."""
        if self.field.text() != value and not self.field.isModified():
            self.field.setText(str(value))

    def main_widget(self) -> QWidget:
        """The line."""
        return self.field

    def _finished(self) -> None:
        if self.field.isModified():
            self.field.setModified(False)
            self.edited.emit(self.field.text().strip())


class FolderEditor(TextEditor):
    """A folder: a line of text and a button that browses."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.box.addWidget(button(tr("Browse…"), self._browse))

    def _browse(self) -> None:
        start = self.field.text() or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, self.title, start)
        if chosen:
            self.field.setText(chosen)
            self.edited.emit(chosen)


class ParagraphsEditor(Editor):
    """Several texts, one on each line."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.field = QPlainTextEdit()
        self.field.setPlaceholderText(tr("One on each line"))
        self.field.setTabChangesFocus(True)
        self.field.setFixedHeight(look().px(84))
        self.field.textChanged.connect(self._changed)
        self._quiet = False
        self._is(self.field, 1)

    def show_value(self, value: Any) -> None:
        """Shows the texts."""
        if self._read() != tuple(value):
            self._quiet = True
            self.field.setPlainText("\n".join(value))
            self._quiet = False

    def main_widget(self) -> QWidget:
        """The text field."""
        return self.field

    def _read(self) -> tuple[str, ...]:
        return tuple(text.strip() for text in self.field.toPlainText().splitlines() if text.strip())

    def _changed(self) -> None:
        if not self._quiet:
            self.edited.emit(self._read())


class NamesEditor(TextEditor):
    """A list of names, separated by commas or spaces."""

    def show_value(self, value: Any) -> None:
        """Shows the names."""
        super().show_value(", ".join(value))

    def _finished(self) -> None:
        if self.field.isModified():
            self.field.setModified(False)
            names = self.field.text().replace(",", " ").split()
            self.edited.emit(tuple(dict.fromkeys(names)))


class MappingEditor(TextEditor):
    """Pairs such as ``prompt: question, completion: answer``; a value is a name, or a whole number for ranks."""

    def show_value(self, value: Any) -> None:
        """Shows the pairs."""
        super().show_value(", ".join(f"{key}: {item}" for key, item in value.items()))

    def _finished(self) -> None:
        if not self.field.isModified():
            return
        pairs: dict[str, Any] = {}
        wrong = ""
        for piece in self.field.text().split(","):
            key, colon, item = (part.strip() for part in self._parts(piece))
            if not key and not item:
                continue
            value = self._item(item)
            if not colon or not key or value is None:
                wrong = piece.strip()
                break
            pairs[key] = value
        self.field.setProperty("state", "bad" if wrong else "")
        self.field.style().polish(self.field)
        self.field.setToolTip(tr("“{piece}” is no pair like “name: value”.", piece=wrong) if wrong else "")
        if not wrong:
            self.field.setModified(False)
            self.edited.emit(pairs)

    def _parts(self, piece: str) -> tuple[str, str, str]:
        # A path may hold a colon itself; a number never does.
        is_path = self.info.setting.kind is Kind.WEIGHTS
        return piece.rpartition(":") if is_path else piece.partition(":")

    def _item(self, text: str) -> str | int | float | None:
        """The value that a text means; None where it means none."""
        if self.info.setting.kind is Kind.RANKS:
            return int(text) if text.isdigit() else None
        if self.info.setting.kind is not Kind.WEIGHTS:
            return text or None
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None


class ChoiceEditor(Editor):
    """One of a few: a row of buttons where the titles are short, else a list."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        choices = info.setting.choices
        titles = [say(choice.title) for choice in choices]
        self.segments = self._make_segments(titles)
        self.list: QComboBox | None = None
        if self.segments is not None:
            for choice in choices:
                self.segments.button(choice.value).setAccessibleName(f"{self.title}: {say(choice.title)}")
            self.segments.chosen.connect(self.edited.emit)
            self.box.addWidget(self.segments, 1)
            self.setFocusProxy(self.segments.button(choices[0].value))
            return
        self.list = CalmList()
        self.list.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.list.setMinimumWidth(look().px(180))
        for choice, title in zip(choices, titles, strict=True):
            self.list.addItem(title, choice.value)
            self.list.setItemData(self.list.count() - 1, say(choice.help), 3)  # Qt.ItemDataRole.ToolTipRole
        self.list.activated.connect(lambda index: self.edited.emit(self.info.setting.choices[index].value))
        self._is(self.list)
        self.box.addStretch(1)

    def _make_segments(self, titles: Sequence[str]) -> Segments | None:
        """A row of buttons; None where it would be too long."""
        choices = self.info.setting.choices
        if len(choices) > _MOST_SEGMENTS or sum(map(len, titles)) > _MOST_LETTERS:
            return None
        items = [(choice.value, title) for choice, title in zip(choices, titles, strict=True)]
        made = Segments(items, [say(choice.help) for choice in choices], self.info.path)
        made.ensurePolished()
        if made.sizeHint().width() > _WIDEST_SEGMENTS:
            made.deleteLater()
            return None
        return made

    def show_value(self, value: Any) -> None:
        """Chooses the value."""
        if self.segments is not None:
            self.segments.choose(str(value))
        elif self.list is not None:
            self.list.setCurrentIndex(self.list.findData(value))


class FlagEditor(Editor):
    """A switch."""

    def __init__(self, info: FieldInfo) -> None:
        super().__init__(info)
        self.switch = Switch()
        self.switch.clicked.connect(self._turned)
        self._is(self.switch)
        self.box.addStretch(1)

    def _turned(self, on: bool) -> None:
        self.edited.emit(on)

    def show_value(self, value: Any) -> None:
        """Turns the switch."""
        self.switch.setChecked(bool(value))


class NumberEditor(Editor):
    """A number: a field, with a slider where the setting spans orders of magnitude or lies in a small range."""

    def __init__(self, info: FieldInfo, stops: Sequence[float] = ()) -> None:
        """``stops`` are the numbers that the slider knows; the field takes all."""
        super().__init__(info)
        setting = info.setting
        whole = setting.kind is Kind.INTEGER
        bounds = setting.bounds
        low = bounds.low if bounds and bounds.low is not None else (-1e9 if not whole else -(2**31))
        high = bounds.high if bounds and bounds.high is not None else 1e12
        self._whole = whole
        self.slider: NumberSlider | None = None
        usual = setting.usual
        if usual is not None and usual.low is not None and usual.high is not None:
            self.slider = NumberSlider(usual.low, usual.high, whole=whole, log=setting.log, stops=stops)
            self.slider.set_bounds(low, high)
            self.slider.moved.connect(self._moved)
            self.field = self.slider.field
            self._is(self.slider, 1)
            self.slider.setObjectName(f"{info.path}-slider")
            self.slider.slider.setObjectName(f"{info.path}-track")
            self.slider.name_it(self.title)
            self.field.setObjectName(info.path)
        else:
            self.field = CalmSpin(whole=whole)
            self.field.setRange(low, high)
            self.field.setFixedWidth(look().px(132))
            self.field.valueChanged.connect(self._moved)
            self._is(self.field)
        if setting.step:
            self.field.setSingleStep(setting.step)
        self._note = setting.zero_means
        self.unit = self._unit_label()
        self.box.addWidget(self.unit)
        if self.slider is None:
            self.box.addStretch(1)

    def _unit_label(self) -> QWidget:
        from studio.widgets.basics import label

        self._words = label("", "muted")
        return self._words

    def show_value(self, value: Any) -> None:
        """Shows the number, and in words what zero means."""
        if self.slider is not None:
            self.slider.set_value(float(value))
        elif self.field.value() != value:
            self.field.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
            self.field.setValue(float(value))
            self.field.blockSignals(False)  # noqa: FBT003
        setting = self.info.setting
        self._words.setText(say(setting.zero_means) if value == 0 and setting.zero_means else say(setting.unit))

    def words_width(self) -> int:
        """How wide the words behind the field can become, in pixels."""
        setting, metrics = self.info.setting, self._words.fontMetrics()
        return max(metrics.boundingRect(say(text)).width() for text in (setting.zero_means, setting.unit)) + _SLACK

    def main_widget(self) -> QWidget:
        """The field."""
        return self.field

    def _moved(self, value: float) -> None:
        self.edited.emit(round(value) if self._whole else float(value))


EDITORS: dict[Kind, type[Editor]] = {
    Kind.TEXT: TextEditor,
    Kind.TEMPLATE: TextEditor,
    Kind.PARAGRAPHS: ParagraphsEditor,
    Kind.MODEL: TextEditor,
    Kind.FOLDER: FolderEditor,
    Kind.FILES: NamesEditor,
    Kind.CHOICE: ChoiceEditor,
    Kind.FLAG: FlagEditor,
    Kind.INTEGER: NumberEditor,
    Kind.NUMBER: NumberEditor,
    Kind.NAMES: NamesEditor,
    Kind.MAPPING: MappingEditor,
    Kind.RANKS: MappingEditor,
    Kind.WEIGHTS: MappingEditor,
}


def editor_for(info: FieldInfo) -> Editor:
    """The editor of a setting, by its kind."""
    return EDITORS[info.setting.kind](info)
