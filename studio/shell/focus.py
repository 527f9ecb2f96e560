"""In which order Tab goes through the window: part after part, and inside each as the layouts put things.

Qt's own order is that in which widgets came into the window. Pages come when they are first shown, so they would be
reached after the plan panel, and what a page makes later would come last of all.
"""

from collections.abc import Iterator, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QButtonGroup,
    QComboBox,
    QLayout,
    QLayoutItem,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QSplitter,
    QTextEdit,
    QWidget,
)

_WHOLE = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QPlainTextEdit, QTextEdit)
"""Controls whose inner widgets are no business of anybody's."""


def tab_stops(part: QWidget) -> list[QWidget]:
    """The controls inside ``part`` on which Tab stops now, in reading order."""
    return [widget for widget in _in_order(part) if _is_stop(widget)]


def next_stop(parts: Sequence[QWidget], focus: QWidget | None, *, forward: bool) -> QWidget | None:
    """The stop after (or before) the control with the focus; it goes round. None where the focus is nowhere in them."""
    stops = [stop for part in parts for stop in tab_stops(part)]
    if not stops:
        return None
    at = next((index for index, stop in enumerate(stops) if stop is focus), None)
    if at is None:
        at = next((index for index, stop in enumerate(stops) if focus and stop.isAncestorOf(focus)), None)
    if at is None:  # something in a group of buttons, or gone from the order: the first stop of the same part
        return next((stop for part in parts if focus and part.isAncestorOf(focus) for stop in tab_stops(part)), None)
    return stops[(at + (1 if forward else -1)) % len(stops)]


def _is_stop(widget: QWidget) -> bool:
    if not widget.isEnabled() or widget.focusProxy() is not None:
        return False
    group: QButtonGroup | None = widget.group() if isinstance(widget, QAbstractButton) else None
    if group is not None and group.exclusive():
        # one stop; the arrow keys move inside. Qt takes the others' focus policy away, but only at the first focus
        able = [button for button in group.buttons() if button.isVisible() and button.isEnabled()]
        chosen: QAbstractButton | None = group.checkedButton()
        return widget is (chosen if chosen in able else able[0])
    return bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)


def _in_order(widget: QWidget) -> Iterator[QWidget]:
    if not widget.isVisible():
        return
    yield widget
    if isinstance(widget, _WHOLE):
        return
    if isinstance(widget, QScrollArea):
        content: QWidget | None = widget.widget()
        if content is not None:
            yield from _in_order(content)
        return
    placed = list(_placed(widget.layout()))
    if isinstance(widget, QSplitter):
        halves: list[QWidget | None] = [widget.widget(place) for place in range(widget.count())]
        placed = [half for half in halves if half is not None]
    for child in placed:
        yield from _in_order(child)
    for child in widget.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
        if not child.isWindow() and child not in placed:
            yield from _in_order(child)


def _placed(layout: QLayout | None) -> Iterator[QWidget]:
    """The widgets of a layout and of the layouts inside it, in their order."""
    if layout is None:
        return
    for index in range(layout.count()):
        item: QLayoutItem | None = layout.itemAt(index)
        inner: QWidget | None = item.widget() if item is not None else None
        if inner is not None:
            yield inner
        elif item is not None:
            yield from _placed(item.layout())
