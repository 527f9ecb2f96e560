#!/usr/bin/env python3
"""Sets up Lowrank Studio beside this file on first use, then starts it. Needs Python 3.11 or newer and nothing else.

    python3 launch.py                  the window
    python3 launch.py demo             the main job, end to end, on a small model and bundled data
    python3 launch.py window [PATH …]  the window, opening model folders, data files, specs or run folders in it
    python3 launch.py screenshots DIR  pictures of every page, from real states, into a folder
    python3 launch.py test [ARGS]      every check and test; with ARGS, pytest alone with these arguments
    python3 launch.py test --package   builds the package, installs it, trains with it and uninstalls it
    python3 launch.py package [ARGS]   the program with all it needs, for computers without Python; “package --help”
    python3 launch.py setup [OPTIONS]  only the set-up; “setup --help” lists its options
    python3 launch.py VERB ...         the command line, the same as “lowrank VERB ...”

Verbs: plan, run, resume, stop, runs, show, export, sample, models, schema, doctor, demo; “VERB --help” explains one.
Everything goes into the folder “.venv” beside this file; to undo the set-up, delete that folder.
"""
# This file must stay readable for Python 3.6, so that an old Python can say that it is too old (a test holds it to
# that): no syntax newer than f-strings here. The folder “launcher” is free of that rule.

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the one line of the project that is for older Pythons
    import shutil

    found = [name for name in ("python3.13", "python3.12", "python3.11", "python3.14") if shutil.which(name)]
    advice = (
        f"Start it with {found[0]} launch.py"
        if found
        else "Install a newer one (Debian, Ubuntu: sudo apt install python3.11 python3.11-venv) and start it with that"
    )
    version = ".".join(str(part) for part in sys.version_info[:3])
    sys.stderr.write(f"Python 3.11 or newer is needed, this is {version} ({sys.executable}). {advice}.\n")
    sys.exit(4)

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.environment import PYTHON, ROOT, install_packaging_tools, prepare
from launcher.words import SetupError, say

if TYPE_CHECKING:
    import subprocess

MOST_TEST_PROCESSES = 4  # each may load torch and a model: about 2 GiB
# import-linter has no “python -m” of its own, and its script's name differs between systems
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main(['--no-logo'])"
CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "import contracts": ["-c", LINT_IMPORTS],
}
FAILED, INTERRUPTED = 4, 130


def start(arguments: Sequence[str]) -> int:
    """Becomes the environment's Python with these arguments; on Windows, which cannot, runs it and waits."""
    # -P: a folder named “core” where the user happens to be must not be taken for this program's
    command = [str(PYTHON), "-P", *arguments]
    if os.name != "nt":
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606 - a fixed program with the user's own arguments
    import subprocess

    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl+C reaches the child too, which decides what it means
            continue


def open_window(arguments: Sequence[str] = ()) -> int:
    """Opens the window; ``arguments`` are paths to open in it."""
    from launcher.machine import QT_LIBRARIES, X11_LIBRARIES, library_advice, missing_libraries

    prepare()
    missing = missing_libraries({**QT_LIBRARIES, **X11_LIBRARIES})
    if missing:
        raise SetupError(f"The window needs system libraries that are not installed: {library_advice(missing)}")
    return start(["-m", "studio", *arguments])


def set_up_only(arguments: Sequence[str]) -> int:
    """The verb ``setup``."""
    import argparse

    from launcher.machine import QT_LIBRARIES, X11_LIBRARIES, library_advice, missing_libraries

    parser = argparse.ArgumentParser("launch.py setup", description="Sets up Lowrank Studio in the folder “.venv”.")
    parser.add_argument("--test", action="store_true", help="install the tools for “launch.py test” as well")
    parser.add_argument("--rebuild", action="store_true", help="delete the environment first and build it anew")
    parser.add_argument(
        "--torch-index",
        default="",
        metavar="URL",
        help="take torch from this package index; needed for NVIDIA GPUs on Windows, where the default torch is for "
        "the CPU only. PyTorch's installation page names the index for each CUDA version.",
    )
    options = parser.parse_args(arguments)
    prepare(test=options.test, torch_index=options.torch_index, rebuild=options.rebuild)
    missing = missing_libraries({**QT_LIBRARIES, **X11_LIBRARIES})
    if missing:
        say(f"Everything but the window is ready. The window will need these libraries: {library_advice(missing)}")
    else:
        say("Everything is ready.")
    return 0


def test(arguments: Sequence[str]) -> int:
    """The verb ``test``: every check, then every test; with arguments, pytest alone."""
    import shutil
    import subprocess

    from launcher.machine import QT_LIBRARIES, library_advice, missing_libraries

    if arguments[:1] == ["--package"]:
        return test_package(arguments[1:])
    prepare(test=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    types = None if arguments else begin_check("mypy")  # takes a minute, most of it beside the tests
    failed = [] if arguments else [name for name in CHECKS if name != "mypy" and not passes(name, begin_check(name))]
    missing = missing_libraries(QT_LIBRARIES)
    if missing:
        say(f"The window's tests are left out, because Qt needs these libraries: {library_advice(missing)}")
    without_screen = [name for name in ("Xvfb", "xdotool") if not shutil.which(name)]
    if without_screen and sys.platform == "linux":
        say(
            f"The tests that use mouse and keyboard are left out, because {' and '.join(without_screen)} are not "
            "installed. On Debian and Ubuntu: sudo apt install xvfb xdotool."
        )
    skip_qt = ["-p", "no:pytest-qt"] if missing else []
    # Everything at once goes file by file to as many processes as there are cores; a choice of tests to this one.
    cores = min(os.cpu_count() or 1, MOST_TEST_PROCESSES)
    spread = ["-n", str(cores), "--dist", "loadfile", "--no-loadscope-reorder"] if cores > 1 and not arguments else []
    command = [str(PYTHON), "-m", "pytest", *skip_qt, *spread, *arguments]
    try:
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if types and not passes("mypy", types):
            failed.append("mypy")
    finally:
        if types and types.poll() is None:
            types.kill()
    if failed:
        print(f"The tests {'failed' if status else 'passed'}, but not every check did: {', '.join(failed)}.")
    return status or int(bool(failed))


def package(arguments: Sequence[str]) -> int:
    """The verb ``package``: the program in a folder of its own, and its installers."""
    prepare()
    if "-h" not in arguments and "--help" not in arguments:
        install_packaging_tools()
    return start(["-m", "launcher.package", *arguments])


def test_package(arguments: Sequence[str]) -> int:
    """Tests the package alone: it is built, installed, used and uninstalled."""
    import subprocess

    prepare(test=True)
    install_packaging_tools()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["LOWRANK_TEST_PACKAGE"] = "1"
    command = [str(PYTHON), "-m", "pytest", "tests/package", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def begin_check(name: str) -> "subprocess.Popen[str]":
    """Starts one of the checks that are not tests."""
    import subprocess

    return subprocess.Popen(
        [str(PYTHON), *CHECKS[name]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def passes(name: str, check: "subprocess.Popen[str]") -> bool:
    """Waits for a check, says how it went, and what it found if it failed."""
    print(f"{name} … ", end="", flush=True)
    told, _ = check.communicate()
    print("failed" if check.returncode else "ok", flush=True)
    if check.returncode:
        print(told.rstrip(), flush=True)
    return check.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without “ must not make a message fail
    try:
        if not arguments:
            return open_window()
        verb, rest = arguments[0], arguments[1:]
        if verb in ("-h", "--help", "help"):
            print((__doc__ or "").strip())
            return 0
        if verb == "window":
            return open_window(rest)
        if verb == "screenshots":
            prepare()
            return start(["-m", "studio.screenshots", *rest])
        if verb == "setup":
            return set_up_only(rest)
        if verb == "package":
            return package(rest)
        if verb == "test":
            return test(rest)
        prepare()
        return start(["-m", "core", *arguments])
    except SetupError as failure:
        say(f"launch.py: {failure}")
        return FAILED
    except KeyboardInterrupt:
        say("\nInterrupted. The next start goes on from here.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
