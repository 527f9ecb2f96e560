"""What the hub has: models by text, and everything about one of them before a byte of its weights is fetched."""

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.hub.names import parse_name
from core.hub.problems import HubError, Subject
from core.hub.web import endpoint, get_json, require_online

Gate = Literal["", "auto", "manual"]
"""Whether terms have to be accepted first: no; yes, access follows at once; yes, and the authors decide."""

LIMIT = 30
_EXPAND = ("downloads", "likes", "lastModified", "gated", "safetensors", "tags")
_LICENCE_TAG = "license:"
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "F4": 4}


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model in a list of results; 0 and empty texts mean that the hub does not say.

    Attributes:
        downloads: in the last 30 days.
        updated: date and time of the last change, ISO 8601.
        gated: whether its terms have to be accepted first.
        bytes: size of the weights, from their number and format.
    """

    id: str
    downloads: int = 0
    likes: int = 0
    updated: str = ""
    gated: Gate = ""
    licence: str = ""
    parameters: int = 0
    bytes: int = 0


def search(text: str, *, limit: int = LIMIT, token: str = "") -> tuple[FoundModel, ...]:
    """Models that continue text and have safetensors weights, the most downloaded ones first.

    Args:
        text: a part of the name, or a page's address; the most popular models of all when it is empty.
        limit: how many at most.
        token: shows models that only its owner may see, too.

    Raises:
        HubError: the hub cannot be asked.
    """
    require_online()
    words = text.strip()
    if "://" in words:
        words, _ = parse_name(words)
    query = [
        ("pipeline_tag", "text-generation"),
        ("filter", "safetensors"),
        ("sort", "downloads"),
        ("limit", str(limit)),
        *(("expand", name) for name in _EXPAND),
    ]
    if words:
        query.insert(0, ("search", words))
    subject = Subject(endpoint(), with_token=bool(token))
    answer = get_json("/api/models", query, subject, token)
    if not isinstance(answer, list):
        raise HubError("answer", f"{subject.host} answered no list of models.", "Check HF_ENDPOINT if you have set it.")
    found = (_found(entry) for entry in answer if isinstance(entry, Mapping))
    return tuple(model for model in found if model.id)[:limit]


def _found(entry: Mapping[str, Any]) -> FoundModel:
    parameters, size = weights_of(entry.get("safetensors"))
    return FoundModel(
        id=text_of(entry, "id"),
        downloads=count_of(entry, "downloads"),
        likes=count_of(entry, "likes"),
        updated=text_of(entry, "lastModified"),
        gated=gate_of(entry),
        licence=licence_of(entry),
        parameters=parameters,
        bytes=size,
    )


def similar(name: str, token: str = "") -> str:
    """The id of a model that was probably meant; empty where none comes close or the hub cannot be asked."""
    import difflib

    try:
        found = search(name.rpartition("/")[2], limit=10, token=token) or search(_stem(name), limit=10, token=token)
    except HubError:  # a suggestion is only an extra: the complaint that it belongs to is made anyway
        return ""
    by_lower = {model.id.lower(): model.id for model in found}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return by_lower[close[0]]
    tails = {model_id.rpartition("/")[2]: model_id for model_id in reversed(by_lower)}
    close = difflib.get_close_matches(name.rpartition("/")[2].lower(), tails, n=1, cutoff=0.7)
    return by_lower[tails[close[0]]] if close else ""


def _stem(name: str) -> str:
    """The first part of a model's name, which is spelled wrongly less often than the rest."""
    tail = name.rpartition("/")[2]
    return tail.split("-")[0][: max(4, len(tail) // 2)]


def model_path(name: str) -> str:
    """The id as a part of an address."""
    return urllib.parse.quote(name, safe="/")


# ------------------------------------------------------------------------------------ reading what others have written


def text_of(entry: Mapping[str, Any], name: str) -> str:
    """A text, or an empty one."""
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def count_of(entry: Mapping[str, Any], name: str) -> int:
    """A count, or 0."""
    value = entry.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def gate_of(entry: Mapping[str, Any]) -> Gate:
    """What the hub says under “gated”: false, or who lets people in."""
    value = entry.get("gated")
    if not value:
        return ""
    return "manual" if value == "manual" else "auto"


def licence_of(entry: Mapping[str, Any]) -> str:
    """The licence's short name, from the model card's head or the tags."""
    card = entry.get("cardData")
    if isinstance(card, Mapping):
        named = text_of(card, "license")
        if named == "other":
            named = text_of(card, "license_name") or named
        if named:
            return named
    tags = entry.get("tags")
    for tag in tags if isinstance(tags, Sequence) else ():
        if isinstance(tag, str) and tag.startswith(_LICENCE_TAG):
            return tag.removeprefix(_LICENCE_TAG)
    return ""


def weights_of(safetensors: object) -> tuple[int, int]:
    """Number of parameters and their size in bytes, by what the hub has read from the weights; 0 where it has not."""
    if not isinstance(safetensors, Mapping):
        return 0, 0
    by_format = safetensors.get("parameters")
    counts = {
        str(name): count
        for name, count in (by_format.items() if isinstance(by_format, Mapping) else ())
        if isinstance(count, int) and not isinstance(count, bool) and count > 0
    }
    total = count_of(safetensors, "total") or sum(counts.values())
    return total, sum(count * _BITS.get(name, 8) for name, count in counts.items()) // 8
