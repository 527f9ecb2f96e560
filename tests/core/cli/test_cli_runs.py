"""Starting, watching, stopping and listing runs, with a fake engine behind the same commands."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.events.run_state import fold
from core.events.tail import EventTail
from core.paths import runs_dir
from core.runs.layout import RunFolder
from core.runs.process_record import living_process
from core.runs.store import find_run, load_spec
from tests.core.cli.conftest import FAKE_ENGINE, ROOT, Said

LowRank = Callable[..., Said]
Engine = Callable[[str], None]
Basics = tuple[str, ...]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")


def _eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def test_a_run_that_goes_well(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("ok")
    said = lowrank("run", *basics)
    assert said.code == 0
    assert "Completed. Trained 5 steps." in said.out
    assert "76 rows to learn from, 4 to measure with" in said.out
    assert str(runs_dir() / "words") in said.out
    assert "\r" not in said.out

    listed = lowrank("runs", "--json").json["runs"]
    assert [(run["name"], run["status"], run["step"]) for run in listed] == [("words", "completed", 5)]
    assert "words  completed" in lowrank("runs").out
    refused = lowrank("resume", "words")
    assert refused.code == 2
    assert "is complete" in " ".join(refused.err.split())
    assert "is not running" in lowrank("stop", "words").out


def test_a_run_for_programs(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("ok")
    said = lowrank("run", *basics, "--json")
    assert (said.code, said.err) == (0, "")
    told = said.json
    assert (told["run"], told["step"], told["exit_code"]) == ("words", 5, 0)
    assert told["outcome"]["kind"] == "completed"
    assert told["loss"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("oom", "Out of memory"), ("crash_midway", "crashed"), ("segfault", "crashed"), ("silent_exit", "crashed")],
)
def test_a_run_that_fails(lowrank: LowRank, basics: Basics, engine: Engine, mode: str, words: str) -> None:
    engine(mode)
    said = lowrank("run", *basics)
    assert said.code == 4
    assert words in said.out
    assert "engine.log" in said.out
    shown = lowrank("show", "words")
    assert shown.code == 0
    assert words in shown.out


def test_a_failed_run_goes_on(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("torn_line")
    assert lowrank("run", *basics).code == 4
    engine("resume")
    said = lowrank("resume", "words")
    assert said.code == 0
    assert "Trained 5 steps" in said.out
    assert lowrank("show", "words", "--json").json["step"] == 5


def test_a_run_goes_on_with_another_number_of_processes(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("torn_line")
    assert lowrank("run", *basics).code == 4
    refused = lowrank("resume", "words", "--processes", "none")
    assert refused.code == 2
    assert "hardware.processes" in refused.err
    assert load_spec(find_run("words")).hardware.processes == 1
    engine("resume")
    assert lowrank("resume", "words", "--processes", "2").code == 0
    assert load_spec(find_run("words")).hardware.processes == 2


def test_a_detached_run_is_watched_and_stopped(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("steady")
    said = lowrank("run", *basics, "--detach", "--json")
    assert (said.code, said.json["run"]) == (0, "words")
    folder = find_run("words")
    _eventually(lambda: fold(EventTail(folder.events()).read()).step > 2)
    shown = lowrank("show", "words")
    assert shown.code == 0
    assert "Training" in shown.out
    refused = lowrank("resume", "words")
    assert refused.code == 4
    assert "already working" in refused.err
    assert "still going on" in lowrank("export", "words").err
    stopped = lowrank("stop", "words")
    assert stopped.code == 0
    assert "Stopped after step" in stopped.out
    assert "resume words" in stopped.out
    assert living_process(folder) is None


def test_a_run_is_ended_now(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("deaf")
    lowrank("run", *basics, "--detach")
    _eventually(lambda: fold(EventTail(find_run("words").events()).read()).step == 1)
    said = lowrank("stop", "words", "--now", "--json")
    assert said.code == 0
    assert said.json["was_running"] is True
    assert said.json["outcome"]["kind"] == "stopped"


def test_a_run_without_result_is_not_exported(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("oom")
    lowrank("run", *basics)
    said = lowrank("export", "words")
    assert said.code == 4
    assert "has no result yet" in said.err
    assert lowrank("sample", "words", "--prompt", "x").code == 4


def test_an_adapter_is_copied_whole_and_once(lowrank: LowRank, basics: Basics, engine: Engine, tmp_path: Path) -> None:
    engine("ok")
    lowrank("run", *basics)
    adapter = find_run("words").adapter
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"0123")
    target = tmp_path / "out" / "adapter"
    said = lowrank("export", "words", "--kind", "adapter", "--to", target, "--no-verify", "--json")
    assert said.code == 0, said.json
    assert said.json["bytes"] == 6
    assert sorted(path.name for path in target.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    again = lowrank("export", "words", "--kind", "adapter", "--to", target)
    assert again.code == 2
    assert "nothing is overwritten" in again.err
    (adapter / "adapter_config.json").unlink()
    assert lowrank("export", "words", "--kind", "adapter", "--to", tmp_path / "other").code == 2


def test_the_curve_of_a_run(lowrank: LowRank, basics: Basics, engine: Engine, tmp_path: Path) -> None:
    engine("ok")
    lowrank("run", *basics)
    said = lowrank("show", "words", "--curve", tmp_path / "curve.png")
    assert said.code == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "█" in said.out
    assert lowrank("show", "words", "--curve", tmp_path / "curve.txt").code == 2
    assert lowrank("show", "words", "--curve", tmp_path / "none" / "curve.png").code == 4


# ------------------------------------------------------------------------------------------------------------ Ctrl+C

_PROGRAM = """
import sys
from core.cli.main import main
from core.runs import supervisor
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
engine, mode = sys.argv[1:3]
supervisor.engine_command = lambda folder: LaunchCommand(
    (sys.executable, "-P", engine, str(folder.path), mode), child_env(), folder.path
)
sys.exit(main(sys.argv[3:]))
"""


def _spawn(mode: str, *words: str) -> "subprocess.Popen[str]":
    """The command line as a process of its own, with the fake engine behind it."""
    argv = [sys.executable, "-P", "-c", _PROGRAM, str(FAKE_ENGINE), mode, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def _wait_for_step(folder: RunFolder) -> None:
    _eventually(lambda: folder.events().exists() and fold(EventTail(folder.events()).read()).step >= 1)


def test_ctrl_c_stops_and_saves(basics: Basics, engine: Engine) -> None:
    command = _spawn("steady", "run", *basics)
    folder = RunFolder(runs_dir() / "words")
    _wait_for_step(folder)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (5, "")
    assert "finishes its step and saves" in out
    assert "Stopped after step" in out
    assert json.loads(folder.outcome.read_text())["kind"] == "stopped"


def test_ctrl_c_again_does_not_wait(basics: Basics, engine: Engine) -> None:
    command = _spawn("deaf", "run", *basics)
    _wait_for_step(RunFolder(runs_dir() / "words"))
    os.killpg(command.pid, signal.SIGINT)
    time.sleep(0.5)
    assert command.poll() is None
    os.killpg(command.pid, signal.SIGINT)
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 5
    assert "Ending the engine now" in out


def test_ctrl_c_three_times_kills(basics: Basics, engine: Engine) -> None:
    command = _spawn("ignore_stop", "run", *basics)
    folder = RunFolder(runs_dir() / "words")
    _wait_for_step(folder)
    for _ in range(3):
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(0.5)
    out, _ = command.communicate(timeout=60)
    assert command.returncode in (4, 5)
    assert "Killing the engine" in out
    assert living_process(folder) is None


def test_ctrl_c_leaves_a_watched_run_alone(lowrank: LowRank, basics: Basics, engine: Engine) -> None:
    engine("steady")
    lowrank("run", *basics, "--detach")
    folder = RunFolder(runs_dir() / "words")
    _wait_for_step(folder)
    command = _spawn("steady", "show", "words", "--follow")
    assert command.stdout is not None
    assert "Watching" in command.stdout.readline()
    time.sleep(0.3)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (0, "")
    assert "stop words" in out
    assert living_process(folder) is not None
