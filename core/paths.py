"""Where things lie: the application's folders, bundled resources, and files that are whole or absent."""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOME_VARIABLE = "LOWRANK_HOME"


def home() -> Path:
    """The data folder (models, runs, caches).

    ``$LOWRANK_HOME``, else the folder that was chosen (`choose_home`), else the system's own place for user data.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return chosen_home() or default_home()


def default_home() -> Path:
    """The system's own place for user data (XDG base directories, Known Folders, Application Support)."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "lowrank-studio"


def place_file() -> Path:
    """The small file that says where the data folder is, in the system's own place for configuration."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Preferences"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "lowrank-studio" / "place.json"


def chosen_home() -> Path | None:
    """The data folder that somebody chose; None where nobody has, or what was written down cannot be read."""
    try:
        said = json.loads(place_file().read_text(encoding="utf-8"))
        home, before = Path(said["home"]), Path(said["before"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A move that a power cut ended before its last step has left everything where it was.
    return before if not home.is_dir() and before.is_dir() else home


def choose_home(folder: Path, before: Path) -> None:
    """Writes down where the data folder is; ``before`` counts as long as ``folder`` is not there.

    Raises:
        OSError: it cannot be written.
    """
    file = place_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"home": str(folder.absolute()), "before": str(before.absolute())})


def models_dir() -> Path:
    """Where imported and starter models lie, one folder each."""
    return home() / "models"


def runs_dir() -> Path:
    """Where run folders lie unless a spec's ``output.folder`` says otherwise."""
    return home() / "runs"


def jobs_dir() -> Path:
    """Where short engine jobs (sample, export, import) keep their folders while they run."""
    return home() / "jobs"


def cache_dir() -> Path:
    """Downloads and derived files that can be made again."""
    return home() / "cache"


def resource(*parts: str) -> Path:
    """A bundled file by its path under ``resources/``; also true inside a packaged application."""
    bundle = getattr(sys, "_MEIPASS", None)
    root = Path(bundle) if bundle else Path(__file__).resolve().parent.parent
    return root.joinpath("resources", *parts)


def existing_parent(path: Path) -> Path:
    """The nearest folder at or above ``path`` that exists; what a free-space question is asked of."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a file that is either wholly there or not there at all, even after a power cut.

    Raises:
        OSError: the folder is missing, read-only or full; nothing is left behind then.
    """
    blob = data.encode("utf-8") if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """`write_atomic` for plain data, indented so that people can read it."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` durable; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` that takes its name when the block ends well, and vanishes otherwise.

    Raises:
        FileExistsError: ``target`` exists and is not an empty folder; nothing is ever overwritten.
    """
    import shutil

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} already exists and is not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    staging.mkdir()
    try:
        yield staging
        for path in staging.rglob("*"):
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        if target.is_dir():
            target.rmdir()
        os.replace(staging, target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def replace_folder(fresh: Path, target: Path) -> None:
    """Puts a finished folder in the place of an older one; a crash in between leaves one of the two whole."""
    import shutil

    if target.exists():
        retired = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
        os.replace(target, retired)
        os.replace(fresh, target)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        os.replace(fresh, target)
    sync_folder(target.parent)
