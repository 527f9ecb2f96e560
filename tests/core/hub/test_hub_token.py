from pathlib import Path

import keyring  # noqa: TID253 (the tests put a backend of their own into it)
import keyring.backends.chainer  # noqa: TID253
import keyring.backends.fail  # noqa: TID253
import keyring.backends.null  # noqa: TID253
import pytest

from core.hub.problems import HubError
from core.hub.token import (
    SERVICE,
    Account,
    KeyringUnavailable,
    StoredToken,
    check_token,
    clean_token,
    forget_token,
    keep_token,
    keyring_problem,
    stored_token,
    token_text,
    use_for_session,
)
from tests.core.hub.conftest import MemoryKeyring
from tests.core.hub.hub_server import OUTSIDER, TOKEN, HubServer

OTHER = "hf_otherotherother"


def test_a_token_is_kept_in_the_keyring_and_nowhere_else(own_keyring: MemoryKeyring, tmp_path: Path) -> None:
    assert stored_token() is None
    assert token_text() == ""
    keep_token(f"  {TOKEN}\n")
    assert stored_token() == StoredToken("keyring", TOKEN)
    assert list(own_keyring.kept.values()) == [TOKEN]
    assert next(iter(own_keyring.kept))[0] == SERVICE
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert forget_token() is None
    assert own_keyring.kept == {}
    assert forget_token() is None


def test_a_token_is_never_shown() -> None:
    assert TOKEN not in repr(StoredToken("keyring", TOKEN))
    with pytest.raises(HubError) as caught:
        clean_token(f"{TOKEN} {TOKEN}")
    assert TOKEN not in str(caught.value)


def test_the_order_in_which_tokens_are_looked_for(hub_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_home.mkdir()
    (hub_home / "token").write_text(f"{OTHER}file\n")
    assert stored_token() == StoredToken("file", f"{OTHER}file")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", f"{OTHER}old")
    assert stored_token() == StoredToken("environment", f"{OTHER}old")
    monkeypatch.setenv("HF_TOKEN", f"{OTHER}new")
    assert stored_token() == StoredToken("environment", f"{OTHER}new")
    keep_token(TOKEN)
    assert stored_token() == StoredToken("keyring", TOKEN)
    use_for_session(OUTSIDER)
    assert stored_token() == StoredToken("session", OUTSIDER)
    assert forget_token() == StoredToken("environment", f"{OTHER}new")


def test_the_hubs_own_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text(OTHER)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "mine"))
    assert stored_token() == StoredToken("file", OTHER)
    (tmp_path / "mine").write_bytes(b"\xff\xfe nonsense")
    assert stored_token() is None


def test_keeping_a_token_ends_the_session_only_one() -> None:
    use_for_session(OUTSIDER)
    keep_token(TOKEN)
    assert stored_token() == StoredToken("keyring", TOKEN)


@pytest.mark.parametrize(
    "backend",
    [
        keyring.backends.fail.Keyring(),
        keyring.backends.null.Keyring(),
        type("PlaintextKeyring", (MemoryKeyring,), {"__module__": "keyrings.alt.file"})(),
    ],
    ids=["none", "null", "plain text"],
)
def test_without_a_keyring_a_token_lasts_for_the_session(backend: MemoryKeyring) -> None:
    keyring.set_keyring(backend)
    assert "no keyring" in keyring_problem()
    with pytest.raises(KeyringUnavailable, match="cannot be kept") as caught:
        keep_token(TOKEN)
    assert "this session only" in caught.value.advice
    assert stored_token() is None
    use_for_session(TOKEN)
    assert stored_token() == StoredToken("session", TOKEN)
    assert forget_token() is None


def test_a_chain_of_keyrings(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = keyring.backends.chainer.ChainerBackend()
    keyring.set_keyring(chain)
    inner: list[MemoryKeyring] = []
    monkeypatch.setattr(keyring.backends.chainer.ChainerBackend, "backends", inner)
    assert keyring_problem()
    inner.append(MemoryKeyring())
    assert keyring_problem() == ""
    keep_token(TOKEN)
    assert token_text() == TOKEN


def test_a_keyring_that_refuses(own_keyring: MemoryKeyring) -> None:
    keep_token(TOKEN)
    own_keyring.refuses = "The collection is locked"
    assert stored_token() is None
    with pytest.raises(KeyringUnavailable, match="The collection is locked"):
        keep_token(TOKEN)


def test_a_keyring_that_only_pretends(own_keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryKeyring, "set_password", lambda *_: None)
    with pytest.raises(KeyringUnavailable, match="did not keep it"):
        keep_token(TOKEN)


def test_a_keyring_that_does_not_let_go(own_keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_token(TOKEN)

    def refuse(*_: object) -> None:
        raise keyring.errors.PasswordDeleteError("Not allowed")

    monkeypatch.setattr(MemoryKeyring, "delete_password", refuse)
    with pytest.raises(KeyringUnavailable, match="Not allowed"):
        forget_token()


@pytest.mark.parametrize("text", ["", "  ", "short", "with space inside", "hf_x\r\nEvil: header", "ä" * 20, "x" * 600])
def test_what_cannot_be_a_token(text: str) -> None:
    for call in (keep_token, use_for_session, check_token):
        with pytest.raises(HubError) as caught:
            call(text)
        assert caught.value.reason == "token"
        assert "/settings/tokens" in caught.value.advice


def test_whose_token_it_is(hub: HubServer) -> None:
    assert check_token(TOKEN) == Account("insider", "laptop", "read")
    with pytest.raises(HubError, match="does not accept the token") as caught:
        check_token(OTHER)
    assert caught.value.page == f"{hub.address}/settings/tokens"


def test_an_account_that_cannot_be_read(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.address}/api/models?x=")
    with pytest.raises(HubError) as caught:
        check_token(TOKEN)
    assert caught.value.reason == "answer"
