"""The settings of a training: what the user changes, and what the picture and the words say then."""

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton, QWidget

from core.plan.schedule import learning_rate
from core.spec.presets import presets
from studio.pages.training.page import TrainingPage


def find(page: TrainingPage, name: str) -> Any:
    found = page.findChild(QWidget, name)
    assert found is not None, name
    return found


def fill(qtbot: Any, widget: Any, text: str) -> None:
    widget.setFocus()
    widget.selectAll()
    qtbot.keyClicks(widget, text)
    qtbot.keyClick(widget, Qt.Key.Key_Return)


def choose(page: TrainingPage, path: str, value: str) -> None:
    """Takes a choice from a list as a click does."""
    listed = find(page, path)
    index = listed.findData(value)
    listed.setCurrentIndex(index)
    listed.activated.emit(index)


def test_the_picture_is_the_plans_curve_and_moves_with_every_edit(page: TrainingPage, qtbot: Any) -> None:
    session, picture = page.desk.session, find(page, "rate-curve")
    plan = session.plan
    assert picture.curve == plan.curve
    assert picture.known
    marks = picture.evaluations()
    assert marks[0] == 0
    assert marks[-1] == plan.curve.steps
    assert len(marks) == len(set(marks))
    before = picture.grab().toImage()
    fill(qtbot, find(page, "training.learning_rate"), "0.001")
    assert session.spec.training.learning_rate == 0.001
    assert picture.curve.peak == 0.001
    assert learning_rate(picture.curve, picture.curve.warmup_steps - 1) == 0.001
    choose(page, "training.schedule", "linear")
    assert picture.curve.kind == "linear"
    assert "falls along a line" in picture.accessibleName()
    assert picture.grab().toImage() != before


def test_each_schedule_shows_its_own_settings_and_picture(page: TrainingPage, qtbot: Any) -> None:
    picture, cycles, decay = (find(page, name) for name in ("rate-curve", "training.cycles", "training.decay"))
    assert not cycles.isVisible()
    assert not decay.isVisible()
    choose(page, "training.schedule", "cosine_restarts")
    assert cycles.isVisible()
    fill(qtbot, cycles, "3")
    assert picture.curve.cycles == 3
    assert picture.accessibleName().endswith("then falls along a cosine 3 times")
    restarts = picture.grab().toImage()
    choose(page, "training.schedule", "warmup_stable_decay")
    assert decay.isVisible()
    assert not cycles.isVisible()
    assert picture.accessibleName().endswith(f"falls in the last {picture.curve.decay_steps:,} steps")
    assert picture.grab().toImage() != restarts


def test_a_number_of_steps_takes_the_place_of_epochs(page: TrainingPage, qtbot: Any) -> None:
    epochs = find(page, "training.epochs")
    assert epochs.isVisible()
    fill(qtbot, find(page, "training.max_steps"), "40")
    assert not epochs.isVisible()
    assert find(page, "rate-curve").curve.steps == 40
    fill(qtbot, find(page, "training.max_steps"), "0")
    assert epochs.isVisible()


def test_the_batch_is_told_in_words(page: TrainingPage, qtbot: Any) -> None:
    words = find(page, "batch-words")
    plan = page.desk.session.plan
    assert words.text().startswith("16 rows a step: about ")
    assert f"{plan.choices.micro_batch_tokens.value:,} tokens" in words.text() or "one pass" in words.text()
    fill(qtbot, find(page, "training.effective_batch"), "1")
    assert words.text().startswith("one row a step: about ")
    assert "each is seen twice" in page.setup.batch.length.text()


def test_without_data_the_page_says_what_is_missing(page: TrainingPage) -> None:
    session = page.desk.session
    session.data = None
    session._replan()
    assert find(page, "batch-words").text() == "Choose training files to see what a step consists of."
    picture = find(page, "rate-curve")
    assert not picture.known
    assert picture.evaluations() == []
    picture.grab()
    assert "known once there is data" in page.setup.schedule.words.text()


def test_a_preset_changes_settings_and_can_be_undone(page: TrainingPage, qtbot: Any) -> None:
    opener = find(page, "presets")
    qtbot.waitUntil(opener.isEnabled)
    actions = opener.menu().actions()
    assert [action.text() for action in actions] == [preset.title for preset in presets()]
    assert all(action.toolTip() for action in actions)
    session = page.desk.session
    before = session.spec
    notices: list[Any] = []
    page.desk.notified.connect(notices.append)
    actions[1].trigger()
    assert session.spec == _with(before, presets()[1])
    assert notices[-1].actions[0].title == "Undo"
    actions[1].trigger()
    assert "changes nothing" in notices[-1].text
    notices[-2].actions[0].perform()
    assert session.spec == before


def _with(spec: Any, preset: Any) -> Any:
    for edit in preset.edits:
        spec = spec.replace(edit.path, edit.value)
    return spec


def test_every_setting_of_training_and_hardware_can_be_reached_once(page: TrainingPage, qtbot: Any) -> None:
    from core.spec.run_spec import fields

    qtbot.mouseClick(find(page, "more-training"), Qt.MouseButton.LeftButton)
    for info in fields():
        if info.section in ("training", "hardware"):
            named = [w for w in page.findChildren(QWidget) if w.objectName().startswith(info.path)]
            assert named, info.path
            assert any(w.accessibleName() for w in named), info.path


@pytest.mark.parametrize("width", [640, 830, 1400])
def test_nothing_is_cut_at_any_width(page: TrainingPage, qtbot: Any, width: int) -> None:
    page.resize(width, 700)
    qtbot.wait(20)
    for made in page.setup.findChildren(QPushButton):
        if made.isVisible():
            assert made.width() >= made.minimumSizeHint().width(), made.text()
    for words in page.setup.findChildren(QLabel):
        if words.isVisible() and words.wordWrap():
            assert words.height() >= words.heightForWidth(words.width()), words.text()


def test_how_preferences_are_learned_is_shown_where_they_are(planned: Any, page: Any) -> None:
    card = page.findChild(QWidget, "preferences-card")
    assert not card.isVisibleTo(page)
    planned.session.edit("data.train_on", "preferences")
    assert card.isVisibleTo(page)
    planned.session.edit("data.train_on", "completions")
    assert not card.isVisibleTo(page)


def test_the_numbers_of_preferences_stand_below_each_other(planned: Any, page: Any, qtbot: Any) -> None:
    planned.session.edit("data.train_on", "preferences")
    for weight in (0.0, 0.5):
        planned.session.edit("training.chosen_weight", weight)
        qtbot.wait(1)
        beta, chosen = (page.findChild(QWidget, f"training.{name}") for name in ("preference_beta", "chosen_weight"))
        assert beta.mapTo(page, beta.rect().topLeft()).x() == chosen.mapTo(page, chosen.rect().topLeft()).x(), weight
