"""Loads numpy off the main thread, so that the first curve costs no stall."""

import sys
from collections.abc import Callable

from PySide6.QtCore import QObject

from studio.workers.task import Report, start_task


def is_ready() -> bool:
    """Whether numpy is loaded, in full."""
    module = sys.modules.get("numpy")
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def when_ready(perform: Callable[[], None], parent: QObject) -> None:
    """Calls ``perform`` once numpy is loaded, at once if it is already; not at all when ``parent`` is gone by then."""
    if is_ready():
        perform()
        return
    start_task(_load, on_done=lambda _: perform(), on_failed=_raise, parent=parent)


def _load(_report: Report) -> None:
    import numpy as np

    np.fmin.reduceat(np.zeros(2), [0])  # the first call sets things up


def _raise(failure: Exception) -> None:
    raise failure
