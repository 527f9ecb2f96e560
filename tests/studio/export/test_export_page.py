"""What a person does on the page “Export”: choose, export, cancel, copy; and what goes wrong, where it is said."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton

from core.facts.model_files import read_model
from core.paths import home, jobs_dir
from studio.pages.export.past_card import PastCard
from studio.widgets.basics import ProblemNote
from tests.studio.finished_run import finished_run

WAIT_MS = 120_000
Make = Callable[[], Any]


def click(qtbot: Any, page: Any, name: str) -> None:
    button = page.findChild(QAbstractButton, name)
    assert button is not None, name
    assert button.isVisibleTo(page), f"{name} is hidden"
    assert button.isEnabled(), f"{name} is disabled"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def settle(qtbot: Any, page: Any) -> None:
    qtbot.waitUntil(lambda: not page.exports.is_looking, timeout=WAIT_MS)


def words(page: Any) -> str:
    labels = (label for label in page.findChildren(QLabel) if label.isVisibleTo(page))
    return "\n".join(label.accessibleName() or label.text() for label in labels)


def problems(page: Any) -> list[str]:
    return [note.accessibleName() for note in page.findChildren(ProblemNote) if note.isVisibleTo(page)]


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def test_without_a_result_it_says_what_belongs_here_and_where_to_go(qtbot: Any, desk: Any, page: Make) -> None:
    made = page()
    assert "Nothing to export yet" in words(made)
    with qtbot.waitSignal(desk.went) as went:
        click(qtbot, made, "go-training")
    assert went.args == ["training"]


def test_an_adapter_is_copied_and_its_code_can_be(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    run = finished_run(starter)
    made = page()
    target = home() / "exports" / "words" / "adapter"
    assert made.findChild(QLineEdit, "target").text() == str(target)
    assert made.findChild(QComboBox, "run").currentText() == "words"
    assert "3 of 3 steps · loss 2.500" in words(made)
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    settle(qtbot, made)
    copied = {path.relative_to(target): path.read_bytes() for path in target.rglob("*")}
    assert copied == {path.relative_to(run.adapter): path.read_bytes() for path in run.adapter.rglob("*")}
    assert "Adapter of “words”" in words(made)
    assert str(target) in words(made)
    click(qtbot, made, "copy-code")
    code = QGuiApplication.clipboard().text()
    compile(code, "usage", "exec")
    assert f'adapter = "{target.as_posix()}"' in code
    assert f'base = "{starter.as_posix()}"' in code
    assert made.findChild(QLineEdit, "target").text() == str(target.with_name("adapter-2"))


def test_try_it_leads_to_the_model_that_was_exported(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    from studio.state.chat_choice import ChatChoice
    from studio.state.chats import chats_of

    run = finished_run(starter)
    made = page()
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    settle(qtbot, made)
    with qtbot.waitSignal(desk.went) as went:
        click(qtbot, made, "try-it")
    assert went.args == ["try"]
    assert chats_of(desk).choice == ChatChoice("run", run.path)


@pytest.mark.torch
def test_a_merge_goes_on_in_a_new_window_and_ends_with_a_whole_model(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "format-merged")
    settle(qtbot, made)
    click(qtbot, made, "start-export")
    assert made.exports.live is not None
    assert not made.findChild(QPushButton, "start-export").isVisibleTo(made)
    made.close_page()
    made.deleteLater()
    again = page()  # as after a change of the language
    assert again.exports is made.exports
    assert "Merging “words”" in words(again)
    seen: list[str] = []
    again.exports.moved.connect(lambda: seen.append(words(again)))
    with qtbot.waitSignal(again.exports.ended, timeout=WAIT_MS):
        pass
    settle(qtbot, again)
    assert any(" of 256.6 MiB · " in text for text in seen), seen
    target = home() / "exports" / "words" / "merged"
    assert read_model(target).parameters == read_model(starter).parameters
    assert (target / "model.safetensors").read_bytes() != (starter / "model.safetensors").read_bytes()
    assert "Merged model of “words”" in words(again)
    assert f'folder = "{target.as_posix()}"' in again.findChild(QPlainTextEdit, "code").toPlainText()
    assert everything_below(jobs_dir()) == []
    assert len(again.findChildren(PastCard)) == 1


@pytest.mark.torch
def test_a_cancelled_merge_leaves_nothing(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "format-merged")
    settle(qtbot, made)
    before = everything_below(home())
    click(qtbot, made, "start-export")
    qtbot.waitUntil(lambda: made.exports.live is not None and made.exports.live.done > 0, timeout=WAIT_MS)
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "cancel-export")
    assert made.exports.past == []
    assert problems(made) == []
    assert [path for path in everything_below(home()) if path not in before and path != jobs_dir()] == []
    settle(qtbot, made)
    assert made.findChild(QPushButton, "start-export").isEnabled()


@pytest.mark.torch
@pytest.mark.skipif(os.name != "posix", reason="the way to die is a POSIX signal")
def test_an_engine_that_is_killed_leaves_words_and_no_half_model(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    finished_run(starter)
    made = page()
    click(qtbot, made, "format-merged")
    settle(qtbot, made)
    click(qtbot, made, "start-export")
    live = made.exports.live
    qtbot.waitUntil(lambda: live.done > 0, timeout=WAIT_MS)
    half = list((home() / "exports" / "words").iterdir())
    assert [path.name for path in half if path.name.startswith(".merged.")] != []
    from core.runs.process_record import living_process

    process = living_process(live.job.supervisor.folder)
    assert process is not None
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        os.kill(process.pid, signal.SIGKILL)
    settle(qtbot, made)
    assert any("SIGKILL" in text for text in problems(made)), problems(made)
    assert not (home() / "exports").exists()
    assert made.findChild(QPushButton, "start-export").isEnabled()


def test_a_notice_tells_of_an_end_that_nobody_sees(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    made.shown()
    settle(qtbot, made)
    told: list[Any] = []
    desk.notified.connect(told.append)
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    assert told == []
    settle(qtbot, made)
    made.hidden()
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        made.exports.start()
    assert [notice.text for notice in told] == ["The adapter of “words” has been exported."]
    with qtbot.waitSignal(desk.went) as went:
        told[0].actions[0].perform()
    assert went.args == ["export"]


def test_a_folder_that_cannot_be_is_said_at_once_and_mended_by_another(
    qtbot: Any, desk: Any, page: Make, starter: Path, tmp_path: Path
) -> None:
    finished_run(starter)
    made = page()
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    field = made.findChild(QLineEdit, "target")
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, str(full))
    qtbot.waitUntil(lambda: any("already exists and is not empty" in text for text in problems(made)), timeout=WAIT_MS)
    settle(qtbot, made)
    assert not made.findChild(QPushButton, "start-export").isEnabled()
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert made.exports.live is None
    qtbot.keyClicks(field, "-but-not-here")
    qtbot.waitUntil(lambda: problems(made) == [] and made.exports.can_start, timeout=WAIT_MS)
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert (tmp_path / "full-but-not-here" / "adapter_model.safetensors").is_file()
    assert (full / "letter.txt").read_text() == "mine"


def test_a_fully_tuned_model_is_whole_already(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    run = finished_run(starter, "whole", adapter__method="full")
    made = page()
    settle(qtbot, made)
    adapter, merged = (made.findChild(QAbstractButton, f"format-{kind}") for kind in ("adapter", "merged"))
    assert not adapter.isEnabled()
    assert "trained every weight" in words(adapter)
    assert merged.isChecked()
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    exported = home() / "exports" / "whole" / "merged" / "model.safetensors"
    assert not exported.is_symlink()
    assert exported.stat().st_size == (run.adapter / "model.safetensors").stat().st_size


def test_another_run_can_be_chosen_and_a_run_that_goes_away_is_left(
    qtbot: Any, desk: Any, page: Make, starter: Path
) -> None:
    older, newer = finished_run(starter, "older"), finished_run(starter, "newer")
    os.utime(older.spec, (1, 1))
    made = page()
    picker = made.findChild(QComboBox, "run")
    assert [picker.itemText(place) for place in range(picker.count())] == ["newer", "older"]
    assert made.exports.run == newer.path
    picker.setFocus()
    qtbot.keyClick(picker, Qt.Key.Key_Down)
    settle(qtbot, made)
    assert made.exports.run == older.path
    assert "older" in made.findChild(QLineEdit, "target").text()
    desk.runs.delete(older)
    qtbot.waitUntil(lambda: made.exports.run == newer.path, timeout=WAIT_MS)


def test_the_formats_obey_the_keyboard(qtbot: Any, desk: Any, page: Make, starter: Path) -> None:
    finished_run(starter)
    made = page()
    adapter, merged = (made.findChild(QAbstractButton, f"format-{kind}") for kind in ("adapter", "merged"))
    assert adapter.isChecked()
    adapter.setFocus()
    qtbot.keyClick(adapter, Qt.Key.Key_Right)
    assert merged.isChecked()
    settle(qtbot, made)
    assert made.exports.kind == "merged"
    assert merged.accessibleName() == "Merged model"


@pytest.mark.parametrize(("width", "height", "scale"), [(856, 560, 1.0), (856, 560, 1.5), (520, 400, 1.0)])
def test_nothing_is_wider_than_the_window(
    qtbot: Any, qapp: Any, desk: Any, page: Make, starter: Path, width: int, height: int, scale: float
) -> None:
    from PySide6.QtWidgets import QScrollArea

    from studio.look.theme import apply_look

    apply_look(qapp, "dark", scale)
    finished_run(starter, "a-run-with-quite-a-long-name-that-somebody-has-typed-in-full-because-it-tells-so-much")
    made = page()
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    made.resize(width, height)
    qtbot.waitUntil(lambda: made.width() == width)
    area = made.findChild(QScrollArea)
    assert area.widget().width() <= area.viewport().width()
