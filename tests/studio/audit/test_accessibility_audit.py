"""Everything can be reached, seen to be reached, and heard without a mouse and without eyes, on every page."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QMainWindow,
    QMenu,
    QWidget,
)

from studio.state.shortcuts import PAGES as SHORTCUT_PAGES
from studio.state.shortcuts import SHORTCUTS
from tests.studio.audit.whole_window import PAGES, WELCOME, WholeWindow, whole_window

MOST_TABS = 200
RING_PIXELS = 40
"""Less than any ring, more than a text cursor."""


def heard(widget: QWidget) -> str:
    """What a screen reader says of a widget."""
    if widget.accessibleName().strip():
        return widget.accessibleName()
    if isinstance(widget, QAbstractButton | QLabel):
        return widget.text().strip()
    buddies = (label for label in widget.window().findChildren(QLabel) if label.buddy() is widget)
    return next((label.text() for label in buddies), "")


def described(widget: QWidget | None) -> str:
    if widget is None:
        return "nothing"
    parent = widget.parentWidget()
    around = f"{type(parent).__name__}#{parent.objectName()}" if parent is not None else ""
    return f"{type(widget).__name__}#{widget.objectName()} “{heard(widget)[:40]}” in {around}"


def is_inside_a_control(widget: QWidget) -> bool:
    """The inner parts of Qt's own controls, which take the focus for the whole."""
    if widget.objectName().startswith("qt_"):
        return True
    above = widget.parentWidget()
    while above is not None:
        if isinstance(above, QAbstractSpinBox | QComboBox | QAbstractItemView):
            return True
        above = above.parentWidget()
    return False


def controls(whole: WholeWindow) -> list[QWidget]:
    """Everything visible that takes the focus, by whatever way it gets there."""
    return [
        widget
        for widget in whole.window.findChildren(QWidget)
        if widget.isVisible()
        and widget.isEnabled()
        and widget.window() is whole.window
        and widget.focusProxy() is None
        and widget.focusPolicy() is not Qt.FocusPolicy.NoFocus
        and not is_inside_a_control(widget)
        # a text that the mouse can select is no control
        and not (isinstance(widget, QLabel) and not widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
    ]


def press(key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> QWidget | None:
    """Presses a key where the focus is, and says where the focus is then."""
    focus = QApplication.focusWidget()
    assert focus is not None, "the focus is nowhere"
    QTest.keyClick(focus, key, modifier)
    return QApplication.focusWidget()


def front(whole: WholeWindow) -> None:
    whole.window.activateWindow()
    whole.wait_for(lambda: QApplication.activeWindow() is whole.window)


def walk(whole: WholeWindow, key: Qt.Key) -> list[QWidget]:
    """Where the focus goes from the menu at the top left until it is there again."""
    first = whole.window.rail.findChild(QAbstractButton, "main-menu")
    first.setFocus(Qt.FocusReason.TabFocusReason)
    seen = [first]
    for _ in range(MOST_TABS):
        focus = press(key)
        assert focus is not None
        if focus is first:
            return seen
        seen.append(focus)
    pytest.fail(f"{key.name} does not come round: {[described(widget) for widget in seen[-3:]]}")


@pytest.fixture
def ready(qapp: Any, starter_home: Path, starter: Path) -> Iterator[WholeWindow]:
    """The window with everything chosen and runs there, in front."""
    with whole_window(qapp, "ready", starter) as whole:
        front(whole)
        yield whole


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tab_goes_through_all_controls_in_order_each_has_a_name_and_looks_different_with_the_focus(
    ready: WholeWindow, theme: str
) -> None:
    ready.speak("en", 1.0, theme)
    front(ready)
    wrong: list[str] = []
    for view in ready.views():
        ready.wait_for_timers()  # what can be pressed a moment later is on the way back, and was not on the way
        seen = walk(ready, Qt.Key.Key_Tab)
        found = [*same_looks(seen)]
        if theme == "light":  # the other theme has the same controls in the same places
            found += [*silent(ready), *out_of_order(ready, seen)]
            back = walk(ready, Qt.Key.Key_Backtab)
            if back != [seen[0], *reversed(seen[1:])]:
                found.append("Shift+Tab goes another way")
        wrong += [f"{view}: {words}" for words in found]
    assert not wrong, "\n".join(["", *sorted(set(wrong))])


def silent(whole: WholeWindow) -> Iterator[str]:
    """Controls that a screen reader says nothing of."""
    for widget in controls(whole):
        if not heard(widget):
            yield f"{described(widget)} has no name"


def out_of_order(whole: WholeWindow, seen: list[QWidget]) -> Iterator[str]:
    """What Tab reaches not at all, twice, or in another order than the window's parts have."""
    for widget, times in Counter(seen).items():
        if times > 1:
            yield f"{described(widget)} twice"
    for widget in controls(whole):
        group = widget.group() if isinstance(widget, QAbstractButton) else None
        in_group = group is not None and any(other in seen for other in group.buttons())
        if widget not in seen and not in_group:  # a group of exclusive buttons is one stop with arrow keys inside
            yield f"{described(widget)} is not reached"
    parts = whole.window._parts()
    places = [next(place for place, part in enumerate(parts) if part.isAncestorOf(widget)) for widget in seen]
    if places != sorted(places):
        yield f"the parts come in the order {places}"


def same_looks(seen: list[QWidget]) -> Iterator[str]:
    """Controls that look with the focus as they do without."""
    for widget, other in zip(seen, [*seen[1:], seen[0]], strict=True):
        other.setFocus(Qt.FocusReason.TabFocusReason)
        without = picture(widget)
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        if differing(without, picture(widget)) < RING_PIXELS:
            yield f"{described(widget)} does not show that it has the focus"


def picture(widget: QWidget) -> QImage:
    QApplication.processEvents()
    return widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)


def differing(one: QImage, other: QImage) -> int:
    """How many pixels of two pictures of one size differ."""
    import numpy as np

    first, second = (np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1) for image in (one, other))
    return int((first != second).sum()) if first.shape == second.shape else first.size


@pytest.mark.slow
def test_arrows_move_inside_a_group_of_buttons(ready: WholeWindow) -> None:
    ready.window.show_page("training")
    sides = ready.window.pages["training"].sides
    sides.button("setup").click()
    sides.button("setup").setFocus()
    assert press(Qt.Key.Key_Right) is sides.button("run")
    if sides.value() != "run":
        press(Qt.Key.Key_Space)
    assert sides.value() == "run"
    assert ready.desk.memory["training"].view == "run"


@pytest.mark.slow
def test_keys_go_to_the_pages_and_the_focus_is_never_lost(ready: WholeWindow) -> None:
    keys = {item.action: item.keys for item in SHORTCUTS}
    for page in SHORTCUT_PAGES:
        letter = keys[f"page-{page}"].removeprefix("Ctrl+")
        press(Qt.Key(ord(letter)), Qt.KeyboardModifier.ControlModifier)
        assert ready.window.page == page
        ready.settle()
        focus = QApplication.focusWidget()
        assert focus is not None
        assert focus.isVisible(), f"{page}: the focus stays on {described(focus)}"
        walk(ready, Qt.Key.Key_Tab)[-1].setFocus()  # the last control of the page or the plan


@pytest.mark.slow
def test_f6_goes_from_part_to_part_and_round(ready: WholeWindow) -> None:
    for page in ready.window.rail.items:
        ready.window.show_page(page)
        ready.settle()
        item = ready.window.rail.items[page]
        item.setFocus()
        parts = [part for part in ready.window._parts() if part is not ready.window.status]
        for part in (*parts[1:], parts[0]):
            focus = press(Qt.Key.Key_F6)
            assert focus is not None
            assert part.isAncestorOf(focus), f"{page}: F6 goes to {described(focus)}"
        assert focus is item


class FlashesSeen(QObject):
    """Watches for windows that nobody asked for: a widget shown before it has its place is one for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        is_window = isinstance(watched, QWidget) and watched.isWindow()
        if event.type() is QEvent.Type.Show and is_window and not isinstance(watched, QMainWindow | QMenu):
            self.names.add(f"{type(watched).__name__}#{watched.objectName()}")
        return False


@pytest.mark.slow
def test_no_page_flashes_up_as_a_window_and_takes_the_focus(qapp: Any, starter_home: Path, starter: Path) -> None:
    flashes = FlashesSeen()
    qapp.installEventFilter(flashes)
    try:
        with whole_window(qapp, "ready", starter) as whole:
            assert list(whole.views((WELCOME,)))
            for size in ((1024, 640), (1280, 800)):
                whole.resize(size)
                assert len(list(whole.views())) > len(PAGES)
            whole.speak("zh_CN", 1.5)
            assert list(whole.views())
    finally:
        qapp.removeEventFilter(flashes)
    assert flashes.names == set()
