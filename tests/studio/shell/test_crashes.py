"""Windows that died: what they leave, how the next start tells it, and what is no crash."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QGuiApplication

from studio.shell.crashes import FaultFile, crashes_dir, take_faults, tell_faults

ROOT = Path(__file__).parents[3]
WINDOW = """
import sys
from studio.shell.crashes import FaultFile
fault = FaultFile()
print("open", flush=True)
exec(sys.argv[1])
"""


def window(then: str) -> "subprocess.Popen[str]":
    """A process with a fault file, which does something then."""
    made = subprocess.Popen(
        [sys.executable, "-P", "-c", WINDOW, then],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "open\n"
    return made


@pytest.mark.skipif(os.name != "posix", reason="a fault is made by a POSIX signal")
def test_a_fault_is_told_once_with_its_report(qtbot: Any, desk: Any, lowrank_home: Path) -> None:
    with window("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)") as died:
        died.wait()
    told: list[Any] = []
    desk.notified.connect(told.append)
    tell_faults(desk)
    (notice,) = told
    assert "ended unexpectedly" in notice.text
    assert "Segmentation fault" in notice.detail
    [kept] = crashes_dir().glob("window-fault-*.txt")
    assert str(kept) in notice.advice
    copy, _folder = notice.actions
    copy.perform()
    assert "Segmentation fault" in QGuiApplication.clipboard().text()
    assert str(Path.home()) not in kept.read_text("utf-8").partition("\n")[0]
    tell_faults(desk)
    assert len(told) == 1


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a POSIX signal")
def test_who_ends_well_or_is_killed_leaves_no_report(lowrank_home: Path) -> None:
    with window("fault.close()") as well:
        well.wait()
    assert list(crashes_dir().iterdir()) == []
    with window("import time; time.sleep(60)") as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert len(list(crashes_dir().iterdir())) == 1
    assert take_faults() == []
    assert list(crashes_dir().iterdir()) == []


def test_the_file_of_a_window_that_lives_stays(lowrank_home: Path) -> None:
    with window("sys.stdin.readline()") as alive:
        [path] = crashes_dir().iterdir()
        with path.open("a") as file:
            file.write("as if it had died\n")
        assert take_faults() == []
        assert path.is_file()
        alive.kill()
    (fault,) = take_faults()
    assert fault.text.endswith("as if it had died\n")
    assert time.time() - fault.moment < 60


def test_only_the_newest_reports_are_kept(lowrank_home: Path) -> None:
    crashes_dir().mkdir(parents=True)
    for number in range(30):
        report = crashes_dir() / f"window-20260101-0000{number:02}.txt"
        report.write_text("x")
        os.utime(report, (number, number))
    assert take_faults() == []
    kept = sorted(path.name for path in crashes_dir().iterdir())
    assert len(kept) == 20
    assert kept[0] == "window-20260101-000010.txt"


def test_without_a_folder_to_write_into_it_says_so(lowrank_home: Path) -> None:
    lowrank_home.mkdir(parents=True, exist_ok=True)
    (lowrank_home / "crashes").write_text("a file in the folder's place")
    with pytest.raises(OSError, match="crashes"):
        FaultFile()
    assert take_faults() == []
