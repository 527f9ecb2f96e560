"""Work that only one process may do at a time: the others wait until it is done."""

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Runs the block while no other process (or thread) is in a block with the same ``path``.

    The empty lock file stays behind; the system gives the lock back when its holder ends, however it ends. On file
    systems without locks nobody ever waits.

    Args:
        path: the lock file; its folder is made if needed.
        on_wait: called once if somebody else is at work, before the waiting begins.

    Raises:
        OSError: the lock file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        waited = False
        while not _take(file.fileno()):
            if on_wait is not None and not waited:
                on_wait()
            waited = True
            time.sleep(0.1)
        yield


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as failure:
            return failure.errno not in _HELD
        return True

else:
    import fcntl

    def _take(handle: int) -> bool:
        # flock, not lockf: a POSIX record lock does not keep out another thread of the same process.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            return failure.errno not in _HELD
        return True
