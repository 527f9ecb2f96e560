"""Finds what a window shows cut off, squeezed, overlapping or beyond an edge; a sentence for each finding."""

from collections.abc import Iterator
from itertools import combinations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QFont, QFontMetrics, QTextLayout, QTextOption
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSplitterHandle,
    QStackedLayout,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QWidget,
)

from studio.shell.rail import RailItem
from studio.widgets.basics import Elided, IconLabel, Pill
from studio.widgets.controls import Switch

_SLACK = 1
"""Pixels that rounding may take."""


def findings(root: QWidget) -> list[str]:
    """Everything that is wrong with what is visible below ``root``."""
    found = []
    for widget in (root, *root.findChildren(QWidget)):
        if not widget.isVisible() or _is_inner(widget):
            continue
        found += [
            f"{name_of(widget)}: {words}" for words in (*_text_of(widget), *_place_of(widget), *_overlaps_in(widget))
        ]
    return found


def name_of(widget: QWidget) -> str:
    """Class, object name and text of a widget, with the class or name of what it lies in."""
    text = getattr(widget, "text", lambda: "")()
    text = text if isinstance(text, str) else ""
    short = text if len(text) <= 60 else f"{text[:57]}…"
    named = f"{type(widget).__name__}{f'#{widget.objectName()}' if widget.objectName() else ''}"
    above, parents = widget.parentWidget(), []
    while above is not None and len(parents) < 3:
        parents.append(above.objectName() or type(above).__name__)
        above = above.parentWidget()
    return f"{named}{f' “{short}”' if short else ''} in {' < '.join(parents)}"


def _is_inner(widget: QWidget) -> bool:
    """Whether Qt made the widget as a part of another one, whose business its place is."""
    if widget.objectName().startswith("qt_") or isinstance(widget, QSplitterHandle):
        return True
    parent = widget.parentWidget()
    while parent is not None:
        if isinstance(
            parent, QAbstractSpinBox | QComboBox | QAbstractItemView | QHeaderView | QLineEdit | QPlainTextEdit
        ):
            return not isinstance(widget, QHeaderView)
        parent = parent.parentWidget()
    return False


# ----------------------------------------------------------------------------------------------------------- texts


def _text_of(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, QLabel):
        yield from _label(widget)
    elif isinstance(widget, QComboBox):
        yield from _list(widget)
    elif isinstance(widget, QLineEdit):
        if not widget.text():
            yield from _fits(widget, widget.placeholderText(), widget.contentsRect().width() - 4, widget.font())
    elif isinstance(widget, QAbstractSpinBox):
        field = widget.findChild(QLineEdit)
        margins = field.textMargins()
        room = field.contentsRect().width() - margins.left() - margins.right()
        yield from _fits(widget, field.text(), room, field.font())
    elif isinstance(widget, RailItem):
        yield from _rail_item(widget)
    elif isinstance(widget, QPushButton):
        yield from _push_button(widget)
    elif isinstance(widget, QCheckBox | QRadioButton | Switch | QAbstractButton):
        if widget.width() + _SLACK < widget.sizeHint().width():
            yield f"is {widget.width()} wide and needs {widget.sizeHint().width()}"
    elif isinstance(widget, QHeaderView):
        yield from _header(widget)


def _fits(widget: QWidget, text: str, room: float, font: QFont) -> Iterator[str]:
    needed = max((QFontMetrics(font).horizontalAdvance(line) for line in text.splitlines()), default=0)
    if needed > room + _SLACK:
        yield f"“{text}” needs {needed} and has {room:.0f}"
    high = QFontMetrics(font).height()
    if text and widget.height() < high - 2:
        yield f"“{text}” is {high} high and has {widget.height()}"


def _label(label: QLabel) -> Iterator[str]:
    if isinstance(label, IconLabel) or not label.pixmap().isNull() or not label.text():
        return
    if isinstance(label, Elided):
        if label.width() < min(24, QFontMetrics(label.font()).horizontalAdvance(label.full_text())):
            yield f"is shortened to {label.width()} pixels"
        return
    room = label.contentsRect().width()
    if isinstance(label, Pill) or not label.wordWrap():
        yield from _fits(label, label.text(), room, label.font())
        needed = label.minimumSizeHint().height()
        if label.height() + _SLACK < needed:
            yield f"is {label.height()} high and needs {needed}"
        return
    yield from _wrapped(label, room)


def _wrapped(label: QLabel, room: int) -> Iterator[str]:
    needed = label.heightForWidth(label.width())
    if label.height() + _SLACK < needed:
        yield f"is {label.height()} high and its lines need {needed} at {label.width()} wide"
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WordWrap)
    for paragraph in label.text().splitlines():
        layout = QTextLayout(paragraph, label.font())
        layout.setTextOption(option)
        layout.beginLayout()
        while (line := layout.createLine()).isValid():
            line.setLineWidth(room)
            if line.naturalTextWidth() > room + _SLACK + 1:
                word = paragraph[line.textStart() : line.textStart() + line.textLength()]
                yield f"“{word.strip()}” cannot wrap, needs {line.naturalTextWidth():.0f} and has {room}"
        layout.endLayout()


def _push_button(button: QPushButton) -> Iterator[str]:
    option = QStyleOptionButton()
    button.initStyleOption(option)
    room = button.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, button).width()
    font = QFont(button.font())
    role = button.property("role")
    if (button.isChecked() and role in ("segment", "rail")) or role == "primary":
        font.setWeight(QFont.Weight.DemiBold)
    icon = button.iconSize().width() + 4 if not button.icon().isNull() else 0
    text = button.text().replace("&&", "\0").replace("&", "").replace("\0", "&")
    yield from _fits(button, text, room - icon, font)


def _rail_item(item: RailItem) -> Iterator[str]:
    font = QFont(item.font())
    font.setWeight(QFont.Weight.DemiBold)
    mark = {"": 0, "dot": 6, "check": 14}.get(item._mark)
    if mark is None:
        mark = max(18, QFontMetrics(font).horizontalAdvance(item._mark) + 10)
    yield from _fits(item, item.text(), item.width() - 10 - item.iconSize().width() - 4 - 14 - mark, font)


def _list(box: QComboBox) -> Iterator[str]:
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    style, control = box.style(), QStyle.ComplexControl.CC_ComboBox
    room = style.subControlRect(control, option, QStyle.SubControl.SC_ComboBoxEditField, box).width()
    if box.sizeAdjustPolicy() is QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon:
        if room < 60:
            yield f"leaves {room} pixels for “{box.currentText()}”"
        return
    yield from _fits(box, box.currentText(), room, box.font())


def _header(header: QHeaderView) -> Iterator[str]:
    model = header.model()
    if header.orientation() is not Qt.Orientation.Horizontal or model is None:
        return
    for section in range(header.count()):
        if header.isSectionHidden(section):
            continue
        text = str(model.headerData(section, Qt.Orientation.Horizontal) or "")
        needed, has = header.sectionSizeHint(section), header.sectionSize(section)
        if text and has + _SLACK < needed:
            yield f"the column “{text}” is {has} wide and needs {needed}"


# ---------------------------------------------------------------------------------------------------------- places


def _place_of(widget: QWidget) -> Iterator[str]:
    parent = widget.parentWidget()
    if isinstance(widget, QScrollArea):
        content = widget.widget()
        if content is not None and content.width() > widget.viewport().width() + _SLACK:
            yield f"its content is {content.width()} wide in {widget.viewport().width()}, because of {_widest(content)}"
    if parent is None or widget.isWindow() or parent.layout() is None:
        return
    if not _is_in(parent.layout(), widget):
        return
    box, around = widget.geometry(), parent.rect()
    if box.right() > around.right() + _SLACK or box.left() < around.left() - _SLACK:
        yield f"lies at {box.left()}…{box.right()} in a width of {around.width()}"
    if box.bottom() > around.bottom() + _SLACK or box.top() < around.top() - _SLACK:
        yield f"lies at {box.top()}…{box.bottom()} in a height of {around.height()}"
    if isinstance(widget, QAbstractScrollArea):
        return
    least = widget.minimumSizeHint().boundedTo(widget.maximumSize())
    if widget.width() + _SLACK < least.width() and not isinstance(widget, Elided):
        yield f"is {widget.width()} wide and wants {least.width()} at least"
    high = least.height()
    if widget.hasHeightForWidth():
        high = min(high, widget.heightForWidth(widget.width()))
    if widget.height() + _SLACK < high and not isinstance(widget, QLabel):
        yield f"is {widget.height()} high and wants {high} at least"


def _widest(content: QWidget) -> str:
    """The innermost widgets that ask for the most width, outermost first."""
    path = []
    while len(path) < 8:
        inner = content.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
        shown = [(child.minimumSizeHint().width(), child) for child in inner if child.isVisible()]
        if not shown:
            break
        width, content = max(shown, key=lambda pair: pair[0])
        path.append(f"{type(content).__name__}#{content.objectName()} {width}")
    return " > ".join(path)


def _is_in(layout: QLayout, widget: QWidget) -> bool:
    return any(widget is other for other, _ in _boxes(layout))


def _overlaps_in(widget: QWidget) -> Iterator[str]:
    layout = widget.layout()
    if layout is None:
        return
    for (one, first), (other, second) in combinations(_boxes(layout), 2):
        common = first.intersected(second)
        if common.width() > _SLACK and common.height() > _SLACK:
            yield f"{name_of(one)} and {name_of(other)} overlap by {common.width()} × {common.height()}"


def _boxes(layout: QLayout) -> list[tuple[QWidget, QRect]]:
    """The visible widgets that a layout places, with those of the layouts inside it."""
    if isinstance(layout, QStackedLayout):
        shown = layout.currentWidget()
        return [(shown, shown.geometry())] if shown is not None and shown.isVisible() else []
    boxes: list[tuple[QWidget, QRect]] = []
    for index in range(layout.count()):
        item = layout.itemAt(index)
        if item is None:
            continue
        widget, inner = item.widget(), item.layout()
        if widget is not None and widget.isVisible():
            boxes.append((widget, widget.geometry()))
        elif inner is not None:
            boxes.extend(_boxes(inner))
    return boxes
