"""A run's result copied as it is: piece by piece, whole or absent."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ExitCode, UserError, error
from core.export.sizes import bytes_in, no_room
from core.paths import staged_folder
from core.runs.room import room_for
from core.units import MIB

if TYPE_CHECKING:
    from core.export.result import ExportPlan

_CHUNK = 4 * MIB


class ExportCancelledError(Exception):
    """The export was asked to stop and did; nothing of it is left on the disk."""


def copy_result(
    plan: "ExportPlan",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> int:
    """Copies the run's result to the target, which is whole or absent; returns its bytes.

    Args:
        plan: one that can start and is no engine's work.
        on_progress: told the bytes copied so far, and all of them.
        cancelled: asked between pieces; when it says True the copy stops.

    Raises:
        UserError: something stands against the export, or the disk refuses; nothing is left behind.
        ExportCancelledError: ``cancelled`` said so; nothing is left behind.
    """
    plan.require()
    assert plan.source is not None
    assert not plan.is_job, "that is an engine's work"
    total = bytes_in(plan.source)
    room = room_for(total, plan.target)  # time may have passed since it was planned
    if room.missing:
        raise UserError(no_room(room, plan.target), exit_code=ExitCode.DOES_NOT_FIT)
    try:
        with staged_folder(plan.target) as staging:
            done = 0
            for size in _copied(plan.source, staging):
                done += size
                if cancelled is not None and cancelled():
                    raise ExportCancelledError("the export was cancelled")
                if on_progress is not None:
                    on_progress(done, total)
    except OSError as failure:
        message = f"The result could not be copied: {failure.strerror or failure}."
        advice = "Check that the folder may be written to and that its disk is not full; nothing was left behind."
        raise UserError(error(str(plan.target), message, advice), exit_code=ExitCode.FAILED) from failure
    return total


def _copied(source: Path, target: Path) -> Iterator[int]:
    """Copies a folder's content piece by piece and tells the size of each."""
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
            continue
        with path.open("rb") as reader, copy.open("wb") as writer:
            while piece := reader.read(_CHUNK):
                writer.write(piece)
                yield len(piece)
        shutil.copystat(path, copy)
