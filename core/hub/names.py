"""How people name models on the hub: an id, or the address of its page."""

import re
import urllib.parse

from core.hub.problems import HubError
from core.hub.web import DEFAULT_ENDPOINT, endpoint

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_REVISION = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_LONGEST = 96


def parse_name(text: str) -> tuple[str, str]:
    """Id and revision of a model as somebody typed or pasted it; the revision is empty unless an address names one.

    Raises:
        HubError: it cannot be the name of a model.
    """
    name, revision = text.strip(), ""
    for address in (endpoint(), DEFAULT_ENDPOINT, DEFAULT_ENDPOINT.partition("://")[2], "hf.co"):
        if name.startswith(f"{address}/"):
            parts = name.removeprefix(f"{address}/").partition("?")[0].partition("#")[0].strip("/").split("/")
            at = next((n for n, part in enumerate(parts) if part in ("tree", "blob", "resolve", "commit")), len(parts))
            name = "/".join(parts[:at])
            revision = urllib.parse.unquote("/".join(parts[at + 1 : at + 2]))
            break
    require_id(name, text.strip())
    return name, require_revision(revision) if revision else ""


def require_id(name: str, shown: str = "") -> str:
    """The id, if it can be one.

    Raises:
        HubError: it cannot; ``shown`` is what the sentence quotes instead.
    """
    if not _ID.fullmatch(name) or "--" in name or ".." in name or len(name) > _LONGEST or name.endswith((".git", "-")):
        quoted = (shown or name)[:120]
        raise HubError(
            "name",
            f"“{quoted}” cannot be the name of a model on the hub.",
            "A model is called owner/model, such as HuggingFaceTB/SmolLM2-135M-Instruct; its page's address works too.",
            path=quoted,
        )
    return name


def require_revision(revision: str) -> str:
    """The branch, tag or commit, if it can be one.

    Raises:
        HubError: it cannot.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise HubError(
            "name",
            f"“{revision[:120]}” cannot be a revision of a model.",
            "Name a branch, a tag or a commit, or leave it out to take the newest.",
            path="revision",
        )
    return revision
