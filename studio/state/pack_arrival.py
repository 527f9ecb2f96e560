"""An offline pack that is being taken in."""

from collections.abc import Callable
from pathlib import Path

from core.hub.pack.manifest import read_pack
from core.hub.pack.taking import Taken, plan_taking, take_pack
from studio.state.downloads import Arrival, told
from studio.workers.task import Report, Task, start_task


class PackArrival(Arrival):
    """Models and data sets of a pack on their way here; what is whole when it is cancelled stays.

    Attributes:
        taken: what is here, once it is done.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], again: Callable[[], object]) -> None:
        super().__init__("pack", folder.name, str(folder), again)
        self.taken: tuple[Taken, ...] = ()
        self._task: Task = start_task(
            lambda report: _take(report, folder, names),
            on_done=self._arrived,
            on_failed=self._failed,
            on_progress=self._reported,
        )

    def _end(self) -> None:
        self._task.cancel()
        self._finish("stopped")

    def _reported(self, progress: tuple[int, int, str]) -> None:
        done, total, words = progress
        self._progressed(done / total if total else 1.0, words, float(done), float(total), "bytes")

    def _arrived(self, taken: tuple[Taken, ...]) -> None:
        self.taken = taken
        self._finish("done")

    def _failed(self, failure: Exception) -> None:
        self._finish("failed", *told(failure))


def _take(report: Report, folder: Path, names: tuple[str, ...]) -> tuple[Taken, ...]:
    return take_pack(plan_taking(read_pack(folder), names), report)
