"""Spec files on disk: what is no spec is refused in words, paths follow the file, and writing is whole or nothing."""

import os
from pathlib import Path

import pytest

from core.errors import ExitCode, UserError
from core.spec.codec import read_spec, resolve_paths, write_spec
from core.spec.run_spec import RunSpec
from core.spec.yaml_text import MAX_BYTES

SPEC = b"model:\n  base: starter\n"


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert caught.value.exit_code is ExitCode.BAD_SPEC
    assert str(path) in str(caught.value)
    assert all(problem.message and problem.advice for problem in caught.value.problems)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "There is no such file." in refusal(tmp_path / "none.yaml")


def test_a_folder(tmp_path: Path) -> None:
    assert "This is a folder, not a file." in refusal(tmp_path)


def test_a_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(SPEC)
    assert "cannot be read: Not a directory" in refusal(tmp_path / "a.yaml" / "b.yaml")


def test_an_impossible_name() -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_spec(Path("a\0b.yaml"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs file rights that bind")
def test_a_file_without_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(SPEC)
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"\n# only a comment\n", "The file is empty."),
        (b"\xef\xbb\xbf", "The file is empty."),
        (b"just words", "holds a single value, not sections"),
        (b"- a\n- b\n", "holds a list, not sections"),
        (b"model:\n  base: caf\xe9\n", "line 2 has a byte that UTF-8 does not allow"),
        (b"\xff\xfem\0o\0", "The file is in UTF-16."),
        (b"model:\0", "The file is binary"),
        (b"\x89PNG\r\n\x1a\n\0\0", "The file is binary"),
        (b"model:\n  base: \x07\n", "Line 2 has a control character"),
        (b"model:\n\tbase: a\n", "Line 2 is indented with a tab"),
        (b"model: [a\n", "not valid YAML"),
        (b"model: 'a\n", "not valid YAML"),
        (b"model: *a\n", "not valid YAML"),
        (b"a: &x {b: *x}\n", "not valid YAML"),
        (b"model: {}\n---\nmodel: {}\n", "more than one YAML document"),
        (b"model: !!python/object/apply:os.system [id]\n", "tag on line 1 is not allowed"),
        (b"model: {base: !!int x}\n", "tag on line 1 is not allowed"),
        (b"? [a]\n: b\n", "The key on line 1 is not a name."),
        (b"[" * 5000, "nested too deeply"),
        (b"{a: " * 5000, "nested too deeply"),
        (b"<<: {a: b}\n", "“<<” in"),
        (b"model: {}\nmodel: {}\nmodel: {}\n", "“model” is given 3 times (lines 1, 2, 3)"),
        (b"a: 1\n" * 50, "is given 50 times (lines 1, 2, 3, 4, 5, …)"),
        (b"# " + b"x" * MAX_BYTES, "larger than 1 MiB"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_is_no_spec(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.jsonl", b'{"text": "a"}\n{"text": "b"}\n', "name it under “data.train”"),
        ("rows.parquet", b"PAR1\0", "name it under “data.train”"),
        ("model.safetensors", b"\x08\0\0\0", "name it under “model.base”"),
        ("model.gguf", b"GGUF" + b"x" * MAX_BYTES, "name it under “model.base”"),
    ],
)
def test_a_data_or_model_file_in_place_of_a_spec(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SPEC.replace(b"\n", b"\r\n"))
    assert read_spec(path).model.base == "starter"


def test_anchors_work(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("data:\n  train: &files [/a.jsonl]\n  validation: *files\n")
    assert read_spec(path).data.validation == ("/a.jsonl",)


def test_relative_paths_follow_the_file_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    (folder / "models" / "base").mkdir(parents=True)
    (folder / "chat.jinja").write_text("{{ messages }}")
    (folder / "chatml").write_text("a file with the name of a template")
    path = folder / "a.yaml"
    path.write_text(
        "model: {base: models/base}\n"
        "data: {train: [rows.jsonl, ../other.jsonl, /whole.jsonl], validation: held.jsonl, template: chat.jinja}\n"
        "output: {folder: runs}\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = read_spec(Path("mine/a.yaml"))
    assert spec.model.base == str(folder / "models" / "base")
    assert spec.data.train == (str(folder / "rows.jsonl"), str(folder / "../other.jsonl"), "/whole.jsonl")
    assert spec.data.validation == (str(folder / "held.jsonl"),)
    assert spec.data.template == str(folder / "chat.jinja")
    assert spec.output.folder == str(folder / "runs")

    path.write_text("model: {base: ./none}\ndata: {template: ../none.jinja}\n")
    assert read_spec(path).model.base == str(folder / "none")
    assert read_spec(path).data.template == str(folder / "../none.jinja")

    path.write_text("model: {base: starter}\ndata: {template: chatml, train: [~/rows.jsonl, 'https://a.b/c.jsonl']}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    spec = read_spec(path)
    assert spec.model.base == "starter"
    assert spec.data.template == "chatml"
    assert spec.data.train == (str(tmp_path / "rows.jsonl"), "https://a.b/c.jsonl")
    assert spec.output.folder == ""


@pytest.mark.parametrize(
    "text", ["C:\\data\\a.jsonl", "\\\\server\\share\\a.jsonl", "~nobody-here/a.jsonl", "a\0b", " ", "x://y"]
)
def test_paths_that_mean_nothing_here_stay_as_written(tmp_path: Path, text: str) -> None:
    spec = RunSpec().replace("data.train", (text,)).replace("model.base", text).replace("data.template", text)
    assert resolve_paths(spec, tmp_path) == spec


def test_written_specs_read_back_and_move_with_their_data(tmp_path: Path) -> None:
    spec = RunSpec().replace("adapter.rank", 8).replace("data.train", (str(tmp_path / "rows.jsonl"),))
    write_spec(spec, tmp_path / "a.yaml")
    assert read_spec(tmp_path / "a.yaml") == spec
    write_spec(spec.replace("data.train", ("rows.jsonl",)), tmp_path / "a.yaml")
    assert read_spec(tmp_path / "a.yaml") == spec
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file") as caught:
        write_spec(RunSpec(), tmp_path / "none" / "a.yaml")
    assert caught.value.exit_code is ExitCode.FAILED
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_spec(RunSpec(), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
