"""How a spec names a data set of the Hugging Face Hub: ``hf:owner/name/config:split@revision``. Pure text, no network.

Only the id has to be there. The revision comes last because branches may have slashes in their names
(``refs/convert/parquet``); everything before it is parted by characters that ids, splits and configs cannot hold.
A name without ``hf:`` is always a file or a folder on this computer.
"""

import os
import re
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import PurePath

PREFIX = "hf:"
SYNTAX = "hf:owner/name/config:split@revision"
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(
    rf"(?P<id>{_PART}(/{_PART})?)"
    r"(/(?P<config>[^/:@\x00-\x1f]+))?"
    r"(:(?P<split>\w+([.-]\w+)*))?"
    r"(@(?P<revision>[\w.-]+(/[\w.-]+)*))?",
    re.ASCII,
)
_LONGEST_ID = 96
_PLAIN_ID = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHOWN_COMMIT = 7


@dataclass(frozen=True, slots=True)
class HubData:
    """A part of a data set of the hub; empty texts leave the choice to the data set.

    Attributes:
        id: ``owner/name``; a few old data sets have no owner.
        config: one of the data set's subsets.
        split: “train”, “test” and the like.
        revision: a branch, a tag or a commit.
    """

    id: str
    config: str = ""
    split: str = ""
    revision: str = ""

    def __str__(self) -> str:
        """The text that names it in a spec."""
        config = f"/{self.config}" if self.config else ""
        split = f":{self.split}" if self.split else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.id}{config}{split}{revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether it means the same rows for ever."""
        return bool(self.config and self.split and _COMMIT.fullmatch(self.revision))

    @property
    def names_commit(self) -> bool:
        """Whether the revision is a commit, of which there is never a newer one."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def short(self) -> str:
        """A name for people: without “hf:”, and without most of a commit."""
        revision = self.revision[:_SHOWN_COMMIT] if self.names_commit else self.revision
        config = "" if self.config == "default" else self.config
        return str(replace(self, config=config, revision=revision)).removeprefix(PREFIX)


def is_hub_data(text: str) -> bool:
    """Whether a text means the hub and no file here: it begins with ``hf:``, or is the address of a data set's page."""
    return text.strip().lower().startswith(PREFIX) or _from_address(text.strip()) is not None


def read_hub_data(text: str) -> HubData | None:
    """What a text names; None where it is not the name of a data set.

    Args:
        text: with ``hf:`` in front, or the address of a data set's page, its viewer or its files.
    """
    text = text.strip()
    found = _from_address(text)
    if found is not None:
        return found
    return _parsed(text[len(PREFIX) :]) if text.lower().startswith(PREFIX) else None


def short_name(text: str) -> str:
    """What people call a data file: the last part of its path, or the short name of a data set of the hub."""
    found = read_hub_data(text)
    return found.short if found is not None else PurePath(text).name or text


def typed_hub_data(text: str) -> HubData | None:
    """The same where only the hub can be meant, as in its own field of the window: ``hf:`` may be left out."""
    text = text.strip()
    return read_hub_data(text) if is_hub_data(text) else _parsed(text)


def could_be_hub_data(text: str) -> bool:
    """Whether the path of a missing file looks like the id of a data set, so that ``hf:`` may have been forgotten."""
    return bool(_PLAIN_ID.fullmatch(text)) and "--" not in text and ".." not in text


def _parsed(text: str) -> HubData | None:
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    name, config = found["id"], found["config"] or ""
    if len(name) > _LONGEST_ID or "--" in name or ".." in name or name.endswith((".git", "-")):
        return None
    revision = found["revision"] or ""
    return None if ".." in revision else HubData(name, config, found["split"] or "", revision)


def _from_address(text: str) -> HubData | None:
    """The data set on a page of the hub (or of the mirror that ``HF_ENDPOINT`` names)."""
    if "://" not in text:
        return None
    try:
        parts = urllib.parse.urlsplit(text)
        mirror = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT") or "").netloc
    except ValueError:  # a broken address is no data set's
        return None
    if parts.scheme not in ("http", "https") or parts.netloc not in (*_HOSTS, mirror):
        return None
    steps = [urllib.parse.unquote(step) for step in parts.path.strip("/").split("/")]
    if len(steps) < 2 or steps[0] != "datasets":
        return None
    kinds = ("tree", "blob", "resolve", "viewer", "commit", "discussions", "raw")
    at = next((place for place, step in enumerate(steps[1:], 1) if step in kinds), len(steps))
    name, kind, rest = "/".join(steps[1:at]), (steps[at : at + 1] or [""])[0], steps[at + 1 :]
    if kind == "viewer":
        config, split = [*rest, "", ""][:2] if "/" in name else ["", ""]  # two steps are an owner and a name
        return _parsed(str(HubData(name, config, split)).removeprefix(PREFIX))
    revision = rest[0] if rest and kind in ("tree", "blob", "resolve", "commit", "raw") else ""
    return _parsed(str(HubData(name, revision="" if revision == "main" else revision)).removeprefix(PREFIX))
