"""What stands in ``lowrank-pack.json``: the models and data sets of an offline pack, file by file with their hashes."""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from core import __version__
from core.errors import ExitCode, UserError, error
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.units import MIB

MANIFEST = "lowrank-pack.json"
FORMAT = 1
ItemKind = Literal["model", "hub model", "hub data"]

_MOST_BYTES = 64 * MIB
_PLAIN = re.compile(r"[^\\:\0-\x1f]+")
_OWN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file.

    Attributes:
        name: its path inside the model, with slashes.
        sha256: of its content, in hexadecimal.
        digest: what the hub's cache calls the content: its SHA-256, or Git's SHA-1.
    """

    name: str
    bytes: int
    sha256: str
    digest: str


@dataclass(frozen=True, slots=True)
class PackedItem:
    """A model or a part of a data set.

    Attributes:
        kind: where it belongs: among the application's own models, or into the hub's cache.
        name: what a spec calls it: “starter”, “owner/model”, “hf:owner/name/config:split@commit”.
        folder: where it lies in the pack.
        id: its name on the hub; empty for a model of the application's own.
        revision: the branch or tag by which it came from the hub, where that is known.
        commit: which state of the repository it is.
        licence: what its files say they may be used under; empty where they say nothing.
    """

    kind: ItemKind
    name: str
    folder: str
    files: tuple[PackedFile, ...]
    id: str = ""
    revision: str = ""
    commit: str = ""
    licence: str = ""

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Pack:
    """An offline pack and what is whole in it."""

    folder: Path
    items: tuple[PackedItem, ...]

    @property
    def bytes(self) -> int:
        """Size of all items."""
        return sum(item.bytes for item in self.items)

    def find(self, name: str) -> PackedItem | None:
        """The item that a spec would call ``name``; a data set is found without its commit, too."""
        for item in self.items:
            if name in (item.name, item.id, item.name.partition("@")[0] if item.kind == "hub data" else item.name):
                return item
        return None


@dataclass(frozen=True, slots=True)
class _Record:
    format: int
    items: tuple[PackedItem, ...]


def is_pack(folder: Path) -> bool:
    """Whether a folder is an offline pack, at a glance."""
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # a folder that may not be entered
        return False


def write_pack(pack: Pack) -> None:
    """Writes down what is in a pack.

    Raises:
        OSError: it cannot be written.
    """
    record = {"format": FORMAT, "made_with": f"Lowrank Studio {__version__}", "items": to_plain(pack.items)}
    write_json(pack.folder / MANIFEST, record)


def read_pack(folder: Path) -> Pack:
    """What is in a pack, by its own account; `core.hub.pack.taking.check_pack` looks whether that is so.

    Raises:
        UserError: the folder is no pack, or what stands in it cannot be used.
    """
    folder = folder.expanduser().absolute()
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        message = f"{folder} is not an offline pack: there is no {MANIFEST} in it."
        advice = "Choose the folder that “lowrank pack” has made, or a copy of it as a whole."
        raise UserError(error(str(folder), message, advice)) from None
    except OSError as failure:
        advice = "Check the folder's rights and its disk."
        raise UserError(
            error(str(path), f"The pack cannot be read: {failure.strerror or failure}.", advice),
            exit_code=ExitCode.FAILED,
        ) from failure
    try:
        plain = json.loads(text)
        if isinstance(plain, dict) and isinstance(plain.get("format"), int) and plain["format"] > FORMAT:
            message = f"The pack {folder} was made by a newer version of this program."
            raise UserError(error(str(path), message, "Install that version here, too."))
        items = from_plain(_Record, plain).items
        _require_sound(items)
    except (ValueError, RecordError, RecursionError) as failure:
        message = f"The pack {folder} is damaged: {MANIFEST} cannot be used ({failure})."
        advice = "Copy the pack's folder again from where it was made."
        raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED) from failure
    return Pack(folder, items)


def _require_sound(items: tuple[PackedItem, ...]) -> None:
    """Names become paths, so nothing in a manifest may lead out of its folder or pass for something else."""
    folders = [item.folder for item in items]
    if len(set(folders)) != len(folders) or len({item.name for item in items}) != len(items):
        raise ValueError("it names something twice")
    for item in items:
        _require_path(item.folder)
        for file in item.files:
            _require_path(file.name)
            if file.bytes < 0 or not _SHA256.fullmatch(file.sha256) or not _DIGEST.fullmatch(file.digest):
                raise ValueError(f"it says nothing usable about {file.name}")
            if len(file.digest) == len(file.sha256) and file.digest != file.sha256:
                raise ValueError(f"it says two things about {file.name}")
        names = [file.name for file in item.files]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"it does not say which files “{item.name}” has")
        if item.kind == "model":
            if not _OWN_NAME.fullmatch(item.name):
                raise ValueError(f"“{item.name}” cannot be the name of a model")
        else:
            _require_repository(item)


def _require_repository(item: PackedItem) -> None:
    from core.hub.names import require_id, require_revision
    from core.hub.problems import HubError

    try:
        require_id(item.id)
        if item.revision:
            require_revision(item.revision)
    except HubError as failure:
        raise ValueError(failure.message) from failure
    if not _COMMIT.fullmatch(item.commit):
        raise ValueError(f"“{item.commit[:80]}” cannot be a commit")
    if item.kind == "hub model" and item.name != item.id:
        raise ValueError(f"“{item.name}” and “{item.id}” are to be one model")


def _require_path(name: str) -> None:
    parts = PurePosixPath(name).parts
    if not _PLAIN.fullmatch(name) or name.startswith("/") or ".." in parts or not parts:
        raise ValueError(f"“{name[:80]}” cannot be the name of a file")
