"""Pages to talk on, with an engine that repeats what it hears, or with a real one; engines end with the test."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WAIT_MS = 60_000
FAKE = Path(__file__).parents[2] / "fakes" / "fake_chat_engine.py"


@pytest.fixture
def page(qtbot: Any, desk: Any) -> Iterator[Callable[..., Any]]:
    """Makes and shows the page when the runs have been looked at; ``fake`` is the mode of an engine without a model."""
    from core.runs.chat import ChatSession
    from core.runs.child_env import child_env
    from core.runs.launch import LaunchCommand
    from core.runs.layout import RunFolder
    from studio.pages.try_.page import TryPage
    from studio.workers.chat_thread import end_chats

    if os.name != "posix":
        pytest.skip("the fake engine's ways to die are POSIX signals")

    def make(fake: str = "ok") -> Any:
        def command(folder: RunFolder) -> LaunchCommand:
            return LaunchCommand((sys.executable, "-P", str(FAKE), str(folder.path), fake), child_env(), folder.path)

        made = TryPage(desk)
        qtbot.addWidget(made)
        chats = made.chats
        if fake:
            chats.engine.make_session = lambda target: ChatSession(target, command=command)
        made.resize(1112, 740)
        made.show()
        made.shown()
        if not desk.runs.known:
            desk.runs.begin()
        qtbot.waitUntil(lambda: chats.results.known, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: chats.choice is None or chats.cost is not None or chats.problems != (), timeout=WAIT_MS)
        return made

    yield make
    assert end_chats() == 0, "a chat did not end"
