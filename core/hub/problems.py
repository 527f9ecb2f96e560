"""What can go wrong with the hub, as sentences: what happened, why, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.errors import ExitCode, UserError, error

Reason = Literal[
    "name",
    "missing",
    "offline",
    "unreachable",
    "busy",
    "server",
    "answer",
    "token",
    "gated",
    "damaged",
    "disk",
    "locked",
]

RepoKind = Literal["model", "dataset"]
"""What a repository of the hub holds."""

_EXIT_CODES: Mapping[Reason, ExitCode] = {
    "name": ExitCode.BAD_SPEC,
    "missing": ExitCode.BAD_SPEC,
    "disk": ExitCode.DOES_NOT_FIT,
}
_TOO_MANY, _SERVER_FAULT = 429, 500
_NO_TOKEN, _FORBIDDEN, _NOT_FOUND = 401, 403, 404


class HubError(UserError):
    """The hub could not be asked, or said no.

    Attributes:
        reason: what kind of trouble it is, for those who offer a remedy: a token field, another try, a way to go on.
        page: a web page on which the user can do something about it; empty where there is none.
        retry_after: seconds to wait before asking again, where the server named them.
    """

    def __init__(
        self, reason: Reason, message: str, advice: str, *, path: str = "", page: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(error(path, message, advice), exit_code=_EXIT_CODES.get(reason, ExitCode.FAILED))
        self.reason = reason
        self.page = page
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """What happened and why."""
        return self.problems[0].message

    @property
    def advice(self) -> str:
        """What to do next."""
        return self.problems[0].advice


@dataclass(frozen=True, slots=True)
class Subject:
    """What was asked for, so that an answer can be put into words.

    Attributes:
        endpoint: the hub's address.
        model: the id of the model or data set; empty for questions about none.
        revision: the branch, tag or commit, where one was named.
        file: the file, where one was asked for.
        with_token: whether a token went with the question.
        kind: what the id is the id of.
    """

    endpoint: str
    model: str = ""
    revision: str = ""
    file: str = ""
    with_token: bool = False
    kind: RepoKind = "model"

    @property
    def host(self) -> str:
        """The hub's name for people."""
        return self.endpoint.partition("://")[2]

    @property
    def page(self) -> str:
        """The page of the model or data set."""
        return f"{self.endpoint}/{repository_path(self.kind, self.model)}"

    @property
    def named(self) -> str:
        """What was asked for, as a part of a sentence."""
        return f"model “{self.model}”" if self.kind == "model" else f"data set “{self.model}”"

    @property
    def tokens_page(self) -> str:
        """Where tokens are made."""
        return f"{self.endpoint}/settings/tokens"


def repository_path(kind: RepoKind, name: str) -> str:
    """Where on the hub the page and the files of a model or a data set are; models stand at the top."""
    return name if kind == "model" else f"{kind}s/{name}"


def refused(subject: Subject, status: int, headers: Mapping[str, str]) -> HubError:
    """The problem behind an answer that is no answer.

    Args:
        subject: what was asked for.
        status: the HTTP status, 400 or above.
        headers: of the answer, in small letters; the hub says more in ``X-Error-Code`` and ``X-Error-Message``.
    """
    code, said = headers.get("x-error-code") or "", headers.get("x-error-message") or ""
    if status == _TOO_MANY:
        return _too_many(subject, headers)
    if status >= _SERVER_FAULT:
        return HubError(
            "server",
            f"{subject.host} has trouble of its own (HTTP {status}).",
            "Nothing is wrong here; try again in a few minutes.",
        )
    if code == "GatedRepo" or (status == _FORBIDDEN and subject.model):
        return _gated(subject, said)
    if code == "RevisionNotFound":
        return HubError(
            "missing",
            f"The {subject.named} has no revision “{subject.revision}”.",
            f"Look at {subject.page}/refs for its branches and tags, or leave the revision out.",
            path="revision",
            page=subject.page,
        )
    if code == "EntryNotFound" and subject.file:
        return HubError(
            "missing",
            f"The {subject.named} has no file {subject.file}.",
            "Look it up again: its files may have changed.",
            page=subject.page,
        )
    if status == _NO_TOKEN and subject.with_token and code != "RepoNotFound":
        return _bad_token(subject)
    if subject.model and status in (_NO_TOKEN, _FORBIDDEN, _NOT_FOUND):
        return _no_model(subject)
    if status == _NO_TOKEN:
        return _bad_token(subject) if subject.with_token else _no_token(subject)
    return HubError(
        "answer",
        f"{subject.host} refused the request (HTTP {status}){f': {said}' if said else ''}.",
        "Check the name that you asked for, and HF_ENDPOINT if you have set it.",
    )


def _too_many(subject: Subject, headers: Mapping[str, str]) -> HubError:
    seconds = wait_seconds(headers)
    wait = f"Wait {seconds:.0f} seconds" if seconds else "Wait a few minutes"
    more = "" if subject.with_token else "; with a token more requests are allowed"
    return HubError(
        "busy",
        f"{subject.host} has had too many requests from this address and refuses more for now (HTTP 429).",
        f"{wait} and try again{more}.",
        retry_after=seconds,
    )


def wait_seconds(headers: Mapping[str, str]) -> float:
    """How long the server asks to wait, by ``Retry-After`` or ``RateLimit``; 0 where it does not say."""
    plain = (headers.get("retry-after") or "").strip()
    if plain.isdigit():
        return float(plain)
    for part in (headers.get("ratelimit") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isdigit():
            return float(value)
    return 0.0


def _gated(subject: Subject, said: str) -> HubError:
    if not subject.with_token:
        return HubError(
            "gated",
            f"The {subject.named} is given only to people who have accepted its terms, and no token says who you are.",
            f"Sign in at {subject.page} and accept the terms there; then make a token of that account at "
            f"{subject.tokens_page} (reading is enough) and enter it here.",
            path=subject.model,
            page=subject.page,
        )
    if "fine-grained" in said:
        return HubError(
            "token",
            f"Your token may not read what has terms to accept, such as the {subject.named}.",
            f"Edit the token at {subject.tokens_page} and allow it to read public gated repositories.",
            path=subject.model,
            page=subject.tokens_page,
        )
    return HubError(
        "gated",
        f"The account of your token has no access to the {subject.named}.",
        f"Sign in at {subject.page} with that account and accept the terms, or wait until its authors have granted "
        "access if you have asked for it.",
        path=subject.model,
        page=subject.page,
    )


def _bad_token(subject: Subject) -> HubError:
    return HubError(
        "token",
        f"{subject.host} does not accept the token: it is wrong, expired or revoked.",
        f"Copy it once more from {subject.tokens_page}, or make a new one there; or forget it: most models need none.",
        page=subject.tokens_page,
    )


def _no_token(subject: Subject) -> HubError:
    return HubError(
        "token",
        f"{subject.host} wants to know who asks, and there is no token.",
        f"Make one at {subject.tokens_page} (reading is enough) and enter it here.",
        page=subject.tokens_page,
    )


def _no_model(subject: Subject) -> HubError:
    private = "your token cannot see it" if subject.with_token else "it is private and needs a token"
    return HubError(
        "missing",
        f"There is no {subject.named} on {subject.host}, or {private}.",
        "Check the name; it has the form owner/name.",
        path=subject.model,
        page=subject.page,
    )
