"""Starts processes that outlive their starter, engines above all: own session, output to a file, nothing to drain."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import ExitCode, UserError, error
from core.runs.child_env import child_env
from core.runs.layout import RunFolder
from core.runs.process_tree import ProcessKey, identify

# Processes that this one has started. Kept until they are reaped: the system keeps the exit status of a child
# for its parent alone, and whoever attaches to the run later in this program wants it too.
_children: dict[ProcessKey, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """A program with its arguments, its whole environment and the folder it starts in."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


def engine_command(folder: RunFolder, processes: int = 0) -> LaunchCommand:
    """The command that makes an engine work on ``folder``; in a packaged application the application itself.

    Args:
        folder: the run or job folder.
        processes: how many share a training; 0 for as many as its spec says.
    """
    path = str(folder.path.absolute())
    argv: tuple[str, ...]
    if getattr(sys, "frozen", False):
        argv = (sys.executable, "--engine", path)
    else:
        # -P: a file in the run folder must not be taken for a module.
        argv = (sys.executable, "-P", "-m", "core.engine", path)
    if processes:
        argv = (*argv, "--processes", str(processes))
    return LaunchCommand(argv, child_env(), folder.path.absolute())


def launch(command: LaunchCommand, folder: RunFolder) -> ProcessKey:
    """Starts the process and returns who it is; its output is appended to the folder's ``engine.log``.

    Raises:
        UserError: the program or the folder is missing, or the system refuses to start it.
    """
    try:
        return spawn(command, folder.log)
    except OSError as failure:
        raise UserError(
            error(
                str(folder.path),
                f"The engine could not be started with “{command.argv[0]}”: {failure.strerror or failure}.",
                "Check that the program and the folder exist and that the disk is not full.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure


def spawn(command: LaunchCommand, log: Path) -> ProcessKey:
    """Starts a process and returns who it is; its output is appended to ``log``.

    The process is in a session (on Windows: a console) of its own, so neither Ctrl+C nor the end of the shell or
    window reaches it.

    Raises:
        OSError: the program or a folder is missing, or the system refuses to start it.
    """
    _reap()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env=dict(command.env),
            close_fds=True,
            start_new_session=sys.platform != "win32",
            creationflags=_creation_flags(),
        )
    key = identify(process.pid) or ProcessKey(process.pid, "")  # without a birth when it has ended already
    _children[key] = process
    return key


def exit_status(key: ProcessKey) -> int | None:
    """Exit status of a process that this program has started and that has ended, as `subprocess` gives it."""
    process = _children.get(key)
    return process.poll() if process is not None else None


def _creation_flags() -> int:
    if sys.platform == "win32":
        # A hidden console of its own, not none at all: tools that the engine starts would each open a window.
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:  # noqa: RET505 (the type checker reads one branch on each system)
        return 0


def _reap() -> None:
    """Asks after every child, so that none that nobody watches any more stays behind as a zombie."""
    for process in _children.values():
        process.poll()
