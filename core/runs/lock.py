"""One engine per folder: a lock that the system itself gives back when its holder dies, however it dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ExitCode, UserError, error
from core.runs.file_lock import lock_within, try_lock
from core.runs.layout import RunFolder
from core.runs.process_record import claim_process, is_own, living_process

# Long enough for somebody who only looked whether the folder is free, or who is just ending.
_PATIENCE_SECONDS = 1.0


class FolderBusy(UserError):  # noqa: N818 (it is a state of the folder that the user ends by waiting)
    """Another engine works on the folder."""

    def __init__(self, folder: RunFolder, pid: int | None) -> None:
        """Names the process that holds the folder, where that is known."""
        who = f"Process {pid}" if pid else "Another process"
        super().__init__(
            error(
                str(folder.path),
                f"{who} is already working on this run.",
                "Follow it in the window or with “lowrank show”, or stop it first with “lowrank stop”.",
            ),
            exit_code=ExitCode.FAILED,
        )


@contextmanager
def hold_lock(folder: RunFolder) -> Iterator[None]:
    """Holds the folder for this process while the block runs, and records it in ``process.json``.

    The lock file stays behind, empty; only a living process can hold it. On file systems without locks the record of
    the process serves instead.

    Raises:
        FolderBusy: another engine holds it.
        OSError: the folder is not writable.
    """
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock_within(handle, _PATIENCE_SECONDS):
            raise FolderBusy(folder, _read_pid(handle))
        record = living_process(folder)
        if record is not None and not is_own(record):
            raise FolderBusy(folder, record.pid)
        _write_pid(handle, str(os.getpid()))
        claim_process(folder)
        try:
            yield
        finally:
            _write_pid(handle, "")
    finally:
        os.close(handle)


def require_free(folder: RunFolder) -> None:
    """Called before an engine is launched.

    Raises:
        FolderBusy: an engine works on the folder.
        OSError: the folder is not writable.
    """
    record = living_process(folder)
    if record is not None:
        raise FolderBusy(folder, record.pid)
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(handle):
            raise FolderBusy(folder, _read_pid(handle))
    finally:
        os.close(handle)


def _read_pid(handle: int) -> int | None:
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 32)
    return int(text) if text.isdigit() else None


def _write_pid(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, text.encode("ascii"))
