"""The frame around the pages: where things go, what is said, and what survives."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QLabel, QWidget

from core.errors import Edit, Severity
from core.spec.demo import demo_spec
from core.spec.run_spec import RunSpec


@pytest.fixture
def studio(qapp: Any, qtbot: Any, lowrank_home: Path) -> Iterator[Any]:
    """The running application, shown, without a screen."""
    from studio.app import Studio

    made = Studio(qapp)
    made.show()
    qtbot.waitUntil(lambda: made.desk.session.hardware is not None, timeout=20_000)
    yield made
    made.window.close()
    made.close()
    made.window.deleteLater()
    qapp.processEvents()


def settle(qtbot: Any, studio: Any) -> None:
    qtbot.waitUntil(lambda: not studio.desk.session.is_reading, timeout=20_000)


def words_of(studio: Any) -> list[str]:
    return [card.notice.text for card in studio.window.notices.cards]


def drop(studio: Any, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    left = Qt.MouseButton.LeftButton
    event = QDropEvent(QPointF(300, 300), Qt.DropAction.CopyAction, data, left, Qt.KeyboardModifier.NoModifier)
    studio.window.dropEvent(event)


def rows(path: Path) -> Path:
    path.write_text("".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(20)), "utf-8")
    return path


# ------------------------------------------------------------------------------------------------- the first minutes


def test_the_first_start_offers_the_first_training_three_clicks_away(
    qtbot: Any, studio: Any, starter_home: Path
) -> None:
    assert studio.window.page == "welcome"
    welcome = studio.window.pages["welcome"]
    qtbot.mouseClick(welcome.begin_button, Qt.MouseButton.LeftButton)  # one
    qtbot.waitUntil(lambda: studio.window.page == "adapter", timeout=20_000)
    settle(qtbot, studio)
    start = studio.window.plan_panel.start
    qtbot.waitUntil(start.isEnabled)
    assert studio.desk.session.spec == demo_spec("starter")
    assert studio.preferences.now.welcomed


def test_a_second_start_shows_the_page_and_the_spec_of_the_first(qtbot: Any, qapp: Any, studio: Any) -> None:
    from studio.app import Studio

    studio.desk.session.edit("adapter.rank", 77)
    studio.window.show_page("data")
    studio.preferences.set("welcomed", value=True)
    studio.window.setGeometry(40, 50, 1111, 705)
    studio.window.save_place()
    studio.draft.save()
    again = Studio(qapp)
    assert again.desk.session.spec.adapter.rank == 77
    assert again.window.page == "data"
    assert (again.window.width(), again.window.height()) == (1111, 705)
    again.close()
    again.window.deleteLater()


# ---------------------------------------------------------------------------------------------------------- Start


def test_start_says_what_is_missing_and_in_which_order(
    qtbot: Any, studio: Any, starter_home: Path, tmp_path: Path
) -> None:
    panel = studio.window.plan_panel
    studio.window.show_page("model")

    def why() -> str:
        settle(qtbot, studio)
        assert not panel.start.isEnabled()
        return str(panel._why.text())

    assert why() == "Choose a base model first."
    studio.desk.session.edit("model.base", str(tmp_path / "gone"))
    assert "gone" in why()
    studio.desk.session.edit("model.base", "starter")
    assert why() == "Choose training files first."
    studio.desk.session.edit("data.train", (str(rows(tmp_path / "rows.jsonl")),))
    settle(qtbot, studio)
    qtbot.waitUntil(panel.start.isEnabled)
    studio.desk.session.edit("data.max_length", 100_000)  # more than the model reads
    assert "8,192" in why()
    assert any(problem.severity is Severity.ERROR for problem in studio.desk.session.problems)


def test_start_by_keyboard_where_it_cannot_start_says_why(qtbot: Any, studio: Any) -> None:
    studio.window.perform("start")
    assert words_of(studio) == ["The training cannot start yet."]
    assert studio.desk.runs.current is None


# ------------------------------------------------------------------------------------------------ opening anything


def test_dropped_data_is_added_and_can_be_taken_back(qtbot: Any, studio: Any, tmp_path: Path) -> None:
    one, two = rows(tmp_path / "one.jsonl"), rows(tmp_path / "two.jsonl")
    drop(studio, one, two)
    qtbot.waitUntil(lambda: studio.desk.session.spec.data.train == (str(one), str(two)))
    assert studio.window.page == "data"
    drop(studio, one)
    qtbot.wait(50)
    assert studio.desk.session.spec.data.train == (str(one), str(two)), "a file twice is a file once"
    studio.window.notices.cards[0]._act(studio.window.notices.cards[0].notice.actions[0])
    assert studio.desk.session.spec.data.train == ()


def test_dropped_model_folders_and_gguf_files_become_the_base_model(
    qtbot: Any, studio: Any, starter_home: Path, tmp_path: Path
) -> None:
    drop(studio, starter_home / "models" / "starter")
    qtbot.waitUntil(lambda: studio.desk.session.spec.model.base.endswith("starter"))
    settle(qtbot, studio)
    assert studio.desk.session.model is not None
    gguf = tmp_path / "some.gguf"
    gguf.write_bytes(b"GGUF but nothing more")
    drop(studio, gguf)
    qtbot.waitUntil(lambda: studio.desk.session.spec.model.base == str(gguf))
    settle(qtbot, studio)
    assert studio.desk.session.model_problems
    assert studio.window.page == "model"


def test_a_dropped_spec_is_opened_and_a_broken_one_refused_whole(qtbot: Any, studio: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("version: 1\nadapter: {rank: 24}\n", "utf-8")
    bad.write_text("version: 1\nadapter: {rank: lots, alhpa: 3}\n", "utf-8")
    drop(studio, good)
    qtbot.waitUntil(lambda: studio.desk.session.spec.adapter.rank == 24)
    assert studio.desk.session.file == good
    assert not studio.desk.session.unsaved
    drop(studio, bad)
    qtbot.waitUntil(lambda: len([text for text in words_of(studio) if "bad.yaml" in text]) == 2)
    assert studio.desk.session.spec.adapter.rank == 24


@pytest.mark.parametrize("what", ["adapter", "empty folder", "picture", "missing"])
def test_what_cannot_be_opened_is_said(qtbot: Any, studio: Any, tmp_path: Path, what: str) -> None:
    path = tmp_path / "thing"
    if what in ("adapter", "empty folder"):
        path.mkdir()
    if what == "adapter":
        (path / "adapter_config.json").write_text("{}", "utf-8")
    if what == "picture":
        path = tmp_path / "thing.png"
        path.write_bytes(b"\x89PNG")
    before = studio.desk.session.spec
    drop(studio, path)
    qtbot.waitUntil(lambda: bool(words_of(studio)))
    assert "thing" in words_of(studio)[0]
    assert studio.desk.session.spec == before


def test_a_spec_is_saved_and_opened_again(qtbot: Any, studio: Any, tmp_path: Path) -> None:
    studio.desk.session.edit("adapter.rank", 48)
    studio.window.files._write(tmp_path / "mine.yaml")
    assert not studio.desk.session.unsaved
    studio.desk.session.edit("adapter.rank", 8)
    assert studio.desk.session.unsaved
    studio.window.files.open_spec(tmp_path / "mine.yaml")
    assert studio.desk.session.spec.adapter.rank == 48
    assert studio.preferences.now.recent == (str(tmp_path / "mine.yaml"),)


def test_a_spec_that_cannot_be_saved_is_told(studio: Any, tmp_path: Path) -> None:
    studio.window.files._write(tmp_path / "no" / "such" / "folder.yaml")
    assert any("folder.yaml" in text for text in words_of(studio))
    assert studio.desk.session.file is None


# ------------------------------------------------------------------------------------------------------ the frame


def test_shortcuts_reach_every_page(qtbot: Any, studio: Any) -> None:
    from studio.state.shortcuts import PAGES, SHORTCUTS

    for item in SHORTCUTS:
        if item.action.startswith("page-"):
            studio.window.perform(item.action)
            assert studio.window.page == item.action.removeprefix("page-")
    assert set(PAGES) <= set(studio.window.pages)
    assert len({item.keys for item in SHORTCUTS}) == len(SHORTCUTS)


def test_the_panel_folds_into_a_strip_in_a_narrow_window(qtbot: Any, studio: Any) -> None:
    studio.window.show_page("adapter")
    for width, side, strip in ((1280, True, False), (1024, False, True), (1280, True, False)):
        studio.window.resize(width, 700)
        qtbot.waitUntil(lambda width=width: studio.window.width() == width)
        assert studio.window._side.isVisible() is side
        assert studio.window._strip.isVisible() is strip
    studio.window.show_page("export")
    assert not studio.window._side.isVisible()
    assert not studio.window._strip.isVisible()


def test_a_change_of_look_makes_the_window_anew_and_loses_nothing(qtbot: Any, studio: Any) -> None:
    from studio.look.theme import look
    from studio.words import language

    studio.desk.session.edit("adapter.rank", 5)
    studio.window.show_page("adapter")
    for name, value in (("theme", "dark"), ("text_scale", 1.3), ("language", "zh_CN"), ("theme", "light")):
        before = studio.window
        studio.preferences.set(name, value)
        qtbot.waitUntil(lambda before=before: studio.window is not before)
        assert studio.window.isVisible()
        assert studio.window.page == "adapter"
    assert (look().scheme, look().scale, language()) == ("light", 1.3, "zh_CN")
    assert studio.desk.session.spec.adapter.rank == 5


def test_notices_stay_as_long_as_they_matter_and_repeat_once(qtbot: Any, studio: Any) -> None:
    for _ in range(3):
        studio.desk.complain("It broke.", "Mend it.")
    studio.desk.tell("It went well.")
    assert words_of(studio) == ["It went well.", "It broke."]
    for number in range(9):
        studio.desk.warn(f"number {number}")
    assert len(words_of(studio)) <= 4
    for card in list(studio.window.notices.cards):
        card.leave()
    assert not studio.window.notices.isVisible()


def test_problems_become_notices_whose_buttons_mend(qtbot: Any, studio: Any) -> None:
    from core.errors import Fix, error

    fix = Fix("Take rank 12", (Edit("adapter.rank", 12),))
    studio.desk.show_problems((error("adapter.rank", "The rank is odd.", "Take another.", fix),))
    card = studio.window.notices.cards[0]
    card._act(card.notice.actions[0])
    assert studio.desk.session.spec.adapter.rank == 12


def test_an_error_of_our_own_is_kept_on_disk_and_shown(
    qtbot: Any, studio: Any, lowrank_home: Path, capsys: Any
) -> None:
    import sys

    from studio.shell.crashes import install_crash_reports

    before = sys.excepthook
    try:
        install_crash_reports(studio.desk)
        failure = ZeroDivisionError("on purpose")
        sys.excepthook(type(failure), failure, None)
    finally:
        sys.excepthook = before
    [report] = (lowrank_home / "crashes").glob("window-*.txt")
    assert "on purpose" in report.read_text("utf-8")
    assert any("on purpose" in text for text in words_of(studio))
    assert "on purpose" in capsys.readouterr().err


def test_undo_in_the_menu_is_the_sessions(qtbot: Any, studio: Any) -> None:
    studio.desk.session.edit("adapter.rank", 9)
    studio.window.perform("undo")
    assert studio.desk.session.spec == RunSpec()
    studio.window.perform("redo")
    assert studio.desk.session.spec.adapter.rank == 9


def test_every_plan_number_comes_from_the_plan(
    qtbot: Any, studio: Any, starter_home: Path, settled: Callable[[], None]
) -> None:
    from core.units import format_bytes, format_count

    studio.desk.session.set_spec(demo_spec("starter"))
    settle(qtbot, studio)
    studio.window.show_page("adapter")
    for rank in (4, 64):
        studio.desk.session.edit("adapter.rank", rank)
        plan = studio.desk.session.plan
        panel = studio.window.plan_panel
        assert panel._values._values["trainable"].text() == format_count(plan.parameters.trainable)
        assert format_bytes(plan.memory.peak_bytes) in panel._numbers.text()
        assert sum(part.bytes for part in panel.bar._parts) == plan.memory.peak_bytes


def test_problems_of_many_rows_are_one_line_in_the_panel(
    qtbot: Any, studio: Any, starter_home: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "completion": "b"}\n' * 30 + "{broken\n" * 9, "utf-8")
    studio.desk.session.apply((Edit("model.base", "starter"), Edit("data.train", (str(broken),))))
    settle(qtbot, studio)
    studio.window.show_page("adapter")
    panel = studio.window.plan_panel
    assert len([problem for problem in panel._notes._shown if str(broken) in problem.path]) == 2
    assert panel._more.text() == "7 more on the Data page"
    panel._more.click()
    assert studio.window.page == "data"


def test_a_dropped_run_folder_is_shown_with_its_end(qtbot: Any, studio: Any, starter_home: Path, starter: Path) -> None:
    from tests.studio.audit.told_runs import told_runs

    folder = told_runs(starter)["stopped"]
    drop(studio, folder.path)
    qtbot.waitUntil(lambda: studio.desk.runs.current is not None, timeout=20_000)
    run = studio.desk.runs.current
    qtbot.waitUntil(lambda: run.outcome is not None and run.state.step == 20, timeout=20_000)
    assert run.folder.path == folder.path
    assert studio.window.page == "training"


def test_the_panel_is_as_wide_as_its_place_whatever_it_has_shown(qtbot: Any, studio: Any) -> None:
    """From “choose a model” over a plan for a large one to the longest durations: nothing is cut off at the right."""
    panel, session = studio.window.plan_panel, studio.desk.session
    for base, epochs in (("", 1.0), ("meta-llama/Llama-3.1-70B", 1000.0), ("HuggingFaceTB/SmolLM2-135M", 1000.0)):
        session.set_spec(RunSpec().replace("model.base", base).replace("training.epochs", epochs))
        settle(qtbot, studio)
        studio.window.show_page("adapter")
        qtbot.waitUntil(lambda: panel.minimumSizeHint().width() <= panel.width(), timeout=5_000)
        body = panel.findChild(QWidget, "planBody")
        assert body.minimumSizeHint().width() <= body.parentWidget().width()
        assert panel.findChild(QLabel, "plan-band").isVisible() == bool(base)
