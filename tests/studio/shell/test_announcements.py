"""Ends of long work are told outside the window, and only there where nobody sees the window."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QWidget

from core.runs.outcome import Outcome
from core.runs.queue import Entry, Queue
from studio.pages.settings.appearance import AppearanceCard
from studio.shell import desktop_message
from studio.shell.announcements import Announcements
from studio.shell.desktop_message import DesktopMessages
from studio.state.downloads import Arrival, arrivals
from studio.state.queue import Snapshot

SPEAKER = """#!{python}
import json, sys
with open({heard!r}, "a") as heard:
    print(json.dumps(sys.argv[1:]), file=heard)
"""
FINISHED = Outcome("completed", "Trained 300 steps.")
FAILED = Outcome("failed", "The memory ran out.", "Take fewer tokens a pass.")


class Ear:
    """What the desktop was given, each as (title, text)."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def heard(self) -> list[tuple[str, str]]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [tuple(json.loads(line)[-2:]) for line in lines]


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ear:
    """A desktop whose own program for messages writes them down."""
    program, heard = tmp_path / "notify-send", tmp_path / "heard.jsonl"
    program.write_text(SPEAKER.format(python=sys.executable, heard=str(heard)))
    program.chmod(0o755)
    monkeypatch.setattr(desktop_message, "speaker", lambda: str(program))
    return Ear(heard)


@pytest.fixture
def away(qtbot: Any) -> None:
    """Another program is in front."""
    qtbot.waitUntil(lambda: QApplication.activeWindow() is None)


def announcing(desk: Any) -> Announcements:
    return Announcements(desk, lambda: None)


def end(desk: Any, outcome: Outcome) -> None:
    desk.runs.current = SimpleNamespace(name="poems-7", outcome=outcome, is_live=False, leave=lambda: None)
    desk.runs.current_ended.emit()
    desk.runs.current = None


def stand(desk: Any, state: str, *entries: Entry) -> None:
    desk.queue.now = Snapshot(Queue(entries), state)  # type: ignore[arg-type]
    desk.queue.changed.emit()


def entry(state: str, ended: float) -> Entry:
    return Entry(Path("runs") / state, state, began=ended - 1, ended=ended)  # type: ignore[arg-type]


@pytest.mark.usefixtures("away")
def test_the_end_of_a_training_is_told_outside_the_window(qtbot: Any, desk: Any, ear: Ear) -> None:
    _kept = announcing(desk)
    end(desk, FINISHED)
    qtbot.waitUntil(lambda: ear.heard == [("poems-7: Completed", "Trained 300 steps.")])
    end(desk, FAILED)
    qtbot.waitUntil(lambda: len(ear.heard) == 2)
    assert ear.heard[1] == ("poems-7: Failed", "The memory ran out. Take fewer tokens a pass.")


def test_nothing_is_told_to_somebody_who_looks_at_the_window(qtbot: Any, desk: Any, ear: Ear) -> None:
    _kept = announcing(desk)
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window)
    end(desk, FINISHED)
    window.hide()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is None)
    end(desk, FAILED)
    qtbot.waitUntil(lambda: ear.heard != [])
    assert [title for title, _ in ear.heard] == ["poems-7: Failed"]


@pytest.mark.usefixtures("away")
def test_nothing_is_told_to_somebody_who_does_not_want_it(qtbot: Any, desk: Any, ear: Ear) -> None:
    _kept = announcing(desk)
    card = AppearanceCard(desk)
    qtbot.addWidget(card)
    assert card.announce.isChecked()
    card.announce.click()
    assert not desk.preferences.now.announce
    end(desk, FAILED)
    card.announce.click()
    end(desk, FINISHED)
    qtbot.waitUntil(lambda: ear.heard != [])
    assert [title for title, _ in ear.heard] == ["poems-7: Completed"]


@pytest.mark.usefixtures("away")
def test_the_queue_tells_of_its_runs_at_its_end_and_of_failures_at_once(qtbot: Any, desk: Any, ear: Ear) -> None:
    _kept = announcing(desk)
    before, soon = time.time() - 60, time.time() + 60
    stand(desk, "going", entry("failed", before))
    end(desk, FINISHED)
    end(desk, FAILED)
    qtbot.waitUntil(lambda: [title for title, _ in ear.heard] == ["poems-7: Failed"])
    stand(desk, "empty", entry("failed", before), *[entry(state, soon) for state in ("done", "done", "skipped")])
    qtbot.waitUntil(lambda: len(ear.heard) == 2)
    assert ear.heard[1] == ("The queue is done.", "2 runs have ended. One failed or was skipped.")
    stand(desk, "going")
    stand(desk, "interrupted")
    qtbot.waitUntil(lambda: len(ear.heard) == 3)
    assert ear.heard[2][0] == "The queue broke off."


@pytest.mark.usefixtures("away")
def test_a_queue_that_is_paused_or_only_found_is_no_news(qtbot: Any, desk: Any, ear: Ear) -> None:
    _kept = announcing(desk)
    stand(desk, "interrupted")  # found so at the start, and told inside the window
    stand(desk, "empty")
    stand(desk, "going")
    stand(desk, "pausing")
    stand(desk, "paused")
    end(desk, FINISHED)
    qtbot.waitUntil(lambda: ear.heard != [])
    assert [title for title, _ in ear.heard] == ["poems-7: Completed"]


def test_what_arrives_is_announced_and_what_does_not_with_the_reason(desk: Any) -> None:
    told: list[tuple[str, str]] = []
    desk.announced.connect(lambda *words: told.append(words))
    from core.errors import error

    for state, problems in (("done", ()), ("failed", (error("", "The disk is full.", ""),)), ("stopped", ())):
        arrival = Arrival("download", "org/tiny", "org/tiny", lambda: None)
        arrival.state, arrival.problems = state, problems  # type: ignore[assignment]
        arrivals(desk)._moved(arrival)
    assert told == [("org/tiny is here.", ""), ("org/tiny did not arrive.", "The disk is full.")]


def test_a_text_is_no_markup(qtbot: Any, ear: Ear) -> None:
    assert DesktopMessages().show("--help", "<b>5 < 6</b> & “more”")
    qtbot.waitUntil(lambda: ear.heard == [("--help", "&lt;b&gt;5 &lt; 6&lt;/b&gt; &amp; “more”")])


def test_where_nothing_shows_messages_nothing_happens(qapp: Any) -> None:
    assert desktop_message.speaker() == ""
    assert DesktopMessages().show("poems-7: Completed", "") is False
