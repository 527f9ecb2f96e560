"""“From Hugging Face” on the Data page: looked up, subset and part chosen, downloaded with progress, added, refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel, QProgressBar, QPushButton, QWidget

from core.data.hub_files import find_hub_data
from core.hub.token import use_for_session
from studio.pages.data.page import DataPage
from studio.widgets.basics import ProblemNote
from tests.core.hub.conftest import hub, hub_home, own_keyring
from tests.core.hub.hub_server import COMMIT, TOKEN, HubServer, Model
from tests.core.hub.test_hub_datasets import data_set, rows
from tests.studio.data.opened_page import opened

__all__ = ["hub", "hub_home", "own_keyring"]

WAIT_MS = 30_000
TWO = {
    "license": "mit",
    "configs": [
        {"config_name": "en", "default": True, "data_files": [{"split": "train", "path": "en.jsonl"}]},
        {
            "config_name": "de",
            "data_files": [{"split": "train", "path": "de.jsonl"}, {"split": "validation", "path": "held.jsonl"}],
        },
    ],
}


@pytest.fixture(autouse=True)
def _jobs_end(qapp: Any) -> Iterator[None]:
    """No engine outlives its test."""
    from studio.workers.job_thread import end_jobs

    yield
    assert end_jobs() == 0, "a job did not end"


@pytest.fixture
def page(qtbot: Any, desk: Any, hub: HubServer) -> Iterator[DataPage]:
    hub.add(
        Model(
            "org/two", {"en.jsonl": rows(30_000), "de.jsonl": rows(9), "held.jsonl": rows(5)}, kind="dataset", card=TWO
        )
    )
    hub.add(data_set())
    yield from opened(qtbot, desk)


def shown(page: DataPage, name: str, kind: type[Any] = QWidget) -> Any:
    return next((found for found in page.findChildren(kind, name) if found.isVisible()), None)


def press(qtbot: Any, page: DataPage, name: str) -> None:
    qtbot.waitUntil(lambda: shown(page, name) is not None and shown(page, name).isEnabled(), timeout=WAIT_MS)
    qtbot.mouseClick(shown(page, name), Qt.MouseButton.LeftButton)


def look(qtbot: Any, page: DataPage, name: str) -> None:
    """Types a name as a person does, and waits for the answer."""
    field = page.files.hub.field
    field.clear()
    qtbot.keyClicks(field, name)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.files.hub._asking is None, timeout=WAIT_MS)
    qtbot.wait(1)  # what was found is shown in the next turn of the event loop


def pick(page: DataPage, name: str, text: str) -> None:
    chooser = shown(page, name, QComboBox)
    chooser.setCurrentText(text)
    chooser.activated.emit(chooser.currentIndex())


def texts(page: DataPage, name: str) -> list[str]:
    chooser = shown(page, name, QComboBox)
    return [chooser.itemText(place) for place in range(chooser.count())]


def go(page: DataPage) -> QPushButton:
    found: QPushButton = shown(page, "hub-add-go")
    return found


def test_nothing_is_asked_before_somebody_looks(qtbot: Any, page: DataPage, hub: HubServer) -> None:
    press(qtbot, page, "choose-hub")
    assert page.files.hub.field.hasFocus()
    qtbot.keyClicks(page.files.hub.field, "org/two")
    qtbot.wait(300)
    assert hub.asked == []
    press(qtbot, page, "hub-add-close")
    assert not page.files.hub.isVisible()


def test_a_part_is_downloaded_and_added(qtbot: Any, page: DataPage, desk: Any, hub: HubServer) -> None:
    press(qtbot, page, "choose-hub")
    look(qtbot, page, "org/two")
    assert "licence mit" in shown(page, "hub-add-facts").text()
    assert texts(page, "hub-add-config") == ["en", "de"]
    assert "to download" in shown(page, "hub-add-size").text()
    hub.faults.delay = 0.02
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: shown(page, "arrival-dataset") is not None, timeout=WAIT_MS)
    assert not go(page).isEnabled()
    bar = shown(page, "arrival-dataset").findChild(QProgressBar)
    qtbot.waitUntil(lambda: bar.maximum() > 0 and bar.value() > 0, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bool(desk.session.spec.data.train), timeout=WAIT_MS)
    name = f"hf:org/two/en:train@{COMMIT}"
    assert desk.session.spec.data.train == (name,)
    assert find_hub_data(name).files[0].read_bytes() == rows(30_000)
    assert (go(page).text(), go(page).isEnabled()) == ("Added", False)
    assert desk.preferences.now.recent_data[0] == name
    qtbot.waitUntil(lambda: page.rows.model.rowCount() > 0, timeout=WAIT_MS)
    (chip,) = page.files._train.chips
    assert chip.accessibleName().startswith("org/two/en:train@0123456")


def test_a_stopped_download_goes_on(qtbot: Any, page: DataPage, desk: Any, hub: HubServer) -> None:
    press(qtbot, page, "choose-hub")
    look(qtbot, page, "org/two")
    hub.faults.delay = 0.05
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: shown(page, "arrival-dataset") is not None, timeout=WAIT_MS)
    bar = shown(page, "arrival-dataset").findChild(QProgressBar)
    qtbot.waitUntil(lambda: bar.value() > 300, timeout=WAIT_MS)
    press(qtbot, page, "arrival-cancel")
    qtbot.waitUntil(lambda: shown(page, "arrival-dataset") is None, timeout=WAIT_MS)
    assert desk.session.spec.data.train == ()
    assert go(page).text().startswith("Go on and add")
    hub.faults.delay = 0
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: bool(desk.session.spec.data.train), timeout=WAIT_MS)
    assert hub.contents("en.jsonl")[-1].range


def test_validation_gets_the_part_of_that_name(qtbot: Any, page: DataPage, desk: Any) -> None:
    desk.session.edit("data.train", ("rows.jsonl",))
    press(qtbot, page, "hub-validation")
    look(qtbot, page, "org/two")
    pick(page, "hub-add-config", "de")
    assert shown(page, "hub-add-split", QComboBox).currentText() == "validation"
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: bool(desk.session.spec.data.validation), timeout=WAIT_MS)
    assert desk.session.spec.data.validation == (f"hf:org/two/de:validation@{COMMIT}",)
    desk.session.edit("data.validation", ())
    qtbot.waitUntil(lambda: go(page).text() == "Add to the files", timeout=WAIT_MS)
    press(qtbot, page, "hub-add-go")
    assert desk.session.spec.data.validation == (f"hf:org/two/de:validation@{COMMIT}",)


def test_an_address_of_a_part_chooses_it(qtbot: Any, page: DataPage, hub: HubServer) -> None:
    press(qtbot, page, "choose-hub")
    look(qtbot, page, f"{hub.address}/datasets/org/two/viewer/de/validation")
    chosen = [shown(page, name, QComboBox).currentText() for name in ("hub-add-config", "hub-add-split")]
    assert chosen == ["de", "validation"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no name", "is not the name of a data set"),
        ("org/none", "There is no data set “org/none”"),
        ("org/scripted", "program of its authors"),
    ],
)
def test_what_cannot_be_added(qtbot: Any, page: DataPage, hub: HubServer, name: str, words: str) -> None:
    hub.add(Model("org/scripted", {"scripted.py": b""}, kind="dataset"))
    press(qtbot, page, "choose-hub")
    look(qtbot, page, name)
    said = [
        found.text()
        for note in page.findChildren(ProblemNote, "hub-add-problem")
        for found in note.findChildren(QLabel)
    ]
    assert any(words in text for text in said), said
    assert go(page) is None


def test_terms_and_a_token(qtbot: Any, page: DataPage, desk: Any, hub: HubServer) -> None:
    hub.add(data_set("org/gated", gated="auto"))
    press(qtbot, page, "choose-hub")
    look(qtbot, page, "org/gated")
    assert not go(page).isEnabled()
    assert shown(page, "token-card") is not None
    use_for_session(TOKEN)
    shown(page, "token-card").changed.emit()
    qtbot.waitUntil(lambda: go(page) is not None and go(page).isEnabled(), timeout=WAIT_MS)
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: bool(desk.session.spec.data.train), timeout=WAIT_MS)


def test_a_disk_that_is_too_full(qtbot: Any, page: DataPage, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.pages.data import hub_add

    monkeypatch.setattr(hub_add, "_free_bytes", lambda: 1000)
    press(qtbot, page, "choose-hub")
    look(qtbot, page, "org/two")
    assert not go(page).isEnabled()
    assert any("are free on the disk" in found.text() for found in page.findChildren(QLabel))


def test_offline(qtbot: Any, page: DataPage, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    press(qtbot, page, "choose-hub")
    look(qtbot, page, "org/two")
    assert any("HF_HUB_OFFLINE forbids it" in found.text() for found in page.findChildren(QLabel))
    assert hub.asked == []


def test_the_page_shows_rows_of_a_data_set_that_is_here(qtbot: Any, page: DataPage, desk: Any, hub_home: Path) -> None:
    folder = hub_home / "hub" / "datasets--org--mine" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_bytes(rows(12))
    desk.session.edit("data.train", ("hf:org/mine",))
    qtbot.waitUntil(lambda: page.rows.model.rowCount() == 12, timeout=WAIT_MS)
    (chip,) = page.files._train.chips
    page.files._train.count({f"hf:org/mine/default:train@{COMMIT}": 12})  # the facts name what was read
    assert chip.accessibleName() == "org/mine, 12 rows"
    assert chip.toolTip() == f"hf:org/mine/default:train@{COMMIT}", "which commit that was"


def test_a_data_set_of_the_spec_that_is_not_here_is_fetched_and_shown(qtbot: Any, page: DataPage, desk: Any) -> None:
    name = f"hf:org/two/de:train@{COMMIT}"
    desk.session.edit("data.train", (name,))
    qtbot.waitUntil(
        lambda: any("is not on this computer" in item.message for item in page.rows.problems), timeout=WAIT_MS
    )
    press(qtbot, page, "hub-train")
    assert page.files.hub.field.text() == name
    press(qtbot, page, "hub-add-look")
    press(qtbot, page, "hub-add-go")
    qtbot.waitUntil(lambda: page.rows.model.rowCount() == 9, timeout=WAIT_MS)
    assert desk.session.spec.data.train == (name,)
