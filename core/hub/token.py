"""The user's token for the hub: in the system's keyring, for this session only, or where the hub's own tools keep it.

Never written to a file by us. Whoever shows it to people shows its origin and its account, not the token.
"""

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.facts.locate import hub_home
from core.hub.problems import HubError, Subject
from core.hub.search import text_of
from core.hub.web import endpoint, get_json

Origin = Literal["session", "keyring", "environment", "file"]

SERVICE = "Lowrank Studio"
_USER = "Hugging Face token"
_SHAPE = re.compile(r"[\x21-\x7e]{8,512}")
# Backends that write plain text or forget at once; “fail” is keyring's word for none.
_NOT_SAFE = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt")

_session: list[str] = []
_lock = threading.Lock()


class KeyringUnavailable(HubError):  # noqa: N818 (a state of the machine: nothing is wrong with the token)
    """There is no keyring that keeps secrets safely; the token can be used for this session only."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "token",
            f"The token cannot be kept: {why}",
            "Use it for this session only, or log in with the hub's own tool (hf auth login): its token is used, too.",
        )


@dataclass(frozen=True, slots=True)
class StoredToken:
    """The token in use, and where it comes from."""

    origin: Origin
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose token it is.

    Attributes:
        name: of the account.
        token_name: what its owner called the token; empty where the hub does not say.
        role: what the token may do: "read", "write" or "fineGrained"; empty where the hub does not say.
    """

    name: str
    token_name: str = ""
    role: str = ""


def stored_token() -> StoredToken | None:
    """The token to use: this session's, the keyring's, ``HF_TOKEN``, or the hub's own file; None for none.

    A keyring that does not work or is locked counts as empty: public models need no token. `keyring_problem` says why.
    """
    if _session:
        return StoredToken("session", _session[0])
    kept = _from_keyring()
    if kept:
        return StoredToken("keyring", kept)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        text = os.environ.get(name, "").strip()
        if _SHAPE.fullmatch(text):
            return StoredToken("environment", text)
    text = _from_file()
    return StoredToken("file", text) if _SHAPE.fullmatch(text) else None


def token_text() -> str:
    """The text of `stored_token`; empty for none."""
    found = stored_token()
    return found.text if found else ""


def keyring_problem() -> str:
    """Why the system's keyring cannot be used, a sentence; empty when it can."""
    try:
        _keyring()
    except KeyringUnavailable as failure:
        return failure.message
    return ""


def keep_token(text: str) -> None:
    """Keeps the token in the system's keyring, from now on and after a restart.

    Raises:
        HubError: it cannot be a token.
        KeyringUnavailable: there is no keyring, or it refuses.
    """
    token = clean_token(text)
    keyring = _keyring()
    with _lock:
        try:
            keyring.set_password(SERVICE, _USER, token)
            kept = keyring.get_password(SERVICE, _USER)
        except Exception as failure:
            raise KeyringUnavailable(_refusal(failure)) from failure
        if kept != token:
            raise KeyringUnavailable("the system's keyring did not keep it.")
        _session.clear()


def use_for_session(text: str) -> None:
    """Keeps the token in memory until the program ends.

    Raises:
        HubError: it cannot be a token.
    """
    token = clean_token(text)
    with _lock:
        _session[:] = [token]


def forget_token() -> StoredToken | None:
    """Forgets the session's token and deletes the keyring's; returns the one that is still found elsewhere.

    Raises:
        KeyringUnavailable: the keyring holds one and refuses to delete it.
    """
    with _lock:
        _session.clear()
        if _from_keyring():
            keyring = _keyring()
            try:
                keyring.delete_password(SERVICE, _USER)
            except Exception as failure:
                raise KeyringUnavailable(_refusal(failure)) from failure
    return stored_token()


def clean_token(text: str) -> str:
    """The token without the spaces that come with copying.

    Raises:
        HubError: it cannot be a token.
    """
    token = text.strip().strip("\"'")
    if not _SHAPE.fullmatch(token):
        subject = Subject(endpoint())
        raise HubError(
            "token",
            "This cannot be a token: it is empty, far too short or too long, or has spaces in it."
            if token
            else "No token was entered.",
            f"Copy the whole token from {subject.tokens_page}; it begins with “hf_”.",
            page=subject.tokens_page,
        )
    return token


def check_token(text: str) -> Account:
    """Asks the hub whose token it is.

    Raises:
        HubError: the hub does not accept it, or cannot be asked.
    """
    token = clean_token(text)
    subject = Subject(endpoint(), with_token=True)
    answer = get_json("/api/whoami-v2", (), subject, token)
    name = text_of(answer, "name") if isinstance(answer, Mapping) else ""
    if not name:
        raise HubError("answer", f"{subject.host} did not say whose token it is.", "Check HF_ENDPOINT if it is set.")
    auth = answer.get("auth")
    access = auth.get("accessToken") if isinstance(auth, Mapping) else None
    if not isinstance(access, Mapping):
        return Account(name)
    return Account(name, text_of(access, "displayName"), text_of(access, "role"))


def _keyring() -> Any:
    """The keyring's backend.

    Raises:
        KeyringUnavailable: there is none that keeps secrets safely.
    """
    try:
        import keyring

        backend = keyring.get_keyring()
    except Exception as failure:
        raise KeyringUnavailable(_refusal(failure)) from failure
    inner = getattr(backend, "backends", None)  # the chainer asks several in turn
    chosen = [backend] if inner is None else list(inner)
    if not chosen or any(type(item).__module__.startswith(_NOT_SAFE) for item in chosen):
        raise KeyringUnavailable(
            "this system has no keyring that keeps secrets (on Linux: GNOME Keyring, KWallet or KeePassXC)."
        )
    return backend


def _from_keyring() -> str:
    try:
        return str(_keyring().get_password(SERVICE, _USER) or "")
    except KeyringUnavailable:
        return ""
    except Exception:  # noqa: BLE001 (a locked or broken keyring holds nothing that could be used now)
        return ""


def _refusal(failure: Exception) -> str:
    text = str(failure).strip().splitlines()
    return f"the system's keyring refuses ({text[0] if text else type(failure).__name__})."


def _from_file() -> str:
    """What ``hf auth login`` has written; read only."""
    chosen = os.environ.get("HF_TOKEN_PATH")
    path = Path(chosen).expanduser() if chosen else hub_home() / "token"
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):  # no file, no token
        return ""
