"""What a person does on the page “Try”: ask, stop, ask again, change, compare, save; and engines that die over it."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QPlainTextEdit, QWidget

from core.events.types import ChatReady
from core.paths import jobs_dir
from core.runs.process_record import living_process
from studio.pages.try_.flowing_text import FlowingText
from studio.pages.try_.reply_view import ReplyView
from studio.state.chat_choice import ChatChoice
from studio.state.chat_engine import Phase
from tests.studio.finished_run import finished_run
from tests.studio.try_page.acts import click, words

WAIT_MS = 60_000
Make = Callable[..., Any]


def field(page: Any) -> QPlainTextEdit:
    return page.prompt.field


def ask(qtbot: Any, page: Any, text: str) -> None:
    field(page).setPlainText(text)
    qtbot.keyClick(field(page), Qt.Key.Key_Return)


def settle(qtbot: Any, page: Any) -> None:
    """Waits until nothing is waited for."""
    qtbot.waitUntil(lambda: not page.chats.conversation.is_open, timeout=WAIT_MS)
    qtbot.wait(20)


def answers(page: Any) -> list[tuple[str, str]]:
    """Voice and text of every answer on the screen, top to bottom."""
    views = [view for view in page.findChildren(ReplyView) if view.isVisibleTo(page)]
    return [(view.reply.voice, view.text.toPlainText()) for view in views]


def engine(page: Any) -> Any:
    """The process that answers."""
    record = living_process(page.chats.loaded.thread.panel.session._supervisor.folder)
    assert record is not None
    return record


# ----------------------------------------------------------------------------------------------------- asking


def test_with_nothing_to_talk_to_it_says_where_to_get_it(qtbot: Any, desk: Any, page: Make) -> None:
    made = page()
    assert "Nobody to talk to yet" in words(made)
    with qtbot.waitSignal(desk.went) as went:
        click(qtbot, made, "go-model")
    assert went.args == ["model"]


def test_a_question_loads_the_model_and_both_answer_side_by_side(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    finished_run(starter)
    made = page()
    assert "takes about" in words(made)
    assert "free memory" in words(made)
    ask(qtbot, made, "one two three")
    assert made.chats.phase is Phase.LOADING
    settle(qtbot, made)
    assert answers(made) == [("base", "one two three"), ("tuned", "one two three")]
    assert field(made).toPlainText() == ""
    assert "3 tokens · 20.0 tokens/s · first token after 0.1 s" in words(made)
    assert "Ready on the processor" in words(made)
    replies = list(made.chats.conversation.replies())
    assert replies[0].seed == replies[1].seed


def test_only_the_chosen_one_answers_and_hears_its_own_past(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "voice-base")
    ask(qtbot, made, "first")
    settle(qtbot, made)
    click(qtbot, made, "voice-base")
    click(qtbot, made, "voice-tuned")
    ask(qtbot, made, "second")
    settle(qtbot, made)
    assert answers(made) == [("tuned", "first"), ("base", "second")]
    sent = made.chats.loaded.thread.panel.session._supervisor.folder.chat_requests.read_text("utf-8").splitlines()
    asked = [json.loads(line)["ask"] for line in sent]
    assert [item["voice"] for item in asked] == ["tuned", "base"]
    assert [message["content"] for message in asked[1]["messages"]] == ["first", "first", "second"]


def test_settings_and_system_prompt_go_along(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "turn-sampling")
    temperature = made.findChild(QWidget, "temperature")
    temperature.field.setValue(0.25)
    click(qtbot, made, "fixed-seed")
    click(qtbot, made, "turn-system")
    system = made.findChild(QPlainTextEdit, "system-prompt")
    qtbot.keyClicks(system, "Be brief.")
    click(qtbot, made, "voice-tuned")
    ask(qtbot, made, "hello")
    settle(qtbot, made)
    sent = made.chats.loaded.thread.panel.session._supervisor.folder.chat_requests.read_text("utf-8")
    asked = json.loads(sent)["ask"]
    assert asked["sampling"]["temperature"] == 0.25
    assert asked["sampling"]["seed"] == 42
    assert [(message["role"], message["content"]) for message in asked["messages"]] == [
        ("system", "Be brief."),
        ("user", "hello"),
    ]
    click(qtbot, made, "reset-sampling")
    assert made.chats.sampling.temperature == 0.7


def test_prompts_of_the_run_are_there_to_begin_with(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter, training__sample_prompts=("What is a dog?", "What is a cat?"))
    made = page()
    qtbot.waitUntil(lambda: made.findChild(QLabel, "suggestion-1") is not None, timeout=WAIT_MS)
    suggestion = made.findChild(QLabel, "suggestion-1")
    assert suggestion.text() == "“What is a cat?”"
    qtbot.keyClick(suggestion, Qt.Key.Key_Space)
    settle(qtbot, made)
    assert [text for _, text in answers(made)] == ["What is a cat?"] * 2


def test_shift_enter_begins_a_line_and_blanks_are_no_question(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    height = field(made).height()
    qtbot.keyClicks(field(made), "one")
    qtbot.keyClick(field(made), Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(field(made), "two")
    assert field(made).toPlainText() == "one\ntwo"
    assert field(made).height() > height
    field(made).setPlainText("  \n ")
    qtbot.keyClick(field(made), Qt.Key.Key_Return)
    assert made.chats.conversation.turns == []
    assert not made.prompt.send.isEnabled()


def test_stop_ends_both_answers_and_keeps_what_was_said(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "slow " * 60)
    qtbot.waitUntil(lambda: made.chats.conversation.turns[0].replies["base"].tokens > 2, timeout=WAIT_MS)
    assert made.prompt.send.text() == "Stop"
    assert answers(made)[0][1].startswith("slow slow")
    click(qtbot, made, "send")
    settle(qtbot, made)
    base, tuned = made.chats.conversation.replies()
    assert base.ended == tuned.ended == "cancelled"
    assert 2 < base.tokens < 60
    assert answers(made)[0][1] == base.text
    assert "stopped" in words(made)
    assert made.prompt.send.text() == "Send"
    assert made.chats.phase is Phase.READY


def test_the_last_prompt_can_be_asked_again_and_changed(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "voice-base")
    ask(qtbot, made, "first")
    settle(qtbot, made)
    ask(qtbot, made, "second")
    settle(qtbot, made)
    before = made.chats.conversation.turns[-1].replies["tuned"]
    click(qtbot, made, "voice-base")
    click(qtbot, made, "regenerate")
    settle(qtbot, made)
    turn = made.chats.conversation.turns[-1]
    assert list(turn.replies) == ["base", "tuned"]
    assert turn.replies["tuned"].seed != before.seed
    click(qtbot, made, "edit-prompt")
    assert field(made).toPlainText() == "second"
    qtbot.keyClick(field(made), Qt.Key.Key_Escape)
    assert field(made).toPlainText() == ""
    qtbot.keyClick(field(made), Qt.Key.Key_Up)
    qtbot.keyClicks(field(made), " thoughts")
    qtbot.keyClick(field(made), Qt.Key.Key_Return)
    settle(qtbot, made)
    assert [turn.prompt for turn in made.chats.conversation.turns] == ["first", "second thoughts"]
    assert [text for _, text in answers(made)] == ["first", "second thoughts", "second thoughts"]


def test_an_answer_can_be_copied(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "copy me")
    settle(qtbot, made)
    click(qtbot, made, "copy-answer")
    assert QGuiApplication.clipboard().text() == "copy me"


# ----------------------------------------------------------------------------------------------------- the engine


def test_an_engine_that_dies_is_told_of_in_the_conversation_and_loaded_again(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "I shall die now")
    qtbot.waitUntil(lambda: made.chats.conversation.notice is not None, timeout=WAIT_MS)
    settle(qtbot, made)
    assert "The engine crashed" in words(made)
    assert "SIGKILL" in words(made)
    assert answers(made)[0] == ("base", "I shall die")
    assert "broken off" in words(made)
    assert made.chats.phase is Phase.EMPTY
    assert jobs_dir().exists()
    click(qtbot, made, "load-again")
    qtbot.waitUntil(lambda: made.chats.phase is Phase.READY, timeout=WAIT_MS)
    assert "The engine crashed" not in words(made)
    ask(qtbot, made, "again")
    settle(qtbot, made)
    assert answers(made)[-1] == ("tuned", "again")


def test_a_model_that_cannot_be_loaded_says_why(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page("no_model")
    ask(qtbot, made, "hello")
    qtbot.waitUntil(lambda: made.chats.conversation.notice is not None, timeout=WAIT_MS)
    settle(qtbot, made)
    assert "The base model could not be loaded." in words(made)
    assert "Check the folder." in words(made)


def test_a_base_that_is_gone_is_a_problem_before_anything_is_loaded(
    qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path
) -> None:
    link = tmp_path / "linked-model"
    link.symlink_to(starter, target_is_directory=True)
    finished_run(link)
    link.unlink()
    made = page()
    qtbot.waitUntil(lambda: "is no longer at" in words(made), timeout=WAIT_MS)
    ask(qtbot, made, "hello")
    settle(qtbot, made)
    assert made.chats.phase is Phase.EMPTY
    assert [reply.ended for reply in made.chats.conversation.replies()] == ["failed", "failed"]


def test_unloading_ends_the_process_and_leaves_nothing(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "load")
    qtbot.waitUntil(lambda: made.chats.phase is Phase.READY, timeout=WAIT_MS)
    process = engine(made)
    assert process.alive
    click(qtbot, made, "load")
    assert made.chats.phase is Phase.UNLOADING
    qtbot.waitUntil(lambda: made.chats.phase is Phase.EMPTY, timeout=WAIT_MS)
    assert not process.alive
    assert list(jobs_dir().iterdir()) == []


def test_never_two_at_once_even_for_the_impatient(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "load")
    qtbot.waitUntil(lambda: made.chats.phase is Phase.READY, timeout=WAIT_MS)
    first = engine(made)
    made.chats.unload()
    made.chats.send("quick")
    assert made.chats.loaded is None  # the first one has to be gone
    settle(qtbot, made)
    assert not first.alive
    assert answers(made)[-1] == ("tuned", "quick")


def test_beside_a_training_it_says_what_it_will_cost_first(
    qtbot: Any, desk: Any, page: Make, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_run(starter)
    made = page()
    monkeypatch.setattr(type(desk.runs), "live_count", property(lambda _runs: 1))
    ask(qtbot, made, "hello")
    assert made.chats.phase is Phase.ASKING
    assert "A training is under way. This model takes about" in words(made)
    click(qtbot, made, "not-now")
    assert field(made).toPlainText() == "hello"
    assert made.chats.conversation.turns == []
    made.chats.cost = replace(made.chats.cost, free_bytes=10)
    click(qtbot, made, "load")
    assert "only 10 B are free" in words(made)
    click(qtbot, made, "not-now")
    ask(qtbot, made, "hello")
    click(qtbot, made, "load-anyway")
    settle(qtbot, made)
    assert answers(made) == [("base", "hello"), ("tuned", "hello")]


def test_each_choice_keeps_its_conversation_and_only_one_is_loaded(
    qtbot: Any, desk: Any, page: Make, starter_home: Path, starter: Path
) -> None:
    run = finished_run(starter)
    made = page()
    ask(qtbot, made, "to the run")
    settle(qtbot, made)
    first = engine(made)
    picker = made.findChild(QComboBox, "chat-target")
    qtbot.waitUntil(lambda: picker.count() == 2, timeout=WAIT_MS)
    assert [picker.itemText(place) for place in range(2)] == ["Run: words", "Model: starter"]
    picker.setFocus()
    qtbot.keyClick(picker, Qt.Key.Key_Down)
    assert made.chats.choice == ChatChoice("model", starter_home / "models" / "starter")
    assert answers(made) == []
    qtbot.waitUntil(lambda: not first.alive, timeout=WAIT_MS)
    assert not made.findChild(QAbstractButton, "voice-base").isVisibleTo(made)
    made.chats.choose(ChatChoice("run", run.path))
    settle(qtbot, made)
    assert [text for _, text in answers(made)] == ["to the run"] * 2


# ----------------------------------------------------------------------------------------------------- keeping it


def test_the_conversation_goes_on_in_a_new_window(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "slow and steady")
    qtbot.waitUntil(lambda: made.chats.conversation.turns[0].replies["base"].tokens > 0, timeout=WAIT_MS)
    field(made).setPlainText("half a thou")
    made.close_page()
    made.deleteLater()
    again = page()
    settle(qtbot, again)
    assert answers(again) == [("base", "slow and steady"), ("tuned", "slow and steady")]
    assert field(again).toPlainText() == "half a thou"


def test_a_new_conversation_can_be_taken_back(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    made.chats.conversation.system = "Be kind."
    ask(qtbot, made, "old")
    settle(qtbot, made)
    told: list[Any] = []
    desk.notified.connect(told.append)
    click(qtbot, made, "new-conversation")
    assert answers(made) == []
    assert made.chats.conversation.system == "Be kind."
    told[0].actions[0].perform()
    settle(qtbot, made)
    assert [text for _, text in answers(made)] == ["old"] * 2


def test_a_conversation_is_saved_for_people_and_for_programs(
    qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path
) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "keep this")
    settle(qtbot, made)
    for name in ("talk.md", "talk.json"):
        with qtbot.waitSignal(desk.notified, timeout=WAIT_MS):
            made.save(tmp_path / name)
    assert "**Tuned model**\n\nkeep this\n" in (tmp_path / "talk.md").read_text("utf-8")
    kept = json.loads((tmp_path / "talk.json").read_text("utf-8"))
    assert kept["model"] == "words"
    assert [item["text"] for item in kept["turns"][0]["answers"]] == ["keep this"] * 2
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        made.save(tmp_path / "nowhere" / "talk.md")
    assert "could not be saved" in told.args[0].text


# ----------------------------------------------------------------------------------------------------- how it looks


def test_long_words_and_long_answers_stay_inside(qtbot: Any, qapp: Any, desk: Any, page: Make, starter: Path) -> None:
    from studio.look.theme import apply_look

    apply_look(qapp, "dark", 1.5)
    finished_run(starter)
    made = page()
    ask(qtbot, made, "x" * 3000 + " " + "word " * 200)
    settle(qtbot, made)
    made.resize(856, 560)
    qtbot.waitUntil(lambda: made.width() == 856)
    click(qtbot, made, "turn-sampling")
    click(qtbot, made, "turn-sampling")
    qtbot.wait(50)
    assert made.width() == 856
    for text in made.findChildren(FlowingText):
        assert text.document().size().width() <= text.viewport().width() + 1
        assert text.height() >= text.document().size().height()
        right = text.mapTo(made, text.rect().topRight()).x()
        assert right < made.width()
    bar = made._transcript.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0  # the end is in sight


def test_everything_has_a_name(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "turn-sampling")
    click(qtbot, made, "turn-system")
    ask(qtbot, made, "hello")
    settle(qtbot, made)
    nameless = [
        widget
        for widget in made.findChildren(QWidget)
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and widget.isVisibleTo(made)
        and not widget.accessibleName()
        and not (isinstance(widget, QAbstractButton) and widget.text())
        and not widget.objectName().startswith("qt_")
    ]
    assert nameless == []


# ----------------------------------------------------------------------------------------------------- for real


@pytest.mark.torch
def test_a_real_model_answers_as_base_and_as_tuned_and_gives_its_memory_back(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    finished_run(starter)
    made = page(fake="")
    made.chats.sampling = replace(made.chats.sampling, temperature=0.0, max_new_tokens=12)
    growing: list[int] = []
    made.chats.moved.connect(lambda replies: growing.extend(reply.tokens for reply in replies))
    ask(qtbot, made, "Count to ten.")
    qtbot.waitUntil(lambda: not made.chats.conversation.is_open, timeout=180_000)
    base, tuned = made.chats.conversation.replies()
    assert base.ended in ("end", "length")
    assert base.text
    assert tuned.text != base.text
    assert len(growing) > 4
    ready = made.chats.loaded.ready
    assert isinstance(ready, ChatReady)
    assert made.chats.loaded.target.variants == ("base", "tuned")
    process = engine(made)
    made.chats.unload()
    qtbot.waitUntil(lambda: made.chats.phase is Phase.EMPTY, timeout=WAIT_MS)
    assert not process.alive


@pytest.mark.torch
def test_a_real_engine_killed_while_it_loads_says_so(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page(fake="")
    ask(qtbot, made, "Hello?")
    qtbot.waitUntil(lambda: made.chats.loaded is not None and made.chats.loaded.words != "", timeout=WAIT_MS)
    os.kill(engine(made).pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: made.chats.conversation.notice is not None, timeout=WAIT_MS)
    settle(qtbot, made)
    assert "The engine crashed" in words(made)
    assert [reply.ended for reply in made.chats.conversation.replies()] == ["failed", "failed"]
