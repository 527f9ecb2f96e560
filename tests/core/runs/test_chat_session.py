"""The client's side of a chat, with an engine that has no model: what is asked, told, cancelled and lost."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.data.types import Message
from core.errors import UserError
from core.events.types import ChatAnswer, ChatPiece, ChatReady, PhaseStarted
from core.paths import jobs_dir
from core.runs.chat import ChatSampling, ChatSession, ChatState, ChatUpdate, clear_leftovers
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.process_record import living_process, read_process
from core.runs.process_tree import is_alive
from core.runs.store import create_job
from core.runs.targets import ChatTarget

FAKE = Path(__file__).parents[2] / "fakes" / "fake_chat_engine.py"
TARGET = ChatTarget(
    title="words",
    model=Path("/models/words"),
    adapter=Path("/runs/words/adapter"),
    tuned=True,
    device="cpu",
    compute_dtype="fp32",
    quantization="none",
    threads=1,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")
Sessions = Callable[..., ChatSession]


@pytest.fixture
def session() -> Iterator[Sessions]:
    """Starts sessions, which end with the test."""
    made: list[ChatSession] = []

    def start(mode: str = "ok") -> ChatSession:
        def command(folder: RunFolder) -> LaunchCommand:
            return LaunchCommand((sys.executable, "-P", str(FAKE), str(folder.path), mode), child_env(), folder.path)

        made.append(ChatSession(TARGET, command=command))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close(grace_seconds=0.0)


def said(text: str) -> list[Message]:
    return [Message("user", text)]


def until(session: ChatSession, done: Callable[[ChatUpdate], bool], seconds: float = 30.0) -> list[ChatUpdate]:
    """Everything up to an update."""
    seen: list[ChatUpdate] = []
    deadline = time.monotonic() + seconds
    while not any(done(update) for update in seen):
        assert time.monotonic() < deadline, f"only {seen}"
        seen += session.poll()
        time.sleep(0.005)
    return seen


def answer(session: ChatSession, request: str) -> ChatAnswer:
    seen = until(session, lambda update: isinstance(update, ChatAnswer) and update.request == request)
    return next(update for update in seen if isinstance(update, ChatAnswer) and update.request == request)


def test_it_loads_answers_in_pieces_and_leaves_nothing_behind(session: Sessions) -> None:
    chat = session()
    assert chat.state is ChatState.LOADING
    request = chat.ask(said("one two three"), "base")
    seen = until(chat, lambda update: isinstance(update, ChatAnswer))
    kinds = [type(update) for update in seen]
    assert kinds == [PhaseStarted, ChatReady, ChatPiece, ChatPiece, ChatPiece, ChatAnswer]
    last = seen[-1]
    assert isinstance(last, ChatAnswer)
    assert (last.request, last.voice, last.text, last.ended) == (request, "base", "one two three", "end")
    assert "".join(update.text for update in seen if isinstance(update, ChatPiece)) == last.text
    assert last.tokens_per_second == pytest.approx(20.0)
    assert chat.state is ChatState.READY
    assert chat.log is not None
    folder = RunFolder(chat.log.parent)
    record = read_process(folder)
    chat.close()
    chat.close()
    assert chat.state is ChatState.ENDED
    assert chat.outcome is not None
    assert chat.outcome.message == "The chat was closed."
    assert record is not None
    assert not is_alive(record.key)
    assert list(jobs_dir().iterdir()) == []


def test_questions_wait_their_turn_and_one_can_be_cancelled(session: Sessions) -> None:
    chat = session()
    long, cut, short = chat.ask(said("slow " * 20)), chat.ask(said("never said")), chat.ask(said("last"))
    until(chat, lambda update: isinstance(update, ChatPiece))
    assert chat.state is ChatState.ANSWERING
    chat.cancel(cut)
    chat.cancel(long)
    seen = until(chat, lambda update: isinstance(update, ChatAnswer) and update.request == short)
    answers = {update.request: update for update in seen if isinstance(update, ChatAnswer)}
    assert list(answers) == [long, cut, short]
    assert answers[long].ended == "cancelled"
    assert 0 < answers[long].tokens < 20
    assert (answers[short].ended, answers[short].text) == ("end", "last")
    chat.cancel(short)  # too late, and no harm


def test_an_engine_that_dies_over_an_answer_says_so_with_what_it_had_said(session: Sessions) -> None:
    chat = session()
    first, second = chat.ask(said("I shall die now")), chat.ask(said("unheard"), "base")
    seen = until(chat, lambda update: isinstance(update, Outcome))
    broken, unheard, outcome = seen[-3:]
    assert isinstance(broken, ChatAnswer)
    assert isinstance(unheard, ChatAnswer)
    assert isinstance(outcome, Outcome)
    assert (broken.request, broken.text, broken.ended) == (first, "I shall die", "failed")
    assert (unheard.request, unheard.text, unheard.voice) == (second, "", "base")
    assert "SIGKILL" in broken.message
    assert broken.hint
    assert (outcome.kind, outcome.message) == ("crashed", broken.message)
    assert chat.state is ChatState.ENDED
    assert chat.poll() == []
    with pytest.raises(UserError, match="SIGKILL"):
        chat.ask(said("anybody there?"))


def test_a_model_that_cannot_be_loaded_is_told_in_the_engines_words(session: Sessions) -> None:
    chat = session("no_model")
    request = chat.ask(said("hello"))
    assert answer(chat, request).message == "The base model could not be loaded."
    assert chat.outcome is not None
    assert chat.outcome.title == "The base model could not be loaded"


def test_an_engine_that_does_not_listen_is_ended_by_force(session: Sessions) -> None:
    chat = session()
    chat.ask(said("hang"))
    until(chat, lambda update: isinstance(update, ChatPiece))
    began = time.monotonic()
    chat.close(grace_seconds=0.2)
    assert time.monotonic() - began < 5
    assert chat.outcome is not None
    assert chat.outcome.kind == "stopped"
    assert list(jobs_dir().iterdir()) == []


def test_what_cannot_be_asked_is_refused_at_once(session: Sessions) -> None:
    chat = session()
    for messages in ([], said("  "), [*said("hello"), Message("assistant", "Hello.")], said("half \ud83d")):
        with pytest.raises(UserError):
            chat.ask(messages)
    with pytest.raises(UserError, match="temperature is 11, and 0 to 10"):
        chat.ask(said("hello"), sampling=ChatSampling(temperature=11))
    assert answer(chat, chat.ask(said("still here"))).text == "still here"


def test_before_the_start_and_after_the_end(session: Sessions) -> None:
    chat = ChatSession(TARGET)
    assert (chat.state, chat.poll(), chat.log) == (ChatState.IDLE, [], None)
    with pytest.raises(UserError, match="not loaded"):
        chat.ask(said("hello"))
    chat.close()
    other = session()
    other.close()
    with pytest.raises(UserError, match="closed"):
        other.ask(said("hello"))
    with pytest.raises(RuntimeError):
        other.start()


def test_only_chats_that_nobody_needs_are_cleared_away(session: Sessions) -> None:
    mine = session()
    assert mine.log is not None
    arguments = {**TARGET.arguments(), "owner_pid": 2**22 + 1, "owner_birth": "long ago"}
    left, other = create_job("chat", arguments), create_job("sample", arguments)
    strange = shutil.copytree(left.path, left.path.with_name("chat-strange"))
    (strange / "job.json").write_text("{")
    assert living_process(left) is None
    clear_leftovers()
    assert not left.path.exists()
    assert other.path.exists()
    assert strange.exists()
    assert mine.log.parent.exists()


def test_an_engine_that_cannot_be_launched_leaves_no_folder() -> None:
    nowhere = ("/no/such/program",)
    chat = ChatSession(TARGET, command=lambda folder: LaunchCommand(nowhere, child_env(), folder.path))
    with pytest.raises(UserError, match="could not be started"):
        chat.start()
    assert list(jobs_dir().iterdir()) == []
