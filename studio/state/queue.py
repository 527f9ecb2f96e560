"""The queue of runs as the window knows it, and what the window asks of it; all of it is in core's file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from core.errors import UserError
from core.runs.process_record import living_process
from core.runs.queue import Entry, Move, Queue, QueueState, change_queue, read_queue
from studio.workers.task import Task, start_task

if TYPE_CHECKING:
    from core.runs.prepare import Prepared
    from core.runs.sweep import Point

_REFRESH_MS = 2000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The queue at one moment; asking whether its processes live takes too long for the main thread."""

    queue: Queue = field(default_factory=Queue)
    state: QueueState = "empty"
    at_work: Entry | None = None


class RunQueue(QObject):
    """Reading and changing the queue in the background.

    Attributes:
        now: the newest known state of it.
        changed: `now` is another one.
        began: an engine works on the next run of the queue: its `Entry`.
        broken_off: the queue was found interrupted when the window began; it goes on when somebody wants that.
        added: names of runs that were put into it.
        failed: problems of something that was asked for.
    """

    changed = Signal()
    began = Signal(object)
    broken_off = Signal()
    added = Signal(object)
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.now = Snapshot()
        self.known = False
        self._reading: Task | None = None
        self._doing: list[Task] = []
        self._followed: tuple[Path, float] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self.refresh)

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for is still being done."""
        return bool(self._doing)

    def begin(self) -> None:
        """Reads the queue now and every other second."""
        self.refresh()
        self._timer.start()

    def close(self) -> None:
        """Reads no more; what was asked for is still done."""
        self._timer.stop()
        if self._reading is not None:
            self._reading.cancel()

    def refresh(self) -> None:
        """Reads the queue in the background."""
        if self._reading is None:
            self._reading = start_task(
                lambda _report: _look(), on_done=self._took, on_failed=self._not_read, parent=self
            )

    # --- what is asked of it

    def add(self, prepared: "Prepared") -> None:
        """Makes a run and puts it into the queue."""

        def work() -> list[str]:
            from core.runs.queueing import add_prepared

            return [add_prepared(prepared).path.name]

        self._do(work, on_done=self.added.emit)

    def add_sweep(
        self, name: str, found: "tuple[Point, ...]", prepared: "tuple[Prepared, ...]", on_done: Callable[[Any], None]
    ) -> None:
        """Makes the runs of a sweep and puts them into the queue; ``on_done`` gets the group."""

        def work() -> object:
            from core.runs.queueing import add_runs
            from core.runs.sweep_groups import create_group

            group = create_group(name, found, prepared)
            add_runs([member.folder for member in group.members], group=name)
            return group

        self._do(work, on_done=on_done)

    def start(self) -> None:
        """Lets it go on, with a process of its own that outlives the window."""

        def work() -> None:
            from core.runs.queueing import start_queue

            start_queue()

        self._do(work)

    def pause(self) -> None:
        """The present run saves its state and ends, and nothing more begins."""
        self._hold("pause")

    def stop_after_this(self) -> None:
        """The present run goes on to its end, and nothing more begins."""
        self._hold("stop")

    def move(self, path: Path, move: Move) -> None:
        """Moves a run that waits."""
        self._do(lambda: change_queue(lambda queue: queue.moved(path, move)))

    def place(self, path: Path, place: int) -> None:
        """Puts a run that waits at a place among those that wait."""
        self._do(lambda: change_queue(lambda queue: queue.placed(path, place)))

    def remove(self, paths: tuple[Path, ...]) -> None:
        """Takes runs out; their folders stay."""

        def change(queue: Queue) -> Queue:
            for path in paths:
                queue = queue.without(path)
            return queue

        self._do(lambda: change_queue(change))

    def clear_ended(self) -> None:
        """Takes all runs out that have ended; their folders stay."""
        self._do(lambda: change_queue(Queue.without_ended))

    def _hold(self, hold: Any) -> None:
        def work() -> None:
            from core.runs.queueing import hold_queue

            hold_queue(hold)

        self._do(work)

    # --- in the background

    def _do(self, work: Callable[[], Any], on_done: Callable[[Any], None] | None = None) -> None:
        def both(_report: object) -> tuple[Any, Snapshot]:
            return work(), _look()

        def done(result: tuple[Any, Snapshot]) -> None:
            self._doing.remove(task)
            self._show(result[1])
            if on_done is not None:
                on_done(result[0])

        def failed(failure: Exception) -> None:
            self._doing.remove(task)
            self._refuse(failure)

        task = start_task(both, on_done=done, on_failed=failed, parent=self)
        self._doing.append(task)

    def _took(self, snapshot: Snapshot) -> None:
        self._reading = None
        first, self.known = not self.known, True
        self._show(snapshot)
        if first and snapshot.state == "interrupted":
            self.broken_off.emit()

    def _show(self, snapshot: Snapshot) -> None:
        if snapshot != self.now:
            self.now = snapshot
            self.changed.emit()
        entry = snapshot.at_work
        if entry is not None and (entry.path, entry.began) != self._followed:
            self._followed = (entry.path, entry.began)
            self.began.emit(entry)

    def _not_read(self, failure: Exception) -> None:
        self._reading = None
        self._timer.stop()  # the same complaint every other second would help nobody
        self._refuse(failure)

    def _refuse(self, failure: Exception) -> None:
        if not isinstance(failure, UserError):
            raise failure
        self.failed.emit(failure.problems)


def _look() -> Snapshot:
    queue = read_queue()
    running = queue.running
    at_work = running if running is not None and living_process(running.folder) is not None else None
    return Snapshot(queue, queue.state, at_work)
