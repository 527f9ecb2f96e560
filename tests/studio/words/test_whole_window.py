"""Every page of the window in Chinese, in every state: nothing on it is left in English but names."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QTableView,
    QTreeView,
    QWidget,
)

from core.paths import resource
from tests.studio.audit.whole_window import WELCOME, State, whole_window
from tests.studio.words.test_sentences import NAMES, english_in

_ROLES = (
    Qt.ItemDataRole.DisplayRole,
    Qt.ItemDataRole.ToolTipRole,
    Qt.ItemDataRole.AccessibleTextRole,
    Qt.ItemDataRole.AccessibleDescriptionRole,
)


def texts_of(widget: QWidget) -> Iterator[str]:
    """What a widget shows or tells to somebody who cannot see it."""
    yield from (widget.toolTip(), widget.accessibleName(), widget.accessibleDescription())
    match widget:
        case QLabel() | QAbstractButton():
            yield widget.text()
        case QComboBox():
            yield from (widget.itemText(row) for row in range(widget.count()))
        case QLineEdit():
            yield widget.placeholderText()
        case QAbstractSpinBox():
            yield widget.specialValueText()
        case QMenu():
            yield from (action.text() for action in widget.actions())
        case QAbstractItemView() if widget.model() is not None and not isinstance(widget, QHeaderView):
            model = widget.model()
            columns = range(model.columnCount(QModelIndex()) if isinstance(widget, QTableView | QTreeView) else 1)
            yield from (str(model.headerData(column, Qt.Orientation.Horizontal) or "") for column in columns)
            for row in range(min(model.rowCount(QModelIndex()), 20)):
                for column in columns:
                    index = model.index(row, column)
                    yield from (str(index.data(role) or "") for role in _ROLES)


def not_ours() -> str:
    """Everything that other people wrote and the window only shows: rows of data, answers, what an engine says."""
    here = Path(__file__).parents[2]
    files = [*resource("data").iterdir(), here / "studio/audit/told_runs.py", here / "fakes/fake_engine.py"]
    return " ".join(" ".join(file.read_text("utf-8").split()) for file in files)


def english_on(window: QWidget, theirs: str) -> set[str]:
    """Texts of a window that are English prose, apart from those that people or files have put there."""
    found = set()
    for widget in [window, *window.findChildren(QWidget)]:
        for text in texts_of(widget):
            plain = re.sub(r"<[^>]+>", "", text)
            prose = max(re.findall(r"[A-Za-z][A-Za-z ]+", NAMES.sub("#", plain)), key=len, default="").strip()
            if english_in(plain) and prose not in theirs:
                found.add(text)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("state", get_args(State))
def test_no_english_is_left(qapp: Any, qtbot: Any, starter_home: Path, starter: Path, state: State) -> None:
    found: dict[str, set[str]] = {}
    theirs = not_ours()
    with whole_window(qapp, state, starter) as whole:
        whole.speak("zh_CN", 1.0)
        pages = whole.views()
        for view in pages:
            if left := english_on(whole.window, theirs):
                found[view] = left
        whole.window.show_page(WELCOME)
        whole.settle()
        if left := english_on(whole.window, theirs):
            found[WELCOME] = left
        whole.speak("en", 1.0)
    lines = [f"{view}: {text!r}" for view, left in found.items() for text in sorted(left)]
    assert not lines, "\n".join(lines)
