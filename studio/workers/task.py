"""Short work off the main thread: reading a model's files, counting tokens, asking the hub."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Qt, QThread, Signal


class CancelledError(Exception):
    """Raised inside the work of a task that nobody wants any more."""


class Report:
    """What the work of a task holds: says how far it is, and is told there when it should end."""

    def __init__(self, task: "Task") -> None:
        self._task = task

    def __call__(self, *progress: object) -> None:
        """Passes progress on.

        Raises:
            CancelledError: the task was cancelled; the work lets this through and leaves nothing behind.
        """
        self.check()
        self._task.progressed.emit(progress)

    def check(self) -> None:
        """Raises `CancelledError` once the task was cancelled."""
        if self._task.cancelled:
            raise CancelledError

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled, for work that wants to end in its own way."""
        return self._task.cancelled


class Task(QThread):
    """One piece of work in a thread of its own. Signals arrive on the thread that made the task.

    Nothing is delivered after `cancel`. A task keeps itself alive until its thread has ended.

    Attributes:
        progressed: a tuple, whatever the work reports.
        done: what the work returned.
        failed: the exception that it raised.
    """

    progressed = Signal(object)
    done = Signal(object)
    failed = Signal(object)

    def __init__(self, work: Callable[[Report], Any], parent: QObject | None = None) -> None:
        super().__init__(None)
        self._work = work
        self.cancelled = False
        _alive.add(self)
        self.finished.connect(self._forget)
        if parent is not None:
            parent.destroyed.connect(self.cancel)

    def run(self) -> None:
        """The thread."""
        try:
            result = self._work(Report(self))
        except CancelledError:
            return
        except Exception as failure:  # noqa: BLE001 (handed to whoever asked for the work)
            if not self.cancelled:
                self.failed.emit(failure)
            return
        if not self.cancelled:
            self.done.emit(result)

    def cancel(self) -> None:
        """Ends the work at its next report and delivers nothing more."""
        if not self.cancelled:
            self.cancelled = True

    def _forget(self) -> None:
        _alive.discard(self)


_alive: set[Task] = set()


def start_task(
    work: Callable[[Report], Any],
    *,
    on_done: Callable[[Any], None],
    on_failed: Callable[[Exception], None],
    on_progress: Callable[[tuple[Any, ...]], None] | None = None,
    parent: QObject | None = None,
) -> Task:
    """Runs ``work`` in a thread and returns the task; the callbacks run on the calling thread, which has an event loop.

    ``parent`` is whoever would use the result: when it is destroyed, the task is cancelled.
    """
    task = Task(work, parent)

    def unless_cancelled(callback: Callable[[Any], None]) -> Callable[[Any], None]:
        # asked on arrival: a signal that was sent before the cancelling may still be on its way
        return lambda value: None if task.cancelled else callback(value)

    task.done.connect(unless_cancelled(on_done), Qt.ConnectionType.QueuedConnection)
    task.failed.connect(unless_cancelled(on_failed), Qt.ConnectionType.QueuedConnection)
    if on_progress is not None:
        task.progressed.connect(unless_cancelled(on_progress), Qt.ConnectionType.QueuedConnection)
    task.start()
    return task


def end_tasks(milliseconds: int = 5000) -> int:
    """Cancels every task and waits for the threads; returns how many were still working after that time."""
    for task in tuple(_alive):
        task.cancel()
    for task in tuple(_alive):
        if task.wait(milliseconds):
            _alive.discard(task)
    return len(_alive)
