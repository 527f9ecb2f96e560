"""Every state of the report on the Data page: waiting, at work, cancelled, stale, refused, nothing, very much."""

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QWidget

from core.data.report.types import Finding, Language, Lengths, Report, RowPlace
from core.errors import Edit, Fix, Severity
from core.spec.run_spec import RunSpec
from studio.pages.data.findings import FOLDED, FindingList
from studio.pages.data.languages_bar import LanguagesBar
from studio.state.repairs import edits_of, is_applied
from tests.studio.data.report_window import ReportWindow, plain, texts, write_jsonl


def sound(path: Path, first: int, count: int) -> Path:
    return write_jsonl(path, [plain(number) for number in range(first, first + count)])


def test_without_files_there_is_no_card(window: ReportWindow) -> None:
    assert not window.card.isVisible()
    assert window.desk.report.busy is None


def test_without_a_model_it_asks_for_one(window: ReportWindow, tmp_path: Path) -> None:
    window.choose(sound(tmp_path / "rows.jsonl", 0, 12), model="")
    window.wait(lambda: not window.desk.session.is_reading and window.has("report-action"))
    assert any("That needs a base model." in words for words in texts(window.card))
    window.click(window.find("report-action"))
    assert window.studio.window.page == "model"


def test_nothing_to_mend_is_said(window: ReportWindow, tmp_path: Path) -> None:
    window.choose(sound(tmp_path / "sound.jsonl", 0, 200))
    report = window.wait_report()
    assert report.findings == ()
    assert window.has("nothing-to-mend")
    assert window.find("report-verdict").text() == "nothing to mend"
    assert report.rows + report.validation_rows == 200
    assert any("10 rows for validation" in words for words in texts(window.card))


def test_what_an_epoch_takes_is_said_where_it_is_not_every_row_once(window: ReportWindow, tmp_path: Path) -> None:
    path = sound(tmp_path / "sound.jsonl", 0, 60)
    window.choose(path, validation_share=0.0)
    window.wait_report()
    assert not window.has("report-epoch")
    session = window.desk.session
    session.apply([Edit("data.max_rows", 25)])
    window.wait(lambda: window.has("report-epoch"))
    assert window.find("report-epoch").text() == "35 rows are taken by no epoch"
    assert "25 rows" in window.find("report-counts").text()
    session.apply([Edit("data.max_rows", 0)])
    window.wait(lambda: not window.has("report-epoch"))
    session.apply([Edit("data.weights", {str(path): 2.0})])
    window.wait(lambda: window.has("report-epoch"))
    assert window.find("report-epoch").text().startswith("One epoch takes 120 rows · ")


def test_it_is_cancelled_and_taken_up_again(window: ReportWindow, tmp_path: Path) -> None:
    source = window.desk.report
    window.choose(sound(tmp_path / "many.jsonl", 0, 6000))
    window.wait(lambda: source.busy is not None)
    assert window.find("report-progress").full_text().startswith("Looking through the rows")
    window.click(window.find("cancel-report"))
    assert source.busy is None
    assert source.report is None
    window.bot.wait(300)
    assert source.busy is None, "nothing takes it up by itself"
    assert "The rows have not been looked through." in texts(window.card)
    window.click(window.find("report-action"))
    assert window.wait_report().rows > 5000
    assert not window.has("report-action")


def test_a_report_on_other_files_never_arrives(window: ReportWindow, tmp_path: Path) -> None:
    source = window.desk.report
    window.choose(sound(tmp_path / "many.jsonl", 0, 6000))
    window.wait(lambda: source.busy is not None)
    seen: list[int] = []
    source.changed.connect(lambda: seen.append(source.report.rows) if source.report else None)
    window.desk.session.edit("data.train", (str(sound(tmp_path / "few.jsonl", 9000, 40)),))
    assert window.wait_report().rows == 38
    assert set(seen) == {38}


def test_numbers_of_other_files_go_at_once_and_those_of_the_same_stay(window: ReportWindow, tmp_path: Path) -> None:
    source = window.desk.report
    window.choose(sound(tmp_path / "one.jsonl", 0, 60))
    window.wait_report()
    counts = window.find("report-counts")
    window.desk.session.edit("data.max_length", 512)
    window.wait(lambda: source.is_stale)
    assert counts.isVisible(), "the same rows under another limit: nothing jumps"
    assert not window.has("report-verdict"), "but no verdict on what is not known yet"
    window.wait_report()
    window.desk.session.edit("data.train", (str(sound(tmp_path / "two.jsonl", 500, 30)),))
    window.wait(lambda: source.report is None)
    assert not counts.isVisible()
    window.wait_report()
    assert counts.text().startswith("28 rows")


def test_rows_written_to_the_file_are_seen_when_asked(window: ReportWindow, tmp_path: Path) -> None:
    path = sound(tmp_path / "rows.jsonl", 0, 60)
    window.choose(path, validation_share=0.0)
    assert window.wait_report().rows == 60
    sound(path, 0, 80)
    window.click(window.find("report-again"))
    window.wait(lambda: window.desk.report.report is not None and window.desk.report.report.rows == 80)


def test_broken_rows_are_a_finding_even_while_they_block_the_start(window: ReportWindow, tmp_path: Path) -> None:
    path = sound(tmp_path / "rows.jsonl", 0, 50)
    lines = path.read_text("utf-8").splitlines()
    lines[7] = '{"messages": [{"role'
    path.write_text("\n".join(lines), "utf-8")
    window.choose(path)
    report = window.wait_report()
    assert [item.name for item in report.findings] == ["unusable"]
    assert window.desk.session.data is None
    detail = window.open("unusable")
    assert detail.places.places[0].line == 8
    window.wait(lambda: any("not valid JSON" in words for words in texts(detail.sample)))
    window.click(detail.fixes[0])
    assert window.desk.session.spec.data.bad_rows == "skip"
    window.wait_report()
    assert window.desk.session.data is not None


def test_a_file_that_cannot_be_read_is_said_once(window: ReportWindow, tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl"
    path.write_bytes(b"PK\x03\x04 and so on")
    window.choose(path)
    window.wait(lambda: window.desk.report.problems)
    window.wait(lambda: "The rows cannot be looked through as they are." in texts(window.card))
    assert sum("ZIP archive" in words for words in texts(window.page)) == 1
    sound(path, 0, 30)
    window.click(window.find("report-action"))
    window.wait_report()
    assert window.has("nothing-to-mend")


def test_a_template_that_is_gone_is_said(window: ReportWindow, tmp_path: Path) -> None:
    window.choose(sound(tmp_path / "rows.jsonl", 0, 30), template=str(tmp_path / "gone.jinja"))
    window.wait(lambda: window.desk.report.problems)
    assert window.has("report-action")


def test_at_the_least_size_the_row_stands_below_its_list(window: ReportWindow, faulty: Path) -> None:
    window.studio.window.resize(960, 600)
    detail = window.open("duplicates")
    assert detail.places.width() >= 150
    for part in (detail.places, detail.sample):
        left = part.mapTo(window.card, part.rect().topLeft()).x()
        assert 0 <= left <= left + part.width() <= window.card.width()


# ----------------------------------------------------------------------------------------------- parts by themselves


def invented(findings: int) -> Report:
    """A report with more findings than anybody reads."""
    made = tuple(
        Finding(f"kind{number}", f"Kind {number}", 1000 + number, "Some rows.", "Look.",
                (RowPlace("/nowhere/rows.jsonl", number, number + 1, "words"),),
                severity=Severity.INFO if number % 3 else Severity.WARNING)
        for number in range(findings)
    )  # fmt: skip
    return Report(9, 0, 0, 90, 50, Lengths((10,), (9,)), 512, findings=made)


def test_a_thousand_findings_are_folded(qtbot: Any, desk: Any) -> None:
    found = FindingList(desk)
    qtbot.addWidget(found)
    found.show_report(invented(1000))
    found.show()
    assert len(found.entries) == FOLDED
    more = found.findChild(QWidget, "more-findings")
    assert more.text() == "Show all 1,000"
    more.click()
    assert len(found.entries) == 200
    assert [item.finding.severity for item in found.entries[:3]] == [Severity.WARNING] * 3
    more.click()
    assert len(found.entries) == FOLDED
    found.show_report(invented(FOLDED + 1))
    assert len(found.entries) == FOLDED + 1, "one more costs no more room than the button"
    assert not more.isVisible()
    found.show_report(None)
    assert not found.isVisible()


def test_languages_are_named_and_the_rare_ones_gathered(qtbot: Any) -> None:
    bar = LanguagesBar()
    qtbot.addWidget(bar)
    bar.show_languages([Language("en", "English", 995), Language("de", "German", 4), Language("fr", "French", 1)])
    assert bar.accessibleName() == "Languages: English 100 %, German under 1 %, French under 1 %"
    many = [Language(f"x{number}", f"Language {number}", 100 - number) for number in range(9)]
    bar.show_languages(many)
    assert "4 others 43 %" in bar.accessibleName()
    assert not bar.grab().isNull()
    bar.show_languages([])
    assert not bar.isVisible()


@pytest.mark.parametrize(
    ("present", "made_with", "wanted", "result"),
    [
        ((), (), ("drop_duplicates",), ("drop_duplicates",)),
        (("merge_turns",), (), ("drop_duplicates",), ("merge_turns", "drop_duplicates")),
        ((), ("merge_turns",), ("merge_turns", "drop_duplicates"), ("drop_duplicates",)),
        (("split_long",), ("split_long",), ("merge_turns", "split_long"), ("merge_turns", "split_long")),
    ],
)
def test_a_fix_adds_its_repairs_to_those_of_now(
    present: tuple[str, ...], made_with: tuple[str, ...], wanted: tuple[str, ...], result: tuple[str, ...]
) -> None:
    spec = RunSpec().replace("data.repairs", present)
    report = Report(9, 0, 0, 90, 50, Lengths((10,), (9,)), 512, repaired=dict.fromkeys(made_with, 0))
    fix = Fix("Mend", (Edit("data.repairs", wanted), Edit("data.max_length", 640)))
    edits = edits_of(fix, spec, report)
    assert edits == (Edit("data.repairs", result), Edit("data.max_length", 640))
    assert not is_applied(fix, spec, report)
    for edit in edits:
        spec = spec.replace(edit.path, edit.value)
    assert is_applied(fix, spec, report)
