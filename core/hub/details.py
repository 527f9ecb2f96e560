"""Everything about one model on the hub before a byte of its weights is fetched."""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.errors import Problem, UserError
from core.facts.architectures import NATIVE, refusal
from core.facts.model_config import parse_config
from core.facts.model_folder import CONFIG_FILE
from core.hub.cache import require_commit
from core.hub.files import HubFile, needed, unusable
from core.hub.names import require_id, require_revision
from core.hub.problems import HubError, RepoKind, Subject, repository_path
from core.hub.search import Gate, count_of, gate_of, licence_of, model_path, similar, text_of, weights_of
from core.hub.web import endpoint, get_json, opened
from core.units import MIB

MAIN = "main"
_MAX_CONFIG = 8 * MIB


class Repository(Protocol):
    """What a download has to know of a model or a data set at one revision; `ModelDetails` says what each part is."""

    @property
    def kind(self) -> RepoKind: ...  # noqa: D102 (what the hub calls it)
    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def commit(self) -> str: ...  # noqa: D102
    @property
    def files(self) -> tuple[HubFile, ...]: ...  # noqa: D102
    @property
    def barrier(self) -> Problem | None: ...  # noqa: D102
    @property
    def page(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """One model at one revision; 0 and empty texts mean that the hub does not say.

    Attributes:
        id: its full name; another than was asked for when it has been renamed.
        revision: the branch, tag or commit that was asked for.
        commit: what that means now.
        files: everything the model has.
        wanted: those of them that a download fetches.
        gated: whether its terms have to be accepted first.
        barrier: why its files may not be fetched with the present token, and what to do; None when they may.
        family: ``model_type`` of its config.
        why_not: why it cannot be trained here, a sentence; empty when it can.
        context_length: the longest row it was made for, in tokens.
        parameters: read by the hub from the weights.
        page: address of its page, where terms are accepted.
    """

    id: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]
    wanted: tuple[HubFile, ...]
    gated: Gate = ""
    private: bool = False
    barrier: Problem | None = None
    licence: str = ""
    family: str = ""
    why_not: str = ""
    context_length: int = 0
    parameters: int = 0
    downloads: int = 0
    likes: int = 0
    updated: str = ""
    page: str = ""

    @property
    def kind(self) -> RepoKind:
        """What the hub calls it."""
        return "model"

    @property
    def supported(self) -> bool:
        """Whether it can be trained here."""
        return not self.why_not

    @property
    def bytes(self) -> int:
        """Size of a download that finds nothing here."""
        return sum(max(file.size, 0) for file in self.wanted)

    def at(self, revision: str) -> "ModelDetails":
        """The same, as found under another name of the same commit."""
        return replace(self, revision=revision)


def details(name: str, revision: str = "", token: str = "") -> ModelDetails:
    """Looks a model up; reads its config as well where that is allowed.

    Args:
        name: the model's id, such as ``HuggingFaceTB/SmolLM2-135M-Instruct``.
        revision: branch, tag or commit; the newest when empty.
        token: the user's, or empty.

    Raises:
        HubError: there is no such model or revision, or the hub cannot be asked. Terms that have not been accepted
            are no error here, but the result's ``barrier``.
    """
    revision = require_revision(revision or MAIN)
    subject = Subject(endpoint(), require_id(name), revision, with_token=bool(token))
    path = f"/api/models/{model_path(name)}/revision/{urllib.parse.quote(revision, safe='')}"
    try:
        entry = get_json(path, (("blobs", "true"),), subject, token)
    except HubError as failure:
        raise _with_suggestion(failure, name, token) from failure
    if not isinstance(entry, Mapping) or not text_of(entry, "sha"):
        raise HubError(
            "answer", f"{subject.host} said nothing usable about “{name}”.", "Check HF_ENDPOINT if you have set it."
        )
    found = _read(entry, subject)
    try:
        config = _config(found, subject, token)
    except HubError as failure:
        if failure.reason not in ("gated", "token"):
            raise
        return replace(found, barrier=failure.problems[0], why_not=found.why_not or _refused_family(entry))
    return _with_config(found, config)


def _read(entry: Mapping[str, Any], subject: Subject) -> ModelDetails:
    files = files_of(entry)
    parameters, _ = weights_of(entry.get("safetensors"))
    config = entry.get("config")
    name = require_id(text_of(entry, "id") or subject.model)
    return ModelDetails(
        id=name,
        revision=subject.revision,
        commit=require_commit(text_of(entry, "sha")),
        files=files,
        wanted=needed(files),
        gated=gate_of(entry),
        private=entry.get("private") is True,
        licence=licence_of(entry),
        family=text_of(config, "model_type") if isinstance(config, Mapping) else "",
        why_not=unusable([file.name for file in files]),
        parameters=parameters,
        downloads=count_of(entry, "downloads"),
        likes=count_of(entry, "likes"),
        updated=text_of(entry, "lastModified"),
        page=f"{subject.endpoint}/{name}",
    )


def files_of(entry: Mapping[str, Any]) -> tuple[HubFile, ...]:
    """All files that the hub lists in what it says about a model or a data set."""
    return tuple(_file(item) for item in entry.get("siblings") or () if isinstance(item, Mapping))


def _file(item: Mapping[str, Any]) -> HubFile:
    lfs = item.get("lfs")
    large = lfs if isinstance(lfs, Mapping) else {}
    size = large.get("size", item.get("size"))
    return HubFile(
        name=text_of(item, "rfilename"),
        size=size if isinstance(size, int) and size >= 0 else -1,
        digest=text_of(large, "sha256") or text_of(item, "blobId"),
    )


def _config(found: ModelDetails, subject: Subject, token: str) -> Mapping[str, Any] | None:
    """The content of config.json; None where there is none or it is no JSON object."""
    if CONFIG_FILE not in {file.name for file in found.files}:
        return None
    asked = replace(subject, model=found.id, file=CONFIG_FILE)
    path = f"/{model_path(found.id)}/resolve/{found.commit}/{CONFIG_FILE}"
    answer = get_json(path, (), asked, token, most=_MAX_CONFIG)
    return answer if isinstance(answer, Mapping) else None


def _with_config(found: ModelDetails, raw: Mapping[str, Any] | None) -> ModelDetails:
    if raw is None:
        return found
    try:
        config = parse_config(raw, CONFIG_FILE)
    except UserError as failure:
        return replace(found, why_not=found.why_not or failure.problems[0].message)
    own_code = config.remote_code and config.model_type not in NATIVE
    return replace(
        found,
        family=config.model_type,
        context_length=config.context_length,
        wanted=needed(found.files, own_code=own_code),
    )


def _refused_family(entry: Mapping[str, Any]) -> str:
    """Why the family cannot be trained, by the little that the hub says about a model whose files are closed."""
    config = entry.get("config")
    if not isinstance(config, Mapping):
        return ""
    names = config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    family = text_of(config, "model_type")
    reason = refusal(family, architecture, encoder_decoder=False)
    return f"This is a {family or architecture} model, which cannot be tuned here: {reason}." if reason else ""


def _with_suggestion(failure: HubError, name: str, token: str) -> HubError:
    if failure.reason != "missing" or failure.problems[0].path == "revision":
        return failure
    close = similar(name, token)
    if not close or close == name:
        return failure
    advice = f"Did you mean “{close}”?"
    return HubError("missing", failure.message, advice, path=failure.problems[0].path, page=failure.page)


def resolve(found: Repository, file: HubFile, token: str = "") -> HubFile:
    """The file with its size and digest, asked of the hub where the list did not have them.

    Raises:
        HubError: the hub cannot be asked, or does not say.
    """
    if file.size >= 0 and file.digest:
        return file
    subject = subject_of(found, file.name, token)
    with opened(file_address(found, file), subject, token, method="HEAD") as answer:
        size = answer.headers.get("x-linked-size") or answer.headers.get("content-length") or ""
        digest = (answer.headers.get("x-linked-etag") or answer.headers.get("etag") or "").removeprefix("W/").strip('"')
    if not size.isdigit() or not digest:
        raise HubError(
            "answer",
            f"{subject.host} does not say how large {file.name} is, so nobody could tell when it is complete.",
            "Check HF_ENDPOINT if you have set it.",
        )
    return HubFile(file.name, int(size), digest)


def subject_of(found: Repository, file: str, token: str) -> Subject:
    """A file as the subject of a question, for complaints."""
    return Subject(endpoint(), found.id, found.revision, file, with_token=bool(token), kind=found.kind)


def file_address(found: Repository, file: HubFile) -> str:
    """Where the file's content is."""
    path = repository_path(found.kind, model_path(found.id))
    return f"{endpoint()}/{path}/resolve/{found.commit}/{model_path(file.name)}"
