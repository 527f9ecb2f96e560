"""Room for a run, asked of the disk itself at the very moment when the run is made or gone on with.

A plan says the same from facts that may be hours old; this is the last word before the first byte.
"""

from pathlib import Path

from core.errors import ExitCode, UserError, error
from core.plan.types import Disk
from core.runs.layout import RunFolder
from core.runs.room import SPARE_BYTES, bytes_below, free_advice, room_advice, room_for
from core.units import format_bytes

_FOLDER = "output.folder"


def require_room_to_start(disk: Disk | None, parent: Path) -> None:
    """Refuses a run whose saved states and result would find no room below ``parent``.

    Raises:
        UserError: says what is needed, what is there, and what to do.
    """
    if disk is None:
        return
    room = room_for(disk.run_bytes, parent)
    if room.missing:
        message = (
            f"The run needs about {format_bytes(room.needed + SPARE_BYTES)} on disk for its checkpoints and its "
            f"result, but {format_bytes(room.free)} are free at {room.place}."
        )
        raise UserError(error(_FOLDER, message, room_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)


def require_room_to_go_on(disk: Disk | None, folder: RunFolder) -> None:
    """The same for a run that is there already: the states that it has saved need no more room.

    Raises:
        UserError: says what is still needed, what is there, and what to do.
    """
    if disk is None:
        return
    room = room_for(disk.run_bytes - min(disk.run_bytes, bytes_below(folder.checkpoints)), folder.path)
    if room.missing:
        message = (
            f"The run still needs about {format_bytes(room.needed + SPARE_BYTES)} on disk for its checkpoints and its "
            f"result, but {format_bytes(room.free)} are free at {room.place}."
        )
        raise UserError(error(str(folder.path), message, free_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)
