"""The other cards: 4 bits and its saving, linked alpha, the words about a change, suggestions, and what is empty."""

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton, QWidget

from core.plan.suggest import suggest
from core.plan.usual import USUAL
from core.units import GIB
from studio.pages.adapter.changes import ChangeLabel, change_words
from studio.pages.adapter.strength import RANK_STOPS
from tests.core.plan.invented_facts import MODELS, spec

LEFT = Qt.MouseButton.LeftButton
PageOn = Callable[..., Any]


def adapter(page: Any) -> Any:
    return page.desk.session.spec.adapter


def shown_changes(page: Any) -> list[str]:
    return [item.text for item in page.findChildren(ChangeLabel) if item.is_shown]


def type_into(field: Any, text: str) -> None:
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)


# ---------------------------------------------------------------------------------------------------------- 4 bits


def test_the_switch_loads_the_base_in_4_bits_and_says_what_that_saves(page_on: PageOn, qtbot: Any) -> None:
    page = page_on(MODELS["8b"])
    card = page.precision
    before = page.desk.session.plan.memory.peak_bytes
    assert not card.switch.isChecked()
    qtbot.waitUntil(lambda: card.saved.text().startswith("would save"))
    QTest.mouseClick(card.switch, LEFT, pos=card.switch.rect().center())
    assert page.desk.session.spec.model.quantization == "nf4"
    saved = before - page.desk.session.plan.memory.peak_bytes
    assert saved > GIB
    qtbot.waitUntil(lambda: card.saved.text() == f"saves {saved / GIB:.1f} GiB")
    assert shown_changes(page) == [f"−{saved / GIB:.1f} GiB"]
    assert "spends some of that on speed" in card.weights.text()
    QTest.keyClick(card.switch, Qt.Key.Key_Space)
    assert page.desk.session.spec.model.quantization == "none"


def test_the_automatic_choice_is_explained_and_all_choices_stay_in_reach(page_on: PageOn) -> None:
    page = page_on(MODELS["70b"])
    assert page.precision.switch.isChecked(), "70 billion parameters fit in 4 bits only, if at all"
    assert "4-bit" in page.precision.why.text()
    assert "Unquantized weights would take" in page.precision.why.text()
    for value in ("int8", "none", "nf4", "auto"):
        button = page.findChild(QPushButton, f"model.quantization-{value}")
        QTest.mouseClick(button, LEFT)
        assert page.desk.session.spec.model.quantization == value


# ------------------------------------------------------------------------------------------------- rank and alpha


def test_every_stop_of_the_rank_slider_moves_parameters_and_alpha_with_it(page_on: PageOn) -> None:
    page = page_on()
    track = page.findChild(QWidget, "adapter.rank-track")
    counts = []
    for number, rank in enumerate(RANK_STOPS):
        track.setValue(number)
        assert (adapter(page).rank, adapter(page).alpha) == (rank, 2.0 * rank)
        counts.append(page.desk.session.plan.parameters.trainable)
    assert counts == sorted(counts)
    assert counts[-1] == 256 * counts[0]


def test_rank_and_alpha_are_one_step_to_undo(page_on: PageOn) -> None:
    page = page_on()
    type_into(page.strength.rank.editor.field, "20")
    assert (adapter(page).rank, adapter(page).alpha) == (20, 40.0)
    page.desk.session.undo()
    assert (adapter(page).rank, adapter(page).alpha) == (16, 32.0)


def test_without_the_chain_alpha_stands(page_on: PageOn) -> None:
    page = page_on()
    QTest.mouseClick(page.strength.link.chain, LEFT)
    assert page.desk.preferences.now.linked_alpha == 0
    assert not page.strength.link.factor.isVisible()
    type_into(page.strength.rank.editor.field, "64")
    assert (adapter(page).rank, adapter(page).alpha) == (64, 32.0)
    QTest.mouseClick(page.strength.link.chain, LEFT)
    assert page.strength.link.factor.value() == 0.5
    type_into(page.strength.rank.editor.field, "32")
    assert adapter(page).alpha == 16.0


def test_moving_alpha_changes_the_factor_which_is_then_kept(page_on: PageOn, qtbot: Any) -> None:
    page = page_on()
    type_into(page.strength.alpha.editor.field, "16")
    assert page.strength.link.factor.value() == 1
    type_into(page.strength.rank.editor.field, "8")
    assert adapter(page).alpha == 8.0
    qtbot.waitUntil(lambda: page.desk.preferences.now.linked_alpha == 1.0)


def test_the_factor_can_be_typed(page_on: PageOn) -> None:
    page = page_on()
    type_into(page.strength.link.factor, "4")
    assert adapter(page).alpha == 64.0


def test_the_scale_is_said_for_each_method(page_on: PageOn) -> None:
    page = page_on()
    assert page.strength.link.scale.text() == "acts × 2 (alpha / rank)"
    page.desk.session.edit("adapter.method", "rslora")
    assert page.strength.link.scale.text() == "acts × 8 (alpha / √rank)"


def test_alpha_stays_within_its_bounds_and_comes_back(page_on: PageOn) -> None:
    page = page_on()
    type_into(page.strength.link.factor, "16")
    type_into(page.strength.rank.editor.field, "1024")
    assert adapter(page).alpha == 8192.0
    type_into(page.strength.rank.editor.field, "8")
    assert adapter(page).alpha == 128.0


@pytest.mark.parametrize("typed", ["0", "-3", "5000", "abc", ""])
def test_a_rank_that_cannot_be_is_not_taken(page_on: PageOn, typed: str) -> None:
    page = page_on()
    type_into(page.strength.rank.editor.field, typed)
    assert 1 <= adapter(page).rank <= 1024
    assert page.desk.session.plan.parameters is not None


def test_a_problem_is_shown_at_its_row_and_mended_there(page_on: PageOn) -> None:
    page = page_on(asked=spec(adapter__alpha=500.0))
    row = page.strength.alpha
    fix = next(item for item in row.findChildren(QWidget, "fix") if item.isVisible())
    fix.click()
    assert adapter(page).alpha == 32.0
    assert not [item for item in row.findChildren(QWidget, "fix") if item.isVisible()]


# ------------------------------------------------------------------------------------------ the words about changes


def test_what_a_change_costs_is_shown_beside_it_and_goes(page_on: PageOn, qtbot: Any) -> None:
    page = page_on(MODELS["1b"])
    page.findChild(QWidget, "adapter.rank-track").setValue(5)
    (text,) = shown_changes(page)
    assert text.splitlines()[0] == "+11.3 M param."
    assert text.splitlines()[1].startswith("+")
    page.findChild(QWidget, "adapter.rank-track").setValue(4)
    assert shown_changes(page) == ["same size"], "what follows quickly is added up"
    qtbot.waitUntil(lambda: shown_changes(page) == [], timeout=4000)


def test_changes_of_more_than_two_billion_bytes_are_counted(page_on: PageOn) -> None:
    page = page_on(MODELS["70b"])
    page.findChild(QWidget, "adapter.rank-track").setValue(8)
    (text,) = shown_changes(page)
    assert "GiB" in text


def test_with_reduced_motion_words_go_at_once(page_on: PageOn, qtbot: Any) -> None:
    page = page_on()
    page.desk.preferences.set("reduced_motion", value=True)
    page.desk.session.edit("adapter.dropout", 0.1)
    label = next(item for item in page.findChildren(ChangeLabel) if item.is_shown)
    label._leave()
    assert not label.is_shown


def test_words_of_a_change() -> None:
    assert change_words(1_228_800, 60 * 2**20) == "+1.2 M param.\n+60.0 MiB"
    assert change_words(-1000, 0) == "−1.0 k param."
    assert change_words(0, 0) == "same size"


# --------------------------------------------------------------------------------------------------- suggestions


def test_suggestions_are_taken_one_by_one_or_all_in_one_step(page_on: PageOn, qtbot: Any) -> None:
    page = page_on(MODELS["8b"], spec(adapter__rank=256, adapter__alpha=3.0, adapter__targets=("q_proj",)))
    QTest.mouseClick(page.suggest, LEFT)
    asked = page.desk.session.spec
    take = page.advice.findChild(QPushButton, "advice-adapter.targets")
    QTest.mouseClick(take, LEFT)
    assert adapter(page).targets == ("all-linear",)
    page.desk.session.undo()
    assert page.desk.session.spec == asked
    QTest.mouseClick(page.advice.take_all, LEFT)
    assert (adapter(page).rank, adapter(page).alpha, adapter(page).targets) == (16, 32.0, ("all-linear",))
    qtbot.waitUntil(lambda: not page.advice.take_all.isEnabled())
    page.desk.session.undo()
    assert page.desk.session.spec == asked
    QTest.mouseClick(page.advice.findChild(QWidget, "advice-close"), LEFT)
    assert page.advice is None


def test_a_person_can_say_what_is_to_be_learned(page_on: PageOn) -> None:
    page = page_on(MODELS["8b"], spec())
    QTest.mouseClick(page.suggest, LEFT)
    advice = page.advice
    titles = [advice.task.itemText(number) for number in range(advice.task.count())]
    assert titles[0] == "As the data looks: Chat and instructions"
    assert titles[1:] == [usual.title for usual in USUAL.values()]
    plain = {item.path: item.value for item in advice._found}
    advice.task.setCurrentIndex(titles.index("New knowledge"))
    assert {item.path: item.value for item in advice._found} == {
        item.path: item.value for item in suggest(spec(), page.desk.session.facts, "knowledge")
    }
    assert {item.path: item.value for item in advice._found} != plain
    advice.task.setCurrentIndex(0)
    assert {item.path: item.value for item in advice._found} == plain


# ------------------------------------------------------------------------------------------- without a model, in full


def test_without_a_model_the_page_leads_to_one(page_on: PageOn, qtbot: Any) -> None:
    page = page_on(None, spec(model__base=""))
    assert page.content is None
    assert not page.suggest.isEnabled()
    with qtbot.waitSignal(page.desk.went) as went:
        QTest.mouseClick(page.findChild(QPushButton, "go-model"), LEFT)
    assert went.args == ["model"]


def test_the_page_follows_the_model_that_comes_goes_and_comes_again(page_on: PageOn) -> None:
    page = page_on(None, spec(model__base=""))
    session = page.desk.session
    session.set_spec(spec())
    session._set_model(MODELS["135m"], ())
    assert page.content.isVisible()
    assert page.places.matrix.num_layers == 30
    session._set_model(None, ())
    assert not page.content.isVisible()
    session._set_model(MODELS["1b"], ())
    assert page.places.matrix.num_layers == 16
    assert len(page.places.grid.cells) == 7 * 16


def test_full_fine_tuning_has_no_adapters_to_place(page_on: PageOn) -> None:
    page = page_on()
    page.desk.session.edit("adapter.method", "full")
    assert not page.places.isVisible()
    assert not page.strength.rank.isVisible()
    assert not page.strength.link.isVisible()
    page.desk.session.edit("adapter.method", "lora")
    assert page.places.isVisible()
    assert len(page.places.grid.cells) == 42


def test_double_quantization_is_among_the_further_settings(page_on: PageOn) -> None:
    page = page_on()
    QTest.mouseClick(page.findChild(QPushButton, "more-adapter"), LEFT)
    switch = page.findChild(QWidget, "model.double_quant")
    assert switch.isVisible()
    QTest.mouseClick(switch, LEFT, pos=switch.rect().center())
    assert page.desk.session.spec.model.double_quant is False


def test_every_control_has_a_name_for_those_who_cannot_see_it(page_on: PageOn) -> None:
    page = page_on()
    page._suggest()
    nameless = [
        item.objectName() or type(item).__name__
        for item in page.findChildren(QWidget)
        if item.focusPolicy() & Qt.FocusPolicy.TabFocus
        and item.isVisible()
        and type(item).__name__ not in ("QScrollArea", "QLineEdit", "QLabel")
        and not (item.accessibleName() or getattr(item, "text", str)())
    ]
    assert nameless == []
