"""When Python looks for cycles: not during imports, and not in what stays. Imports nothing heavy itself."""

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


def keep_for_good() -> None:
    """Takes all that is there for something that stays to the process's end; no cycle is looked for in it again.

    A trained model and its rows are some hundred thousand objects, and Python would go through all of them every few
    steps, while a GPU waits.
    """
    gc.collect()
    gc.freeze()
