"""Takes from the package's libraries what only a debugger reads: the names of functions that nobody else calls."""

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LEAST_SAVED = 16 * 1024
"""Bytes below which a library stays as its makers built it."""

# Left as they are: what its owners let nobody change (NVIDIA), what is bare already (Qt), and libraries that were moved
# into wheels by tools after whose work “strip” has been known to misplace their parts.
_LEFT_ALONE = re.compile(r"^(?:nvidia/|PySide6/|shiboken6/)|\.libs/|(?:^|/)lib(?:cu|nv|nccl)[^/]*\.so")
_LIBRARY = re.compile(r"\.so(?:\.[\d.]+)?$")
_LOADED = 1  # PT_LOAD


def strip_symbols(folder: Path) -> int:
    """Strips the libraries in a package for Linux, and returns how many bytes were saved.

    What another library or Python looks up by name stays, and so does all that runs. Without “strip” (of binutils)
    nothing is done.
    """
    tool = shutil.which("strip")
    if tool is None or sys.platform != "linux":
        return 0
    return sum(_strip(tool, path) for path in _libraries(folder))


def _libraries(folder: Path) -> Iterator[Path]:
    inside = folder / "_internal"
    for path in sorted(inside.rglob("*.so*")):
        place = path.relative_to(inside).as_posix()
        if _LIBRARY.search(place) and not _LEFT_ALONE.search(place) and path.is_file() and not path.is_symlink():
            yield path


def _strip(tool: str, path: Path) -> int:
    bare = path.with_name(f".{path.name}.bare")
    try:
        done = subprocess.run([tool, "--strip-unneeded", "-o", str(bare), str(path)], capture_output=True, check=False)
        if done.returncode or not bare.is_file() or not is_in_place(bare):
            return 0
        saved = path.stat().st_size - bare.stat().st_size
        if saved < LEAST_SAVED:
            return 0
        bare.chmod(path.stat().st_mode)
        os.replace(bare, path)
        return saved
    finally:
        bare.unlink(missing_ok=True)


def is_in_place(library: Path) -> bool:
    """Whether every part of a library lies where the system's loader can map it (ELF, 64 bits, little-endian)."""
    with library.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return False
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(table)
        entries = file.read(size * count)
    if len(entries) < size * count:
        return False
    for start in range(0, size * count, size):
        kind, _, offset, address, _, _, _, align = struct.unpack_from("<IIQQQQQQ", entries, start)
        if kind == _LOADED and align > 1 and offset % align != address % align:
            return False
    return True
