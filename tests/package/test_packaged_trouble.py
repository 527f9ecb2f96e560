"""What goes wrong goes wrong in the package as it does from source: engines die, disks fill up, windows fall."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.core.disks import mounted
from tests.package.computers import WANTED, Computer, alone, wait_until, window
from tests.studio.e2e.person import Screen

pytestmark = WANTED


def begin(computer: Computer, *more: str, steps: int) -> Path:
    """Starts a run that outlives the command, and waits until it trains."""
    # 4 bits are slow on a processor, and shown elsewhere
    spec = computer.write_spec(max_steps=steps, effective_batch=1, quantization="none")
    begun = computer.unwatched("run", str(spec), "--detach", *more, "--json")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    run = Path(json.loads(begun.stdout)["folder"])
    wait_until(lambda: '"type":"step"' in events(run), 300, lambda: (run / "engine.log").read_text("utf-8"))
    return run


def events(run: Path) -> str:
    path = run / "events.jsonl"
    return path.read_text("utf-8") if path.is_file() else ""


def test_a_killed_engine_is_told_and_goes_on(computer: Computer) -> None:
    run = begin(computer, "--set", "training.checkpoint_minutes=0.0001", steps=5)
    wait_until(lambda: '"type":"checkpoint_saved"' in events(run), 60, lambda: events(run)[-2000:])
    engines = computer.engines(run)
    assert engines, "the engine is a child of the same program"
    for engine in engines:
        os.kill(engine, signal.SIGKILL)
    time.sleep(1)
    told = computer.lowrank("show", str(run), "--json")
    assert '"lost"' in told.stdout, told.stdout + told.stderr  # as from source, where nobody watched the engine end
    resumed = computer.lowrank("resume", str(run))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert json.loads((run / "outcome.json").read_text("utf-8"))["kind"] == "completed"


def test_a_disk_that_fills_up_under_a_run_is_told_and_the_run_goes_on(computer: Computer, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 160) as disk:
        settings = ("training.checkpoint_minutes=0.0001", "training.keep_checkpoints=1", f"output.folder={disk}")
        run = begin(computer, *(word for setting in settings for word in ("--set", setting)), steps=8)
        wait_until(lambda: '"type":"checkpoint_saved"' in events(run), 60, lambda: events(run)[-2000:])
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 2_000_000))
        wait_until(lambda: not computer.engines(run), 120, lambda: events(run)[-2000:])
        told = json.loads(computer.lowrank("show", str(run), "--json").stdout)
        assert '"disk_full"' in json.dumps(told), told
        assert "The disk is full." in json.dumps(told)
        half = [path.name for path in run.rglob("*") if path.name.endswith((".part", ".tmp", ".new", ".old"))]
        assert half == []
        refused = computer.lowrank("resume", str(run))
        assert refused.returncode == 3, refused.stdout + refused.stderr
        (disk / "filler").unlink()
        resumed = computer.lowrank("resume", str(run))
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert json.loads((run / "outcome.json").read_text("utf-8"))["kind"] == "completed"
        assert (run / "adapter" / "adapter_model.safetensors").is_file()


def test_a_full_disk_is_said_as_from_source(computer: Computer, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 8) as disk:
        _same_refusal(computer, disk, "models", "--fetch", "starter")


def test_a_data_folder_that_cannot_be_made_is_said_as_from_source(computer: Computer) -> None:
    _same_refusal(computer, Path("/proc/lowrank-studio"), "models", "--fetch", "starter")


def test_a_data_folder_that_cannot_be_written_is_said_as_from_source(
    computer: Computer, tmp_path: Path, screen: Screen
) -> None:
    with mounted(tmp_path / "locked", 200) as disk:
        (disk / "models").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        _same_refusal(computer, disk, "models", "--fetch", "starter")
        starter = f"model.base={computer.data / 'models/starter'}"
        _same_refusal(computer, disk, "run", str(computer.write_spec()), "--set", starter)
        told = json.loads(computer.lowrank("doctor", "--json", LOWRANK_HOME=str(disk)).stdout)
        (finding,) = [finding for finding in told["findings"] if finding["subject"] == "Data folder"]
        assert finding["level"] == "bad"
        assert "cannot be written" in finding["text"]
        with window(computer, screen, computer.command(computer.program), LOWRANK_HOME=str(disk)) as opened:
            opened.close()


def errors(told: str) -> list[str]:
    """What is an error of all that was told, without the time in names; notes may speak of the memory that is free."""
    told = re.sub(r"\d{8}-\d{6}", "TIME", told)
    return [part for part in re.split(r"^(?=\w+: )", told, flags=re.MULTILINE) if part.startswith("Error: ")]


def _same_refusal(computer: Computer, home: Path, *words: str) -> None:
    """The package and the source say the same in the same place, and leave nothing there."""
    packaged = computer.lowrank(*words, LOWRANK_HOME=str(home))
    source = computer.from_source(*words, LOWRANK_HOME=str(home))
    assert (packaged.returncode, source.returncode) == (4, 4), packaged.stderr + source.stderr
    assert errors(packaged.stderr)
    assert errors(packaged.stderr) == errors(source.stderr)
    assert not (home / "models").exists() or not any((home / "models").iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="a fault is a signal here")
def test_a_window_that_fell_is_told_at_the_next_start(computer: Computer, screen: Screen) -> None:
    crashes = computer.data / "crashes"
    with window(computer, screen, [*alone(), str(computer.program)]) as opened:  # strace would be hit instead
        (file,) = crashes.glob("fault-*.txt")
        _wait_for_rest(opened.process.pid)
        opened.process.send_signal(signal.SIGSEGV)
        assert opened.process.wait(60) == -signal.SIGSEGV
    report = file.read_text("utf-8")
    assert report.startswith("Lowrank Studio "), report
    assert "Segmentation fault" in report
    assert "app.py" in report, "where every thread was"
    with window(computer, screen, computer.command(computer.program)) as opened:
        kept = crashes / f"window-{file.name}"
        wait_until(kept.is_file, 30, lambda: [path.name for path in crashes.iterdir()])
        assert kept.read_text("utf-8") == report, "it was told, and stays for who wants to send it"
        opened.close()


def _wait_for_rest(pid: int) -> None:
    """Until no thread is at work: faulthandler's report ends in the middle where one changes what it writes down."""
    process = psutil.Process(pid)
    used = [sum(process.cpu_times()[:2])]

    def rests() -> bool:
        time.sleep(1)
        used.append(sum(process.cpu_times()[:2]))
        return used[-1] - used[-2] < 0.05

    wait_until(rests, 60, lambda: used)
