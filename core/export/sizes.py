"""How large exports are: told from headers before they are made, measured afterwards."""

import functools
from pathlib import Path

from core.errors import Problem, error
from core.export.merge import Needs, merge_needs
from core.export.peft_adapter import CONFIG_FILE, WEIGHTS_FILE
from core.export.places import TARGET
from core.runs.room import Room, room_advice
from core.units import format_bytes

_FLOAT32_BITS = 32


def is_adapter(result: Path) -> bool:
    """Whether a run's result is an adapter and not a whole model."""
    return (result / CONFIG_FILE).is_file()


def bytes_in(path: Path) -> int:
    """The size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def merged_needs(base: Path, source: Path) -> Needs:
    """What base and adapter take as one model; a result that is a whole model is copied as it is.

    Raises:
        UserError: they do not fit together.
    """
    return merge_needs(base, source) if is_adapter(source) else Needs(bytes_in(source), 0)


def gguf_size(base: Path, source: Path, precision: str) -> int:
    """What base and adapter take on the disk as one GGUF file; see `gguf_needs`."""
    return gguf_needs(base, source, precision).disk


def gguf_needs(base: Path, source: Path, precision: str) -> Needs:
    """What base and adapter take as one GGUF file; a result that is a whole model needs no base.

    Raises:
        UserError: no such file can be written of them.
    """
    adapter = source if is_adapter(source) else None
    read = adapter / WEIGHTS_FILE if adapter is not None else source
    changed = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (base, read))
    return _gguf_needs(base if adapter is not None else source, adapter, precision, changed)


@functools.lru_cache(maxsize=64)  # the window asks for every precision, and headers of large models take their time
def _gguf_needs(base: Path, adapter: Path | None, precision: str, _changed: tuple[int, ...]) -> Needs:
    from core.export.gguf import estimate_needs

    return estimate_needs(base, precision, adapter)


def gguf_adapter_size(source: Path, precision: str) -> int:
    """About what the adapter takes as a GGUF file: its weights are kept in 32 bits by everybody."""
    from core.export.gguf import find_precision

    return round((source / WEIGHTS_FILE).stat().st_size * find_precision(precision).bits / _FLOAT32_BITS)


def no_room(room: Room, target: Path) -> Problem:
    """The problem that an export does not fit at its target."""
    needed, free = format_bytes(room.needed), format_bytes(room.free)
    message = f"The export takes {needed}, and {free} are free at {target.parent}."
    return error(TARGET, message, room_advice(room))
