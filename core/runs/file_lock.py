"""Work that only one process may do at a time: the others wait until it is done."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Windows locks bytes against reading too, so the locked byte lies far behind anything that is written.
_LOCKED_BYTE = 1 << 30
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
        while not try_lock(file.fileno()):
            if on_wait is not None and not waited:
                on_wait()
            waited = True
            time.sleep(0.1)
        yield


def lock_within(handle: int, seconds: float) -> bool:
    """Takes the lock on an open file as soon as it is free; False where it is still held after so many seconds."""
    deadline = time.monotonic() + seconds
    while not try_lock(handle):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: int) -> bool:
        """Takes the lock on an open file if nobody holds it; on file systems without locks nobody ever does."""
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as failure:
            return failure.errno not in _HELD
        return True

else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Takes the lock on an open file if nobody holds it; on file systems without locks nobody ever does."""
        # flock, not lockf: a POSIX record lock does not keep out another thread of the same process, and is lost as
        # soon as anybody in the process closes the file once.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            return failure.errno not in _HELD
        return True
