"""What the one program of a package becomes, by its name and its first words, and that no engine loads Qt."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import __version__
from core.cli.folders import OURS

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from studio.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as ending:
    status = ending.code
print("Qt" if "PySide6" in sys.modules else "no Qt", file=sys.stderr)
sys.exit(status)
"""


def start(*words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}", *words]
    env = dict(os.environ) if env is None else env
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)


@pytest.mark.parametrize(
    "words",
    [
        ("lowrank", "--version"),
        ("/usr/bin/lowrank", "--version"),
        ("C:/Programs/lowrank.exe", "--version"),
        ("lowrank-studio", "--cli", "--version"),
    ],
)
def test_the_command_line(words: tuple[str, ...]) -> None:
    done = start(*words)
    assert done.stdout == f"lowrank {__version__}\n"
    assert done.stderr == "no Qt\n"


@pytest.mark.parametrize("name", ["lowrank", "lowrank-studio"])
def test_an_engine_whatever_the_program_is_called(name: str, tmp_path: Path) -> None:
    done = start(name, "--engine", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "usage: python -m core.engine FOLDER" in done.stderr
    assert done.stderr.endswith("no Qt\n")


def test_a_module_of_ours(lowrank_home: Path) -> None:
    done = start("lowrank", "-P", "-m", "core.cli.folders")
    assert done.stdout == f"{lowrank_home}\n"
    assert (done.returncode, done.stderr) == (0, "no Qt\n")


@pytest.mark.parametrize("module", ["json.tool", "corex", "studio.app"])
def test_other_modules_are_no_way_in(module: str) -> None:
    done = start("lowrank", "-m", module)
    assert done.returncode == 2


def test_deleting_the_data_leaves_what_is_not_ours(lowrank_home: Path, tmp_path: Path) -> None:
    for name in OURS:
        path = lowrank_home / name
        if "." in name:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        else:
            (path / "inside").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "letter").write_text("dear")
    (lowrank_home / "models").rename(tmp_path / "moved")
    (lowrank_home / "models").symlink_to(elsewhere)
    (lowrank_home / "my notes.txt").write_text("mine")
    done = start("lowrank", "-m", "core.cli.folders", "--delete")
    assert done.returncode == 0, done.stderr
    assert "my notes.txt" in done.stderr
    assert [path.name for path in lowrank_home.iterdir()] == ["my notes.txt"]
    assert (elsewhere / "letter").read_text() == "dear", "a link's target is not ours"
    (lowrank_home / "my notes.txt").unlink()
    assert start("lowrank", "-m", "core.cli.folders", "--delete").returncode == 0
    assert not lowrank_home.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="XDG's folders are Linux's")
def test_a_folder_that_was_chosen_is_found_and_forgotten(tmp_path: Path) -> None:
    chosen, config = tmp_path / "chosen", tmp_path / "config"
    (chosen / "runs").mkdir(parents=True)
    env = {name: value for name, value in os.environ.items() if name != "LOWRANK_HOME"}
    env["XDG_CONFIG_HOME"] = str(config)
    place = (
        "import sys; from pathlib import Path; from core.paths import choose_home; "
        "choose_home(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", place, str(chosen), str(tmp_path / "old")], env=env, check=True, cwd=ROOT)
    assert list(config.rglob("*.json")) != []
    assert start("lowrank", "-m", "core.cli.folders", env=env).stdout == f"{chosen}\n"
    assert start("lowrank", "-m", "core.cli.folders", "--delete", env=env).returncode == 0
    assert not chosen.exists()
    assert not any(config.iterdir())


def test_bad_words_delete_nothing(lowrank_home: Path) -> None:
    (lowrank_home / "runs").mkdir(parents=True)
    assert start("lowrank", "-m", "core.cli.folders", "--deleet").returncode == 2
    assert (lowrank_home / "runs").is_dir()


def test_every_file_that_the_program_makes_in_its_folder_is_known() -> None:
    import re

    found = set()
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "studio").rglob("*.py")]:
        found |= set(re.findall(r"(?<![.\w])(?:paths\.)?home\(\) / \"([^\"]+)\"", path.read_text("utf-8")))
    assert {"models", "runs", "cache"} <= found
    assert found <= set(OURS) | {".writable"}
