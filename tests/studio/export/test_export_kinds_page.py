"""GGUF, Ollama and the hub on the page “Export”: what there is to choose, what is written, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QPushButton

from core.export.verification import Check
from core.paths import home, jobs_dir
from studio.pages.export.report_list import ReportList
from studio.state.export_facts import CheckReport
from tests.studio.export.test_export_page import click, everything_below, problems, settle, words
from tests.studio.finished_run import finished_run

WAIT_MS = 120_000
Make = Callable[[], Any]


@pytest.fixture
def opened(qtbot: Any, desk: Any, page: Make, starter: Path) -> Callable[..., Any]:
    """The page with a run's result, and a format chosen."""

    def choose(kind: str, base: Path = starter) -> Any:
        finished_run(base)
        made = page()
        click(qtbot, made, f"format-{kind}")
        settle(qtbot, made)
        return made

    return choose


def test_precisions_have_sizes_and_those_that_cannot_be_had_say_why(
    qtbot: Any, opened: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.gguf.quantize.find_llama", lambda: None)
    made = opened("gguf")
    choice = made.findChild(QComboBox, "precision")
    texts = [choice.itemText(place) for place in range(choice.count())]
    assert choice.currentText().startswith("Q8_0 · 138.")
    assert len({text.partition(" · ")[2] for text in texts}) > 6, "sizes differ"
    disabled = [choice.itemData(place) for place in range(choice.count()) if not choice.model().item(place).isEnabled()]
    assert disabled == ["q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k"]
    assert "Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K. llama.cpp is needed" in words(made)
    assert "Writes words-Q8_0.gguf in it." in words(made).replace("\u200b", "")
    choice.setCurrentIndex(choice.findData("q4_0"))
    choice.activated.emit(choice.currentIndex())
    settle(qtbot, made)
    assert made.exports.outlook.plan.target == home() / "exports" / "words" / "gguf" / "words-Q4_0.gguf"
    assert "87." in choice.currentText()
    click(qtbot, made, "format-merged")
    settle(qtbot, made)
    assert not choice.isVisibleTo(made)


@pytest.mark.torch
def test_the_adapter_alone_becomes_a_gguf_file_and_its_command_is_copied(
    qtbot: Any, opened: Callable[[str], Any]
) -> None:
    made = opened("gguf_adapter")
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    settle(qtbot, made)
    file = home() / "exports" / "words" / "gguf_adapter" / "words-lora-F16.gguf"
    assert file.read_bytes()[:4] == b"GGUF"
    assert problems(made) == []
    assert "“words” as LoRA as GGUF" in words(made)
    assert "Not checked." in words(made)
    assert made.findChild(QPushButton, "try-it") is None
    click(qtbot, made, "copy-code")
    assert QGuiApplication.clipboard().text() == f'llama-cli --model "BASE.gguf" --lora "{file}" --conversation'
    assert everything_below(jobs_dir()) == []


@pytest.mark.torch
def test_ollama_gets_a_modelfile_that_can_be_copied(qtbot: Any, opened: Callable[[str], Any]) -> None:
    made = opened("ollama")
    made.exports.choose_precision("q4_0")
    settle(qtbot, made)
    seen: list[str] = []
    made.exports.moved.connect(lambda: seen.append(words(made)))
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    settle(qtbot, made)
    assert any("Writing “words” as Ollama" in text and "/s · " in text for text in seen), seen
    folder = home() / "exports" / "words" / "ollama"
    click(qtbot, made, "copy-modelfile")
    copied = QGuiApplication.clipboard().text()
    assert copied == (folder / "Modelfile").read_text("utf-8")
    assert "FROM " in copied
    click(qtbot, made, "copy-code")
    assert QGuiApplication.clipboard().text().startswith(f'ollama create words -f "{folder / "Modelfile"}"')


@pytest.mark.torch
def test_a_gguf_file_that_is_cancelled_leaves_nothing(qtbot: Any, opened: Callable[[str], Any]) -> None:
    made = opened("gguf")
    made.exports.choose_precision("f32")
    settle(qtbot, made)
    before = everything_below(home())
    click(qtbot, made, "start-export")
    qtbot.waitUntil(lambda: made.exports.live is not None and made.exports.live.done > 0, timeout=WAIT_MS)
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "cancel-export")
    assert (made.exports.past, problems(made)) == ([], [])
    assert [path for path in everything_below(home()) if path not in before and path != jobs_dir()] == []
    settle(qtbot, made)
    assert made.exports.can_start


def test_the_hub_wants_a_name_and_a_token(
    qtbot: Any, desk: Any, opened: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("core.export.objections.token_text", lambda: "")
    monkeypatch.setattr("core.hub.token.token_text", lambda: "")
    made = opened("hub")
    qtbot.waitUntil(lambda: problems(made) != [], timeout=WAIT_MS)  # looked for beside the window
    said = "\n".join(problems(made))
    assert "The repository has no name yet." in said
    assert "There is no token" in said
    assert made.findChild(QAbstractButton, "hub-private").isChecked(), "private unless somebody says otherwise"
    start = made.findChild(QPushButton, "start-export")
    assert (start.text(), start.isEnabled()) == ("Export and upload", False)
    for module in ("core.export.objections", "core.hub.token"):
        monkeypatch.setattr(f"{module}.token_text", lambda: "hf_" + "x" * 30)
    field = made.findChild(QLineEdit, "repo")
    field.setFocus()
    qtbot.keyClicks(field, "me/words")
    qtbot.waitUntil(lambda: made.exports.can_start, timeout=WAIT_MS)
    assert problems(made) == []
    assert "A token for the hub is there." in words(made)
    click(qtbot, made, "hub-private")
    settle(qtbot, made)
    assert made.exports.outlook.plan.upload_arguments["private"] is False
    click(qtbot, made, "hub-content-merged")
    settle(qtbot, made)
    assert made.exports.outlook.plan.writes == "merged"


def test_a_typed_place_belongs_to_the_format_it_was_typed_for(
    qtbot: Any, opened: Callable[[str], Any], tmp_path: Path
) -> None:
    made = opened("gguf")
    field = made.findChild(QLineEdit, "target")
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, str(tmp_path / "mine.gguf"))
    settle(qtbot, made)
    assert made.exports.outlook.plan.target == tmp_path / "mine.gguf"
    click(qtbot, made, "format-merged")
    settle(qtbot, made)
    assert made.exports.outlook.plan.target == home() / "exports" / "words" / "merged"


def test_a_report_says_what_was_measured_and_what_failed(qtbot: Any) -> None:
    checks = (
        Check("template", True, "", "", "The chat template is the trained one."),
        Check("kl", False, "0.310", "0.020", "The answers are as likely as they were."),
    )
    made = ReportList(CheckReport(checks))
    qtbot.addWidget(made)
    made.show()
    assert made.accessibleName() == "1 of 2 checks failed."
    assert "0.310 (at most 0.020)" in words(made)
    assert words(made).count("passed") == words(made).count("failed") - 1 == 1
    changes = Check("changes", True, "", "", "The changes of 7 modules are in the weights.")
    good = ReportList(CheckReport((changes,)))
    qtbot.addWidget(good)
    assert good.accessibleName() == "The one check passed."
    odd = ReportList(CheckReport(problem="The base model is gone."))
    qtbot.addWidget(odd)
    assert "The base model is gone." in odd.accessibleName()
    assert CheckReport(problem="The base model is gone.").verdict == "not_compared"
    untold = ReportList(CheckReport(checks[:1]))
    qtbot.addWidget(untold)
    assert untold.accessibleName() == "Its texts agree, but what was trained in it could not be compared."
    bare = ReportList(CheckReport(notes=("There is no llama.cpp to ask.",)))
    qtbot.addWidget(bare)
    bare.show()
    assert bare.accessibleName() == "Nothing could be compared."
    assert "There is no llama.cpp to ask." in words(bare)


@pytest.mark.torch
def test_an_export_is_checked_and_the_report_stands_on_the_page(
    qtbot: Any, opened: Callable[..., Any], short_starter: Path
) -> None:
    made = opened("adapter", short_starter)
    click(qtbot, made, "verify-export")
    assert made.exports.verify
    stages: list[str] = []
    made.exports.moved.connect(lambda: stages.append(made.exports.live.stage if made.exports.live else "ended"))
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "start-export")
    settle(qtbot, made)
    assert "verify" in stages
    (exported,) = made.exports.past
    assert exported.verification is not None
    assert exported.verification.checks, exported.verification
    assert exported.verification.verdict == "passed", exported.verification
    assert f"All {len(exported.verification.checks)} checks passed." in words(made)
    for check in exported.verification.checks:
        assert check.words in words(made)
    assert everything_below(jobs_dir()) == []


@pytest.mark.torch
def test_a_check_that_is_skipped_leaves_the_export(qtbot: Any, opened: Callable[[str], Any]) -> None:
    made = opened("gguf_adapter")
    made.exports.verify = True
    click(qtbot, made, "start-export")
    qtbot.waitUntil(lambda: made.exports.live is not None and made.exports.live.stage == "verify", timeout=WAIT_MS)
    assert made.findChild(QPushButton, "cancel-export").text() == "Skip the check"
    with qtbot.waitSignal(made.exports.ended, timeout=WAIT_MS):
        click(qtbot, made, "cancel-export")
    settle(qtbot, made)
    assert (home() / "exports" / "words" / "gguf_adapter" / "words-lora-F16.gguf").is_file()
    assert "Not checked." in words(made)
    assert problems(made) == []
