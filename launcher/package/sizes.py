"""How large each part of the package is: the table that “launch.py package” prints."""

import os
from collections.abc import Iterator
from pathlib import Path

MIB = 1024**2

_NAMES = {
    "torch": "PyTorch",
    "pyside6": "Qt (PySide6)",
    "shiboken6": "Qt (PySide6)",
    "lowrank-studio": "the program: Python modules in one archive",
    "starter": "starter model",
    "resources": "Lowrank Studio's own files",
    "docs": "Lowrank Studio's own files",
}
_LARGEST = 14


def files_of(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every file below a folder with its bytes; a link counts nothing."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                yield path, path.stat().st_size


def sizes(folder: Path) -> dict[str, int]:
    """The bytes of each part, the largest first; parts after the largest are one line."""
    found: dict[str, int] = {}
    for path, size in files_of(folder):
        part = _part_of(path.relative_to(folder))
        found[part] = found.get(part, 0) + size
    ordered = sorted(found.items(), key=lambda entry: -entry[1])
    table = dict(ordered[:_LARGEST])
    if len(ordered) > _LARGEST:
        table[f"{len(ordered) - _LARGEST} others"] = sum(size for _, size in ordered[_LARGEST:])
    return table


def table(folder: Path) -> str:
    """The parts of a package with their sizes, as text."""
    lines = [(name, size / MIB) for name, size in sizes(folder).items()]
    lines.append(("all", sum(size for _, size in lines)))
    return "\n".join(f"{size:9.1f} MiB  {name}" for name, size in lines)


def _part_of(place: Path) -> str:
    parts = place.parts[1:] if place.parts[0] == "_internal" and len(place.parts) > 1 else place.parts
    if parts[:2] == ("resources", "starter"):
        return _NAMES["starter"]
    name = parts[0].partition(".")[0].lower()
    if len(parts) == 1 and ".so" in parts[0]:
        return "libraries of the system"
    return _NAMES.get(name, name)
