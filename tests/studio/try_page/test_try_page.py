"""Talking to a model in the window, with the real engine and the real starter model."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from core.runs.process_tree import family
from studio.pages.try_.page import TryPage
from studio.pages.try_.reply_view import ReplyView
from studio.state.chats import Phase, chats_of
from studio.workers.job_thread import end_jobs
from tests.studio.finished_run import finished_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]
WAIT = 90_000


@pytest.fixture
def page(qtbot: Any, desk: Any, starter_home: Path, starter: Path) -> Iterator[TryPage]:
    """The page with a run that has a result; its engine is ended afterwards."""
    finished_run(starter, training__sample_prompts=("Say a word.",))
    made = TryPage(desk)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    made.shown()
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made.chats.choice is not None, timeout=WAIT)
    yield made
    made.chats.unload()
    qtbot.waitUntil(lambda: made.chats.phase is Phase.EMPTY, timeout=WAIT)
    made.close_page()
    end_jobs(10_000)


def load(qtbot: Any, page: TryPage, tokens: int = 12) -> None:
    from dataclasses import replace

    page.chats.sampling = replace(page.chats.sampling, max_new_tokens=tokens, temperature=0.0)
    qtbot.mouseClick(page.findChild(QPushButton, "load"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.chats.phase is Phase.READY, timeout=WAIT)


def ask(qtbot: Any, page: TryPage, text: str) -> None:
    qtbot.keyClicks(page.prompt.field, text)
    qtbot.keyClick(page.prompt.field, Qt.Key.Key_Return)


def answered(qtbot: Any, page: TryPage) -> None:
    qtbot.waitUntil(lambda: bool(page.chats.conversation.turns) and not page.chats.conversation.is_open, timeout=WAIT)


@pytest.mark.timeout(300)
def test_both_models_answer_side_by_side_streamed_and_the_talk_can_be_kept(
    qtbot: Any, desk: Any, page: TryPage, tmp_path: Path
) -> None:
    load(qtbot, page)
    lengths: list[int] = []
    page.chats.moved.connect(lambda replies: lengths.extend(len(reply.text) for reply in replies))
    ask(qtbot, page, "Say hello.")
    answered(qtbot, page)
    replies = page.chats.conversation.turns[0].replies
    assert set(replies) == {"base", "tuned"}
    assert replies["base"].text
    assert replies["base"].text != replies["tuned"].text, "the adapter of this test changes what is said"
    assert len(set(lengths)) > 3, "the text came piece by piece"
    assert replies["base"].speed
    views = {view.objectName() for view in page.findChildren(ReplyView)}
    assert views == {"reply-base", "reply-tuned"}
    # a second turn, then the file
    ask(qtbot, page, "And again.")
    qtbot.waitUntil(lambda: len(page.chats.conversation.turns) == 2, timeout=WAIT)
    answered(qtbot, page)
    kept = tmp_path / "talk.json"
    page.save(kept)
    qtbot.waitUntil(kept.exists, timeout=WAIT)
    text = json.dumps(json.loads(kept.read_text("utf-8")), ensure_ascii=False)
    assert "Say hello." in text
    assert "And again." in text


@pytest.mark.timeout(300)
def test_stop_ends_an_answer_and_a_killed_engine_is_said(qtbot: Any, desk: Any, page: TryPage) -> None:
    page.chats.choose_mode("base")
    load(qtbot, page, tokens=400)
    ask(qtbot, page, "Count from one to five hundred.")
    qtbot.waitUntil(lambda: any(reply.tokens > 3 for reply in page.chats.conversation.replies()), timeout=WAIT)
    page.chats.cancel()
    answered(qtbot, page)
    reply = page.chats.conversation.turns[0].replies["base"]
    assert reply.ended == "cancelled"
    assert reply.text
    assert page.chats.phase is Phase.READY, "the model stays loaded"
    ask(qtbot, page, "Count again.")
    qtbot.waitUntil(lambda: len(page.chats.conversation.turns) == 2, timeout=WAIT)
    qtbot.waitUntil(lambda: page.chats.conversation.turns[1].replies["base"].tokens > 1, timeout=WAIT)
    [engine] = [key for key in family_of_this() if key.pid != os.getpid()]
    os.kill(engine.pid, signal.SIGKILL)
    answered(qtbot, page)
    assert page.chats.conversation.turns[1].replies["base"].ended == "failed"
    qtbot.waitUntil(lambda: page.chats.phase is Phase.EMPTY, timeout=WAIT)
    assert page.chats.conversation.notice is not None
    assert page.chats.conversation.notice.kind == "crashed"


def family_of_this() -> list[Any]:
    """The engine processes that this one has started."""
    import psutil

    from core.runs.process_tree import identify

    children = psutil.Process().children()
    keys = [identify(child.pid) for child in children if "core.engine" in " ".join(child.cmdline())]
    found = [key for key in keys if key is not None]
    assert all(family(key) for key in found)
    return found


@pytest.mark.timeout(300)
def test_unloading_ends_the_process(qtbot: Any, desk: Any, page: TryPage) -> None:
    page.chats.choose_mode("base")
    load(qtbot, page)
    assert len(family_of_this()) == 1
    page.findChild(QPushButton, "load").click()
    qtbot.waitUntil(lambda: page.chats.phase is Phase.EMPTY, timeout=WAIT)
    assert family_of_this() == []


def test_the_runs_own_prompts_are_offered(qtbot: Any, desk: Any, page: TryPage) -> None:
    assert chats_of(desk) is page.chats
    qtbot.waitUntil(lambda: "Say a word." in page.chats.prompts, timeout=WAIT)


def test_nobody_to_talk_to_is_said(qtbot: Any, desk: Any) -> None:
    made = TryPage(desk)
    qtbot.addWidget(made)
    made.show()
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made._empty.isVisibleTo(made), timeout=WAIT)
    assert made.chats.choice is None
