"""Others who answer beside the chosen model: on its weights or with their own, asked about, refused, and let go."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel

from core.runs.conversation import Conversation
from core.runs.layout import RunFolder
from core.runs.saved_states import checkpoint_path
from studio.pages.try_.reply_view import ReplyView
from studio.pages.try_.voice_bar import VoiceBar
from studio.state.chat_choice import ChatChoice
from studio.state.guests import GuestState
from tests.studio.finished_run import finished_run
from tests.studio.try_page.acts import click, words

WAIT_MS = 60_000
Make = Callable[..., Any]


def ask(qtbot: Any, page: Any, text: str) -> None:
    page.prompt.field.setPlainText(text)
    qtbot.keyClick(page.prompt.field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not page.chats.conversation.is_open, timeout=WAIT_MS)
    qtbot.wait(20)


def heads(page: Any) -> list[str]:
    """Who has answered, as it stands above the answers."""
    views = [view for view in page.findChildren(ReplyView) if view.isVisibleTo(page)]
    return [view.findChildren(QLabel)[0].accessibleName() or view.findChildren(QLabel)[0].text() for view in views]


def pick(page: Any, *texts: str) -> None:
    """Chooses from the menu “Compare with”."""
    menu = page.findChild(VoiceBar).make_menu()
    for text in texts[:-1]:
        menu = next(action.menu() for action in menu.actions() if action.menu() and action.text() == text)
    actions = {action.text(): action for action in menu.actions()}
    assert texts[-1] in actions, list(actions)
    actions[texts[-1]].trigger()


def settled(qtbot: Any, page: Any) -> None:
    guests = page.chats.guests
    passing = (GuestState.LOOKING, GuestState.LOADING)
    qtbot.waitUntil(lambda: all(guest.state not in passing for guest in guests.all), timeout=WAIT_MS)
    qtbot.wait(20)  # what was made just now is shown by the next turn of the loop


def saved(folder: RunFolder, *steps: int) -> None:
    """States of a run, as far as a list shows them."""
    for step in steps:
        checkpoint_path(folder.checkpoints, step).mkdir(parents=True)


def requests(page: Any) -> list[dict[str, Any]]:
    path = page.chats.loaded.thread.panel.session._supervisor.folder.chat_requests
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_another_run_answers_on_the_same_weights(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    other, run = finished_run(starter, "other"), finished_run(starter, "words")
    made = page()
    made.chats.choose(ChatChoice("run", run.path))
    ask(qtbot, made, "one")
    pick(made, "Run: other")
    settled(qtbot, made)
    assert [guest.state for guest in made.chats.guests.all] == [GuestState.READY]
    ask(qtbot, made, "two words")
    assert heads(made)[2:] == ["Base", "Tuned", "other"]
    replies = made.chats.conversation.turns[-1].replies
    assert len({reply.seed for reply in replies.values()}) == 1
    assert [reply.text for reply in replies.values()] == ["two words"] * 3
    sent = requests(made)
    assert sent[2]["bring"]["adapter"] == str(other.adapter)
    assert [item["ask"]["voice"] for item in sent if "ask" in item][2:] == ["base", "tuned", "voice-1"]
    click(qtbot, made, "dismiss")
    assert requests(made)[-1] == {"drop": "voice-1"}
    assert list(made.chats.voices) == ["base", "tuned"]
    assert heads(made)[2:] == ["Base", "Tuned", "other"], "what was said stays"


def test_who_was_invited_comes_with_the_model_and_comes_again(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter, "other")
    run = finished_run(starter, "words")
    made = page()
    made.chats.choose(ChatChoice("run", run.path))
    pick(made, "Run: other")
    ask(qtbot, made, "before it is loaded")
    assert heads(made) == ["Base", "Tuned", "other"]
    made.chats.unload()
    qtbot.waitUntil(lambda: made.chats.phase.value == "empty", timeout=WAIT_MS)
    ask(qtbot, made, "after it was loaded again")
    assert [reply.text for reply in made.chats.conversation.turns[-1].replies.values()] == [
        "after it was loaded again"
    ] * 3


def test_three_answer_at_most(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter, "other")
    finished_run(starter, "third")
    run = finished_run(starter, "words")
    made = page()
    made.chats.choose(ChatChoice("run", run.path))
    pick(made, "Run: other")
    pick(made, "Run: third")
    settled(qtbot, made)
    bar = made.findChild(VoiceBar)
    assert [bar.button(name).isChecked() for name in made.chats.voices] == [False, True, True, True]
    assert not bar.button("base").isEnabled()
    assert not bar.compare.isEnabled()
    ask(qtbot, made, "hello")
    assert heads(made) == ["Tuned", "other", "third"]
    made.chats.dismiss(made.chats.guests.all[1])
    assert list(made.chats.asked) == ["base", "tuned", "guest-1"], "it had fallen silent for the third only"
    pick(made, "Run: third")
    settled(qtbot, made)
    click(qtbot, made, "voice-tuned")
    click(qtbot, made, "voice-base")
    ask(qtbot, made, "again")
    assert heads(made)[3:] == ["Base", "other", "third"]


def test_one_always_answers(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "voice-base")
    click(qtbot, made, "voice-tuned")
    assert list(made.chats.asked) == ["tuned"]
    assert made.findChild(VoiceBar).button("tuned").isChecked()


def test_weights_of_its_own_are_asked_about_with_their_cost(
    qtbot: Any, desk: Any, page: Make, starter_home: Path
) -> None:
    run = finished_run(starter_home / "models" / "starter")
    made = page()
    qtbot.waitUntil(lambda: bool(made.chats.models), timeout=WAIT_MS)
    whole = finished_run(starter_home / "models" / "starter", "whole", adapter__method="full")
    desk.runs.refresh()
    qtbot.waitUntil(lambda: made.chats.results.find(whole.path) is not None, timeout=WAIT_MS)
    made.chats.choose(ChatChoice("run", run.path))
    qtbot.waitUntil(lambda: made.chats.cost is not None, timeout=WAIT_MS)
    pick(made, "Run: whole")
    settled(qtbot, made)
    assert made.chats.guests.all[0].state is GuestState.ASKING
    assert "whole has weights of its own: a second model that takes about" in words(made)
    assert list(made.chats.voices) == ["base", "tuned"]
    ask(qtbot, made, "not yet")
    assert heads(made) == ["Base", "Tuned"]
    click(qtbot, made, "load-guest")
    qtbot.waitUntil(lambda: made.chats.guests.all[0].state is GuestState.READY, timeout=WAIT_MS)
    ask(qtbot, made, "all three")
    assert heads(made)[2:] == ["Base", "Tuned", "whole"]
    assert [reply.text for reply in made.chats.conversation.turns[-1].replies.values()] == ["all three"] * 3
    own = made.chats.loaded.thread.panel._seats[made.chats.guests.all[0].voice].session
    click(qtbot, made, "dismiss")
    qtbot.waitUntil(lambda: own.outcome is not None, timeout=WAIT_MS)


def test_a_second_model_can_be_declined(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    run = finished_run(starter)
    finished_run(starter, "whole", adapter__method="full")
    made = page()
    made.chats.choose(ChatChoice("run", run.path))
    qtbot.waitUntil(lambda: made.chats.cost is not None, timeout=WAIT_MS)
    pick(made, "Run: whole")
    settled(qtbot, made)
    assert list(made.chats.asked) == ["base", "tuned"]
    click(qtbot, made, "dismiss-guest")
    assert made.chats.guests.all == []
    assert "weights of its own" not in words(made)


def test_what_cannot_answer_says_why(qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path) -> None:
    run = finished_run(starter)
    foreign = finished_run(starter, "foreign")
    made = page()
    made.chats.choose(ChatChoice("run", run.path))
    made.chats.invite(ChatChoice("model", tmp_path / "nowhere"))
    settled(qtbot, made)
    assert made.chats.guests.all[0].state is GuestState.REFUSED
    assert "nowhere" in words(made)
    click(qtbot, made, "dismiss-guest")
    made.chats.invite(ChatChoice("run", foreign.path))
    ask(qtbot, made, "hello")
    settled(qtbot, made)
    assert "It is of another model." in words(made)
    replies = made.chats.conversation.turns[-1].replies
    assert [reply.ended for reply in replies.values()] == ["end", "end", "failed"]
    assert list(made.chats.voices) == ["base", "tuned"]


def test_checkpoints_are_chosen_and_compared(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    run = finished_run(starter)
    saved(run, 20, 40)
    made = page()
    steps = made.findChild(QComboBox, "chat-step")
    assert [steps.itemText(place) for place in range(steps.count())] == ["Result", "Step 40", "Step 20"]
    pick(made, "This run’s checkpoints", "Step 20")
    settled(qtbot, made)
    ask(qtbot, made, "hello")
    assert heads(made) == ["Base", "Tuned", "words@20"]
    assert requests(made)[0]["bring"]["adapter"] == str(checkpoint_path(run.checkpoints, 20))
    steps.setFocus()
    qtbot.keyClick(steps, Qt.Key.Key_Down)
    assert made.chats.choice == ChatChoice("run", run.path, 40)
    assert made.chats.guests.all == []


def test_a_run_without_a_result_answers_with_its_newest_checkpoint(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    import shutil

    run = finished_run(starter)
    shutil.rmtree(run.adapter)
    saved(run, 20, 40)
    made = page()
    qtbot.waitUntil(lambda: bool(made.chats.results.states), timeout=WAIT_MS)
    picker = made.findChild(QComboBox, "chat-target")
    assert [picker.itemText(place) for place in range(picker.count())] == ["Run without a result: words"]
    made.chats.choose(ChatChoice("run", run.path, 40))
    ask(qtbot, made, "hello")
    assert heads(made) == ["Base", "Tuned"]


def test_a_saved_conversation_is_opened_and_gone_on_with(
    qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path
) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "first")
    made.chats.conversation.system = "Be brief."
    path = tmp_path / "talk.json"
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS):
        made.save(path)
    click(qtbot, made, "new-conversation")
    assert heads(made) == []
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        made.open(path)
    assert "words" in told.args[0].text
    qtbot.wait(20)
    assert heads(made) == ["Base", "Tuned"]
    ask(qtbot, made, "second")
    last = [item["ask"] for item in requests(made) if "ask" in item][-1]
    assert [message["content"] for message in last["messages"]] == ["Be brief.", "first", "first", "second"]
    told.args[0].actions[0].perform()
    assert heads(made) == []


def test_what_is_no_conversation_leaves_the_present_one(
    qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path
) -> None:
    finished_run(starter)
    made = page()
    ask(qtbot, made, "first")
    (tmp_path / "talk.json").write_text('{"turns": 3}')
    with qtbot.waitSignal(desk.notified, timeout=WAIT_MS) as told:
        made.open(tmp_path / "talk.json")
    assert "There is no conversation in" in told.args[0].text
    assert heads(made) == ["Base", "Tuned"]
    assert isinstance(made.chats.conversation, Conversation)


def test_the_base_is_nobody_new(qtbot: Any, desk: Any, page: Make, starter_home: Path) -> None:
    base = starter_home / "models" / "starter"
    finished_run(base)
    made = page()
    qtbot.waitUntil(lambda: bool(made.chats.models), timeout=WAIT_MS)
    menu = made.findChild(VoiceBar).make_menu()
    assert [action.text() for action in menu.actions()] == ["Folder of an adapter or a model…"]
    made.chats.invite(ChatChoice("model", base))
    ask(qtbot, made, "hello")
    qtbot.waitUntil(lambda: made.chats.guests.all == [], timeout=WAIT_MS)
    assert list(made.chats.voices) == ["base", "tuned"]
