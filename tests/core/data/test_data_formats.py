import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.data import packed as packed_files
from core.data.formats import DataFile, detect, read_rows
from core.data.table_rows import Dialect
from core.data.types import Row
from core.errors import Edit, Problem, UserError
from core.spec.sections import DataSpec

ROWS = [{"prompt": "Grüße, 東京 🎉", "completion": "a\nb"}, {"prompt": "x, “y”", "completion": "1"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'prompt,completion\n"Grüße, 東京 🎉","a\nb"\n"x, “y”",1\n'


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


ENDINGS = {"": "", "gzip": ".gz", "zstd": ".zst"}


def packed(blob: bytes, packing: str) -> bytes:
    import pyarrow as pa

    if packing == "zstd":
        whole: bytes = pa.Codec("zstd").compress(blob, asbytes=True)
        return whole
    return gzip.compress(blob, mtime=0) if packing else blob


def read(path: Path) -> tuple[DataFile, list[dict[str, Any]], list[Problem]]:
    file = detect(path)
    found = list(read_rows(file))
    rows = [dict(row.value) for row in found if isinstance(row, Row)]
    return file, rows, [row for row in found if isinstance(row, Problem)]


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(read_rows(detect(path)))
    return str(caught.value)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("name", "data", "format_name"),
    [
        ("a.jsonl", JSONL, "jsonl"),
        ("a.ndjson", "\n" + JSONL + "\n\n", "jsonl"),
        ("a.jsonl", JSONL.replace("\n", "\r\n"), "jsonl"),
        ("a.jsonl", JSONL.rstrip("\n"), "jsonl"),
        ("a.json", json.dumps(ROWS), "json"),
        ("a.json", json.dumps(ROWS, indent=2), "json"),
        ("a.json", json.dumps({"version": 1, "tags": ["x"], "data": ROWS}, indent=1), "json"),
        ("a.json", json.dumps({"data": ROWS, "other": ROWS}), "json"),
        ("a.json", json.dumps({"first": ROWS[0], "second": ROWS[1]}, indent=1), "json"),
        ("a.json", JSONL, "jsonl"),
        ("a.jsonl", json.dumps(ROWS, indent=2), "json"),
        ("a", JSONL, "jsonl"),
        ("a.dat", json.dumps(ROWS, indent=2), "json"),
        ("a.csv", JSONL, "jsonl"),
        ("a.csv", CSV, "csv"),
        ("a.CSV", CSV.replace("\n", "\r\n").replace("a\r\nb", "a\nb"), "csv"),
        ("a.csv", 'sep=;\nprompt;completion\n"Grüße, 東京 🎉";"a\nb"\nx, “y”;1\n', "csv"),
        ("a.csv", 'prompt;completion\n"Grüße, 東京 🎉";"a\nb"\nx, “y”;1\n', "csv"),
        ("a.csv", 'prompt\tcompletion\n"Grüße, 東京 🎉"\t"a\nb"\nx, “y”\t1\n', "csv"),
        ("a.tsv", 'prompt\tcompletion\n"Grüße, 東京 🎉"\t"a\nb"\nx, “y”\t1\n', "tsv"),
        ("a.csv", 'prompt|completion|\n"Grüße, 東京 🎉"|"a\nb"|\nx, “y”|1|\n', "csv"),
    ],
)
@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-8 gzip",
        "utf-16 gzip",
        "utf-8 zstd",
        "utf-16 zstd",
    ],
)
def test_every_text_format_in_every_encoding(
    tmp_path: Path, name: str, data: str, format_name: str, encoding: str
) -> None:
    letters, _, packing = encoding.partition(" ")
    path = write(tmp_path / (name + ENDINGS[packing]), packed(data.encode(letters), packing))
    file, rows, problems = read(path)
    assert (file.format, problems) == (format_name, [])
    assert rows == ROWS


def test_parquet_streams_rows(tmp_path: Path) -> None:
    rows = [{"text": f"row {number}", "n": number} for number in range(1000)]
    file, found, problems = read(write_parquet(tmp_path / "a.parquet", rows))
    assert (file.format, found, problems) == ("parquet", rows, [])
    assert next(iter(read_rows(detect(write_parquet(tmp_path / "noending", rows))))) == Row(
        str(tmp_path / "noending"), 1, rows[0]
    )


def test_text_is_split_at_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "# Title\r\n\r\n  first line\nsecond line\n \t\n\n\nlast")
    found = list(read_rows(detect(path)))
    assert [(row.line, row.value["text"]) for row in found if isinstance(row, Row)] == [
        (1, "# Title"),
        (3, "  first line\nsecond line"),
        (8, "last"),
    ]
    assert detect(write(tmp_path / "b.txt", '{"not": "json"}\n')).format == "text"


def test_rows_know_their_lines(tmp_path: Path) -> None:
    jsonl = write(tmp_path / "a.jsonl", '\n{"a": 1}\n\n{"a": 2}')
    document = write(tmp_path / "a.json", '{"x": [1],\n "rows": [\n {"a": 1},\n\n {"a":\n 2}\n]}')
    table = write(tmp_path / "a.csv", 'a,b\n1,"x\ny"\n\n2,z\n')
    for path, lines in ((jsonl, [2, 4]), (document, [3, 5]), (table, [2, 5])):
        assert [row.line for row in read_rows(detect(path)) if isinstance(row, Row)] == lines


def test_bare_values_become_rows(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x"}]
    path = write(tmp_path / "a.jsonl", f'"just text"\n{json.dumps(turns)}\n17\nnull\n[1]\n')
    _, rows, problems = read(path)
    assert rows == [{"text": "just text"}, {"messages": turns}]
    assert [problem.path for problem in problems] == [f"{path}:{line}" for line in (3, 4, 5)]
    assert "a number" in problems[0].message
    single = write(tmp_path / "one.json", json.dumps({"messages": turns}, indent=1))
    assert read(single)[1] == [{"messages": turns}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a": 1', "a comma was expected"),
        ('{"a": "b', "no closing quotation mark"),
        ('{"a" 1}', "a colon was expected"),
        ("{'a': 1}", "double quotes was expected"),
        ('{"a": 1,}', "was expected"),
        ('{"a": 1} {"b": 2}', "should have ended there"),
        ('{"a": nope}', "a value was expected"),
        ('{"a": "\t"}', "control character"),
        ('{"a": "\\x"}', "backslash"),
        ('{"a": ' + "9" * 5000 + "}", "thousands of digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": "\0"}', "NUL"),
        ("{" + "x" * 500, "…"),
    ],
)
def test_a_broken_line_is_named_and_reading_goes_on(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 0}\n' + line + '\n{"a": 2}\n')
    _, rows, problems = read(path)
    assert rows == [{"a": 0}, {"a": 2}]
    assert [problem.path for problem in problems] == [f"{path}:2"]
    assert said in problems[0].message
    assert len(str(problems[0])) < 500


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        ("a.jsonl", "Grüße".encode("latin-1")),
        ("a.jsonl", b"\x93quoted\x94"),
        *((name, blob) for name in ("a.jsonl", "a.csv", "a.txt") for blob in (b"\xff\xfe\xff", b"\xe4\xb8")),
    ],
)
def test_other_encodings_are_named_with_their_byte(tmp_path: Path, name: str, blob: bytes) -> None:
    first = {"a.jsonl": b'{"text": "ok"}\n', "a.csv": b"text,b\nok,1\n", "a.txt": b"ok\n\n"}[name]
    row = {"a.jsonl": b'{"text": "%s"}\n', "a.csv": b"%s,1\n", "a.txt": b"%s\n\n"}[name] % blob
    path = write(tmp_path / name, first + row + first)
    _, rows, problems = read(path)
    assert len(problems) == 1
    assert "UTF-8" in problems[0].message
    place = len(first) + row.index(blob)
    assert any(f"at byte {place + shift})" in problems[0].message for shift in range(len(blob)))
    assert rows[0]["text"] == "ok"
    if blob == "Grüße".encode("latin-1"):
        assert "Latin-1" in problems[0].message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b" \n\n ", "only blank lines"),
        ("a.jsonl", b"\xef\xbb\xbf", "only blank lines"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("a.csv", b"PK\x03\x04....", "spreadsheet"),
        ("a.jsonl", b"%PDF-1.7", "PDF"),
        ("a.parquet", b"hello", "something else"),
        ("a.parquet", b"PAR1 damaged PAR1", "cannot be read"),
        ("a.jsonl", b"\x80\x04\x95abc", "pickle"),
        ("a.jsonl", bytes(range(256)) * 20 + bytes(200), "not text"),
        ("a.jsonl", b'{\x00"\x00\x01\xd8{\x00', "breaks off"),
        ("a.jsonl", '{"a": 1}'.encode("utf-32"), "UTF-32"),
        ("a.jsonl", b"\xff\xfe{\x00\x00\xd8{\x00", "breaks off"),
        ("a.jsonl.gz", gzip.compress(JSONL.encode() * 100, mtime=0)[:-60], "damaged"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00garbage and more", "damaged"),
        ("a.json", b'[{"a": 1}, {"a": 2}', "cut off"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "a comma was expected"),
        ("a.json", b'[{"a": 1},]', "a value was expected"),
        ("a.json", b'[{"a": 1}]\n[1]', "should have ended"),
        ("a.json", b'{"a":\n 1}\n{"a": 2}', ".jsonl"),
        ("a.json", b'{"a": [{"x": 1}], "b": [{"x": 1}]}', "several lists"),
        ("a.json", b'{"1": {"x": 1}, "2": {"y": 1}}', "values are objects"),
        ("a.json", b'{"x": {"0": 1, "1": 2}, "y": {"0": 1, "1": 2}}', "values are objects"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'[{"a": "\xff"}]', "UTF-8"),
        ("a.csv", b"a,,b\n1,2,3\n", "at least one name is missing"),
        ("a.csv", b"a,b,a\n1,2,3\n", "twice"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_unusable_files_are_refused_with_a_reason(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = write(tmp_path / name, data)
    message = refused(path)
    assert said in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('"never closed,1\n', "never closed"),
        ('"closed"early,1\n', "after its closing"),
        ('"never closed\nx,"2"\n', "after its closing"),
        ("1\n", "a single cell,"),
        ("1,2,3\n", "3 cells"),
    ],
)
def test_broken_table_rows_are_named_and_the_rows_behind_them_read(tmp_path: Path, row: str, said: str) -> None:
    path = write(tmp_path / "a.csv", "a,b\nok,0\n" + row + "x,y\n")
    _, rows, problems = read(path)
    assert [row for row in rows if row["a"] != "x"] == [{"a": "ok", "b": "0"}]
    assert rows[-1] == {"a": "x", "b": "y"}
    assert [problem.path for problem in problems] == [f"{path}:3"]
    assert said in problems[0].message


def test_many_open_quotation_marks_end_in_bounded_time(tmp_path: Path) -> None:
    import time

    path = write(tmp_path / "a.csv", "a,b\n" + '"open,1\nclosed,2\n' * 100_000)
    began = time.monotonic()
    _, rows, problems = read(path)
    assert time.monotonic() - began < 20
    assert problems
    assert len(rows) <= 100_000


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("'a';'b'\n'x;y';'it''s'\n'1';'2'\n", Dialect(";", "'")),
        ('a,b\n"x \\"quoted\\", y","1"\n"2",3\n', Dialect(",", '"', "\\")),
        ('a,b\n"x ""quoted"", \\",1\n2,3\n', Dialect(",", '"')),
    ],
)
def test_quoting_is_found(tmp_path: Path, text: str, dialect: Dialect) -> None:
    file, rows, problems = read(write(tmp_path / "a.csv", text))
    assert (file.dialect, problems, len(rows)) == (dialect, [], 2)
    assert all(len(row) == 2 for row in rows)


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
@pytest.mark.parametrize("blob", ["Größe, naïve – “so”".encode("cp1252"), b"caf\xe9 " * 20 + b"\x81"])
def test_western_tables_and_texts_are_read(tmp_path: Path, name: str, blob: bytes) -> None:
    data = {"a.csv": b'text,n\n"%s",1\n', "a.txt": b"one\n\n%s\n"}[name] % blob
    file, rows, problems = read(write(tmp_path / name, data))
    assert (file.fallback, problems) == ("cp1252", [])
    assert rows[-1]["text"] == (blob.decode("cp1252") if 0x81 not in blob else "café " * 20 + "\x81")


@pytest.mark.parametrize(
    ("encoding", "codec", "text"),
    [
        ("gb18030", "gb18030", "今天天气很好，我们去公园散步。"),
        ("shift_jis", "cp932", "これは日本語の文章です。カタカナも。"),
        ("euc_kr", "cp949", "이것은 한국어 문장입니다."),
        ("windows_1251", "cp1251", "Это предложение на русском языке."),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json"])
def test_other_encodings_are_guessed_and_read_when_stated(
    tmp_path: Path, encoding: Any, codec: str, text: str, name: str
) -> None:
    rows = [{"prompt": text, "completion": text}] * 3
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    data = {
        "a.jsonl": "\n".join(lines),
        "a.json": f"[{','.join(lines)}]",
        "a.csv": "prompt,completion\n" + f"{text},{text}\n" * 3,
    }[name]
    path = write(tmp_path / name, data.encode(codec))
    try:
        problem = next(row for row in read_rows(detect(path)) if isinstance(row, Problem))
    except UserError as failure:
        (problem,) = failure.problems
    assert [edit for fix in problem.fixes for edit in fix.edits] == [Edit("data.encoding", encoding)]
    found = list(read_rows(detect(path, DataSpec(encoding=encoding))))
    assert [dict(row.value) for row in found if isinstance(row, Row)] == rows
    utf8 = write(tmp_path / f"utf8-{name}", data)
    assert [row.value for row in read_rows(detect(utf8, DataSpec(encoding=encoding))) if isinstance(row, Row)] == rows


def test_missing_files_suggest_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", JSONL)
    assert "Did you mean" in refused(tmp_path / "trian.jsonl")
    assert "train.jsonl" in refused(tmp_path / "train.json")
    assert "Check the path" in refused(tmp_path / "nothing" / "else.jsonl")
    assert "Check the path" in refused(tmp_path / "train.jsonl" / "below.jsonl")
    (tmp_path / "rows.jsonl").mkdir()
    assert "no files that could be read" in refused(tmp_path / "rows.jsonl")
    assert str(tmp_path) in refused(tmp_path / "a\0b") or "null" in refused(tmp_path / "a\0b")


@pytest.mark.skipif(os.name != "posix", reason="devices and permissions are POSIX matters")
def test_devices_and_forbidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "pipe" in refused(tmp_path / "pipe.jsonl")
    path = write(tmp_path / "a.jsonl", JSONL)
    real = Path.open

    def forbid(self: Path, *arguments: Any, **named: Any) -> Any:
        # A test that runs as root may read anything, so the system's answer is played here.
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", forbid)
    assert "permission" in refused(path)


def test_endless_lines_are_reported_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("source", "table_rows", "text_rows", "json_text", "json_document"):
        monkeypatch.setattr(f"core.data.{module}.MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(packed_files, "CHUNK_BYTES", 64)
    long = "x" * 5000
    jsonl = write(tmp_path / "a.jsonl", f'{{"a": 1}}\n{{"a": "{long}"}}\n{{"a": 3}}\n')
    table = write(tmp_path / "a.csv", f"a,b\n1,2\n{long},3\n4,5\n")
    text = write(tmp_path / "a.txt", "one\n\n" + "word word word\n" * 100 + "\ntwo\n")
    for path, values in ((jsonl, [1, 3]), (table, ["1", "4"])):
        _, rows, problems = read(path)
        assert [row["a"] for row in rows if row["a"]] == values
        assert [problem.path for problem in problems] == [f"{path}:{2 if path is jsonl else 3}"]
        assert "longer than" in problems[0].message
    _, rows, problems = read(text)
    assert (rows[0], rows[-1]) == ({"text": "one"}, {"text": "two"})
    assert "paragraph" in problems[0].message


def test_a_bomb_of_one_line_stays_small(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b" " * 1024 * 1024)
        file.write(b'\n{"a": 1}\n')
    tracemalloc.start()
    _, rows, problems = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == [{"a": 1}]
    assert "8.0 MiB" in problems[0].message
    assert peak < 100 * 1024 * 1024


def test_progress_counts_bytes_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(JSONL.encode() * 5_000, mtime=0))
    told: list[int] = []
    list(read_rows(detect(path), on_bytes=told.append))
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
