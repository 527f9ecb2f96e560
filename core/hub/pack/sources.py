"""What a name means that somebody wants in a pack: the files of a model or a data set that lie here."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.hub_files import find_hub_data, listing_file
from core.errors import UserError, error
from core.facts.locate import cache_folder, find_model
from core.facts.model_files import read_model
from core.hub.files import HubFile, is_licence, needed
from core.hub.pack.manifest import ItemKind
from core.spec.hub_data import is_hub_data

LISTING = "lowrank-listing.json"
"""What a data set has beside its packed part, which tells its parts apart on the other computer."""

_OWN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_SETTINGS = ("model.base", "model.revision", "data.train")
_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can go into a pack; `core.hub.pack.manifest.PackedItem` says what each part is.

    Attributes:
        files: name inside the item, and where its content is now.
    """

    kind: ItemKind
    name: str
    folder: str
    files: tuple[tuple[str, Path], ...]
    id: str = ""
    revision: str = ""
    commit: str = ""
    licence: str = ""

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for _, path in self.files)


def find_source(name: str) -> Source:
    """The model or data set that a spec would call ``name``.

    Raises:
        UserError: it is not here, not whole, or cannot go into a pack.
    """
    try:
        return _data(name.strip()) if is_hub_data(name) else _model(name.strip())
    except UserError as failure:  # nobody has written a spec here whose setting could be named
        named = (replace(item, path=name if item.path in _SETTINGS else item.path) for item in failure.problems)
        raise UserError(*named, exit_code=failure.exit_code) from failure


def digest_in_cache(path: Path) -> str:
    """What the hub's cache calls a file's content; empty where it is no link into the cache."""
    target = path.resolve()
    return target.name if target.parent.name == "blobs" and _DIGEST.fullmatch(target.name) else ""


def _model(name: str) -> Source:
    folder = find_model(name)
    if not folder.is_dir():
        message = f"{folder.name} is a GGUF file, which has to be imported before it can be trained."
        advice = "Copy the file beside the pack, or import it first with “lowrank models --import” and pack the model."
        raise UserError(error(name, message, advice))
    facts = read_model(folder)
    here = {path.name: path for path in folder.iterdir() if path.is_file()}
    extra = folder / "additional_chat_templates"
    here |= {f"{extra.name}/{path.name}": path for path in (extra.iterdir() if extra.is_dir() else ())}
    chosen = needed((HubFile(file, 0, "") for file in here), own_code=True)
    names = sorted({file.name for file in chosen} | {file for file in here if re.fullmatch(r"lowrank-.*\.json", file)})
    files = tuple((file, here[file]) for file in names)
    repository = folder.parent.parent
    if folder.parent.name == "snapshots" and repository.parent.absolute() == cache_folder().absolute():
        hub_id = repository.name.removeprefix("models--").replace("--", "/", 1)
        place, revision = f"models/{hub_id.replace('/', '--')}", _branch(repository, folder.name)
        return Source("hub model", hub_id, place, files, hub_id, revision, folder.name, facts.licence)
    own = folder.resolve().name
    if not _OWN_NAME.fullmatch(own):
        message = f"The folder {folder} has a name that cannot be a model's."
        advice = "Rename it with letters, digits, “.”, “_”, “+” and “-”, beginning with a letter or digit."
        raise UserError(error(name, message, advice))
    return Source("model", own, f"models/{own}", files, licence=facts.licence)


def _data(name: str) -> Source:
    found = find_hub_data(name)
    data, commit = found.name, found.name.revision
    root = next(parent for parent in found.files[0].parents if parent.name == commit)
    files = {path.relative_to(root).as_posix(): path for path in found.files}
    files |= {path.name: path for path in root.iterdir() if path.is_file() and is_licence(path.name)}
    listing = listing_file(data.id, commit)
    if listing.is_file():
        files[LISTING] = listing
    part = re.sub(r"[^\w.-]+", "-", f"{data.config}--{data.split}")
    place = f"data/{data.id.replace('/', '--')}--{part}"
    revision = _branch(root.parent.parent, commit)
    return Source("hub data", str(data), place, tuple(sorted(files.items())), data.id, revision, commit)


def _branch(repository: Path, commit: str) -> str:
    """The branch or tag that means a commit here; “main” before others, empty for none."""
    refs = repository / "refs"
    named = [path.relative_to(refs).as_posix() for path in sorted(refs.rglob("*")) if path.is_file()]
    fitting = [name for name in named if (refs / name).read_text("utf-8", "replace").strip() == commit]
    return "main" if "main" in fitting else (fitting or [""])[0]
