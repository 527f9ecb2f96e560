"""Running pip out of sight: its output goes to a log, a few words to the terminal, its failures into sentences."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.words import SetupError


class Failure(NamedTuple):
    """What pip prints, and what that means."""

    signs: tuple[str, ...]
    meaning: str


# most certain signs first
FAILURES = (
    Failure(
        ("No space left on device", "Errno 28", "not enough space on the disk"),
        "The disk became full. Free some space and start again. Set-up needs about 3 GB, with CUDA about 8 "
        "GB; while it works, the folder for temporary files ({temporary}) needs up to half of that as well.",
    ),
    Failure(
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "The package index answered with a certificate that this machine does not trust. Behind a company "
        "proxy, tell pip the proxy's certificate (pip config set global.cert FILE), then start again.",
    ),
    Failure(
        (
            "Failed to establish a new connection",
            "name resolution",
            "Name or service not known",
            "getaddrinfo failed",
            "Network is unreachable",
            "Connection refused",
            "Connection aborted",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "Read timed out",
            "ProxyError",
        ),
        "The package index could not be reached. Check the network connection and the proxy settings, then "
        "start again; pip keeps what it has downloaded.",
    ),
    Failure(
        ("Long Path support", "filename or extension is too long"),
        "Windows does not allow file names as long as these. Move the project's folder nearer to the drive's "
        "root, or switch on long paths (the log says how), then start again.",
    ),
    Failure(
        ("Permission denied", "Errno 13", "Access is denied", "WinError 5"),
        "A file could not be written. Check that the project's folder belongs to you and that no other "
        "program is using {venv}, then start again.",
    ),
    Failure(
        ("No matching distribution found", "Could not find a version that satisfies", "ResolutionImpossible"),
        "The package index does not have the versions that requirements.lock names for this system and Python "
        "({python}). Python 3.11, 3.12 and 3.13 on 64-bit Linux, Windows and macOS should work; if you changed "
        "requirements.lock or pyproject.toml, undo that.",
    ),
)


class PipWatch:
    """Reads a growing log of pip's and says in a few words what pip is doing."""

    def __init__(self, log: Path, site: Path) -> None:
        self._log = log
        self._site = site
        self._offset = log.stat().st_size
        self._found = 0
        self._to_install = 0
        self._there_before = 0
        self.stage = "asking for packages"
        self.detail = ""

    def read(self) -> None:
        """Takes in what pip wrote since the last call; an unfinished last line waits for the next one."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            self._take(line.strip())
        if self._to_install:
            done = min(self._count_installed() - self._there_before, self._to_install)
            self.detail = f"{max(done, 0)} of {self._to_install}"

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "Collecting":
            self._found += 1
            self.stage, self.detail = "fetching packages", f"{self._found}: {rest.partition(' ')[0]}"
        elif word in ("Downloading", "Processing", "Using"):
            # “Downloading torch-2.13.0-cp311-…-x86_64.whl (190.5 MB)” -> “12: torch-2.13.0 (190.5 MB)”
            file, _, note = rest.removeprefix("cached ").partition(" (")
            package = "-".join(file.replace("\\", "/").rpartition("/")[2].split("-")[:2])
            size = f" ({note}" if note.endswith("B)") else ""
            self.detail = f"{self._found}: {package}{size}"
        elif line.startswith("Installing collected packages:"):
            self._to_install = line.count(",") + 1
            self._there_before = self._count_installed()
            self.stage = "installing packages"

    def _count_installed(self) -> int:
        # pip writes INSTALLER when all other files of a package are in place
        return sum(1 for _ in self._site.glob("*.dist-info/INSTALLER"))


def run_logged(command: Sequence[str], log: Path, look: Callable[[], None]) -> int:
    """Runs a command with its output added to ``log``, calls ``look`` a few times a second, and returns its status."""
    import subprocess

    environment = {**os.environ, "PIP_USER": "0", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=log.parent,
            close_fds=False,  # the lock goes along, and stays taken should this process be killed alone
        )
    try:
        while True:
            look()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.3)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def explain(log: Path) -> SetupError:
    """Why pip failed, as a sentence, and the end of its log."""
    import tempfile

    text = log.read_text("utf-8", "replace")
    meaning = "pip failed to install the packages."
    for failure in FAILURES:
        if any(sign in text for sign in failure.signs):
            python = ".".join(str(part) for part in sys.version_info[:3])
            meaning = failure.meaning.format(temporary=tempfile.gettempdir(), venv=log.parent, python=python)
            break
    return SetupError(f"{meaning}\nThe last lines of {log}:\n{log_tail(log)}")


def log_tail(log: Path, count: int = 6) -> str:
    """The last lines of the log, indented."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join("    " + line[:300] for line in lines[-count:])
