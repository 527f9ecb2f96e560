"""The report: what load_dataset makes of the rows, counted alike, and every finding with its rows and what mends it."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.data.dataset import LoadCancelledError, load_dataset
from core.data.formats import detect, read_rows
from core.data.preview import RowPages, open_preview
from core.data.report.findings import ORDER
from core.data.report.making import make_report
from core.data.report.types import MOST_PLACES, Epoch, Finding, Report
from core.data.types import Row
from core.errors import Fix, Severity, UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec, ValidationGroups

Turns = tuple[str, ...]
ROLES = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}
PLAIN = [
    {"prompt": f"What is {number} and {number}?", "completion": f"{number}: {2 * number}."} for number in range(40)
]


def chat(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]}


PLAIN_CHATS = [chat(f"u What is {number}?", f"a It is {number * 7}, of course.") for number in range(40)]


@pytest.fixture(autouse=True)
def _home(lowrank_home: Path) -> None:
    """Tokens are kept in a folder of the test's own."""


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def report_of(path: Path, model: ModelFacts, **settings: Any) -> Report:
    return make_report(DataSpec(train=(str(path),), **settings), 7, model)


def finding(report: Report, name: str) -> Finding:
    (found,) = [item for item in report.findings if item.name == name]
    return found


def names(report: Report) -> set[str]:
    return {item.name for item in report.findings}


def fixed(spec: DataSpec, fix: Fix) -> DataSpec:
    for edit in fix.edits:
        section, _, name = edit.path.partition(".")
        assert section == "data"
        changes: dict[str, Any] = {name: edit.value}
        spec = replace(spec, **changes)
    return spec


# --- the numbers


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train_on": "all"},
        {"max_length": 20},
        {"validation_share": 0.0},
        {"validation_share": 0.3, "validation_groups": "near"},
        {"repairs": ("merge_turns", "drop_duplicates", "trim_turns")},
        {"repairs": ("drop_near_duplicates",), "validation_share": 0.2},
        {"repairs": ("split_long",), "max_length": 30},
    ],
    ids=str,
)
def test_it_counts_what_is_loaded(tmp_path: Path, model: ModelFacts, settings: Mapping[str, Any]) -> None:
    source = random.Random(3)
    rows: list[Any] = []
    for number in range(150):
        turns = [
            f"{'ua'[place % 2]} {'word ' * source.randrange(1, 9)}{number % 90}"
            for place in range(2 * (1 + number % 3))
        ]
        rows.append(chat(*turns, *(["u and more"] if number % 7 == 0 else [])))
    spec = DataSpec(train=(str(write(tmp_path / "rows.jsonl", rows)),), **settings)
    report, facts = make_report(spec, 7, model), load_dataset(spec, 7, model).facts
    assert report.rows == facts.train.rows
    assert report.tokens == facts.train.tokens
    assert report.supervised_tokens == facts.train.supervised_tokens
    assert report.validation_rows == facts.validation.rows
    assert report.lengths.longest == facts.train.longest_uncut
    cut = report.lengths.cut(spec.max_length)
    assert (cut.rows, cut.tokens) == (facts.train.truncated_rows, facts.train.lost_tokens)
    assert report.repaired == facts.repaired
    assert (report.shape, report.template_name) == (facts.shape, facts.template_name)
    assert report.max_length == spec.max_length
    if "split_long" in spec.repairs:
        assert report.repaired["split_long"] > 10


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": {"a.jsonl": 2.5}},
        {"weights": {"a.jsonl": 2.0, "b.jsonl": 0.25}, "validation_share": 0.0},
        {"weights": {"b.jsonl": 0.5}, "max_rows": 70, "validation_share": 0.2},
        {"weights": {"b.jsonl": 3}, "max_rows": 200, "repairs": ("drop_duplicates",), "max_length": 80},
        {"max_rows": 25, "validation_share": 0.3, "validation_groups": "file"},
        {"weights": {"a.jsonl": 3}, "repairs": ("split_long",), "max_length": 30},
    ],
    ids=str,
)
def test_an_epoch_is_what_is_loaded(tmp_path: Path, model: ModelFacts, settings: Mapping[str, Any]) -> None:
    source = random.Random(4)
    files = []
    for name, count in (("a.jsonl", 61), ("b.jsonl", 83)):
        said = [f"{number % 50} {name} {'word ' * source.randrange(1, 30)}" for number in range(count)]
        files.append(str(write(tmp_path / name, [chat(f"u {text}", f"a {text}", "u ?", "a !") for text in said])))
    spec = DataSpec(train=tuple(files), **settings)
    report, loaded = make_report(spec, 7, model), load_dataset(spec, 7, model)
    facts, epoch = loaded.facts, report.epoch
    assert (epoch.rows, epoch.tokens) == (facts.train.rows, facts.train.tokens)
    assert epoch.supervised_tokens == facts.train.supervised_tokens
    assert report.validation_rows == facts.validation.rows
    assert report.rows == len({row.place + str(row.ids) for row in loaded.train})
    assert epoch != Epoch(report.rows, report.tokens, report.supervised_tokens, 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"max_rows": 70, "validation_share": 0.3},
        {"max_rows": 31, "validation_share": 0.3, "repairs": ("drop_duplicates",)},
        {"weights": {"chains.jsonl": 0.6}, "validation_share": 0.4},
        {"weights": {"chains.jsonl": 1.5}, "validation_share": 0.3, "max_rows": 100},
        {"validation_share": 0.3},
    ],
    ids=str,
)
def test_rows_are_near_only_by_rows_that_are_there(
    tmp_path: Path, model: ModelFacts, settings: Mapping[str, Any], seed: int
) -> None:
    source = random.Random(5)
    rows = []
    for chain in range(40):
        words = [f"w{source.randrange(10_000)}" for _ in range(80)]
        # Each resembles the next one to 0.87, and the one behind that to 0.76.
        rows += (chat(f"u {' '.join(words[place : place + 60])}", f"a {chain}") for place in (0, 4, 8, 12))
    source.shuffle(rows)
    path = write(tmp_path / "chains.jsonl", rows)
    spec = DataSpec(train=(str(path),), validation_groups="near", **settings)
    report, loaded = make_report(spec, seed, model), load_dataset(spec, seed, model)
    assert report.validation_rows == loaded.facts.validation.rows > 0
    assert report.epoch.tokens == loaded.facts.train.tokens
    assert report.epoch.rows == loaded.facts.train.rows
    held = write(tmp_path / "held.jsonl", rows[::3])
    both = replace(spec, validation=(str(held),), validation_share=0.0)
    report, loaded = make_report(both, seed, model), load_dataset(both, seed, model)
    assert report.validation_rows == loaded.facts.validation.rows


def test_a_row_that_says_what_no_taken_row_says_is_no_duplicate(tmp_path: Path, model: ModelFacts) -> None:
    rows = [chat(f"u {number // 2}", f"a {number // 2}") for number in range(40)]
    spec = DataSpec(train=(str(write(tmp_path / "pairs.jsonl", rows)),), max_rows=20, validation_share=0.0)
    taken = [row.ids for row in load_dataset(spec, 7, model).train]
    found = [finding for finding in make_report(spec, 7, model).findings if finding.name == "duplicates"]
    assert sum(finding.count for finding in found) == len(taken) - len(set(taken)) > 0


def test_a_validation_row_like_one_that_no_epoch_takes_is_measured(tmp_path: Path, model: ModelFacts) -> None:
    train, held = write(tmp_path / "train.jsonl", PLAIN), write(tmp_path / "held.jsonl", PLAIN)
    spec = DataSpec(train=(str(train),), validation=(str(held),), max_rows=30)
    report, facts = make_report(spec, 7, model), load_dataset(spec, 7, model).facts
    assert report.validation_rows == facts.validation.rows == 10
    assert report.epoch.rows == facts.train.rows == 30
    assert finding(report, "unmeasured").count == 30


def test_validation_files_are_counted_as_they_are_measured(tmp_path: Path, model: ModelFacts) -> None:
    train = write(tmp_path / "train.jsonl", PLAIN)
    held = [
        *PLAIN[:3],
        {"prompt": "What is 5 and 5 ?", "completion": "5: 10"},
        {"prompt": "New?", "completion": "Yes."},
    ]
    spec = DataSpec(train=(str(train),), validation=(str(write(tmp_path / "held.jsonl", held)),))
    choices: tuple[tuple[ValidationGroups, int], ...] = (("equal", 2), ("near", 1))
    for groups, measured in choices:
        asked = replace(spec, validation_groups=groups)
        report = make_report(asked, 7, model)
        assert report.validation_rows == load_dataset(asked, 7, model).facts.validation.rows == measured
        assert report.rows == len(PLAIN)
        assert finding(report, "unmeasured").count == len(held) - measured
    leaked = finding(make_report(spec, 7, model), "leaked")
    assert [(Path(place.file).name, place.row) for place in leaked.rows] == [("held.jsonl", 3)]
    assert names(make_report(fixed(spec, leaked.fixes[0]), 7, model)) == {"unmeasured"}


# --- the findings

WORDS = [f"word{number}" for number in range(40)]
LONG = " ".join(WORDS)
CASES: dict[str, tuple[list[Any], int, dict[str, Any]]] = {
    # finding: (rows that have it, how many of them are named, settings)
    "masked": ([chat("u Is anybody there?")], 1, {}),
    "masked_by_cut": ([chat(f"u {LONG}", "a Yes.")], 1, {"max_length": 64}),
    "cut": ([chat(*(f"{'ua'[place % 2]} Turn {place} of twelve." for place in range(12)))], 1, {"max_length": 64}),
    "duplicates": ([PLAIN_CHATS[0], PLAIN_CHATS[0]], 2, {}),
    "near_duplicates": ([chat(f"u {LONG}", "a Yes."), chat(f"u {LONG}!", "a Yes!")], 1, {}),
    "repeated_speaker": ([chat("u One.", "u Two.", "a Three.")], 1, {}),
    "begins_with_answer": ([chat("a Hello.", "u Hello?", "a Yes.")], 1, {}),
    "open_end": ([chat("u Hello.", "a Yes?", "u Nothing.")], 1, {}),
    "disorder": ([chat("u Hello.", "s Be kind.", "a Yes?")], 1, {}),
    "mistaken_encoding": ([chat("u OÃ¹ est la gare ?", "a LÃ -bas.")], 1, {}),
    "lost_letters": ([chat("u What is this?", "a A na\ufffdve thing."), chat("u A\x00B", "a C")], 2, {}),
    "placeholders": ([chat("u Who are you?", "a I am {{name}}, made by {{author}}.")], 1, {}),
    "loops": ([chat("u Laugh.", f"a {'ha ' * 100}")], 1, {}),
    "refusals": ([chat("u Do it.", "a As an AI language model, I do nothing.")], 1, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_finding_has_its_rows_and_every_fix_mends_it(tmp_path: Path, model: ModelFacts, name: str) -> None:
    rows, count, settings = CASES[name]
    path = write(tmp_path / "rows.jsonl", [*PLAIN_CHATS, *rows])
    spec = DataSpec(train=(str(path),), validation_share=0.0, **settings)
    report = make_report(spec, 7, model)
    assert names(report) == {name}
    found = finding(report, name)
    assert (found.count, len(found.rows)) == (count, count)
    assert {place.row for place in found.rows} <= set(range(len(PLAIN_CHATS), len(PLAIN_CHATS) + len(rows)))
    assert all(place.line == place.row + 1 and place.file == str(path) and not place.part for place in found.rows)
    assert all(place.excerpt and "\n" not in place.excerpt for place in found.rows)
    assert found.title.strip(".")
    assert found.title[-1] != "."
    assert (found.message[-1], found.advice[-1]) == (".", ".")
    assert str(count) in found.message
    assert found.fixes
    before = path.read_bytes()
    for fix in found.fixes:
        mended = make_report(fixed(spec, fix), 7, model)
        assert name not in names(mended), fix.title
    assert path.read_bytes() == before


def test_sound_rows_have_no_findings(tmp_path: Path, model: ModelFacts) -> None:
    for rows in (PLAIN_CHATS, PLAIN, [{"text": f"Paragraph {number} speaks of {number * 3}."} for number in range(40)]):
        report = report_of(write(tmp_path / "rows.jsonl", rows), model)
        assert report.findings == ()
        assert report.is_complete


def test_every_finding_is_covered_here() -> None:
    elsewhere = {"unusable", "unwritable", "leaked", "unmeasured", "short_answers", "long_answers"}
    assert set(ORDER) == set(CASES) | elsewhere


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_counted(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "rows.jsonl", PLAIN)
    lines = path.read_text("utf-8").splitlines()
    lines[3:3] = ['{"prompt": "broken', '{"prompt": "x", "completion": ""}', "", "[1, 2]"]
    path.write_text("\n".join(lines), encoding="utf-8")
    report = report_of(path, model)
    found = finding(report, "unusable")
    assert found.severity is Severity.WARNING
    assert [(place.row, place.line) for place in found.rows] == [(3, 4), (4, 5), (5, 7)]
    assert "not valid JSON" in found.rows[0].excerpt
    assert report.skipped_rows == found.count == 3
    assert report.rows + report.validation_rows == len(PLAIN)
    spec = fixed(DataSpec(train=(str(path),)), found.fixes[0])
    assert spec.bad_rows == "skip"
    assert load_dataset(spec, 7, model).facts.skipped_rows == 3


def test_rows_that_the_template_refuses(
    tmp_path: Path, model: ModelFacts, model_with: Callable[[str], ModelFacts]
) -> None:
    strict = model_with(
        "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = [*PLAIN_CHATS, chat("s Be kind.", "u Hello.", "a Hello.")]
    report = report_of(write(tmp_path / "rows.jsonl", rows), strict)
    found = finding(report, "unwritable")
    assert (found.count, found.rows[0].row) == (1, 40)
    assert "no system" in found.rows[0].excerpt
    assert report.skipped_rows == 1
    assert found.fixes[-1].edits[0].path == "data.bad_rows"


def test_answers_of_unusual_length(tmp_path: Path, model: ModelFacts) -> None:
    source = random.Random(1)
    rows = [
        chat(f"u Question {n}?", "a " + " ".join(source.choices(WORDS, k=source.randrange(20, 40)))) for n in range(150)
    ]
    rows[70] = chat("u Question 70?", "a " + " ".join(f"{source.random()}" for _ in range(300)))
    rows[80] = chat("u Question 80?", "a x")
    report = report_of(write(tmp_path / "rows.jsonl", rows), model, validation_share=0.0)
    assert names(report) == {"long_answers", "short_answers", "cut"}
    assert [place.row for place in finding(report, "long_answers").rows] == [70]
    assert [place.row for place in finding(report, "short_answers").rows] == [80]
    assert finding(report, "short_answers").rows[0].excerpt == "Question 80?"
    few = report_of(write(tmp_path / "few.jsonl", rows[40:110]), model)
    assert "long_answers" not in names(few), "of so few rows nobody can say what is usual"


def test_the_most_extreme_answers_are_named_where_there_are_too_many(tmp_path: Path, model: ModelFacts) -> None:
    source = random.Random(1)
    rows = [chat(f"u Question {n}?", "a " + " ".join(source.choices(WORDS, k=30))) for n in range(1500)]
    short = range(0, 1200, 4)
    for number in short:
        rows[number] = chat(f"u Question {number}?", f"a {'x' * (1 if number > 600 else 2)}")
    found = finding(report_of(write(tmp_path / "rows.jsonl", rows), model, validation_share=0.0), "short_answers")
    assert (found.count, len(found.rows)) == (len(short), MOST_PLACES)
    assert {number for number in short if number > 600} <= {place.row for place in found.rows}


def test_at_most_so_many_rows_are_named(tmp_path: Path, model: ModelFacts) -> None:
    rows = [chat(f"u Number {number}?", "a I am {{name}}.") for number in range(MOST_PLACES + 50)]
    found = finding(report_of(write(tmp_path / "rows.jsonl", rows), model), "placeholders")
    assert (found.count, len(found.rows)) == (MOST_PLACES + 50, MOST_PLACES)
    assert [place.row for place in found.rows] == list(range(MOST_PLACES))


def test_warnings_come_before_information(tmp_path: Path, model: ModelFacts) -> None:
    rows = [row for rows, _, _ in CASES.values() for row in rows]
    report = report_of(write(tmp_path / "rows.jsonl", [*PLAIN_CHATS, *rows]), model, max_length=64)
    severities = [item.severity for item in report.findings]
    assert severities == sorted(severities, key=[Severity.WARNING, Severity.INFO].index)
    assert len(names(report)) == len(report.findings) >= 12


# --- places


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "text", "folder", "gz"])
def test_the_rows_of_a_finding_are_found_again(tmp_path: Path, model: ModelFacts, kind: str) -> None:
    texts = [f"Paragraph {number} speaks of {number * 3} and of nothing else." for number in range(60)]
    texts[17] = "Here stands {{name}}."
    texts[41] = texts[40]
    path = _write_as(tmp_path, kind, texts)
    report = report_of(path, model)
    wanted = {"placeholders": (17, "{{name}}"), "duplicates": (41, texts[40])}
    assert names(report) == set(wanted)
    preview = open_preview(path, DataSpec(), limit=5)
    numbered = list(read_rows(detect(path)))
    for name, (row, words) in wanted.items():
        (place,) = finding(report, name).rows
        assert (place.file, place.row) == (str(path), row)
        assert words in place.excerpt
        with RowPages(preview) as pages:
            (shown,) = pages.page(place.row, 1)
        assert shown.sample is not None
        assert words in shown.sample.completion
        assert place.line == shown.line
        found = numbered[row]
        assert isinstance(found, Row)
        assert Path(place.part or place.file).name == Path(found.path).name


def _write_as(folder: Path, kind: str, texts: Sequence[str]) -> Path:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": text} for text in texts]
    if kind == "folder":
        (folder / "texts").mkdir()
        for number, text in enumerate(texts):
            (folder / "texts" / f"{number:03}.txt").write_text(text)
        return folder / "texts"
    path = folder / f"rows.{'txt' if kind == 'text' else 'jsonl.gz' if kind == 'gz' else kind}"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        whole = {"jsonl": lines, "json": json.dumps(rows), "csv": "text\n" + "".join(f'"{text}"\n' for text in texts)}
        path.write_text(whole.get(kind, "\n\n".join(texts)))
    return path


def test_rows_of_several_files_are_told_apart(tmp_path: Path, model: ModelFacts) -> None:
    first = write(tmp_path / "first.jsonl", PLAIN_CHATS[:20])
    empty = write(tmp_path / "second.jsonl", [*PLAIN_CHATS[20:], PLAIN_CHATS[3], chat("u Who?", "a {{name}}.")])
    report = make_report(DataSpec(train=(str(first), str(empty)), validation_share=0.0), 7, model)
    places = [finding(report, name).rows[0] for name in ("duplicates", "placeholders")]
    assert [(Path(place.file).name, place.row) for place in places] == [("second.jsonl", 20), ("second.jsonl", 21)]


def test_languages_are_counted(tmp_path: Path, model: ModelFacts) -> None:
    said = {
        "de": "Wie komme ich zum Bahnhof? Das ist nicht weit von hier.",
        "zh": "今天天气很好，我们去公园散步吧。",
        "en": "The quick brown fox jumps over the lazy dog and it was not happy.",
    }
    rows = [
        {"text": f"{said[code]} {number}"}
        for code, count in (("de", 5), ("zh", 12), ("en", 3))
        for number in range(count)
    ]
    report = report_of(write(tmp_path / "rows.jsonl", rows), model, validation_share=0.0)
    assert [(language.code, language.rows) for language in report.languages] == [("zh", 12), ("de", 5), ("en", 3)]
    assert report.languages[1].name == "German"


# --- what cannot be reported


def test_nothing_to_report(tmp_path: Path, model: ModelFacts) -> None:
    with pytest.raises(UserError, match="no training files"):
        make_report(DataSpec(), 7, model)
    with pytest.raises(UserError) as caught:
        make_report(DataSpec(train=(str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))), 7, model)
    assert len(caught.value.problems) == 2
    path = tmp_path / "broken.jsonl"
    path.write_text('{"prompt": "a"\n' * 5)
    with pytest.raises(UserError, match="No row of the file can be used"):
        report_of(path, model)


def test_rows_larger_than_all_that_may_be_on_its_way(tmp_path: Path, model: ModelFacts) -> None:
    rows = [{"text": f"{number} " + "a few words and no more " * 100_000} for number in range(3)]
    report = report_of(write(tmp_path / "rows.jsonl", rows), model, validation_share=0.0, repairs=("split_long",))
    assert report.repaired == {"split_long": 3}
    assert report.lengths.longest <= report.max_length
    assert report.rows > 100


def test_rows_of_which_none_can_be_learned(tmp_path: Path, model: ModelFacts) -> None:
    report = report_of(write(tmp_path / "rows.jsonl", [chat("u Hello?")]), model)
    assert (report.rows, report.tokens, report.lengths.longest, report.languages) == (0, 0, 0, ())
    assert names(report) == {"masked"}
    one = report_of(write(tmp_path / "one.jsonl", [chat("u Hello?", "a Yes.")]), model)
    assert (one.rows, one.validation_rows) == (1, 0)


def test_a_file_that_is_damaged_behind_some_rows(tmp_path: Path, model: ModelFacts) -> None:
    import gzip

    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in PLAIN * 200).encode(), mtime=0)
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    report = report_of(path, model, repairs=("drop_duplicates",))
    assert finding(report, "unusable").count == 1
    assert report.rows + report.validation_rows == len(PLAIN)


def test_it_can_be_cancelled_and_tells_how_far_it_is(tmp_path: Path, model: ModelFacts) -> None:
    rows = [chat(f"u What is {number // 2}?", f"a It is {'word ' * 20}{number // 2}") for number in range(3000)]
    spec = DataSpec(train=(str(write(tmp_path / "rows.jsonl", rows)),))
    told: list[tuple[int, int]] = []
    for _ in range(2):  # the second time the tokens are on disk
        told.clear()
        make_report(spec, 7, model, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3000, 3000)
    assert len(told) > 5
    assert all(one[0] <= other[0] for one, other in pairwise(told))
    assert all(0 <= done <= total for done, total in told)
    for after in (0, 3, len(told) - 2):
        calls = iter(range(after))

        def enough(_done: int, _total: int, calls: Any = calls) -> None:
            if next(calls, None) is None:
                raise LoadCancelledError

        with pytest.raises(LoadCancelledError):
            make_report(spec, 7, model, on_progress=enough)


def test_it_says_when_not_all_near_duplicates_were_looked_for(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.data import near

    monkeypatch.setattr(near, "COMPARISONS", (0, 0))
    report = report_of(
        write(tmp_path / "rows.jsonl", [chat(f"u {LONG}", "a Yes."), chat(f"u {LONG} x", "a Yes.")]), model
    )
    assert not report.is_complete
