"""The report on the Data page: real clicks on the real window, about real files."""

import json
from pathlib import Path

from PySide6.QtCore import Qt

from tests.studio.data.report_window import ReportWindow, chat, faulty_rows, plain, texts, write_jsonl

# ----------------------------------------------------------------------------------------------------- findings


def test_findings_are_listed_with_their_counts_worst_first(window: ReportWindow, faulty: Path) -> None:
    counts = {item.finding.name: item.finding.count for item in window.card.findings.entries}
    assert counts.items() >= {
        "duplicates": 3, "repeated_speaker": 2, "placeholders": 2, "mistaken_encoding": 1
    }.items()  # fmt: skip
    severities = [item.finding.severity.value for item in window.card.findings.entries]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    header = window.entry("duplicates").header
    assert header.accessibleName() == "Warning: Duplicates, 3 rows"
    assert header.accessibleDescription() == "closed"
    words = window.find("report-counts").text()
    report = window.desk.report.report
    assert words.startswith(f"120 rows · {report.tokens:,} tokens · {report.supervised_tokens:,} of them trained")
    assert window.find("languages").accessibleName().startswith("Languages: English")
    doubts = sum(1 for name in severities if name != "info")
    assert window.find("report-verdict").text() == f"{doubts} things to look at"


def test_a_finding_opens_its_rows_and_a_row_its_tokens(window: ReportWindow, faulty: Path) -> None:
    detail = window.open("duplicates")
    places = [(Path(place.file).name, place.line) for place in detail.places.places]
    assert places == [("faulty.jsonl", 11), ("faulty.jsonl", 21), ("faulty.jsonl", 31)]
    model = detail.places.model()
    assert model.index(2, 0).data() == "faulty.jsonl:31"
    assert str(model.index(2, 1).data()).startswith("What do you know about")
    window.click(detail.sample.modes.button("tokens"))
    window.click_row(detail.places, 2)
    answer = faulty_rows()[4]["messages"][1]["content"]
    window.wait(lambda: answer in window.shown_tokens(detail))
    trained = "".join(piece.text for piece in detail.sample.tokens.view.pieces if piece.kind == "trained")
    assert trained == answer + "<|im_end|>", "the marks are those of the training"
    assert detail.sample.place.full_text() == "faulty.jsonl:31"
    window.bot.keyClick(detail.places, Qt.Key.Key_Up)
    window.wait(lambda: faulty_rows()[3]["messages"][1]["content"] in window.shown_tokens(detail))
    assert detail.sample.place.full_text() == "faulty.jsonl:21"


def test_one_finding_is_open_at_a_time_and_keys_go_along_the_list(window: ReportWindow, faulty: Path) -> None:
    window.open("duplicates")
    header = window.entry("duplicates").header
    assert header.accessibleDescription() == "open"
    window.bot.keyClick(header, Qt.Key.Key_Down)
    following = window.studio.window.focusWidget()
    assert following is window.card.findings.entries[window.names().index("duplicates") + 1].header
    window.bot.keyClick(following, Qt.Key.Key_Return)
    opened = window.card.findings.open_entry
    assert opened.header is following
    assert window.entry("duplicates").detail is None
    window.bot.keyClick(following, Qt.Key.Key_Space)
    assert window.card.findings.open_entry is None


def test_a_row_far_behind_is_found_again(window: ReportWindow, tmp_path: Path) -> None:
    rows = [plain(number) for number in range(2600)]
    rows[2400], rows[700] = rows[5], rows[6]
    window.choose(write_jsonl(tmp_path / "long.jsonl", rows), validation_share=0.0)
    window.wait_report()
    detail = window.open("duplicates")
    assert [place.row for place in detail.places.places] == [700, 2400]
    for row, words in ((1, rows[5]), (0, rows[6]), (1, rows[5])):
        window.click_row(detail.places, row)
        expected = json.dumps(words, ensure_ascii=False, indent=2)
        window.wait(lambda expected=expected: detail.sample.raw.toPlainText() == expected)


def test_a_row_that_is_gone_says_so(window: ReportWindow, faulty: Path) -> None:
    write_jsonl(faulty, faulty_rows()[:15])
    window.click(window.entry("duplicates").header)
    detail = window.entry("duplicates").detail
    assert detail is not None
    window.click_row(detail.places, 2)
    window.wait(lambda: any("fewer rows" in words for words in texts(detail.sample)))


def test_which_finding_is_open_outlives_the_window(window: ReportWindow, faulty: Path) -> None:
    detail = window.open("repeated_speaker")
    window.click_row(detail.places, 1)
    before = window.studio.window
    window.studio.preferences.set("theme", "dark")
    window.wait(lambda: window.studio.window is not before and "data" in window.studio.window.pages)
    window.wait(lambda: window.card.findings.open_entry is not None)
    opened = window.card.findings.open_entry
    assert opened.finding.name == "repeated_speaker"
    assert opened.detail.places.current.line == 42


# -------------------------------------------------------------------------------------------------------- repairs


def test_a_fix_is_one_click_and_can_be_taken_back(window: ReportWindow, faulty: Path) -> None:
    content = faulty.read_bytes()
    detail = window.open("duplicates")
    window.click(detail.fixes[0])
    session = window.desk.session
    assert session.spec.data.repairs == ("drop_duplicates",)
    assert not detail.fixes[0].isEnabled(), "applied, while the rows are looked through again"
    assert window.entry("duplicates").header.accessibleName().endswith("mended")
    assert window.find("repaired-drop_duplicates").text() == "not counted yet"
    assert window.wait_report().rows == 117
    assert "duplicates" not in window.names()
    assert window.find("repaired-drop_duplicates").text() == "3 rows"
    window.click(window.find("take-back-drop_duplicates"))
    assert session.spec.data.repairs == ()
    assert not window.has("repaired-drop_duplicates")
    assert window.wait_report().rows == 120
    assert "duplicates" in window.names()
    assert faulty.read_bytes() == content, "the file is never changed"


def test_undo_takes_a_repair_back_and_redo_brings_it_again(window: ReportWindow, faulty: Path) -> None:
    window.click(window.open("placeholders").fixes[0])
    assert window.wait_report().rows == 118
    assert window.desk.session.undo()
    assert window.wait_report().rows == 120
    assert "placeholders" in window.names()
    assert window.desk.session.redo()
    assert window.wait_report().rows == 118


def test_two_fixes_before_the_next_report_hold_both(window: ReportWindow, faulty: Path) -> None:
    window.click(window.open("duplicates").fixes[0])
    window.click(window.open("repeated_speaker").fixes[0])
    assert window.desk.session.spec.data.repairs == ("merge_turns", "drop_duplicates")
    window.click(window.find("take-back-drop_duplicates"))
    window.click(window.open("placeholders").fixes[0])
    assert window.desk.session.spec.data.repairs == ("merge_turns", "drop_placeholders"), "what was taken back stays so"
    assert window.wait_report().rows == 118
    assert not {"repeated_speaker", "placeholders"} & set(window.names())


def test_long_rows_are_found_under_a_limit_and_the_fix_raises_it(window: ReportWindow, faulty: Path) -> None:
    limit = window.desk.report.report.lengths.longest - 3
    window.desk.session.edit("data.max_length", limit)
    report = window.wait_report()
    cut = next(item for item in report.findings if item.name == "cut")
    assert cut.count == report.lengths.cut(limit).rows > 0
    detail = window.open("cut")
    longest = report.lengths.longest
    raise_it = next(made for made, fix in zip(detail.fixes, cut.fixes, strict=True)
                    if fix.edits[0].path == "data.max_length" and int(str(fix.edits[0].value)) >= longest)  # fmt: skip
    window.click(raise_it)
    assert window.desk.session.spec.data.max_length >= longest
    window.wait_report()
    assert "cut" not in window.names()


# ------------------------------------------------------------------------------------- rows as the training reads them


def test_a_mended_row_is_shown_as_it_is_trained(window: ReportWindow, faulty: Path) -> None:
    detail = window.open("mistaken_encoding")
    window.click(detail.sample.modes.button("tokens"))
    window.wait(lambda: "cafÃ©" in window.shown_tokens(detail))
    window.click(detail.fixes[0])
    window.wait(lambda: "café" in window.shown_tokens(detail))
    window.wait(lambda: any("Put damaged letters right" in words for words in texts(detail.sample)))
    window.click(detail.sample.modes.button("raw"))
    assert "cafÃ©" in detail.sample.raw.toPlainText(), "the file has it as it was"


def test_a_row_that_a_repair_leaves_out_says_so_and_can_be_had_back(window: ReportWindow, faulty: Path) -> None:
    window.desk.session.edit("data.repairs", ("drop_placeholders", "drop_duplicates"))
    window.wait_report()
    rows = window.page.rows
    window.click(rows.sample.modes.button("tokens"))
    window.wait(lambda: rows.model.rowCount() > 51)
    window.click_row(rows.table, 50)
    window.wait(lambda: any("This row is not trained" in words for words in texts(rows.sample)))
    window.click(window.find("fix"))
    assert window.desk.session.spec.data.repairs == ("drop_duplicates",)
    window.wait(lambda: "Dear {{name}}, hello." in "".join(piece.text for piece in rows.sample.tokens.view.pieces))


def test_a_row_that_is_split_says_into_how_many(window: ReportWindow, tmp_path: Path) -> None:
    asked = ("What is said about the river?", "The river is long and wide and cold in winter and warm in summer.")
    turns = [turn for number in range(12) for turn in (("user", f"{asked[0]} {number}"), ("assistant", asked[1]))]
    path = write_jsonl(tmp_path / "long.jsonl", [chat(*turns), *(plain(number) for number in range(12))])
    window.choose(path, validation_share=0.0, max_length=160, repairs=("split_long",))
    report = window.wait_report()
    assert report.repaired == {"split_long": 1}
    rows = window.page.rows
    window.click(rows.sample.modes.button("tokens"))
    parts = report.rows - 12
    window.wait(lambda: any(f"This row is split into {parts}:" in words for words in texts(rows.sample)))
