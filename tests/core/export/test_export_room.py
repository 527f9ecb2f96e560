"""A disk that is too small: seen before the first byte, and nothing half-written where it fills up all the same.

The disk is a real one of 24 MiB where the system lets the tests make one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ExitCode, UserError
from core.export.copying import copy_result
from core.export.merge import merge_adapter, merge_needs
from core.export.result import plan_export
from core.runs.layout import RunFolder
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec
from core.units import GIB, MIB
from tests.core.disks import tell
from tests.core.export.tiny_models import SIZES, Tuned, tune


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that tuned every weight, with a result of 12 MB."""
    folder = RunFolder(tmp_path / "runs" / "words")
    folder.adapter.mkdir(parents=True)
    folder.spec.write_text(to_yaml(RunSpec(), full=True), encoding="utf-8")
    for number in range(3):
        (folder.adapter / f"model-{number}.safetensors").write_bytes(bytes(4_000_000))
    return folder


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_an_export_is_refused_before_the_first_byte(run: RunFolder, small_disk: Path) -> None:
    plan = plan_export(run, "merged", small_disk / "a" / "b")
    assert plan.exit_code is ExitCode.DOES_NOT_FIT
    (problem,) = plan.problems
    assert "The export takes 11.4 MiB" in problem.message
    assert f"at {small_disk / 'a'}" in problem.message
    assert problem.advice.startswith("Free 3.4 MiB, or choose a folder on another disk")
    with pytest.raises(UserError):
        copy_result(plan)
    assert everything_below(small_disk) == []


def test_a_disk_that_was_filled_since_the_plan_is_seen_at_the_start(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_export(run, "merged", tmp_path / "out")
    assert plan.can_start
    tell(monkeypatch, 1000)
    with pytest.raises(UserError, match="1000 B are free") as caught:
        copy_result(plan)
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_during_a_copy_leaves_nothing(
    run: RunFolder, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(16 * MIB))
    tell(monkeypatch, GIB)  # as if somebody else took the room in between
    with pytest.raises(UserError, match="could not be copied"):
        copy_result(plan_export(run, "merged", small_disk / "out"))
    assert everything_below(small_disk) == [filler]


@pytest.mark.torch
def test_a_merge_is_counted_to_the_byte_and_leaves_nothing_on_a_full_disk(
    llama: Tuned, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = merge_needs(llama.base, llama.adapter).disk
    report = merge_adapter(llama.base, llama.adapter, tmp_path / "merged")
    real = sum(path.stat().st_size for path in report.target.iterdir() if path.name != "README.md")
    assert needed == pytest.approx(real, abs=4096)  # settings are written anew
    filler = small_disk / "filler"
    filler.write_bytes(bytes(23 * MIB + MIB // 2))
    with pytest.raises(UserError, match="are free here") as caught:
        merge_adapter(llama.base, llama.adapter, small_disk / "out")
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    with filler.open("ab") as file:
        file.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 8192))
    tell(monkeypatch, GIB)
    with pytest.raises(OSError, match="No space left"):
        merge_adapter(llama.base, llama.adapter, small_disk / "out")
    assert everything_below(small_disk) == [filler]


@pytest.mark.torch
def test_too_little_memory_is_told_before_the_first_byte(
    llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.memory.free_memory", lambda: 100 * MIB)
    with pytest.raises(UserError, match=r"of memory, and 100\.0 MiB are free") as caught:
        merge_adapter(llama.base, llama.adapter, tmp_path / "out")
    assert caught.value.exit_code is ExitCode.DOES_NOT_FIT
    assert caught.value.problems[0].advice
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_memory_that_is_asked_for_is_enough_and_not_much_more(tmp_path: Path) -> None:
    """A weight of 33 MB that is merged in blocks, in a process of its own, whose peak the system counts."""
    base = wide_model(tmp_path / "base")
    tuned = tune(base, tmp_path / "adapter", target_modules=["up_proj"], r=64)
    asked = merge_needs(tuned.base, tuned.adapter).memory
    code = (
        "import sys; from pathlib import Path; from core.engine.bootstrap import keep_freed_memory; "
        "from core.export.merge import merge_adapter; keep_freed_memory(); merge_adapter(*map(Path, sys.argv[1:])); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(tuned.base), str(tuned.adapter), str(tmp_path / "merged")]
    taken = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1024
    assert taken < asked < 2 * taken


def wide_model(folder: Path) -> Path:
    import torch
    import transformers

    sizes = {**SIZES, "hidden_size": 512, "intermediate_size": 16_384, "num_hidden_layers": 1}
    torch.manual_seed(7)
    config = transformers.LlamaConfig(**sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
