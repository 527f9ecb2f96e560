"""Data sets of the hub that are on this computer: found in the standard Hugging Face cache. Asks nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.data.hub_layout import Config, Split, choose, layout, missing_shards, why_unreadable
from core.errors import UserError, error
from core.facts.locate import cache_folder, find_snapshot
from core.paths import cache_dir, write_json
from core.spec.hub_data import SYNTAX, HubData, is_hub_data, read_hub_data
from core.spec.sections import DataSpec
from core.units import MIB

CARD_FILE = "README.md"
_MOST_CARD = MIB
_CARD_PARTS = ("configs", "dataset_info")


class NotHereError(UserError):
    """A data set of the hub, or a part of it, has not been downloaded; ``wanted`` says which."""

    def __init__(self, wanted: HubData, message: str) -> None:
        advice = (
            "Add it on the Data page with “From Hugging Face”, or let “lowrank plan” or “lowrank run” fetch it while "
            "there is a network."
        )
        super().__init__(error(str(wanted), message, advice))
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A part of a data set that is wholly here.

    Attributes:
        name: what it is, with subset, split and commit, so that it means the same rows for ever.
        files: in order.
    """

    name: HubData
    files: tuple[Path, ...]


def find_hub_data(text: str) -> HubFiles:
    """The files that a name of the hub means, if they are here.

    Without a revision that is the newest copy that has come here, not what the hub has now.

    Raises:
        NotHereError: they are not, or not all of them.
        UserError: it is no name, or it is not clear which part of the data set is meant.
    """
    wanted = read_hub_data(text)
    if wanted is None:
        message = f"“{text}” is not the name of a data set of the Hugging Face Hub."
        raise UserError(error("data.train", message, f"Write it as {SYNTAX}; only owner/name has to be there."))
    folder = find_snapshot(data_folder(wanted.id), wanted.revision)
    if folder is None:
        named = f"The revision “{wanted.revision}” of the data set" if wanted.revision else "The data set"
        raise NotHereError(wanted, f"{named} “{wanted.id}” is not on this computer.")
    sizes, configs = _known(wanted.id, folder)
    if not configs:
        why, advice = why_unreadable(sizes)
        raise UserError(error(str(wanted), f"The data set “{wanted.id}” cannot be used. {why}", advice))
    config, split = choose(configs, wanted)
    _require_whole(wanted, folder, split, sizes)
    name = replace(wanted, config=config.name, split=split.name, revision=folder.name)
    return HubFiles(name, tuple(folder / file for file in split.files))


def data_folder(name: str) -> Path:
    """Where the cache keeps a data set; it need not exist."""
    return cache_folder() / f"datasets--{name.replace('/', '--')}"


def missing_hub_data(spec: DataSpec) -> tuple[HubData, ...]:
    """The data sets of a spec that have to be downloaded first, each once.

    Raises:
        UserError: what is here shows that a name means nothing that can be read.
    """
    missing: dict[HubData, None] = {}
    for text in (*spec.train, *spec.validation):
        if is_hub_data(text):
            try:
                find_hub_data(text)
            except NotHereError as failure:
                missing[failure.wanted] = None
    return tuple(missing)


def movable_hub_data(spec: DataSpec) -> tuple[HubData, ...]:
    """The data sets of a spec of which the hub may have a newer commit than this computer, each once."""
    named = (read_hub_data(text) for text in (*spec.train, *spec.validation))
    return tuple(dict.fromkeys(name for name in named if name is not None and not name.names_commit))


def pin_hub_data(spec: DataSpec) -> DataSpec:
    """The spec with the commit, subset and split of every data set that is here, so that a run can be repeated."""
    names = {text: pinned_name(text) for text in (*spec.train, *spec.validation) if is_hub_data(text)}
    if all(text == pinned for text, pinned in names.items()):
        return spec
    return replace(
        spec,
        train=tuple(names.get(text, text) for text in spec.train),
        validation=tuple(names.get(text, text) for text in spec.validation),
        weights={names.get(key, key): weight for key, weight in spec.weights.items()},
    )


def pinned_name(text: str) -> str:
    """The name of a data set with the commit, subset and split that are here; as it is where nothing of it is."""
    try:
        return str(find_hub_data(text).name)
    except UserError:  # whoever reads the rows says what is wrong
        return text


def remember_listing(name: str, commit: str, sizes: Mapping[str, int], card: Mapping[str, Any]) -> None:
    """Writes down all files of a data set and what its card says of them, because only a part is downloaded.

    Raises:
        OSError: it cannot be written.
    """
    path = listing_file(name, commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {part: card[part] for part in _CARD_PARTS if part in card}
    write_json(path, {"files": dict(sizes), "card": parts})


def read_card(text: str) -> dict[str, Any]:
    """What stands in the head of a README.md; nothing where there is no head that could be read."""
    import yaml

    head, mark, _ = text.removeprefix("---").partition("\n---") if text.startswith("---") else ("", "", "")
    try:
        found = yaml.safe_load(head) if mark else None
    except (yaml.YAMLError, ValueError, RecursionError):  # then the names of the files have to say everything
        return {}
    return found if isinstance(found, dict) else {}


def _known(name: str, folder: Path) -> tuple[dict[str, int], tuple[Config, ...]]:
    """All files of a data set at a commit with their sizes, and how they belong together.

    Where another program has downloaded it, that is what lies there; sizes are then -1, and not compared.
    """
    try:
        found = json.loads(listing_file(name, folder.name).read_text("utf-8"))
        sizes = {str(file): int(size) for file, size in found["files"].items()}
        card = found["card"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        sizes = {path.relative_to(folder).as_posix(): -1 for path in folder.rglob("*") if path.is_file()}
        card = _card_in(folder)
    return sizes, layout(sizes, card)


def _card_in(folder: Path) -> dict[str, Any]:
    try:
        with (folder / CARD_FILE).open("rb") as file:
            return read_card(file.read(_MOST_CARD).decode("utf-8", "replace"))
    except OSError:  # no card
        return {}


def _require_whole(wanted: HubData, folder: Path, split: Split, sizes: Mapping[str, int]) -> None:
    absent = [file for file in split.files if not _is_whole(folder / file, sizes[file])]
    absent += [file for file in missing_shards(split.files) if file not in sizes]
    if absent:
        shown = f"{absent[0]} and {len(absent) - 1} more files are" if len(absent) > 1 else f"{absent[0]} is"
        message = (
            f"The part “{split.name}” of the data set “{wanted.id}” is not wholly on this computer: {shown} missing."
        )
        raise NotHereError(wanted, message)


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.is_file() and (size < 0 or path.stat().st_size == size)
    except OSError:  # a broken link, or a folder that may not be entered
        return False


def listing_file(name: str, commit: str) -> Path:
    """Where `remember_listing` writes; it need not exist."""
    return cache_dir() / "hub-listings" / f"datasets--{name.replace('/', '--')}@{commit}.json"
