"""``python -m studio [PATH …]``: the window, or one of the processes behind it, decided before Qt is imported.

``--engine FOLDER`` is an engine, ``--queue-runner`` works off the queue. In a package this one program is the command
line too: when it is called ``lowrank``, or after ``--cli``; and ``-m core.…`` runs a module of ours, as Python would.
"""

import os
import sys
from pathlib import PurePath


def main(arguments: list[str]) -> int:
    """Becomes an engine, the process at the queue, the command line or the window, by its name and first argument."""
    if getattr(sys, "frozen", False):
        _settle()
    name, words = PurePath(arguments[0]).stem if arguments else "", arguments[1:]
    while words and words[0] in ("-P", "-u"):  # what an interpreter would be told
        words = words[1:]
    match words:
        case ["--engine", *rest]:
            from core.engine.__main__ import main as engine

            return engine(rest)
        case ["--queue-runner"]:
            from core.runs.queue_runner import main as work_off

            return work_off()
        case ["-m", module, *rest] if module == "core" or module.startswith("core."):
            return _run_module(module, rest)
        case ["--cli", *rest]:
            return _command_line(rest)
    if name == "lowrank":
        return _command_line(words)
    from studio.app import run

    return run(arguments)


def _settle() -> None:
    """What a packaged program needs before anything else happens in it."""
    import multiprocessing

    from core import paths
    from core.runs.child_env import restore_library_paths

    multiprocessing.freeze_support()  # a process that a library starts is this program again
    restore_library_paths(os.environ)  # this process has found its own; file managers and browsers need the system's
    # what libraries keep goes where uninstalling finds it, not into folders of their own in home and temporary files
    for variable, name in (
        ("MPLCONFIGDIR", "matplotlib"), ("TORCHINDUCTOR_CACHE_DIR", "torchinductor"), ("TRITON_CACHE_DIR", "triton"),
    ):  # fmt: skip
        os.environ.setdefault(variable, str(paths.cache_dir() / name))


def _run_module(module: str, arguments: list[str]) -> int:
    import runpy

    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=False)
    return 0


def _command_line(arguments: list[str]) -> int:
    from core.cli.main import main as lowrank

    return lowrank(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
