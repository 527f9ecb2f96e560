"""Everything can be reached and heard without a mouse and without eyes, on every page."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QAbstractScrollArea, QApplication, QLabel, QWidget

from studio.widgets.controls import NumberSlider
from tests.studio.audit.whole_window import whole_window

MOST_TABS = 400


def takes_focus(widget: QWidget) -> bool:
    """Whether Tab may land on a widget as it is now."""
    return (
        widget.isVisible()
        and widget.isEnabled()
        and widget.focusProxy() is None
        and bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
    )


def is_part(widget: QWidget) -> bool:
    """The inner parts of Qt's own controls, which take the focus for the whole."""
    name = widget.objectName()
    return name.startswith("qt_") or (isinstance(widget, QAbstractScrollArea) and not type(widget).__module__)


def heard(widget: QWidget) -> str:
    """What a screen reader says of a widget."""
    if widget.accessibleName().strip():
        return widget.accessibleName()
    if isinstance(widget, QAbstractButton | QLabel):
        return widget.text().strip()
    buddies = (label for label in widget.window().findChildren(QLabel) if label.buddy() is widget)
    return next((label.text() for label in buddies), "")


def described(widget: QWidget) -> str:
    parent = widget.parentWidget()
    around = f"{type(parent).__name__}#{parent.objectName()}" if parent is not None else ""
    return f"{type(widget).__name__}#{widget.objectName()} in {around}"


@pytest.mark.slow
def test_every_control_of_every_page_has_a_name(qapp: Any, starter_home: Path, starter: Path) -> None:
    silent = set()
    with whole_window(qapp, "ready", starter) as whole:
        for view in whole.views():
            for widget in whole.window.findChildren(QWidget):
                if takes_focus(widget) and not is_part(widget) and not heard(widget):
                    silent.add(f"{view}: {described(widget)}")
    assert silent == set()


@pytest.mark.slow
def test_tab_reaches_every_control_and_comes_round(qapp: Any, starter_home: Path, starter: Path) -> None:
    missed: dict[str, list[str]] = {}
    with whole_window(qapp, "ready", starter) as whole:
        whole.resize((1280, 800))
        for view in whole.views():
            whole.window.activateWindow()
            whole.wait_for(lambda: qapp.activeWindow() is whole.window)
            wanted = {
                widget
                for widget in whole.window.findChildren(QWidget)
                if takes_focus(widget) and not is_part(widget) and widget.window() is whole.window
            }
            first = next(iter(whole.rail_items()))
            first.setFocus(Qt.FocusReason.TabFocusReason)
            seen = {first}
            for _ in range(MOST_TABS):
                QTest.keyClick(QApplication.focusWidget() or whole.window, Qt.Key.Key_Tab)
                focus = QApplication.focusWidget()
                if focus is None or (focus is first and len(seen) > 1):
                    break
                seen.add(focus)
            lost = [
                widget
                for widget in wanted - seen
                # a group of exclusive buttons is one stop; the arrow keys move inside
                if not (isinstance(widget, QAbstractButton) and widget.group() is not None)
                # a slider and the field beside it are one number; the field is the stop
                and not isinstance(widget.parentWidget(), NumberSlider)
                and not any(widget.isAncestorOf(other) for other in seen)
            ]
            if lost:
                missed[view] = sorted(described(widget) for widget in lost)
    assert missed == {}
