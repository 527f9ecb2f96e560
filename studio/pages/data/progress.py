"""How far a reading of rows is, on a bar and in words."""

from PySide6.QtWidgets import QProgressBar

from studio.state.session import Busy
from studio.words import say, tr


def show_progress(bar: QProgressBar, busy: Busy) -> str:
    """Moves the bar, and returns what to write beside it."""
    bar.setRange(0, busy.total)
    bar.setValue(busy.done)
    what = say(busy.what)
    if not busy.total:
        return tr("{what}…", what=what)
    rows = tr("{done} of {total} rows", done=f"{busy.done:,}", total=f"{busy.total:,}")
    return tr("{what}: {count}", what=what, count=rows)
