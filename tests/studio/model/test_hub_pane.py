"""The hub on the Model page: search, facts, download with cancel and resume, gated models, a token, and no network."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QWidget

from core.facts.locate import list_models
from core.hub.token import token_text
from core.hub.unfinished import list_unfinished
from core.units import format_bytes
from studio.state.downloads import arrivals
from tests.core.hub.conftest import MemoryKeyring, sharded_model, whole_model
from tests.core.hub.hub_server import OUTSIDER, TOKEN, HubServer, Model

WAIT_MS = 30_000
WELL_BEGUN = 400_000


@pytest.fixture
def pane(page: Any, hub: HubServer) -> Any:
    """The page, with the hub in front."""
    hub.add(whole_model())
    hub.add(sharded_model())
    page.places.button("hub").click()
    return page


def shown(pane: Any, name: str) -> Any:
    return next((found for found in pane.findChildren(QWidget, name) if found.isVisible()), None)


def press(qtbot: Any, pane: Any, name: str) -> None:
    qtbot.waitUntil(lambda: shown(pane, name) is not None and shown(pane, name).isEnabled(), timeout=WAIT_MS)
    qtbot.mouseClick(shown(pane, name), Qt.MouseButton.LeftButton)


def names(pane: Any) -> list[str]:
    return [card.key for card in pane.hub.view.cards.cards]


def choose(qtbot: Any, pane: Any, name: str) -> None:
    qtbot.waitUntil(lambda: name in names(pane), timeout=WAIT_MS)
    pane.hub.view.move_to(name)
    qtbot.keyClick(pane.hub.view, Qt.Key.Key_Return)
    qtbot.waitUntil(
        lambda: shown(pane, "hub-family") is not None and shown(pane, "hub-name").full_text() == name, timeout=WAIT_MS
    )


def test_nothing_is_asked_before_somebody_looks(page: Any, hub: HubServer) -> None:
    assert page.hub is None
    assert hub.asked == []


def test_a_search_and_a_look(qtbot: Any, pane: Any, hub: HubServer) -> None:
    qtbot.waitUntil(lambda: names(pane) == ["org/tiny", "org/sharded"], timeout=WAIT_MS)
    assert "10 downloads a month, 3 likes" in pane.hub.view.cards.cards[0].spoken
    before = len(hub.asked)
    qtbot.keyClicks(pane.search, "shard")
    qtbot.waitUntil(lambda: names(pane) == ["org/sharded"], timeout=WAIT_MS)
    assert len(hub.asked) == before + 1, "typing is waited for"
    choose(qtbot, pane, "org/sharded")
    assert shown(pane, "hub-family").text() == "llama"
    assert shown(pane, "hub-context").text() == "2,048 tokens"
    assert shown(pane, "hub-licence").text() == "apache-2.0"
    assert shown(pane, "hub-size").text().endswith("to download")
    assert "weights fit" in shown(pane, "hub-fit").text()
    press(qtbot, pane, "hub-show-files")
    assert "model-00001-of-00002.safetensors" in shown(pane, "hub-files").text()
    assert "consolidated" not in shown(pane, "hub-files").text()


def test_a_name_is_looked_up_with_enter(qtbot: Any, pane: Any, hub: HubServer) -> None:
    qtbot.keyClicks(pane.search, f"{hub.address}/org/tiny")
    qtbot.keyClick(pane.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown(pane, "hub-family") is not None, timeout=WAIT_MS)
    assert shown(pane, "hub-name").full_text() == "org/tiny"
    pane.search.selectAll()
    qtbot.keyClicks(pane.search, "org/tiny-chat")
    qtbot.keyClick(pane.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown(pane, "hub-problem") is not None, timeout=WAIT_MS)
    assert "Did you mean “org/tiny”?" in shown(pane, "hub-problem").accessibleName()


def test_a_download_from_search_to_the_list(
    qtbot: Any, desk: Any, pane: Any, hub: HubServer, settled: Callable[[], None]
) -> None:
    choose(qtbot, pane, "org/tiny")
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: desk.session.spec.model.base == "org/tiny", timeout=WAIT_MS)
    settled()
    assert desk.session.model.family == "llama"
    assert [model.name for model in list_models()] == ["org/tiny"]
    press(qtbot, pane, "hub-use")
    assert pane.places.value() == "local"
    qtbot.waitUntil(lambda: [card.key for card in pane.local.view.cards.cards] == ["org/tiny"], timeout=WAIT_MS)
    assert pane.local.view.cards.cards[0].place == "Hugging Face cache"


def test_a_download_is_cancelled_and_goes_on(
    qtbot: Any, desk: Any, pane: Any, hub: HubServer, open_page: Callable[[], Any]
) -> None:
    big = hub.add(whole_model("org/big"))
    big.files["model.safetensors"] += os.urandom(3_000_000)
    big.files["model.safetensors"] = grown(big.files["model.safetensors"])
    hub.faults.delay = 0.02
    pane.hub.search("big", at_once=True)
    choose(qtbot, pane, "org/big")
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: "/s" in (shown(pane, "arrival-numbers") or QLabel()).text(), timeout=WAIT_MS)
    assert shown(pane, "hub-download").text() == "Downloading…"
    qtbot.waitUntil(lambda: arrivals(desk).all[0].done > WELL_BEGUN, timeout=WAIT_MS)
    again = open_page()  # the window is rebuilt: the download and the place are still there
    assert again.places.value() == "hub"
    assert shown(again, "arrival-download") is not None
    press(qtbot, again, "arrival-cancel")
    qtbot.waitUntil(lambda: shown(again, "unfinished") is not None, timeout=WAIT_MS)
    here = list_unfinished()[0].bytes_here
    assert here > 0
    assert list_models() == ()
    assert f"{format_bytes(here)} of" in " ".join(
        item.text() for item in shown(again, "unfinished").findChildren(QLabel)
    )
    qtbot.waitUntil(lambda: "Go on" in (shown(again, "hub-download") or QLabel()).text(), timeout=WAIT_MS)
    hub.faults.delay = 0.0
    asked = len(hub.asked)
    press(qtbot, again, "unfinished-resume")
    qtbot.waitUntil(lambda: [model.name for model in list_models()] == ["org/big"], timeout=WAIT_MS)
    assert any(item.range and not item.range.startswith("bytes=0-") for item in hub.asked[asked:]), "it went on"
    qtbot.waitUntil(lambda: shown(again, "unfinished") is None, timeout=WAIT_MS)


def grown(content: bytes) -> bytes:
    """A safetensors file whose last tensor is as long as the bytes behind the header."""
    import json

    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    known = max(item["data_offsets"][1] for item in header.values())
    rest = len(content) - 8 - size - known
    header["extra.weight"] = {"dtype": "U8", "shape": [rest], "data_offsets": [known, known + rest]}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


def test_an_unfinished_download_is_discarded(qtbot: Any, desk: Any, pane: Any, hub: HubServer) -> None:
    hub.faults.cut["model.safetensors"] = [200_000] * 40
    hub.faults.silent.add("model.safetensors")
    choose(qtbot, pane, "org/tiny")
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: "of" in (shown(pane, "arrival-numbers") or QLabel()).text(), timeout=WAIT_MS)
    press(qtbot, pane, "arrival-cancel")
    press(qtbot, pane, "unfinished-discard")
    qtbot.waitUntil(lambda: shown(pane, "unfinished") is None, timeout=WAIT_MS)
    assert list_unfinished() == ()


def test_a_download_that_fails_can_be_tried_again(qtbot: Any, desk: Any, pane: Any, hub: HubServer) -> None:
    choose(qtbot, pane, "org/tiny")
    hub.faults.answer["/org/tiny/resolve"] = (1, 429, {"Retry-After": "900"})
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: shown(pane, "arrival-again") is not None, timeout=WAIT_MS)
    words = " ".join(found.text() for found in shown(pane, "arrival-download").findChildren(QLabel))
    assert "too many requests" in words
    press(qtbot, pane, "arrival-again")
    qtbot.waitUntil(lambda: desk.session.spec.model.base == "org/tiny", timeout=WAIT_MS)
    assert shown(pane, "arrival-download") is None


def test_a_gated_model_wants_a_token(
    qtbot: Any, desk: Any, pane: Any, hub: HubServer, own_keyring: MemoryKeyring
) -> None:
    hub.add(whole_model("org/gated", gated="auto"))
    pane.hub.search("gated", at_once=True)
    choose(qtbot, pane, "org/gated")
    assert "accepted its terms" in shown(pane, "hub-problem").accessibleName()
    assert not shown(pane, "hub-download").isEnabled()
    field = pane.findChild(QLineEdit, "token-field")
    assert field.isVisible()
    assert field.echoMode() is QLineEdit.EchoMode.Password
    qtbot.keyClicks(field, "hf_wrongwrongwrong")
    press(qtbot, pane, "token-session")
    qtbot.waitUntil(lambda: shown(pane, "token-problem") is not None, timeout=WAIT_MS)
    assert token_text() == ""
    field.selectAll()
    qtbot.keyClicks(field, OUTSIDER)
    press(qtbot, pane, "token-session")
    qtbot.waitUntil(lambda: "no access" in (shown(pane, "hub-problem") or QWidget()).accessibleName(), timeout=WAIT_MS)
    qtbot.keyClicks(field, TOKEN)
    press(qtbot, pane, "token-keep")
    qtbot.waitUntil(lambda: shown(pane, "hub-problem") is None, timeout=WAIT_MS)
    assert list(own_keyring.kept.values()) == [TOKEN]
    assert field.text() == ""
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: desk.session.spec.model.base == "org/gated", timeout=WAIT_MS)
    stored = [asked for asked in hub.asked if asked.server == "store"]
    assert stored
    assert not any(asked.token for asked in stored), "the token goes to the hub only"
    press(qtbot, pane, "token-forget")
    qtbot.waitUntil(lambda: "No token" in shown(pane, "token-status").text(), timeout=WAIT_MS)
    assert own_keyring.kept == {}


def test_without_a_keyring_the_token_lasts_for_the_session(qtbot: Any, pane: Any, hub: HubServer) -> None:
    import keyring
    from keyring.backends.fail import Keyring

    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]  # theirs
    press(qtbot, pane, "hub-token")
    field = pane.findChild(QLineEdit, "token-field")
    qtbot.keyClicks(field, TOKEN)
    qtbot.waitUntil(lambda: not pane.findChild(QPushButton, "token-keep").isEnabled(), timeout=WAIT_MS)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: token_text() == TOKEN, timeout=WAIT_MS)


def test_offline_is_said_and_nothing_is_asked(
    qtbot: Any, page: Any, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    page.places.button("hub").click()
    qtbot.waitUntil(lambda: shown(page, "hub-search-problem") is not None, timeout=WAIT_MS)
    assert "HF_HUB_OFFLINE forbids it" in shown(page, "hub-search-problem").accessibleName()
    assert shown(page, "hub-search-again") is None
    assert hub.asked == []


def test_a_server_in_trouble_is_asked_again(qtbot: Any, page: Any, hub: HubServer, tiny: Model) -> None:
    hub.faults.answer["/api/models"] = (1, 503, {})
    page.places.button("hub").click()
    press(qtbot, page, "hub-search-again")
    qtbot.waitUntil(lambda: names(page) == ["org/tiny"], timeout=WAIT_MS)


def test_a_model_that_cannot_be_trained_is_not_offered(qtbot: Any, pane: Any, hub: HubServer) -> None:
    model = hub.add(whole_model("org/pickled"))
    del model.files["model.safetensors"]
    pane.hub.look_up("org/pickled")
    qtbot.waitUntil(lambda: shown(pane, "hub-problem") is not None, timeout=WAIT_MS)
    assert (
        "pickle" in shown(pane, "hub-problem").accessibleName() or "GGUF" in shown(pane, "hub-problem").accessibleName()
    )
    assert not shown(pane, "hub-download").isEnabled()


def test_results_survive_a_rebuild(qtbot: Any, pane: Any, hub: HubServer, open_page: Callable[[], Any]) -> None:
    choose(qtbot, pane, "org/tiny")
    before = len([asked for asked in hub.asked if asked.path == "/api/models"])
    again = open_page()
    assert names(again) == ["org/tiny", "org/sharded"]
    assert shown(again, "hub-name").full_text() == "org/tiny"
    assert len([asked for asked in hub.asked if asked.path == "/api/models"]) == before


def test_the_cache_is_where_other_tools_look(qtbot: Any, desk: Any, pane: Any, hub_home: Path) -> None:
    choose(qtbot, pane, "org/tiny")
    press(qtbot, pane, "hub-download")
    qtbot.waitUntil(lambda: desk.session.spec.model.base == "org/tiny", timeout=WAIT_MS)
    assert (hub_home / "hub" / "models--org--tiny" / "refs" / "main").is_file()
