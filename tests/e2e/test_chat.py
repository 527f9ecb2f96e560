"""A chat with real weights: streamed, cancelled, as base and tuned, over several turns, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.types import Message
from core.events.run_state import fold
from core.events.tail import EventTail
from core.events.types import ChatAnswer, ChatPiece, ChatReady, Completed
from core.paths import jobs_dir
from core.records import to_plain
from core.runs.chat import ChatSampling, ChatSession, ChatState, ChatUpdate
from core.runs.chat_protocol import Ask, append_request
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.process_record import read_process
from core.runs.process_tree import is_alive, kill
from core.runs.store import create_job
from core.runs.supervisor import Supervisor
from core.runs.targets import ChatTarget, base_of_run, target_of_model, tuned_of_run
from tests.e2e.real_runs import run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]

GREEDY = ChatSampling(max_new_tokens=24, temperature=0.0)
LONG = ChatSampling(max_new_tokens=7000, temperature=0.0)
QUESTION = "Define “Dog”."
ROOT = Path(__file__).resolve().parents[2]
WINDOW = """
import json, sys, time
from pathlib import Path
from core.data.types import Message
from core.records import from_plain
from core.runs.chat import ChatSampling, ChatSession
from core.runs.targets import ChatTarget
session = ChatSession(from_plain(ChatTarget, json.loads(Path(sys.argv[1]).read_text())))
session.start()
session.ask([Message("user", "Count to a thousand.")], "base", ChatSampling(max_new_tokens=8000, temperature=0.0))
print(session.log.parent, flush=True)
while True:
    session.poll()
    time.sleep(0.03)
"""


@pytest.fixture(scope="module")
def target(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> ChatTarget:
    """A run's result that answers unlike its base."""
    folder = tmp_path_factory.mktemp("chat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(folder / "home"))
        rows = write_rows(folder / "rows.jsonl", 24)
        finished = run_inside(short_starter, rows, training__learning_rate=0.01, training__sample_prompts=(QUESTION,))
        return tuned_of_run(finished.folder)


@pytest.fixture(scope="module")
def chat(target: ChatTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatSession]:
    """One engine for the tests that only ask it something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(tmp_path_factory.mktemp("chat-home")))
        session = ChatSession(target)
        session.start()
        try:
            until(session, lambda update: isinstance(update, ChatReady))
            yield session
        finally:
            session.close()


@pytest.fixture
def own_chat(target: ChatTarget) -> Iterator[ChatSession]:
    """An engine of the test's own, which it may end as it likes."""
    session = ChatSession(target)
    session.start()
    yield session
    session.close(grace_seconds=0.0)


def user(text: str) -> Message:
    return Message("user", text)


def until(session: ChatSession, done: Callable[[ChatUpdate], bool], seconds: float = 120.0) -> list[ChatUpdate]:
    seen: list[ChatUpdate] = []
    deadline = time.monotonic() + seconds
    while not any(done(update) for update in seen):
        assert time.monotonic() < deadline, f"only {seen}"
        seen += session.poll()
        time.sleep(0.01)
    return seen


def heard(session: ChatSession, request: str) -> tuple[ChatAnswer, list[ChatPiece]]:
    seen = until(session, lambda update: isinstance(update, ChatAnswer) and update.request == request)
    pieces = [update for update in seen if isinstance(update, ChatPiece) and update.request == request]
    return next(update for update in seen if isinstance(update, ChatAnswer) and update.request == request), pieces


def sample_job(target: ChatTarget, prompt: str) -> str:
    """What the job ``sample`` answers."""
    asked = {"prompts": [prompt], "max_new_tokens": GREEDY.max_new_tokens, "temperature": 0.0}
    supervisor = Supervisor(create_job("sample", {**target.arguments(), **asked}))
    supervisor.start()
    outcome = supervisor.wait()
    assert outcome.kind == "completed", outcome
    return supervisor.run_state.samples[0].text


def test_base_and_tuned_answer_from_the_same_weights_as_each_alone_would(chat: ChatSession, target: ChatTarget) -> None:
    assert target.variants == ("base", "tuned")
    assert target.prompts == (QUESTION,)
    tuned, pieces = heard(chat, chat.ask([user(QUESTION)], "tuned", GREEDY))
    base, _ = heard(chat, chat.ask([user(QUESTION)], "base", GREEDY))
    again, _ = heard(chat, chat.ask([user(QUESTION)], "tuned", GREEDY))
    assert "".join(piece.text for piece in pieces) == tuned.text != ""
    assert tuned.ended in ("end", "length")
    assert 0 < tuned.tokens <= 24
    assert 0 < tuned.first_token_seconds <= tuned.seconds
    assert tuned.prompt_tokens > 5
    assert again.text == tuned.text != base.text
    assert tuned.text == sample_job(target, QUESTION)
    assert base.text == sample_job(replace(target, adapter=None), QUESTION)


def test_the_whole_conversation_is_read_with_the_models_template(chat: ChatSession, short_starter: Path) -> None:
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(short_starter)
    first = [user(QUESTION)]
    second = [*first, Message("assistant", "A friend."), user("And a cat?")]
    for messages in (first, second, [Message("system", "You are a pirate."), *second]):
        answer, _ = heard(chat, chat.ask(messages, "base", GREEDY))
        turns = [{"role": message.role, "content": message.content} for message in messages]
        expected = reference.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert answer.prompt_tokens == len(expected)


def test_the_starter_answers_sense_and_remembers_what_was_said(starter: Path) -> None:
    session = ChatSession(target_of_model(str(starter)))
    session.start()
    try:
        talk = [user("What is the capital of France?")]
        first, pieces = heard(session, session.ask(talk, "base", GREEDY))
        talk += [Message("assistant", first.text), user("And the capital of Italy?")]
        second, _ = heard(session, session.ask(talk, "base", GREEDY))
    finally:
        session.close()
    assert "Paris" in first.text
    assert first.ended == "end"
    assert len(pieces) > 1
    assert "Rome" in second.text


def test_chance_obeys_its_seed(chat: ChatSession) -> None:
    free = ChatSampling(max_new_tokens=16, temperature=1.5, top_p=0.9, top_k=50, repetition_penalty=1.1, seed=7)
    first, again, other = (
        heard(chat, chat.ask([user(QUESTION)], "tuned", settings))[0].text
        for settings in (free, free, replace(free, seed=8))
    )
    assert first == again != other


def test_an_answer_is_cancelled_within_a_token_and_the_next_one_comes(chat: ChatSession) -> None:
    request = chat.ask([user("Count to a thousand.")], "base", LONG)
    until(chat, lambda update: isinstance(update, ChatPiece) and update.request == request)
    chat.cancel(request)
    answer, _ = heard(chat, request)
    assert answer.ended == "cancelled"
    assert 0 < answer.tokens < LONG.max_new_tokens // 2
    assert heard(chat, chat.ask([user(QUESTION)], "base", GREEDY))[0].ended in ("end", "length")


def test_what_cannot_be_answered_is_said_and_the_chat_goes_on(chat: ChatSession) -> None:
    answer, pieces = heard(chat, chat.ask([user("word " * 9000)], "base", GREEDY))
    assert (answer.ended, answer.text, pieces) == ("failed", "", [])
    assert "tokens long, and the model reads 8,192 at most" in answer.message
    assert answer.hint == "Begin a new conversation, or shorten this one."
    assert heard(chat, chat.ask([user(QUESTION)], "base", GREEDY))[0].text


def test_an_engine_killed_over_an_answer_is_told_with_its_words_so_far(own_chat: ChatSession) -> None:
    request = own_chat.ask([user("Count to a thousand.")], "base", LONG)
    until(own_chat, lambda update: isinstance(update, ChatPiece))
    assert own_chat.log is not None
    record = read_process(RunFolder(own_chat.log.parent))
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    seen = until(own_chat, lambda update: isinstance(update, Outcome))
    answer, outcome = seen[-2:]
    assert isinstance(answer, ChatAnswer)
    assert isinstance(outcome, Outcome)
    assert (answer.request, answer.ended) == (request, "failed")
    assert answer.text
    assert "SIGKILL" in answer.message
    assert outcome.kind == "crashed"


def test_closing_over_an_answer_ends_the_engine_politely(own_chat: ChatSession) -> None:
    own_chat.ask([user("Count to a thousand.")], "base", LONG)
    until(own_chat, lambda update: isinstance(update, ChatPiece))
    assert own_chat.log is not None
    folder = RunFolder(own_chat.log.parent)
    record = read_process(folder)
    own_chat.close()
    assert own_chat.outcome is not None
    assert (own_chat.outcome.kind, own_chat.outcome.message) == ("completed", "The chat was closed.")
    assert record is not None
    assert not is_alive(record.key)
    assert not folder.path.exists()


def test_the_engine_goes_when_its_window_is_killed(target: ChatTarget, tmp_path: Path) -> None:
    script = tmp_path / "window.py"
    script.write_text(WINDOW)
    (tmp_path / "target.json").write_text(json.dumps(to_plain(target)))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "target.json")], stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert process.stdout is not None
        folder = RunFolder(Path(process.stdout.readline().strip()))
        tail, seen = EventTail(folder.events()), []
        wait_for(lambda: bool(seen.extend(tail.read()) or any(isinstance(event.body, ChatPiece) for event in seen)))
    finally:
        process.kill()
        process.communicate()
    record = read_process(folder)
    assert record is not None
    try:
        wait_for(lambda: not is_alive(record.key), 20)
    finally:
        kill([record.key])
    last = [*seen, *tail.read()][-1].body
    assert isinstance(last, Completed)
    assert last.message == "The program that asked for the chat is gone."
    session = ChatSession(target)
    session.start()  # the next one tidies up
    session.close(grace_seconds=0.0)
    assert list(jobs_dir().iterdir()) == []


def test_an_engine_that_nobody_asks_puts_the_model_away(target: ChatTarget) -> None:
    session = ChatSession(target, idle_seconds=0.3)
    session.start()
    try:
        outcome = until(session, lambda update: isinstance(update, Outcome))[-1]
    finally:
        session.close()
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.hint) == ("completed", "")
    assert outcome.message == "Nobody asked anything for 0.3 s, so the model was put away."
    assert session.state is ChatState.ENDED


def talk_inside(target: ChatTarget, *asks: Ask) -> list[ChatAnswer]:
    """The engine's work in this process: answers what waits, and closes for want of more."""
    from core.engine.chat import chat
    from core.engine.context import JobContext

    arguments = {**target.arguments(), "idle_seconds": 0.2}
    folder = create_job("chat", arguments)
    for ask in asks:
        append_request(folder.chat_requests, ask)
    context = JobContext(folder)
    try:
        chat(context, arguments)
    finally:
        context.close()
    events = EventTail(folder.events()).read()
    assert isinstance(fold(events).ended, Completed)
    return [event.body for event in events if isinstance(event.body, ChatAnswer)]


def test_running_out_of_memory_or_breaking_over_one_question_leaves_the_next(
    target: ChatTarget, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from core.engine import chat as engine

    real, failures = engine.answer, [torch.OutOfMemoryError("CUDA out of memory"), ValueError("odd logits")]

    def answer(*arguments: object, **settings: object) -> object:
        if failures:
            raise failures.pop(0)
        return real(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "answer", answer)
    asks = [Ask(str(number), "tuned", (user(QUESTION),), GREEDY) for number in range(3)]
    no_memory, broken, fine = talk_inside(target, *asks)
    assert (no_memory.ended, no_memory.message) == ("failed", "The memory ran out while answering.")
    assert "shorten the conversation" in no_memory.hint
    assert (broken.ended, broken.message) == ("failed", "The engine failed unexpectedly: ValueError: odd logits")
    assert fine.ended in ("end", "length")
    assert "odd logits" in capsys.readouterr().err


def test_a_full_context_and_an_absent_variant_are_named(target: ChatTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.engine import chat as engine

    load = engine.load_respondent

    def short(arguments: dict) -> object:
        loaded = load(arguments)
        return replace(loaded, facts=replace(loaded.facts, context_length=50))

    monkeypatch.setattr(engine, "load_respondent", short)
    base = replace(target, adapter=None, tuned=False)
    full, absent = talk_inside(
        base, Ask("1", "base", (user("Count to a thousand."),), LONG), Ask("2", "tuned", (user(QUESTION),), GREEDY)
    )
    assert (full.ended, full.prompt_tokens + full.tokens) == ("context", 50)
    assert absent.ended == "failed"
    assert absent.message == "“tuned” cannot be asked here, where only base can."


def test_a_template_that_refuses_says_why(target: ChatTarget, tmp_path: Path) -> None:
    strict = tmp_path / "strict.jinja"
    strict.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    )
    messages = (Message("system", "Be brief."), user(QUESTION))
    refused, fine = talk_inside(
        replace(target, template=str(strict)),
        Ask("1", "tuned", messages, GREEDY),
        Ask("2", "tuned", messages[1:], GREEDY),
    )
    assert refused.ended == "failed"
    assert "System role not supported" in refused.message
    assert fine.ended != "failed"


def test_a_model_as_it_is_and_a_full_fine_tuning_have_one_voice(
    short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = target_of_model(str(short_starter))
    assert (plain.variants, plain.title, plain.adapter) == (("base",), "short-starter", None)
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    finished = run_inside(short_starter, rows, adapter__method="full", training__max_steps=2)
    tuned = tuned_of_run(finished.folder)
    assert (tuned.variants, tuned.model) == (("tuned",), finished.folder.adapter)
    assert base_of_run(finished.folder).variants == ("base",)
    (answer,) = talk_inside(tuned, Ask("1", "tuned", (user(QUESTION),), GREEDY))
    assert answer.ended in ("end", "length")


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
