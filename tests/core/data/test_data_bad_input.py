"""Bad input, kind after kind: a clear message, the rest of the file where it is wanted, bounded time and memory."""

import gzip
import json
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.data.dataset import load_dataset
from core.data.preview import open_preview
from core.errors import UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from core.units import MIB
from tests.core.data.fuzz.trials import MOST_SECONDS

ROW = {"prompt": "What is two and two, und wie heißt das?", "completion": "Four: vier."}
LINE = json.dumps(ROW, ensure_ascii=False)
GOOD = f"{LINE}\n"

ROOT = Path(__file__).parents[3]
CHILD = """
import json, sys, time
from pathlib import Path
from core.data.preview import open_preview
from core.data.reading import Progress, collect_samples
from core.errors import UserError
from core.spec.sections import DataSpec
from tests.core.data.fuzz.trials import peak_bytes
path = sys.argv[1]
before = peak_bytes()
said, rows, times = [], 0, []
for action in (
    lambda: open_preview(Path(path), DataSpec(bad_rows="skip")),
    lambda: collect_samples(DataSpec(train=(path,), bad_rows="skip"), Progress(None))[0][0],
):
    began = time.process_time()
    try:
        found = action()
        said += [str(problem) for problem in found.problems]
        rows = len(getattr(found, "samples", ()))
    except UserError as failure:
        said += [str(problem) for problem in failure.problems]
    times.append(time.process_time() - began)
grown = peak_bytes() - before
print(json.dumps({"said": said, "rows": rows, "look": times[0], "read": times[1], "grown": grown}))
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process of its own made of a file.

    Attributes:
        said: all problems, of the look at it and of reading it all.
        rows: how many could be used.
        look, read: seconds of processor time for each, so that other programs do not count.
        grown: bytes that it took beyond what the program takes anyway.
    """

    said: tuple[str, ...]
    rows: int
    look: float
    read: float
    grown: int


def seen(path: Path) -> Seen:
    ran = subprocess.run([sys.executable, "-c", CHILD, path], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    return Seen(tuple(told["said"]), told["rows"], told["look"], told["read"], told["grown"])


def loaded(path: Path, model: ModelFacts) -> tuple[int, list[str]]:
    """Rows and problems where the spec says to go on without bad rows; and that nothing is loaded where it says not."""
    strict = DataSpec(train=(str(path),), validation_share=0)
    with pytest.raises(UserError):
        load_dataset(strict, 1, model)
    found = load_dataset(replace(strict, bad_rows="skip"), 1, model)
    return len(found.train), [str(problem) for problem in found.problems]


def write(path: Path, *parts: str | bytes) -> Path:
    path.write_bytes(b"".join(part.encode() if isinstance(part, str) else part for part in parts))
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prompt": "a", "completion": "b"', "a comma was expected"),
        ('{"prompt": "a" "completion": "b"}', "a comma was expected"),
        ('{"prompt": "a", "completion": }', "a value was expected"),
        ('{"prompt": "a", "completion": "b}', "no closing quotation mark"),
        ('{"prompt": "a", completion: "b"}', "double quotes"),
        ("[1, 2]", "must be an object"),
        ('{"prompt": "a", "completion": "\0"}', "NUL byte"),
        ('{"prompt": "a", "completion": null}', "is missing (null)"),
        ('{"prompt": null, "completion": "b"}', "is missing (null)"),
        ('{"prompt": "a", "completion": ["b"]}', "is a list, and a text was expected"),
        ('{"prompt": "a"}', "has no column “completion”"),
        (
            '{"text": "another shape"}',
            "has no column “prompt”, unlike the first rows of the file; its columns are “text”",
        ),
        ('{"half \\ud83d": "another shape"}', "its columns are “half ?”"),
        ('{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}', "“messages”"),
        ('{"prompt": "a", "completion": NaN}', "is missing (NaN)"),
        ('{"prompt": "a", "completion": ' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        ('{"prompt": "a", "completion": ' + "[" * 90_000 + "]" * 90_000 + "}", "nested too deeply"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_loads(tmp_path: Path, model: ModelFacts, line: str, expected: str) -> None:
    path = write(tmp_path / "rows.jsonl", GOOD * 2, line, "\n", GOOD)
    rows, said = loaded(path, model)
    assert rows == 3
    (told,) = [problem for problem in said if problem.startswith(f"{path}:3:")]
    assert expected in told


def test_numbers_and_truth_values_are_read_as_text(tmp_path: Path, model: ModelFacts) -> None:
    rows = [
        {"prompt": 12, "completion": 1.5},
        {"prompt": True, "completion": 10**30},
        {"prompt": "x", "completion": "y"},
    ]
    path = write(tmp_path / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    shown = open_preview(path, DataSpec()).rows
    found = [(row.sample.prompt, row.sample.completion) for row in shown if row.sample]
    assert found == [("12", "1.5"), ("true", "1" + "0" * 30), ("x", "y")]
    assert len(load_dataset(DataSpec(train=(str(path),), validation_share=0), 1, model).train) == 3


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_other_forms_of_unicode_are_read(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "rows.jsonl", (GOOD * 3).encode(codec))
    found = open_preview(path, DataSpec())
    assert found.problems == ()
    assert [row.value for row in found.rows] == [ROW] * 3


def test_a_line_in_latin_1_is_named_with_the_setting_that_reads_it(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "rows.jsonl", GOOD, LINE.encode("latin-1"), "\n", GOOD)
    rows, said = loaded(path, model)
    assert rows == 2
    assert any(f"{path}:2" in problem and "Latin-1" in problem for problem in said)
    spec = DataSpec(train=(str(path),), encoding="windows_1252", validation_share=0)
    assert len(load_dataset(spec, 1, model).train) == 3


def test_text_cut_off_inside_a_character_says_so(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "rows.jsonl", GOOD, '{"prompt": "a", "completion": "hei', "ß".encode()[:1])
    rows, said = loaded(path, model)
    assert rows == 1
    assert any(f"{path}:2" in problem and "cut off" in problem for problem in said)


def test_a_line_of_a_hundred_megabytes_costs_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(GOOD.encode() + b'{"prompt": "a", "completion": "')
        for _ in range(100):
            file.write(b"x" * 1024 * 1024)
        file.write(b'"}\n' + GOOD.encode())
    found = seen(path)
    assert found.rows == 2
    assert any(problem.startswith(f"{path}:2:") and "longer than 8.0 MiB" in problem for problem in found.said)
    assert found.look < MOST_SECONDS
    assert found.read < 5 * MOST_SECONDS
    assert found.grown < 150 * MIB


def test_an_array_of_125_megabytes_that_is_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = json.dumps({"prompt": "p" * 2000, "completion": "c" * 2000}) + ",\n"
    count = 125_000_000 // len(row)
    with path.open("wb") as file:
        file.write(b"[" + row.encode() * count + row.encode()[:1500])
    found = seen(path)
    assert found.rows == count
    assert any(f"{path}:{count + 1}" in problem and "cut off" in problem for problem in found.said)
    assert found.look < MOST_SECONDS
    assert found.grown < 100 * MIB + 3 * 125_000_000, "the rows themselves are held, and not much more"


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.csv.gz", "bomb.txt.gz", "bomb.json.gz", "bomb.jsonl.zst"])
def test_an_archive_that_swells_to_ten_gigabytes_is_given_up(tmp_path: Path, name: str) -> None:
    import pyarrow as pa

    piece = b" " * (16 * MIB)
    member = gzip.compress(piece, 9) if name.endswith("gz") else pa.Codec("zstd").compress(piece, asbytes=True)
    path = write(tmp_path / name, member * (10_000 // 16))
    found = seen(path)
    assert found.rows == 0
    assert any("swells without end" in problem or "does not end within" in problem for problem in found.said)
    assert found.look < MOST_SECONDS
    assert found.read < 5 * MOST_SECONDS
    assert found.grown < 200 * MIB


def test_a_zip_archive_is_named_not_opened(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("rows.jsonl", GOOD)
    with pytest.raises(UserError, match="ZIP archive"):
        open_preview(path, DataSpec())


@pytest.mark.parametrize(("others", "warned"), [(20, False), (35, True)])
def test_a_file_of_mixed_shapes_names_the_rows_that_do_not_fit(tmp_path: Path, others: int, warned: bool) -> None:
    different = ['{"text": "running text"}\n', '{"question": "q", "answer": "a"}\n', '{"x": 1}\n']
    lines = [GOOD] * (60 - others) + [different[number % 3] for number in range(others)]
    found = open_preview(write(tmp_path / "rows.jsonl", *lines), DataSpec())
    assert found.shape is not None
    assert found.shape.name == "prompt_completion"
    assert found.shape.confidence == pytest.approx((60 - others) / 60)
    assert sum(row.problem is not None for row in found.rows) == others
    assert any("may be the wrong one" in problem.message for problem in found.problems) is warned


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("rows.jsonl", GOOD * 3, 3),
        ("rows.csv", 'prompt,completion\na,b\n"c\nd",e\n', 2),
        ("rows.csv", "prompt;completion\nGrüße;Straße\nc;d\n", 2),
        ("rows.txt", "one\ntwo\n\nthree\n", 2),
        ("rows.json", f"[{GOOD},{GOOD}]", 2),
    ],
)
def test_lines_that_end_with_a_bare_carriage_return(
    tmp_path: Path, name: str, text: str, rows: int, *, packed: bool
) -> None:
    """As programs on a Mac wrote them before 2001, and spreadsheets there still do (“CSV (Macintosh)”)."""
    data = text.encode("cp1252" if ";" in text else "utf-8")
    usual, old = tmp_path / "usual" / name, tmp_path / "old" / name
    for path, blob in ((usual, data), (old, data.replace(b"\n", b"\r"))):
        path.parent.mkdir()
        path.write_bytes(gzip.compress(blob) if packed else blob)
    found, expected = (open_preview(path, DataSpec()) for path in (old, usual))
    assert len(found.rows) == rows
    assert [row.value for row in found.rows] == [row.value for row in expected.rows]
    assert [row.line for row in found.rows] == [row.line for row in expected.rows]
    assert found.problems == ()


def test_a_bare_carriage_return_between_two_rows_of_a_line(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "joined.jsonl", f"{LINE}\r{LINE}\n", GOOD, '{"prompt":\r"a", "completion": "b"}\n')
    assert len(load_dataset(DataSpec(train=(str(path),), validation_share=0), 1, model).train) == 4
    broken = write(tmp_path / "broken.jsonl", f"{LINE}\r{LINE[:-1]}\r{LINE}\n", GOOD)
    rows, said = loaded(broken, model)
    assert rows == 3
    assert any(f"{broken}:1" in problem and "not valid JSON" in problem for problem in said)


def test_a_web_page_says_so(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "rows.jsonl", "\n<!DOCTYPE html><html><body>Sign in</body></html>")
    with pytest.raises(UserError, match="This is a web page"):
        load_dataset(DataSpec(train=(str(path),)), 1, model)
    page = write(tmp_path / "page.txt", "<html><body>Text to learn.</body></html>")
    assert len(load_dataset(DataSpec(train=(str(page),), validation_share=0), 1, model).train) == 1


def test_nothing_is_sent_anywhere_whatever_a_file_names(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, data sets and templates with addresses are text and no more: not even a name is looked up."""
    asked: list[object] = []
    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, lambda _self, *address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *names, **_: asked.append(names))
    address = "https://example.com/secret.png"
    turns = [{"role": "user", "content": f"<img src='{address}'>"}, {"role": "assistant", "content": address}]
    row = {"messages": turns, "images": [address], "$ref": address, "dataset": "hf:someone/something"}
    parts = [{"type": "image_url", "image_url": {"url": address}}]
    with_picture = {**row, "messages": [{"role": "user", "content": parts}, turns[1]]}
    path = write(tmp_path / "rows.jsonl", (json.dumps(row) + "\n") * 3, json.dumps(with_picture))
    assert len(open_preview(path, DataSpec()).rows) == 4
    source = "{% for m in messages %}{{ m.content }}{% endfor %}<img src='https://example.com/x'>"
    spec = DataSpec(train=(str(path),), template=source, train_on="all", bad_rows="skip", validation_share=0)
    found = load_dataset(spec, 1, model)
    assert len(found.train) == 3
    assert any(f"{path}:4" in str(problem) and "image_url" in str(problem) for problem in found.problems)
    for name in ("someone/something", "https://example.com/rows.jsonl", "//example.com/share/rows.jsonl"):
        with pytest.raises(UserError) as caught:
            load_dataset(DataSpec(train=(name,)), 1, model)
        assert name.rpartition("/")[2] in str(caught.value)
    assert asked == []


def test_what_one_setting_mends_is_said_three_times(tmp_path: Path, model: ModelFacts) -> None:
    path = write(tmp_path / "rows.jsonl", GOOD, f"{LINE}\n".encode("latin-1") * 30)
    rows, said = loaded(path, model)
    assert rows == 1
    assert len(said) == 4
    assert "27 more rows cannot be used; 30 in all" in said[-1]


@pytest.mark.parametrize("name", ["cut.json", "cut.jsonl.gz"])
def test_what_is_cut_off_is_said_before_anything_becomes_tokens(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rows = [GOOD] * 20_000
    blob = ("[" + ",".join(rows))[:-20].encode() if name == "cut.json" else gzip.compress("".join(rows).encode())[:-9]
    path = write(tmp_path / name, blob)
    taken: list[object] = []
    monkeypatch.setattr("core.data.encoder.Encoder.offer", lambda _self, sample: taken.append(sample))
    with pytest.raises(UserError, match="cut off"):
        load_dataset(DataSpec(train=(str(path),)), 1, model)
    assert taken == []
