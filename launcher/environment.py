"""The environment beside launch.py: whether it is ready, and making it so, also after a set-up that was cut off."""

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.words import LiveLine, SetupError, clock, say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "setup.json"  # written last: the set-up is complete, and for what
UNFINISHED = VENV / "setup.unfinished"  # there from the first change to the last; if it stays, something was cut off
LOG = VENV / "setup.log"
LOCK = VENV / "setup.lock"


def fingerprint() -> str:
    """What a complete set-up depends on: the dependencies, their pinned versions, and the Python behind ``.venv``."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    relevant = [project.get("build-system"), project.get("project"), project.get("tool", {}).get("setuptools")]
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    digest.update((ROOT / "requirements.lock").read_bytes())
    digest.update(f"{os.path.realpath(PYTHON)}\n{VENV}".encode())
    return digest.hexdigest()


def read_stamp() -> dict[str, object]:
    """What the last complete set-up left; empty when there was none."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as failure:
        say(f"{STAMP} cannot be read ({failure}), so the set-up is done again.")
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_ready(test: bool) -> bool:
    """Whether ``.venv`` is complete for the project as it is now, with the test tools if ``test``."""
    stamp = read_stamp()
    if not stamp or (test and not stamp.get("test")) or not PYTHON.exists():
        return False
    return stamp.get("fingerprint") == fingerprint()


def prepare(test: bool = False, torch_index: str = "", rebuild: bool = False) -> None:
    """Makes ``.venv`` complete if it is not, and returns at once if it is.

    Args:
        test: with the tools for the tests.
        torch_index: take torch from this package index, from now on.
        rebuild: throw the environment away first.

    Raises:
        SetupError: it cannot be made complete.
    """
    forced = rebuild or bool(torch_index)
    if not forced and is_ready(test):
        return
    from launcher.machine import check_python

    check_python()
    try:
        VENV.mkdir(exist_ok=True)
        with only_one():
            if forced or not is_ready(test):
                set_up(test, torch_index, rebuild)
    except FileExistsError:
        raise SetupError(f"{VENV} is a file, but the set-up needs a folder there. Move the file away.") from None
    except OSError as failure:
        raise SetupError(
            f"The set-up could not write to {VENV}: {failure}. Check that the folder belongs to you and that its disk "
            "is neither full nor read-only."
        ) from failure


def set_up(test: bool, torch_index: str, rebuild: bool) -> None:
    """Builds or completes ``.venv``; the caller holds the lock."""
    from launcher.machine import check_space

    before = read_stamp()
    test = test or bool(before.get("test"))
    old_index = str(before.get("torch_index", ""))
    torch_index = torch_index or old_index
    fresh = rebuild or UNFINISHED.exists() or not environment_works()
    check_space(VENV, fresh, torch_index)
    line = LiveLine()
    if fresh:
        clear_environment()
    say(f"Setting up Lowrank Studio in {VENV} ({'a few minutes' if fresh else 'an update'}; details in {LOG.name}).")
    LOG.write_bytes(b"")
    STAMP.unlink(missing_ok=True)
    UNFINISHED.touch()
    try:
        if fresh:
            make_environment(line)
        install(line, test, torch_index, new_torch=bool(torch_index) and (fresh or torch_index != old_index))
    finally:
        line.close()
    stamp = {"fingerprint": fingerprint(), "test": test, "torch_index": torch_index}
    temporary = STAMP.with_suffix(".tmp")
    temporary.write_text(json.dumps(stamp), "utf-8")
    os.replace(temporary, STAMP)
    UNFINISHED.unlink()
    say(f"The set-up is complete ({clock(line.seconds)} minutes).")


def environment_works() -> bool:
    """Whether ``.venv`` has a Python that starts, is new enough and has pip."""
    import subprocess

    if not PYTHON.exists():
        return False
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)"
    return subprocess.run([str(PYTHON), "-I", "-c", probe], capture_output=True, check=False).returncode == 0


def clear_environment() -> None:
    """Empties ``.venv`` but for the files of the set-up itself.

    Raises:
        SetupError: the folder is not an environment, or this very program runs from it.
    """
    import shutil

    others = [path for path in VENV.iterdir() if path not in (LOCK, LOG, UNFINISHED, STAMP)]
    if others and not (VENV / "pyvenv.cfg").is_file() and not UNFINISHED.exists():
        raise SetupError(f"{VENV} is not a Python environment, but holds files. Move them away, then start again.")
    if others and Path(sys.prefix).resolve() == VENV:
        raise SetupError(
            f"{VENV} has to be built anew, and cannot do that to itself. Start launch.py with the system's Python, for "
            f"example {getattr(sys, '_base_executable', 'python3')}."
        )
    UNFINISHED.touch()
    for path in others:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def make_environment(line: LiveLine) -> None:
    """Makes a fresh environment in ``.venv``.

    Raises:
        SetupError: Python's own venv module failed.
    """
    from launcher.pip import log_tail, run_logged

    command = [sys.executable, "-I", "-m", "venv", str(VENV)]
    if run_logged(command, LOG, lambda: line.show("making the environment")):
        raise SetupError(f"Python could not make an environment in {VENV}. The last it said:\n{log_tail(LOG)}")


def install(line: LiveLine, test: bool, torch_index: str, new_torch: bool) -> None:
    """Installs the project and its pinned dependencies.

    Raises:
        SetupError: pip failed; the message says why in plain words.
    """
    # setuptools first, so that the pinned one builds the project and nothing unpinned is fetched for that
    pip_install(line, ["setuptools"])
    if new_torch:
        pip_install(line, ["--force-reinstall", "--no-deps", "--index-url", torch_index, "torch"])
    extra = ["--extra-index-url", torch_index] if torch_index else []
    pip_install(line, [*extra, "--no-build-isolation", "-e", f"{ROOT}[test]" if test else str(ROOT)])
    if (site_packages() / "triton").is_dir():  # came with a PyTorch for CUDA, and is all that fused kernels need
        pip_install(line, ["--no-deps", "liger-kernel"])


def install_packaging_tools() -> None:
    """Adds what “launch.py package” needs to the complete environment, and returns at once if it is there.

    Raises:
        SetupError: pip failed; the message says why in plain words.
    """
    import subprocess

    wanted = ROOT / "installers" / "requirements.txt"
    probe = (
        "import sys; from importlib.metadata import version; from packaging.requirements import Requirement; "
        "words = open(sys.argv[1], encoding='utf-8').read().splitlines(); "
        "lines = [Requirement(line) for line in words if line and line[0] != '#']; "
        "sys.exit(any(not line.specifier.contains(version(line.name)) for line in lines "
        "if line.marker is None or line.marker.evaluate()))"
    )
    found = subprocess.run([str(PYTHON), "-I", "-c", probe, str(wanted)], capture_output=True, check=False)
    if found.returncode == 0:
        return
    line = LiveLine()
    UNFINISHED.touch()
    try:
        pip_install(line, ["-r", str(wanted)])
    finally:
        line.close()
    UNFINISHED.unlink()


def pip_install(line: LiveLine, arguments: Sequence[str]) -> None:
    """Runs ``pip install`` under the pinned versions.

    Raises:
        SetupError: it failed. Where it had changed nothing yet, the environment still counts as whole.
    """
    from launcher.pip import PipWatch, explain, run_logged

    watch = PipWatch(LOG, site_packages())

    def look() -> None:
        watch.read()
        line.show(watch.stage, watch.detail)

    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--only-binary", ":all:"]
    command = [str(PYTHON), "-I", "-m", "pip", "install", *options, "-c", str(ROOT / "requirements.lock"), *arguments]
    if run_logged(command, LOG, look) == 0:
        return
    line.close()
    if watch.stage != "installing packages":
        UNFINISHED.unlink()
    raise explain(LOG)


def site_packages() -> Path:
    """Where the environment keeps its packages."""
    if os.name == "nt":
        return VENV / "Lib" / "site-packages"
    return next(VENV.glob("lib/python3.*/site-packages"), VENV / "lib")


@contextmanager
def only_one() -> Iterator[None]:
    """Waits until no other launch is setting up, and keeps others waiting while the block runs."""
    with LOCK.open("a+b") as file:
        told = False
        while not try_lock(file.fileno()):
            if not told:
                say("Another launch is setting up; waiting for it.")
                told = True
            time.sleep(0.3)
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - takes no names
        yield  # closing the file lets go of the lock, and so does the end of the process


def try_lock(handle: int) -> bool:
    """Takes the lock on an open file if nobody has it; on file systems without locks nobody ever has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        return failure.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
