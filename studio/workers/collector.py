"""Python's garbage collection, on the main thread only.

Python collects cycles in whatever thread happens to make the next object. A widget or timer among the garbage would
then be destroyed outside of the thread that it lives in, which Qt answers with a crash. So the automatic collection is
off, and a timer does it where widgets live, a little at a time.

The main thread also asks for its turn sooner than Python's 5 ms: a thread that reads a long log would else make every
callback of the window wait that long.
"""

import gc
import sys

from PySide6.QtCore import QObject, QTimer

_EVERY_MS = 100
_YOUNG, _MIDDLE, _OLD = 700, 50, 60
_TURN_SECONDS = 0.001


class Collector(QObject):
    """Collects garbage between two events of the main thread for as long as it lives."""

    def __init__(self) -> None:
        """Turns the automatic collection off; `stop` turns it on again."""
        super().__init__()
        self._middle = self._old = 0
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._turn = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        gc.disable()
        self._timer.start()

    def look(self) -> None:
        """Collects young objects when there are many, older ones every few seconds, and all every few minutes.

        Young ones often: what half a second of sliding leaves behind takes longer than a frame to look through.
        """
        if gc.get_count()[0] < _YOUNG:
            return
        self._middle += 1
        if self._middle < _MIDDLE:
            gc.collect(0)
            return
        self._middle = 0
        self._old += 1
        if self._old < _OLD:
            gc.collect(1)
            return
        self._old = 0
        gc.collect()

    def stop(self) -> None:
        """Gives the collection back to Python."""
        self._timer.stop()
        sys.setswitchinterval(self._turn)
        gc.enable()
