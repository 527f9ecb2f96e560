"""Several who answer at once: on one engine or on their own, under their own names, and gone when they are gone."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.types import Message
from core.errors import UserError
from core.events.types import ChatAnswer, ChatPiece, ChatVoice
from core.paths import jobs_dir
from core.runs.chat import ChatSession, ChatUpdate
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.panel import Panel, shares_weights
from core.runs.targets import ChatTarget

FAKE = Path(__file__).parents[2] / "fakes" / "fake_chat_engine.py"
MAIN = ChatTarget("words", Path("/models/words"), Path("/runs/words/adapter"), True, "cpu", "fp32", "none", 1)
ADAPTER = replace(MAIN, title="other", adapter=Path("/runs/other/adapter"))
BASE = replace(MAIN, title="base", adapter=None, tuned=False)
MERGED = replace(MAIN, title="merged", model=Path("/exports/merged"), adapter=None)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")


@pytest.fixture
def panel() -> Iterator[Panel]:
    """A panel whose engines repeat what they hear."""

    def command(folder: RunFolder) -> LaunchCommand:
        return LaunchCommand((sys.executable, "-P", str(FAKE), str(folder.path), "ok"), child_env(), folder.path)

    made = Panel(MAIN, make=lambda target: ChatSession(target, command=command))
    made.start()
    yield made
    made.close()
    assert not list(jobs_dir().glob("chat-*"))


def said(text: str) -> list[Message]:
    return [Message("user", text)]


def until(panel: Panel, done: Callable[[ChatUpdate], bool]) -> list[ChatUpdate]:
    seen: list[ChatUpdate] = []
    deadline = time.monotonic() + 30.0
    while not any(done(update) for update in seen):
        assert time.monotonic() < deadline, f"only {seen}"
        seen += panel.poll()
        time.sleep(0.005)
    return seen


def test_who_shares_weights_with_whom() -> None:
    assert shares_weights(MAIN, ADAPTER)
    assert shares_weights(MAIN, BASE)
    assert shares_weights(BASE, ADAPTER)
    assert not shares_weights(MAIN, MERGED)
    assert not shares_weights(MAIN, replace(ADAPTER, whole=True)), "a full fine-tuning's state is no adapter"
    assert not shares_weights(replace(MAIN, whole=True), ADAPTER), "its base is not in memory"
    assert not shares_weights(MAIN, replace(MAIN, adapter=None)), "a tuned model in the base's place"


def test_an_adapter_joins_the_loaded_model_and_a_model_gets_an_engine(panel: Panel) -> None:
    adapter, merged = panel.add(ADAPTER), panel.add(MERGED)
    assert panel.add(BASE) == "base"
    assert len(list(jobs_dir().glob("chat-*"))) == 2
    asked = {name: panel.ask(said(f"I am {name}"), name) for name in ("base", "tuned", adapter, merged)}
    assert len(set(asked.values())) == 4
    answers: dict[str, ChatAnswer] = {}
    pieces: dict[str, str] = dict.fromkeys(asked.values(), "")
    ready: set[str] = set()
    deadline = time.monotonic() + 30.0
    while len(answers) < 4:
        assert time.monotonic() < deadline, answers
        for update in panel.poll():
            if isinstance(update, ChatAnswer):
                answers[update.request] = update
            elif isinstance(update, ChatPiece):
                pieces[update.request] += update.text
            elif isinstance(update, ChatVoice):
                assert update.state == "ready"
                ready.add(update.voice)
        time.sleep(0.005)
    assert ready == {adapter, merged}
    for name, request in asked.items():
        assert (answers[request].voice, answers[request].text) == (name, f"I am {name}")
        assert pieces[request] == f"I am {name}"


def test_who_leaves_takes_its_engine_along(panel: Panel) -> None:
    adapter, merged = panel.add(ADAPTER), panel.add(MERGED)
    until(panel, lambda update: isinstance(update, ChatVoice) and update.voice == merged)
    panel.remove(adapter)
    until(panel, lambda update: update == ChatVoice(adapter, "gone", 0.1))
    panel.remove(merged)
    deadline = time.monotonic() + 30.0
    while len(list(jobs_dir().glob("chat-*"))) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    panel.remove("voice-9")  # nobody
    until_answered = panel.ask(said("still here"), "tuned")
    until(panel, lambda update: isinstance(update, ChatAnswer) and update.request == until_answered)


def test_one_answer_is_cancelled_and_not_the_others(panel: Panel) -> None:
    merged = panel.add(MERGED)
    long = " ".join(["slow"] * 400)
    first, second = panel.ask(said(long), "tuned"), panel.ask(said(long), merged)
    until(panel, lambda update: isinstance(update, ChatPiece) and update.request == second)
    panel.cancel(second)
    seen = until(panel, lambda update: isinstance(update, ChatAnswer))
    (cancelled,) = (update for update in seen if isinstance(update, ChatAnswer))
    assert (cancelled.request, cancelled.ended, cancelled.voice) == (second, "cancelled", merged)
    panel.cancel(first)
    seen = until(panel, lambda update: isinstance(update, ChatAnswer))
    assert [update.request for update in seen if isinstance(update, ChatAnswer)] == [first]


def test_a_guest_that_dies_is_told_and_the_main_one_lives(panel: Panel) -> None:
    merged = panel.add(MERGED)
    request = panel.ask(said("now die"), merged)
    seen = until(panel, lambda update: isinstance(update, ChatVoice) and update.state == "gone")
    (unanswered,) = (update for update in seen if isinstance(update, ChatAnswer))
    assert (unanswered.request, unanswered.ended, unanswered.voice) == (request, "failed", merged)
    (gone,) = (update for update in seen if isinstance(update, ChatVoice) and update.state == "gone")
    assert gone.voice == merged
    assert gone.message
    assert panel.outcome is None
    still = panel.ask(said("hello"), "tuned")
    until(panel, lambda update: isinstance(update, ChatAnswer) and update.request == still)


def test_with_the_main_one_everybody_goes(panel: Panel) -> None:
    panel.add(MERGED)
    panel.ask(said("die"), "tuned")
    until(panel, lambda update: isinstance(update, Outcome))
    assert panel.outcome is not None
    with pytest.raises(UserError):
        panel.add(ADAPTER)
    panel.close()
    assert not list(jobs_dir().glob("chat-*"))
