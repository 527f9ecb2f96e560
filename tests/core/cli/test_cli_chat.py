"""A conversation in the terminal: what is typed, what is printed, what is kept, and what is refused in words."""

import functools
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.cli import chat_room
from core.paths import jobs_dir
from core.runs.chat import ChatSession
from core.runs.child_env import child_env
from core.runs.conversation import read_conversation
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.panel import Panel
from core.runs.saved_states import checkpoint_path
from core.runs.targets import ChatTarget
from tests.studio.finished_run import finished_run

FAKE = Path(__file__).parents[2] / "fakes" / "fake_chat_engine.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")
Chat = Callable[..., Any]


@pytest.fixture
def chat(lowrank: Any, monkeypatch: pytest.MonkeyPatch, starter: Path, capsys: pytest.CaptureFixture[str]) -> Chat:
    """Types lines into ``lowrank chat words`` with an engine that repeats what it hears."""
    finished_run(starter, "words")
    finished_run(starter, "other")

    def call(*options: object, typed: str = "", mode: str = "ok", name: str = "words") -> Any:
        def command(folder: RunFolder) -> LaunchCommand:
            return LaunchCommand((sys.executable, "-P", str(FAKE), str(folder.path), mode), child_env(), folder.path)

        def make(target: ChatTarget) -> ChatSession:
            return ChatSession(target, command=command)

        monkeypatch.setattr(chat_room, "Panel", functools.partial(Panel, make=make))
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        said = lowrank("chat", name, *options)
        assert not list(jobs_dir().glob("chat-*")), "the engine's folder stayed"
        return said

    return call


def test_questions_are_answered_and_the_end_of_input_ends_it(chat: Chat) -> None:
    said = chat(typed="one two three\nfour\n")
    assert said.code == 0
    assert "> one two three\none two three\n3 tokens · 20.0 tokens/s · first token after 0.1 s\n" in said.out
    assert said.out.index("> four\nfour\n") > said.out.index("> one")
    assert "words on the processor" in said.out
    assert said.err == ""


def test_several_answer_under_their_names(chat: Chat) -> None:
    said = chat("--both", "--with", "other", typed="hello\n")
    assert said.code == 0
    assert "\nbase\nhello\n" in said.out
    assert "\nwords\nhello\n" in said.out
    assert "\nother\nhello\n" in said.out


def test_a_line_goes_on_behind_a_backslash(chat: Chat) -> None:
    said = chat("--json", typed="first \\\nsecond\nlast \\\n")
    assert [turn["prompt"] for turn in said.json["turns"]] == ["first \nsecond", "last \n"]


def test_commands_change_what_comes_next(chat: Chat, tmp_path: Path) -> None:
    kept, page = tmp_path / "talk.json", tmp_path / "talk.md"
    typed = f"""first
/again
/edit better
/system Be brief.
/set temperature 0.25
/set seed 7
second
/who
/with other
/ask other, base
third
/without other
fourth
/save {kept}
/save {page}
/quit
never asked
"""
    said = chat(typed=typed)
    assert (said.code, said.err) == (0, "")
    talk = read_conversation(kept)
    assert [turn.prompt for turn in talk.turns] == ["better", "second", "third", "fourth"]
    assert talk.system == "Be brief."
    assert [[reply.title or reply.voice for reply in turn.replies.values()] for turn in talk.turns] == [
        ["tuned"],
        ["tuned"],
        ["other", "base"],
        ["base"],
    ]
    assert talk.turns[1].replies["tuned"].seed == 7
    assert "  base\n* words\n" in said.out
    assert "> /set temperature 0.25\ntemperature 0.25, top_p " in said.out
    assert ", seed random\n" in said.out
    assert ", seed 7\n" in said.out
    assert "never asked" not in said.out
    assert "**You**\n\nthird" in page.read_text("utf-8")


def test_a_saved_conversation_goes_on(chat: Chat, tmp_path: Path) -> None:
    kept = tmp_path / "talk.json"
    assert chat("--save", kept, "--system", "Be brief.", typed="first\n").code == 0
    said = chat("--open", kept, "--json", typed="second\n/new\nthird\n/open " + str(kept) + "\nfourth\n")
    assert [turn["prompt"] for turn in said.json["turns"]] == ["first", "fourth"]
    assert said.json["system"] == "Be brief."
    assert said.json["exit_code"] == 0


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/agian", "Did you mean “/again”?"),
        ("/again", "Nothing has been asked yet."),
        ("/edit x", "Nothing has been asked yet."),
        ("/with", "Something is missing behind “/with”."),
        ("/set heat 1", "There is no setting “heat”."),
        ("/set temperature hot", "“hot” is not a number."),
        ("/set top_k 1.5", "“1.5” is not a whole number."),
        ("/set top_p 7", "top_p is 7, and 0.001 to 1 is possible."),
        ("/new now", "Nothing belongs behind “/new”."),
        ("/ask nobody", "Nobody here is called “nobody”."),
        ("/without base", "base stays as long as the chat."),
        ("/with nobody", "There is neither a run nor a model called “nobody”."),
        ("/save talk.txt", "A conversation is kept as JSON or Markdown, not as “.txt”."),
        ("/save nowhere/talk.md", "There is no folder"),
        ("/open nowhere.json", "cannot be read"),
    ],
)
def test_what_cannot_be_obeyed_is_said_and_the_chat_goes_on(chat: Chat, typed: str, words: str) -> None:
    said = chat(typed=f"{typed}\nhello\n")
    assert words in " ".join(said.err.split())
    assert "> hello\nhello\n" in said.out
    assert said.code == 0


def test_who_does_not_fit_on_the_model_is_named_and_the_others_answer(chat: Chat, starter: Path) -> None:
    finished_run(starter, "foreign")
    said = chat("--with", "foreign", typed="hello\n/who\n")
    assert "foreign: It is of another model." in said.err
    assert "> hello\nhello\n" in said.out
    assert "> /who\n  base\n* words\n" in said.out


def test_weights_of_its_own_say_their_cost_and_too_large_ones_are_refused(
    chat: Chat, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.runs import chat_cost

    finished_run(starter, "whole", adapter__method="full")
    said = chat("--with", "whole", typed="hello\n")
    assert "whole has weights of its own: a second model that takes about" in said.out
    assert "\nwhole\nhello\n" in said.out
    monkeypatch.setattr(chat_cost, "loading_cost", lambda target: chat_cost.LoadingCost(2**40, 2**30, target))
    refused = chat("--with", "whole", typed="hello\n")
    assert refused.code == 3
    assert "takes about 1.0 TiB, and only 1.0 GiB are free" in " ".join(refused.err.split())
    assert chat("--with", "whole", "--anyway", typed="hello\n").code == 0


def test_names_that_mean_nobody_end_before_anything_is_loaded(chat: Chat, tmp_path: Path) -> None:
    assert "neither a run nor a model" in chat(name="nobody").err
    assert "has no checkpoint of step 3" in chat(name="words@3").err
    assert "None is kept" in chat(name="words@3").err
    four = chat("--both", "--with", "other", "--with", "other")
    assert (four.code, "4 were to answer" in four.err) == (2, True)
    (tmp_path / "talk.json").write_text("[]")
    assert "There is no conversation in" in " ".join(chat("--open", tmp_path / "talk.json").err.split())


def test_a_checkpoint_has_its_step_in_its_name(chat: Chat, lowrank_home: Path) -> None:
    checkpoint_path(RunFolder(lowrank_home / "runs" / "words").checkpoints, 40).mkdir(parents=True)
    assert "words@40 on the processor" in chat(name="words@40", typed="hello\n").out


def test_an_engine_that_dies_is_told_and_ends_it(chat: Chat) -> None:
    said = chat(typed="hello die\nmore\n")
    assert said.code == 4
    assert "> more" not in said.out
    assert "Error: " in said.err
    gone = chat(typed="hello\n", mode="no_model")
    assert (gone.code, "could not be loaded" in gone.err) == (4, True)


def test_ctrl_c_ends_an_answer_and_not_the_chat(chat: Chat) -> None:
    def press() -> None:
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    said = chat(typed="slow " * 400 + "\nhello\n")
    presser.join()
    assert "· stopped" in said.out
    assert "> hello\nhello\n" in said.out
    assert said.code == 0


def test_at_a_terminal_ctrl_c_takes_back_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.cli.chat_input import typed_lines
    from core.cli.console import Console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers: list[str | type[BaseException]] = ["begun \\", KeyboardInterrupt, "asked", EOFError]

    def typed(_prompt: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(sys, "stdin", Terminal())
    out = io.StringIO()
    assert list(typed_lines(Console(out=out))) == ["asked"]
    assert "Ctrl+D or /quit ends the chat." in out.getvalue()


def test_a_text_cannot_rule_the_terminal(chat: Chat) -> None:
    said = chat("--json", typed="\x1b[2Jhello\n")
    assert said.json["turns"][0]["prompt"] == "\x1b[2Jhello"
    shown = chat(typed="\x1b[2Jhello\n").out
    assert "\n\N{REPLACEMENT CHARACTER}[2Jhello\n" in shown


def test_what_is_kept_survives_the_way_to_disk(chat: Chat) -> None:
    said = chat("--json", "--both", typed="hello\n")
    assert json.dumps(said.json)
    (turn,) = said.json["turns"]
    assert [answer["voice"] for answer in turn["answers"]] == ["base", "tuned"]
    assert [answer["seed"] for answer in turn["answers"]] == [turn["answers"][0]["seed"]] * 2
