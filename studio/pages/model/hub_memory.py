"""What the hub was asked and what it said: kept while the window is rebuilt. And the questions, for the background."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from core.facts.locate import cache_folder
from core.hub.cache import CachedRepository
from core.hub.details import ModelDetails, details
from core.hub.download import installed
from core.hub.names import parse_name
from core.hub.search import FoundModel, search
from core.hub.token import token_text
from core.hub.unfinished import Unfinished, list_unfinished
from core.paths import existing_parent
from studio.state.desk import Desk

_MEMORY = "hub"


@dataclass(frozen=True, slots=True)
class Seen:
    """A model of the hub, and what of it is here.

    Attributes:
        folder: where it lies when it is wholly here.
        bytes_here: how much of the download has come.
        free_bytes: what is free on the disk of the cache.
    """

    found: ModelDetails
    folder: Path | None
    bytes_here: int
    free_bytes: int

    @property
    def bytes_to_come(self) -> int:
        """What a download still fetches."""
        return max(0, self.found.bytes - self.bytes_here)


@dataclass
class HubMemory:
    """The last question and its answer.

    Attributes:
        query: what was searched for; None before the first search.
        chosen: id of the model that is shown.
    """

    query: str | None = None
    results: tuple[FoundModel, ...] = ()
    chosen: str = ""
    seen: dict[str, Seen] = field(default_factory=dict)
    token_open: bool = False


def hub_memory(desk: Desk) -> HubMemory:
    """The desk's one memory of the hub."""
    found = desk.memory.get(_MEMORY)
    if not isinstance(found, HubMemory):
        found = desk.memory[_MEMORY] = HubMemory()
    return found


def find(text: str) -> tuple[FoundModel, ...]:
    """What the hub has for a text.

    Raises:
        HubError: it cannot be asked.
    """
    return search(text, token=token_text())


def see(text: str) -> Seen:
    """Everything about the model with an id or the address of a page.

    Raises:
        HubError: there is none, or the hub cannot be asked.
    """
    name, revision = parse_name(text)
    found = details(name, revision, token_text())
    folder = installed(found)
    here = found.bytes if folder else CachedRepository(found.id).bytes_here(found.wanted, found.commit)
    return Seen(found, folder, here, shutil.disk_usage(existing_parent(cache_folder())).free)


def unfinished() -> tuple[Unfinished, ...]:
    """Downloads that were stopped or broke off."""
    return list_unfinished()
