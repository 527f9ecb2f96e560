"""The Settings page as a person uses it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QLabel, QScrollArea, QWidget

from core import __version__
from core.runs import checkup
from core.runs.checkup import Finding, report_text
from studio.pages.settings.page import SettingsPage
from studio.state.shortcuts import SHORTCUTS

WAIT_MS = 60_000
FOUND = (
    Finding("ok", "Memory", "20.0 GiB free of 24.0 GiB"),
    Finding("warn", "GPU", "No NVIDIA GPU was found.", "Runs use the processor."),
)


@pytest.fixture(autouse=True)
def _no_hub_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make(qtbot: Any, desk: Any) -> Iterator[Any]:
    pages: list[SettingsPage] = []

    def open_page() -> SettingsPage:
        made = SettingsPage(desk)
        made.resize(840, 600)
        qtbot.addWidget(made)
        made.show()
        made.shown()
        pages.append(made)
        return made

    yield open_page
    for page in pages:
        page.close_page()


@pytest.fixture
def page(make: Any, desk: Any) -> SettingsPage:
    """The page with a check-up that has been done."""
    desk.memory["settings.findings"] = FOUND
    made: SettingsPage = make()
    return made


def click(qtbot: Any, page: QWidget, name: str) -> None:
    found = page.findChild(QWidget, name)
    assert found is not None, name
    qtbot.mouseClick(found, Qt.MouseButton.LeftButton)


def words(page: QWidget, name: str) -> str:
    found = page.findChild(QLabel, name)
    assert found is not None
    return found.text()


def texts(widget: QWidget) -> str:
    return "\n".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("language-zh_CN", "language", "zh_CN"),
        ("theme-dark", "theme", "dark"),
        ("text-size-1.3", "text_scale", 1.3),
    ],
)
def test_a_click_changes_a_preference_and_saves_it(
    qtbot: Any, desk: Any, page: SettingsPage, name: str, field: str, value: object
) -> None:
    with qtbot.waitSignal(desk.preferences.changed) as changed:
        click(qtbot, page, name)
    assert changed.args == [field]
    assert getattr(desk.preferences.now, field) == value
    assert field in desk.preferences.path.read_text("utf-8")


def test_the_system_language_is_no_language_of_its_own(qtbot: Any, desk: Any, page: SettingsPage) -> None:
    click(qtbot, page, "language-en")
    assert desk.preferences.now.language == "en"
    click(qtbot, page, "language-system")
    assert desk.preferences.now.language == ""


def test_motion_is_switched_with_the_space_bar(qtbot: Any, desk: Any, page: SettingsPage) -> None:
    switch = page.findChild(QWidget, "reduced-motion")
    switch.setFocus()
    qtbot.keyClick(switch, Qt.Key.Key_Space)
    assert desk.preferences.now.reduced_motion is True


def test_kept_tokens_are_shown_and_deleted(qtbot: Any, make: Any, desk: Any, lowrank_home: Path) -> None:
    desk.memory["settings.findings"] = FOUND
    folder = lowrank_home / "cache" / "tokens"
    folder.mkdir(parents=True)
    (folder / "a.tokens").write_bytes(b"x" * 3000)
    (folder / "note.txt").write_bytes(b"somebody's")
    page = make()
    qtbot.waitUntil(lambda: words(page, "size-tokens") == "3 KiB", timeout=WAIT_MS)
    click(qtbot, page, "clear-tokens")
    qtbot.waitUntil(lambda: words(page, "size-tokens") == "10 B", timeout=WAIT_MS)
    assert [path.name for path in folder.iterdir()] == ["note.txt"]


def test_folders_are_measured_and_opened(
    qtbot: Any, make: Any, desk: Any, lowrank_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.memory["settings.findings"] = FOUND
    run = lowrank_home / "runs" / "one"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_bytes(b"x" * 3000)
    (run / "again.jsonl").hardlink_to(run / "events.jsonl")
    (run / "elsewhere").symlink_to(Path(__file__))
    page = make()
    qtbot.waitUntil(lambda: "KiB" in words(page, "size-runs"), timeout=WAIT_MS)
    assert words(page, "size-runs") == "3 KiB"
    assert words(page, "size-exports") == "not made yet"
    assert "free on this disk" in words(page, "free-space")
    assert not page.findChild(QWidget, "open-exports").isEnabled()
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or True)
    click(qtbot, page, "open-runs")
    assert opened == [str(lowrank_home / "runs")]


def test_a_folder_that_cannot_be_opened_is_said(
    qtbot: Any, make: Any, desk: Any, lowrank_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.memory["settings.findings"] = FOUND
    (lowrank_home / "runs").mkdir(parents=True)
    page = make()
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda _url: False)
    with qtbot.waitSignal(desk.notified) as told:
        click(qtbot, page, "open-runs")
    assert told.args[0].text == "The folder cannot be opened here."


def test_the_findings_stand_with_word_and_remedy(page: SettingsPage) -> None:
    shown = texts(page.computer)
    for word in ("OK", "Memory", "20.0 GiB free of 24.0 GiB", "Notice", "No NVIDIA GPU was found.", "Runs use the"):
        assert word in shown
    assert words(page, "check-verdict") == "Runs can start here."


def test_something_bad_changes_the_verdict(make: Any, desk: Any) -> None:
    desk.memory["settings.findings"] = (Finding("bad", "PyTorch", "It cannot be used: broken.", "Set up again."),)
    page = make()
    assert words(page, "check-verdict") == "Something has to be mended before a run can start."
    assert "Problem" in texts(page.computer)


def test_the_report_is_copied_without_the_users_folder(qtbot: Any, desk: Any, page: SettingsPage) -> None:
    home = Path.home()
    text = report_text((Finding("ok", "Data folder", f"{home / 'x'}, 3 GiB free", f"See {home}."),))
    assert str(home) not in text
    assert "~" in text
    with qtbot.waitSignal(desk.notified):
        click(qtbot, page, "copy-report")
    assert QGuiApplication.clipboard().text() == report_text(FOUND)


def test_the_check_is_real_and_kept(qtbot: Any, make: Any, desk: Any) -> None:
    page = make()
    assert page.findChild(QWidget, "cancel-check").isVisibleTo(page)
    qtbot.waitUntil(lambda: bool(page.computer.findings), timeout=4 * WAIT_MS)  # three processes load PyTorch
    subjects = [finding.subject for finding in page.computer.findings]
    assert "PyTorch" in subjects
    assert "Starter model" in subjects
    assert page.findChild(QWidget, "check-again").isEnabled()
    again = make()
    assert [finding.subject for finding in again.computer.findings] == subjects
    assert not again.findChild(QWidget, "cancel-check").isVisibleTo(again)


def test_the_check_can_be_cancelled(qtbot: Any, make: Any, desk: Any) -> None:
    page = make()
    qtbot.wait(300)
    click(qtbot, page, "cancel-check")
    assert page.findChild(QWidget, "check-again").isEnabled()
    assert page.computer.findings == ()


def test_waiting_for_pytorch_ends_when_nobody_wants_the_answer() -> None:
    class EnoughError(Exception):
        pass

    calls: list[int] = []

    def on_wait() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise EnoughError

    with pytest.raises(EnoughError):
        checkup.check_all(on_wait)


def test_every_shortcut_is_listed(page: SettingsPage) -> None:
    shown = texts(page.keyboard)
    for shortcut in SHORTCUTS:
        assert shortcut.title in shown
    assert "Ctrl+1" in shown


def test_about_says_version_privacy_and_parts(qtbot: Any, page: SettingsPage) -> None:
    assert __version__ in words(page, "about-version")
    assert words(page, "about-privacy").startswith("Nothing is sent anywhere")
    parts = page.findChild(QWidget, "parts")
    assert not parts.isVisibleTo(page)
    click(qtbot, page, "show-parts")
    qtbot.waitUntil(lambda: "torch" in texts(parts), timeout=WAIT_MS)
    shown = texts(parts)
    assert "LGPL" in shown, "the licence of Qt's binding is named"
    assert "ISC" in shown
    click(qtbot, page, "show-parts")
    assert not parts.isVisibleTo(page)


def test_the_page_made_anew_is_where_it_was(qtbot: Any, make: Any, desk: Any) -> None:
    desk.memory["settings.findings"] = FOUND
    page = make()
    page.activateWindow()
    bar = page.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 200, timeout=WAIT_MS)
    page.findChild(QWidget, "check-again").setFocus()
    bar.setValue(180)
    page.close_page()
    page.hide()
    again = make()
    other = again.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: other.value() == 180, timeout=WAIT_MS)
    assert again.findChild(QWidget, "check-again").hasFocus()
