"""A computer with nothing on it but a package: a clean root, a home, no network, and programs that are watched."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.studio.e2e.person import Screen

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = Path(__file__).with_name("with_loopback.py")
PROMPT = "Define “Optimist” as a devil’s dictionary would."
SPEC = """
version: 1
model: {base: starter, quantization: nf4}
data: {train: [rows.jsonl], max_length: 128}
adapter: {rank: 4, alpha: 8}
training: {max_steps: 2, effective_batch: 2, evaluate_every: 0}
hardware: {device: cpu}
"""
WINDOW_SECONDS = 60  # a start takes about half a second of processor time, and tests share the machine
WINDOW = ("xdotool", "search", "--onlyvisible", "--name", "^Lowrank Studio$")

WANTED = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not os.environ.get("LOWRANK_TEST_PACKAGE"),
        reason="building the package takes minutes and 5 GB: “python3 launch.py test --package” does it",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="the packages that are tested are those for Linux"),
]
"""The marks of every test that needs a package."""


@cache
def alone() -> tuple[str, ...]:
    """What a command is put behind to have no network at all; nothing where that is not allowed here."""
    command = ("unshare", "--map-root-user", "--net")
    done = subprocess.run([*command, "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    return command if done is not None and done.returncode == 0 else ()


class Computer:
    """A computer with one package.

    Attributes:
        installed: every file below ``usr`` as it was installed.
        traces: what strace has seen of the programs, one file for each command.
    """

    def __init__(self, place: Path) -> None:
        self.root, self.home, self.temporary = place / "root", place / "home", place / "tmp"
        for folder in (self.root, self.home, self.temporary):
            folder.mkdir(parents=True)
        self.data = self.home / ".local/share/lowrank-studio"
        self.installed: dict[str, tuple[int, float]] = {}
        self.traces = place / "traces"
        self.traces.mkdir()
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        }

    @property
    def program(self) -> Path:
        """The window's program as the desktop starts it."""
        return self.root / "usr/bin/lowrank-studio"

    @property
    def runs(self) -> list[Path]:
        """The run folders, the newest last."""
        return sorted((self.data / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime)

    def command(self, program: Path, *arguments: str) -> list[str]:
        """A program, without network, and with every socket that it opens written down where that can be done."""
        trace = str(self.traces / f"{len(list(self.traces.iterdir()))}.txt")
        watch = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=socket", "-e", "signal=none", "-o", trace)
        return [*alone(), *(watch if shutil.which("strace") else ()), str(program), *arguments]

    def lowrank(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """The command line of the package."""
        return self.run(self.command(self.root / "usr/bin/lowrank", *arguments), **more)

    def unwatched(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """The same where strace would wait for an engine that is to outlive the command."""
        return self.run([str(self.root / "usr/bin/lowrank"), *arguments], **more)

    def from_source(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """The command line of this source in the same home; its libraries leave their things elsewhere."""
        temporary = self.traces.parent / "source"
        temporary.mkdir(exist_ok=True)
        told = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary)}
        return self.run([sys.executable, "-P", "-m", "core", *arguments], **told, **more)

    def run(self, command: list[str], **more: str) -> "subprocess.CompletedProcess[str]":
        """Any command, in this home."""
        return subprocess.run(
            command, env=self.env | more, cwd=self.home, capture_output=True, text=True, errors="replace", timeout=1800
        )

    def sockets(self) -> list[str]:
        """Every socket that any program has opened and that is not one between processes of this computer."""
        lines = [line for trace in self.traces.iterdir() for line in trace.read_text("utf-8", "replace").splitlines()]
        local = ("AF_UNIX", "AF_LOCAL", "AF_NETLINK")
        return [line for line in lines if "socket(" in line and not any(f"socket({kind}" in line for kind in local)]

    def engines(self, run: Path) -> list[int]:
        """The processes of the package that work on a run."""
        program = str((self.root / "usr/lib/lowrank-studio/lowrank-studio").resolve())
        found = [process for process in Path("/proc").iterdir() if process.name.isdigit()]
        return [
            int(process.name)
            for process in found
            if str(run).encode() in _command_line(process) and _program(process) == program
        ]

    def write_spec(self, **settings: object) -> Path:
        """A spec for a small run, and rows for it; ``settings`` changes those that are in it."""
        rows = [{"messages": [_turn("user", PROMPT), _turn("assistant", "A proponent.")]}] * 8
        (self.home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text = SPEC
        for name, value in settings.items():
            text = re.sub(rf"{name}: [^,}}]+", f"{name}: {value}", text)
        spec = self.home / "spec.yaml"
        spec.write_text(text)
        return spec


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _program(process: Path) -> str:
    try:
        return str((process / "exe").readlink())
    except OSError:
        return ""


class Window:
    """The window of a package on a screen without a monitor."""

    def __init__(self, computer: Computer, screen: Screen, command: list[str], **more: str) -> None:
        self.env = computer.env | {"DISPLAY": screen.display, "QT_QPA_PLATFORM": "xcb", "NO_AT_BRIDGE": "1"} | more
        self._log = computer.traces.parent / "window.log"
        with self._log.open("w") as file:
            self.process = subprocess.Popen(command, env=self.env, cwd=computer.home, stdout=file, stderr=file)
        ends = time.monotonic() + WINDOW_SECONDS
        while subprocess.run(WINDOW, env=self.env, capture_output=True).returncode:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < ends, "no window came"
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """What it has written on its streams."""
        return self._log.read_text("utf-8", "replace")

    def close(self) -> None:
        """Closes it with its own shortcut; it ends well and has nothing to say."""
        subprocess.run([*WINDOW, "windowfocus", "--sync"], env=self.env, check=True, capture_output=True, timeout=30)
        subprocess.run(["xdotool", "key", "ctrl+q"], env=self.env, check=True, timeout=30)
        assert self.process.wait(60) == 0, self.log
        assert self.log == ""


@contextmanager
def window(computer: Computer, screen: Screen, command: list[str], **more: str) -> Iterator[Window]:
    """An open window; whatever happens, it is gone afterwards."""
    opened = Window(computer, screen, command, **more)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()


def wait_until(true: Callable[[], bool], seconds: float, otherwise: Callable[[], object]) -> None:
    """Waits until ``true`` says so; ``otherwise`` tells what is so instead."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, otherwise()
        time.sleep(0.1)


def listing(folder: Path) -> dict[str, tuple[int, float]]:
    """Every file with its size and the time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime)
    return found


def dpkg(root: Path, *arguments: str) -> None:
    """Debian's own installer on a root that has nothing else; without root's rights, as if with them."""
    state = root / "var/lib/dpkg"
    for name in ("info", "updates", "triggers"):
        (state / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "available"):
        (state / name).touch()
    pretend = ["fakeroot"] if os.getuid() else []
    options = [f"--root={root}", "--force-depends", "--force-not-root", "--force-bad-path", "--log=/dev/null"]
    done = subprocess.run([*pretend, "dpkg", *options, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
