"""Data sets of the hub: what there is of one before anything is fetched, and the download of a part of it."""

import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.hub_files import CARD_FILE, read_card, remember_listing
from core.data.hub_layout import Config, Split, choose, layout, why_unreadable
from core.errors import Problem
from core.hub.cache import CachedRepository, require_commit, size_of
from core.hub.details import MAIN, file_address, files_of, subject_of
from core.hub.download import Downloaded, download
from core.hub.files import HubFile, is_licence
from core.hub.names import require_revision
from core.hub.problems import HubError, RepoKind, Subject
from core.hub.search import Gate, count_of, gate_of, licence_of, model_path, text_of
from core.hub.transfer import Listener
from core.hub.web import endpoint, get_bytes, get_json, opened
from core.spec.hub_data import HubData
from core.units import MIB

_MOST_CARD = MIB


@dataclass(frozen=True, slots=True)
class DatasetDetails:
    """One data set at one revision; 0 and empty texts mean that the hub does not say.

    Attributes:
        id: its full name; another than was asked for when it has been renamed.
        revision: the branch, tag or commit that was asked for.
        commit: what that means now.
        files: everything it has.
        configs: its subsets and their splits, as far as they can be read here; the default one first.
        gated: whether its terms have to be accepted first.
        barrier: why its files may not be fetched with the present token, and what to do; None when they may.
        why_not, advice: why nothing in it can be read here, and what to do; empty when something can.
        page: address of its page, where terms are accepted.
    """

    id: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]
    configs: tuple[Config, ...]
    gated: Gate = ""
    private: bool = False
    barrier: Problem | None = None
    licence: str = ""
    why_not: str = ""
    advice: str = ""
    downloads: int = 0
    likes: int = 0
    updated: str = ""
    page: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> RepoKind:
        """What the hub calls it."""
        return "dataset"

    def at(self, revision: str) -> "DatasetDetails":
        """The same, as found under another name of the same commit."""
        return replace(self, revision=revision)

    def part(self, wanted: HubData) -> "DatasetPart":
        """The part that a name means.

        Raises:
            HubError: nothing of it can be read here.
            UserError: there is no such part, or several might be meant.
        """
        if self.why_not:
            message = f"The data set “{self.id}” cannot be used. {self.why_not}"
            raise HubError("missing", message, self.advice, path=str(wanted), page=self.page)
        return DatasetPart(self, *choose(self.configs, replace(wanted, id=self.id)))


@dataclass(frozen=True, slots=True)
class DatasetPart:
    """One split of one subset of a data set."""

    found: DatasetDetails
    config: Config
    split: Split

    @property
    def name(self) -> HubData:
        """What a spec calls it, so that it means the same rows for ever."""
        return HubData(self.found.id, self.config.name, self.split.name, self.found.commit)

    @property
    def wanted(self) -> tuple[HubFile, ...]:
        """What a download fetches: the rows, the card, and what says what the rows may be used for."""
        names = set(self.split.files)
        return tuple(
            file for file in self.found.files if file.name in names or file.name == CARD_FILE or is_licence(file.name)
        )

    @property
    def bytes(self) -> int:
        """Size of a download that finds nothing here."""
        return sum(max(file.size, 0) for file in self.wanted)

    @property
    def bytes_here(self) -> int:
        """How much of it is here already, beginnings included."""
        return CachedRepository(self.found.id, "dataset").bytes_here(self.wanted, self.found.commit)

    @property
    def is_here(self) -> bool:
        """Whether all of it is here and can be read."""
        folder = CachedRepository(self.found.id, "dataset").snapshot(self.found.commit)
        return all(size_of(folder / file.name) >= max(file.size, 0) for file in self.wanted)


def dataset_details(name: str, revision: str = "", token: str = "") -> DatasetDetails:
    """Looks a data set up. Reads its card, and nothing of its rows.

    Args:
        name: its id.
        revision: branch, tag or commit; the newest when empty.
        token: the user's, or empty.

    Raises:
        HubError: there is no such data set or revision, or the hub cannot be asked. Terms that have not been accepted
            are no error here, but the result's ``barrier``.
    """
    revision = require_revision(revision or MAIN)
    subject = Subject(endpoint(), name, revision, with_token=bool(token), kind="dataset")
    path = f"/api/datasets/{model_path(name)}/revision/{urllib.parse.quote(revision, safe='')}"
    entry = get_json(path, (("blobs", "true"),), subject, token)
    if not isinstance(entry, Mapping) or not text_of(entry, "sha"):
        message = f"{subject.host} said nothing usable about “{name}”."
        raise HubError("answer", message, "Check HF_ENDPOINT if you have set it.")
    found = _read(entry, subject)
    try:
        if found.gated or found.private:
            _require_access(found, token)
        if not found.card.get("configs"):
            found = _with_card(found, token)
    except HubError as failure:
        if failure.reason not in ("gated", "token"):
            raise
        return replace(found, barrier=failure.problems[0])
    return found


def download_dataset(found: DatasetDetails, names: Iterable[str], listener: Listener, token: str = "") -> Downloaded:
    """Fetches files of a data set, and writes down what else it has, so that its parts are known without the hub.

    Raises:
        As `core.hub.download.download`.
    """
    result = download(found, names, listener, token)
    remember_listing(found.id, found.commit, {file.name: file.size for file in found.files}, found.card)
    return result


def _read(entry: Mapping[str, Any], subject: Subject) -> DatasetDetails:
    name = text_of(entry, "id") or subject.model
    card = entry.get("cardData")
    found = DatasetDetails(
        id=name,
        revision=subject.revision,
        commit=require_commit(text_of(entry, "sha")),
        files=files_of(entry),
        configs=(),
        gated=gate_of(entry),
        private=entry.get("private") is True,
        licence=licence_of(entry),
        downloads=count_of(entry, "downloads"),
        likes=count_of(entry, "likes"),
        updated=text_of(entry, "lastModified"),
        page=replace(subject, model=name).page,
    )
    return _laid_out(found, card if isinstance(card, Mapping) else {})


def _laid_out(found: DatasetDetails, card: Mapping[str, Any]) -> DatasetDetails:
    names = [file.name for file in found.files]
    configs = layout(names, card)
    why, advice = ("", "") if configs else why_unreadable(names)
    return replace(found, configs=configs, card=card, why_not=why, advice=advice)


def _require_access(found: DatasetDetails, token: str) -> None:
    """Asks for the first file's headers, because only its files say whether one may have them.

    Raises:
        HubError: one may not.
    """
    rows = [file for config in found.configs for part in config.splits for file in part.files]
    file = next((file for file in found.files if file.name in rows[:1]), None)
    if file is not None:
        with opened(file_address(found, file), subject_of(found, file.name, token), token, method="HEAD"):
            pass


def _with_card(found: DatasetDetails, token: str) -> DatasetDetails:
    """The same by the head of its README.md, which a mirror may not have taken apart."""
    file = next((file for file in found.files if file.name == CARD_FILE), None)
    if file is None:
        return found
    blob = get_bytes(file_address(found, file), subject_of(found, file.name, token), token, most=_MOST_CARD)
    card = read_card(blob.decode("utf-8", "replace"))
    return _laid_out(found, {**card, **found.card}) if card else found
