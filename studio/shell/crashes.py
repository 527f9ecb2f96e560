"""What is left when the window dies: a file with every thread's place, shown at the next start. Nothing is sent."""

import contextlib
import faulthandler
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication

from core import __version__, paths
from core.runs.file_lock import try_lock
from studio.state.desk import Action, Desk
from studio.words import tr

_KEPT = 20
_LONGEST_SHOWN = 20_000


def crashes_dir() -> Path:
    """Where reports lie, one text file each."""
    return paths.home() / "crashes"


@dataclass(frozen=True, slots=True)
class Fault:
    """A window that died: the report of it, and when."""

    path: Path
    text: str
    moment: float


class FaultFile:
    """The file into which Python writes, should this process die of a fault in native code.

    A process that lives holds a lock on its file, so that the next one can tell whose owner is gone. One that ends well
    takes its file along; one that is killed from outside leaves only the first line, which is no report.
    """

    def __init__(self) -> None:
        """Opens the file and turns the handler on.

        Raises:
            OSError: the data folder cannot be written.
        """
        folder = crashes_dir()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        self._file: TextIO = self.path.open("w", encoding="utf-8")
        try_lock(self._file.fileno())
        self._file.write(f"Lowrank Studio {__version__}, Python {sys.version.split()[0]}, {sys.platform}\n")
        self._file.flush()
        faulthandler.enable(self._file, all_threads=True)

    def close(self) -> None:
        """The process ends well: there is nothing to tell."""
        faulthandler.disable()
        self._file.close()
        self.path.unlink(missing_ok=True)


def take_faults() -> list[Fault]:
    """The reports of windows that died since anybody looked, newest first; they stay on the disk under another name.

    Files of processes that were ended from outside say nothing, and go.
    """
    found = []
    for path in sorted(crashes_dir().glob("fault-*.txt"), reverse=True):
        try:
            with path.open("r+", encoding="utf-8", errors="replace") as file:
                if not try_lock(file.fileno()):
                    continue  # its window lives
                text = file.read()
            if len(text.splitlines()) < 2:
                path.unlink()
                continue
            kept = path.with_name(f"window-{path.name}")
            moment = path.stat().st_mtime
            path.rename(kept)
        except OSError:
            continue  # gone meanwhile, or not ours to read
        found.append(Fault(kept, text, moment))
    _forget_old()
    return found


def _forget_old() -> None:
    """Keeps the newest reports only."""
    with contextlib.suppress(OSError):  # what cannot be listed or removed stays, and does no harm
        reports = [path for path in crashes_dir().glob("*.txt") if not path.name.startswith("fault-")]
        for path in sorted(reports, key=lambda path: (path.stat().st_mtime, path.name))[:-_KEPT]:
            path.unlink()


def tell_faults(desk: Desk) -> None:
    """Says at the start that the window died the last time, with the report one click away."""
    faults = take_faults()
    if not faults:
        return
    newest = faults[0]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(newest.moment))
    actions = (
        Action(tr("Copy the report"), lambda: QGuiApplication.clipboard().setText(newest.text)),
        Action(tr("Open folder"), lambda: open_folder(desk)),
    )
    desk.complain(
        tr("Lowrank Studio ended unexpectedly on {when}.", when=when),
        tr("Runs go on without the window. The report is in {path}; it stays on this computer.", path=str(newest.path)),
        actions=actions,
        detail=newest.text[:_LONGEST_SHOWN],
    )


def open_folder(desk: Desk) -> None:
    """Shows the reports in the system's file manager."""
    folder = crashes_dir()
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
        desk.warn(tr("The folder cannot be opened here."), str(folder))


def install_crash_reports(desk: Desk) -> None:
    """Exceptions that reach nobody are written into the data folder and shown in the window; nothing is sent."""

    def report(kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, failure, trace))
        sys.stderr.write(text)
        path = crashes_dir() / f"window-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            paths.write_atomic(path, text)
            where = tr("The details are in {path}.", path=str(path))
        except OSError as trouble:
            where = tr("The details could not be saved: {reason}.", reason=str(trouble))
        actions = (Action(tr("Open folder"), lambda: open_folder(desk)),)
        desk.complain(
            tr("An error in Lowrank Studio: {words}", words=f"{kind.__name__}: {failure}"),
            where,
            actions=actions,
            detail=text,
        )

    sys.excepthook = report
