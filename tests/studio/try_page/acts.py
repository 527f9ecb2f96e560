"""What tests do and see on the page “Try”."""

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QLabel


def click(qtbot: Any, page: Any, name: str) -> None:
    shown = [made for made in page.findChildren(QAbstractButton, name) if made.isVisibleTo(page)]
    assert shown, f"{name} is not to be seen"
    assert shown[-1].isEnabled(), f"{name} is disabled"
    qtbot.mouseClick(shown[-1], Qt.MouseButton.LeftButton)


def words(page: Any) -> str:
    labels = (label for label in page.findChildren(QLabel) if label.isVisibleTo(page))
    return "\n".join(label.accessibleName() or label.text() for label in labels)
