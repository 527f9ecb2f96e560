"""A look into a file: fast and small for any file, the same as what training reads, and clear about what is wrong."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data import preview as preview_module
from core.data.preview import DOCUMENT_BYTES, Preview, RowPages, open_preview
from core.data.reading import Progress, collect_samples
from core.data.types import Message
from core.errors import Severity, UserError
from core.spec.sections import DataSpec
from core.units import MIB

PAIR = {"prompt": "What is it?", "completion": "A thing."}
CHAT = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]}


def lines_of(path: Path, count: int, make: Callable[[int], object] = lambda _: PAIR) -> Path:
    path.write_text("".join(json.dumps(make(number)) + "\n" for number in range(count)), encoding="utf-8")
    return path


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        open_preview(path, DataSpec(**settings))
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


def opened_quickly(path: Path, *, megabytes: float = 200) -> Preview:
    tracemalloc.start()
    try:
        began = time.monotonic()
        found = open_preview(path, DataSpec())
        assert time.monotonic() - began < 5  # generous: tracing is slow, and so may be the machine
        assert tracemalloc.get_traced_memory()[1] < megabytes * MIB
    finally:
        tracemalloc.stop()
    return found


# ----------------------------------------------------------------------------------------------------- what is shown


def test_rows_are_shown_raw_and_understood(tmp_path: Path) -> None:
    found = open_preview(lines_of(tmp_path / "rows.jsonl", 3, lambda n: {**PAIR, "n": n}), DataSpec())
    assert (found.file.format, found.columns) == ("jsonl", ("prompt", "completion", "n"))
    assert found.shape is not None
    assert found.shape.name == "prompt_completion"
    assert "columns" in found.shape.reason
    assert (found.total_rows, found.is_exact, found.is_whole) == (3, True, True)
    row = found.rows[1]
    assert (row.line, row.value, row.problem) == (2, {**PAIR, "n": 1}, None)
    assert row.messages == (Message("user", "What is it?"), Message("assistant", "A thing."))
    assert found.problems == ()


def test_running_text_is_no_conversation(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("One paragraph.\n\nAnother one\nof two lines.\n")
    found = open_preview(path, DataSpec())
    assert [(row.line, row.messages) for row in found.rows] == [(1, ()), (3, ())]
    assert found.rows[1].sample is not None
    assert found.rows[1].sample.completion == "Another one\nof two lines."


def test_the_preview_shows_what_the_training_reads(tmp_path: Path) -> None:
    path = lines_of(tmp_path / "rows.jsonl", 300, lambda n: CHAT if n % 3 else {"messages": []})
    spec = DataSpec(train=(str(path),), bad_rows="skip")
    (read,), _ = collect_samples(spec, Progress(None))
    found = open_preview(path, spec)
    assert tuple(row.sample for row in found.rows if row.sample) == read.samples
    assert found.shape == read.shape
    assert len(found.problems) == read.skipped == 100
    assert {problem.severity for problem in found.problems} == {Severity.WARNING}
    assert {problem.severity for problem in open_preview(path, DataSpec()).problems} == {Severity.ERROR}


def test_a_few_rows_are_shown_but_more_are_judged(tmp_path: Path) -> None:
    path = lines_of(tmp_path / "rows.jsonl", 1000, lambda n: {"text": "x"} if n < 5 else CHAT)
    found = open_preview(path, DataSpec(), limit=5)
    assert len(found.rows) == 5
    assert found.shape is not None
    assert found.shape.name == "messages"
    assert all(row.problem is not None for row in found.rows)
    assert not found.is_whole


def test_the_spec_says_what_columns_are(tmp_path: Path) -> None:
    path = lines_of(tmp_path / "rows.jsonl", 3, lambda n: {"left": "a", "right": "b"})
    blind = open_preview(path, DataSpec())
    assert blind.shape is None
    assert "no known format" in blind.problems[0].message
    assert [row.value for row in blind.rows] == [{"left": "a", "right": "b"}] * 3
    assert blind.columns == ("left", "right")
    told = open_preview(path, DataSpec(mapping={"prompt": "left", "completion": "right"}))
    assert [len(row.messages) for row in told.rows] == [2, 2, 2]
    assert told.problems == ()


# ----------------------------------------------------------------------------------------------------- large files


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
def test_a_large_file_opens_as_fast_as_a_small_one(tmp_path: Path, ending: str) -> None:
    row = {
        "jsonl": json.dumps({"prompt": "p" * 400, "completion": "c" * 500}) + "\n",
        "csv": f'{"p" * 400},"{"c" * 250}\n{"c" * 250}"\n',
        "txt": "t" * 450 + "\n" + "t" * 450 + "\n\n",
    }[ending]
    rows = 200 * MIB // len(row)
    path = tmp_path / f"large.{ending}"
    with path.open("w") as file:
        if ending == "csv":
            file.write("prompt,completion\n")
        for _ in range(rows // 10_000 + 1):
            file.write(row * 10_000)
    written = (rows // 10_000 + 1) * 10_000
    found = opened_quickly(path, megabytes=30)
    assert len(found.rows) == 500
    assert found.total_rows == pytest.approx(written, rel=0.02)
    assert not found.is_exact
    assert not found.is_whole


def test_a_large_json_document_is_read_as_far_as_it_is_looked_at(tmp_path: Path) -> None:
    row = json.dumps({"prompt": 'päö \\ " {', "completion": "c" * 300}, ensure_ascii=False)
    for name, opening, closing in (("list", "[\n", "]"), ("object", '{"version": [1, 2], "data": [', "]}")):
        path = tmp_path / f"{name}.json"
        with path.open("w", encoding="utf-8") as file:
            file.write(opening + ",\n".join([row] * 200_000) + closing)
        found = opened_quickly(path)
        assert len(found.rows) == 500
        assert found.shape is not None
        assert found.total_rows == pytest.approx(200_000, rel=0.02)
        assert not found.is_exact
        with gzip.open(path.with_suffix(".json.gz"), "wb", 1) as packed:
            packed.write(path.read_bytes())
        unknown = open_preview(path.with_suffix(".json.gz"), DataSpec())
        assert (len(unknown.rows), unknown.total_rows) == (500, None)
        with RowPages(found) as pages:
            assert pages.page(499, 10)[:1] == found.rows[499:]
            assert [row.value for row in pages.page(150_000, 2)] == [json.loads(row)] * 2


def test_a_cut_in_any_place_loses_one_row_only(tmp_path: Path) -> None:
    rows = [{"prompt": "é\\u00e9\n", "completion": n, "more": [True, None, {"x": -1.5e3}]} for n in range(100, 140)]
    blob = json.dumps(rows, ensure_ascii=False).encode()
    path = tmp_path / "rows.json"
    spec = DataSpec(mapping={"prompt": "prompt", "completion": "more"})
    for size in range(len(blob) // 2, len(blob) // 2 + 160):
        path.write_bytes(blob[:size])
        found = open_preview(path, spec)
        begun = sum(b"%d" % number in blob[:size] for number in range(100, 140))
        assert begun - 1 <= len(found.rows) <= begun
        assert [row.value for row in found.rows] == rows[: len(found.rows)]
        assert found.problems[-1].path.startswith(f"{path}:1")


def test_parquet_says_how_many_rows_it_has(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    count = 20_000
    pq.write_table(pa.table({"prompt": ["p"] * count, "completion": [str(n) for n in range(count)]}), path)
    found = open_preview(path, DataSpec())
    assert (len(found.rows), found.total_rows, found.is_exact) == (500, count, True)
    assert found.rows[499].line == 500
    with RowPages(found) as pages:
        assert [row.line for row in pages.page(19_990, 100)] == list(range(19_991, 20_001))


def test_an_endless_line_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "')
        file.write(b"x" * (120 * MIB))
    assert "does not end within the first" in refused(path)
    path.write_bytes(json.dumps(PAIR).encode() + b"\n" + path.read_bytes())
    found = opened_quickly(path)
    assert [row.line for row in found.rows] == [1]
    assert not found.is_whole


def test_a_line_that_is_too_long_stands_among_the_others(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    row = json.dumps(PAIR).encode() + b"\n"
    path.write_bytes(row + b'"' + b"x" * (33 * MIB) + b'"\n' + row * 10)
    found = open_preview(path, DataSpec())
    assert [row.line for row in found.rows] == list(range(1, 13))
    assert found.rows[1].problem is not None
    assert "longer than 8.0 MiB" in found.rows[1].problem.message


def test_a_packed_file_that_swells_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "BUDGET_SECONDS", 0.1)
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(400):
            file.write(b"x" * MIB)
    assert "does not end within the first" in refused(path)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.jsonl", b"", "empty"),
        ("blank.jsonl", b"\n\n  \n", "blank"),
        ("header.csv", b"prompt,completion\n", "no rows"),
        ("list.json", b"[]", "no rows"),
        ("broken.json", b"{", "not valid JSON"),
        ("latin.json", '[{"text": "café"}]'.encode("latin-1"), "Latin-1"),
        ("sheet.csv", b"PK\x03\x04....", "ZIP archive"),
        ("cut.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 9, mtime=0)[:12], "damaged or cut off"),
        ("named.parquet", b"text\n", "says Parquet"),
        ("twice.csv", b"a,a\n1,2\n", "twice"),
    ],
)
def test_files_without_rows_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert said in refused(tmp_path / name)
    assert str(tmp_path / name) in refused(tmp_path / name)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    lines_of(tmp_path / "rows.jsonl", 1)
    assert "Did you mean" in refused(tmp_path / "rows.json")


def test_broken_rows_stand_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(PAIR).encode()
    bad = [b"{broken", b"caf\xe9", b"42", json.dumps({"prompt": "x", "completion": ""}).encode()]
    path.write_bytes(b"\n".join([good, *bad, good]))
    found = open_preview(path, DataSpec())
    assert [row.problem is None for row in found.rows] == [True, False, False, False, False, True]
    assert [row.value is None for row in found.rows] == [False, True, True, True, False, False]
    assert [problem.path for problem in found.problems] == [f"{path}:{line}" for line in (2, 3, 4, 5)]
    assert found.total_rows == 6


def test_a_file_of_broken_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{x\n{y\n")
    found = open_preview(path, DataSpec(format="text"))
    assert found.shape is None
    assert len(found.rows) == 2
    assert "No row of the file can be used." in [problem.message for problem in found.problems]


def test_what_comes_before_a_break_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text("[" + ", ".join([json.dumps(PAIR)] * 5) + ', {"prompt": "x')
    found = open_preview(path, DataSpec())
    assert len(found.rows) == 5
    assert "not valid JSON" in found.problems[-1].message
    assert (found.total_rows, found.is_whole) == (None, False)
    packed = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress("".join(json.dumps({**PAIR, "n": n}) + "\n" for n in range(90_000)).encode(), mtime=0)
    packed.write_bytes(whole[: len(whole) // 2])
    assert len(open_preview(packed, DataSpec()).rows) == 500
    with RowPages(open_preview(packed, DataSpec())) as pages, pytest.raises(UserError, match="cut off"):
        pages.page(0, 90_000)


# ----------------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt", "jsonl.gz"])
def test_pages_are_the_rows_of_the_file(tmp_path: Path, ending: str) -> None:
    count = 2300
    text = {
        "jsonl": "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(count)),
        "csv": "text\n" + "".join(f"row {n}\n" for n in range(count)),
        "txt": "".join(f"row {n}\n\n" for n in range(count)),
    }[ending.removesuffix(".gz")]
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if ending.endswith("gz") else text.encode())
    found = open_preview(path, DataSpec())
    with RowPages(found) as pages:
        for start, size in ((0, 100), (450, 100), (500, 500), (1000, 500), (2200, 500), (700, 10), (5000, 5), (0, 1)):
            page = pages.page(start, size)
            wanted = [f"row {n}" for n in range(start, min(count, start + size))]
            assert [row.value["text"] if row.value else None for row in page] == wanted


def test_the_budget_is_larger_than_a_line() -> None:
    assert preview_module.BUDGET_BYTES > preview_module.MAX_LINE_BYTES
    assert DOCUMENT_BYTES < preview_module.BUDGET_BYTES
