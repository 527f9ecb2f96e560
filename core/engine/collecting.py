"""When Python looks for cycles while libraries are imported: afterwards. Imports nothing heavy itself."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later() -> Iterator[None]:
    """Python looks for cycles afterwards: libraries leave none, and looking takes a fifth of their import."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
