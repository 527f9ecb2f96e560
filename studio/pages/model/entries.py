"""What can be chosen on this computer: installed models, GGUF files and folders used lately. Runs in the background."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core.errors import UserError
from core.facts.locate import STARTER, InstalledModel, list_gguf_files, list_models
from core.facts.model_files import read_model
from studio.workers.task import Report

EntryOrigin = Literal["starter", "imported", "hub cache", "folder", "gguf"]
STARTER_NAME = "SmolLM2-135M-Instruct"
_ORDER: tuple[EntryOrigin, ...] = ("starter", "imported", "hub cache", "folder", "gguf")


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the list.

    Attributes:
        base: what ``model.base`` says to choose it.
        name: what people call it.
        parameters: 0 until its headers have been read; `bytes` and `family` may be known before.
        problem: why it cannot be used; empty when nothing speaks against it.
    """

    base: str
    name: str
    origin: EntryOrigin
    path: Path
    family: str = ""
    bytes: int = 0
    parameters: int = 0
    problem: str = ""

    def matches(self, text: str) -> bool:
        """Whether a search for ``text`` finds it: every word in its name, family or path."""
        hay = f"{self.name} {self.family} {self.base} {self.path}".lower()
        return all(word in hay for word in text.lower().split())


def list_entries(recent: Iterable[str]) -> tuple[Entry, ...]:
    """Everything there is, by name within each origin; of ``recent`` what still exists and is not listed anyway."""
    found = [_installed(model) for model in list_models()]
    found += [Entry(str(file.path), file.name, "gguf", file.path, bytes=file.bytes) for file in list_gguf_files()]
    known = {entry.path.resolve() for entry in found}
    for base in recent:
        path = Path(base).expanduser()
        if path.is_absolute() and path.exists() and path.resolve() not in known:
            known.add(path.resolve())
            origin: EntryOrigin = "gguf" if path.suffix.lower() == ".gguf" else "folder"
            found.append(Entry(base, path.stem if origin == "gguf" else path.name, origin, path))
    return tuple(sorted(found, key=lambda entry: (_ORDER.index(entry.origin), entry.name.lower())))


def with_facts(entry: Entry) -> Entry:
    """The entry with what its headers say."""
    try:
        facts = read_model(entry.path)
    except UserError as failure:
        return replace(entry, problem=failure.problems[0].message)
    return replace(entry, family=facts.family, bytes=facts.bytes_on_disk, parameters=facts.parameters)


def read_entries(recent: Iterable[str], known: dict[tuple[str, float], Entry], report: Report) -> tuple[Entry, ...]:
    """Lists everything, and reads the headers of what is new; reports the list as it grows.

    Args:
        recent: folders and files used lately.
        known: entries that have been read before, by path and time of the last change; new ones are added.
        report: told the whole list after each model.
    """
    entries = [known.get(_stamp(entry), entry) for entry in list_entries(recent)]
    report(tuple(entries))
    for place, entry in enumerate(entries):
        stamp = _stamp(entry)
        if stamp not in known:
            known[stamp] = entries[place] = with_facts(entry)
            report(tuple(entries))
    return tuple(entries)


def _installed(model: InstalledModel) -> Entry:
    if model.origin == "imported" and model.name == STARTER:
        return Entry(STARTER, STARTER_NAME, "starter", model.path, model.family, model.bytes)
    return Entry(model.name, model.name, model.origin, model.path, model.family, model.bytes)


def _stamp(entry: Entry) -> tuple[str, float]:
    config = entry.path / "config.json"
    watched = config if config.exists() else entry.path
    return str(entry.path), watched.stat().st_mtime if watched.exists() else 0.0
