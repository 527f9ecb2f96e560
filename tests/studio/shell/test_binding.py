"""The Qt binding itself, where a broken release would end the window after hours."""

import sys
from typing import Any

from PySide6.QtCore import QObject, Signal


class Sender(QObject):
    """Sends."""

    sent = Signal(object)


def test_sending_signals_keeps_the_count_of_references(qapp: Any) -> None:
    """PySide6 6.12.0 lost one reference to True at each emit; Python 3.11 dies when none are left."""
    sender = Sender()
    sender.sent.connect(lambda _value: None)
    before = sys.getrefcount(True)
    for _ in range(100):
        sender.sent.emit(1)
    assert abs(sys.getrefcount(True) - before) < 50
