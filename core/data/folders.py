"""The data files of a folder: of one kind, in an order that is the same everywhere."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath

from core.data.packed import is_packed_name, unreadable
from core.errors import Problem, Severity, UserError, error
from core.units import format_bytes

MOST_FILES = 100_000
_GLANCE_DEPTH, _GLANCE_FILES = 2, 1_000
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
}
_BESIDE = frozenset(
    {
        "dataset_info.json",
        "dataset_infos.json",
        "dataset_dict.json",
        "state.json",
        "metadata.json",
        "readme.md",
        "readme.txt",
        "license",
        "license.md",
        "license.txt",
        "thumbs.db",
        "desktop.ini",
    }
)
"""What lies beside data without being any (the first ones are written by Hugging Face datasets)."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """What a folder holds.

    Attributes:
        kind: the kind of all its files; empty where their names do not say.
        files: in the order of their names, path by path.
        bytes: of all of them together.
        left_out: how many files of other kinds there are beside them.
    """

    kind: str
    files: tuple[Path, ...]
    bytes: int
    left_out: int = 0


def kind_by_name(path: PurePath) -> str:
    """What a file's name says that it is; empty where it says nothing that is known here."""
    return _KINDS.get(ending_of(path), "")


def ending_of(path: PurePath) -> str:
    """The last ending of a name in lower case, one that only says that the file is packed left aside."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and is_packed_name(suffixes[-1]):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def seems_to_hold_data(folder: Path) -> bool:
    """Whether one of the first files in a folder, or in a folder inside it, has the name of a data file."""
    looked = 0
    for parent, folders, names in os.walk(folder):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _GLANCE_DEPTH else []
        for name in names:
            if name.lower() not in _BESIDE and kind_by_name(PurePath(name)):
                return True
            looked += 1
            if looked > _GLANCE_FILES:
                return False
    return False


def list_folder(folder: Path) -> FolderFiles:
    """The data files in a folder and the folders inside it; hidden, empty and irregular ones are left out.

    Files of one kind make up a set of rows. Where there are several kinds, the one with the most bytes is meant.

    Raises:
        UserError: the folder cannot be read, holds no data files, or far too many.
    """
    groups: dict[str, list[tuple[Path, int]]] = {}
    failures: list[OSError] = []
    count = 0
    for parent, folders, names in os.walk(folder, onerror=failures.append):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in names:
            path = Path(parent, name)
            size = _size(path)
            if size <= 0 or name.startswith((".", "~$")) or name.lower() in _BESIDE:
                continue
            count += 1
            if count > MOST_FILES:
                message = f"The folder holds more than {MOST_FILES:,} files."
                raise UserError(error(str(folder), message, "Name a smaller folder, or join the files into a few."))
            groups.setdefault(kind_by_name(path), []).append((path, size))
    if failures and not groups:
        raise UserError(unreadable(folder, failures[0]))
    named = {kind: found for kind, found in groups.items() if kind} or groups
    if not named:
        message = "The folder holds no files that could be read as data."
        raise UserError(error(str(folder), message, "Put JSONL, JSON, CSV, Parquet, Arrow or text files into it."))
    kind = max(sorted(named), key=lambda kind: sum(size for _, size in named[kind]))
    chosen = sorted(named[kind], key=lambda item: item[0].relative_to(folder).parts)
    total = sum(size for _, size in chosen)
    return FolderFiles(kind, tuple(path for path, _ in chosen), total, count - len(chosen))


def left_out_problem(folder: Path, found: FolderFiles) -> Problem:
    """Says that only the files of one kind are read."""
    kind = {"jsonl": "JSONL", "json": "JSON", "csv": "CSV", "tsv": "TSV"}.get(found.kind, found.kind.capitalize())
    message = (
        f"The folder holds {len(found.files)} {kind} files ({format_bytes(found.bytes)}), which are read, and "
        f"{found.left_out} files of other kinds, which are not."
    )
    return Problem(Severity.INFO, str(folder), message, "Name other files one by one to train them as well.")


def _size(path: Path) -> int:
    """The size of a regular file, links followed; -1 for anything else."""
    try:
        found = path.stat()
    except OSError:  # a broken link, or a file that went away while the folder was read
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
