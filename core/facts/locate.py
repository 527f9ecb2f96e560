"""Finds base models on this computer: by path, by imported name, or in the local Hugging Face cache. No network."""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core import paths
from core.errors import UserError, error
from core.facts.catalogue import entries, find_entry
from core.facts.model_config import read_config
from core.facts.model_folder import CONFIG_FILE
from core.facts.safetensors_header import INDEX_FILE, SINGLE_FILE, read_index

STARTER = "starter"
Origin = Literal["imported", "hub cache"]
_SETTING = "model.base"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*")
_MIN_COMMIT = 7


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A base model that can be chosen by name, and where it came from.

    Attributes:
        family: ``model_type`` of its config.
        bytes: size of its weight files.
    """

    name: str
    path: Path
    origin: Origin
    family: str = ""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file in the application's models folder, which has to be imported before it can be trained."""

    name: str
    path: Path
    bytes: int


def find_model(base: str, revision: str = "") -> Path:
    """The folder or GGUF file that a spec's ``model.base`` means.

    Looked for in this order: a path, a model in the application's own folder, a hub model in the local cache.

    Raises:
        UserError: nothing is there; the message says what was looked for and where.
    """
    wanted = base.strip()
    if not wanted or "\0" in wanted:
        raise UserError(error(_SETTING, "No base model is chosen.", "Choose a folder, a GGUF file or a model's name."))
    path = _expanded(wanted)
    if _exists(path):
        return path.absolute()
    is_name = path.name == wanted and wanted not in (".", "..")
    own = paths.models_dir() / wanted
    if is_name and _exists(own):
        return own
    if wanted == STARTER:
        raise UserError(
            error(
                _SETTING,
                f"The starter model is not there yet: {own} does not exist.",
                "Fetch it with “lowrank models --fetch starter”, or run the demo, which fetches it too.",
            )
        )
    if path.is_absolute() or wanted.startswith((".", "~")) or not _is_hub_name(wanted):
        raise UserError(error(_SETTING, f"There is no model at {path.absolute()}.", _suggest(path.absolute())))
    return _find_in_cache(wanted, revision.strip(), own if is_name else path.absolute())


def list_models() -> tuple[InstalledModel, ...]:
    """Every causal language model with safetensors weights in the application's folder and in the hub cache.

    Folders that hold something else, something broken or half a download are left out; choosing one by path says what
    is wrong. Reads config.json and, for a model in several files, its index; no headers.
    """
    found = [_installed(path.name, path, "imported") for path in _folders(paths.models_dir())]
    for path in _folders(cache_folder()):
        if path.name.startswith("models--"):
            snapshot = find_snapshot(path, "")
            if snapshot is not None:
                name = path.name.removeprefix("models--").replace("--", "/", 1)
                found.append(_installed(name, snapshot, "hub cache"))
    return tuple(model for model in found if model is not None)


def list_gguf_files() -> tuple[GgufFile, ...]:
    """The GGUF files that somebody put into the application's models folder; nothing in them is read."""
    files = sorted(path for path in _children(paths.models_dir()) if path.suffix.lower() == ".gguf" and path.is_file())
    return tuple(GgufFile(path.stem, path, path.stat().st_size) for path in files if not path.name.startswith("."))


def cache_folder() -> Path:
    """Where Hugging Face libraries keep downloaded models, by the variables that they obey."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    return hub_home() / "hub"


def hub_home() -> Path:
    """Where Hugging Face libraries keep everything of theirs."""
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "huggingface"


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # “~name” of somebody unknown is taken as it stands, and is not found
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long a name, or a folder that may not be entered: nothing that could be opened
        return False


def _is_hub_name(text: str) -> bool:
    return bool(_HUB_NAME.fullmatch(text)) and ".." not in text and "--" not in text


def _find_in_cache(name: str, revision: str, tried: Path) -> Path:
    cache = cache_folder()
    repository = cache / f"models--{name.replace('/', '--')}"
    if not _exists(repository):
        raise UserError(
            error(_SETTING, f"There is no model “{name}”: neither {tried} nor {repository} exists.", _instead_of(name))
        )
    snapshot = find_snapshot(repository, revision)
    if _is_on_its_way(repository, snapshot):
        raise UserError(
            error(
                _SETTING,
                f"The download of the model “{name}” has not finished: parts of it are missing in {repository}.",
                "Start it again, on the Model page or with “lowrank models --download "
                f"{name}”; it goes on where it was.",
            )
        )
    if snapshot is None:
        wanted = f"the revision “{revision}”" if revision else "a complete revision"
        raise UserError(
            error(
                "model.revision" if revision else _SETTING,
                f"The cache has the model “{name}”, but not {wanted} of it: looked in {repository / 'snapshots'}.",
                "Download it again, or choose one of: " + ", ".join(_revisions(repository))
                if _revisions(repository)
                else "Download the model again.",
            )
        )
    return snapshot


def _instead_of(name: str) -> str:
    """What to do about a hub model that is not there: the command that gets it, or the name that was probably meant."""
    entry = find_entry(name)
    if entry is not None and entry.name == name:
        return f"Download it on the Model page or with “lowrank models --download {name}”."
    known = [model.name for model in list_models()]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not close and entry is not None:
        close = [entry.name]
    if not close:
        names = {entry.name.rpartition("/")[2].casefold(): entry.name for entry in entries()}
        wanted = name.rpartition("/")[2].casefold()
        close = [names[short] for short in difflib.get_close_matches(wanted, names, n=1, cutoff=0.8)]
    return f"Did you mean “{close[0]}”?" if close else "Download the model first, then choose its folder."


def find_snapshot(repository: Path, revision: str) -> Path | None:
    """The folder of one revision of what the cache keeps in ``repository``; None where it is not here.

    A branch or tag is found by its ref, a commit by its name or the beginning of it. Without a revision it is the
    newest one that has come here.
    """
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        return None
    snapshots = repository / "snapshots"
    ref = repository / "refs" / (revision or "main")
    if ref.is_file():
        commit = _first_line(ref)
        if re.fullmatch(r"\w+", commit) and (snapshots / commit).is_dir():
            return snapshots / commit
    folders = _folders(snapshots)
    if revision:
        matches = [path for path in folders if path.name.startswith(revision) and len(revision) >= _MIN_COMMIT]
        return matches[0] if len(matches) == 1 else None
    return max(folders, key=lambda path: path.stat().st_mtime, default=None)


def _revisions(repository: Path) -> list[str]:
    refs = repository / "refs"
    named = sorted(str(path.relative_to(refs).as_posix()) for path in refs.rglob("*") if path.is_file())
    return named or [path.name[:12] for path in _folders(repository / "snapshots")]


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(200).decode("ascii", "replace").strip()
    except OSError:  # an unreadable ref points nowhere
        return ""


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # no folder, no models
        return []


def _installed(name: str, folder: Path, origin: Origin) -> InstalledModel | None:
    """The model in a folder; None where there is none, or not all of it."""
    try:
        sizes = [(folder / file).stat().st_size for file in _weight_files(folder)]
        config, _ = read_config(folder / CONFIG_FILE)
    except (OSError, UserError):
        return None
    return InstalledModel(name, folder, origin, config.model_type, sum(sizes)) if sizes else None


def _weight_files(folder: Path) -> tuple[str, ...]:
    """The weight files that a folder should have; empty where it promises none.

    Raises:
        UserError: its index is broken.
    """
    if (folder / SINGLE_FILE).is_file():
        return (SINGLE_FILE,)
    return tuple(sorted(set(read_index(folder / INDEX_FILE).values()))) if (folder / INDEX_FILE).is_file() else ()


def _is_on_its_way(repository: Path, snapshot: Path | None) -> bool:
    """Whether a download has begun and not yet brought all: parts lie there, and weights or the config are missing."""
    if not any(path.suffix == ".incomplete" for path in _children(repository / "blobs")):
        return False
    if snapshot is None or not (snapshot / CONFIG_FILE).is_file():
        return True
    try:
        files = _weight_files(snapshot)
    except UserError:
        return False  # whoever reads the model says what is wrong with its index
    return not files or not all((snapshot / file).is_file() for file in files)


def _suggest(path: Path) -> str:
    names = [child.name for child in _children(path.parent)]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {path.parent / close[0]}?"
    return "Check the path, or choose an installed model by its name."


def _children(parent: Path) -> list[Path]:
    try:
        return list(parent.iterdir())
    except OSError:  # only used for suggestions
        return []
