"""The scripts that install for one user: what they make they take away again, and they replace nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.package import linux

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts are for Linux")

# Stands for the program: it says how it was started, and where its data is as the real one does.
PROGRAM = """#!/bin/sh
case "$*" in
"-m core.cli.folders") echo "$HOME/.local/share/lowrank-studio" ;;
"-m core.cli.folders --delete") rm -rf "$HOME/.local/share/lowrank-studio"; echo gone ;;
*) echo "$(basename "$0") $*" ;;
esac
"""


class Someone:
    """A user with a home of their own and an unpacked archive."""

    def __init__(self, place: Path) -> None:
        self.home = place / "home of me"
        self.home.mkdir()
        self.archive = place / "unpacked" / "lowrank-studio-9"
        (self.archive / "_internal").mkdir(parents=True)
        (self.archive / "_internal" / "library").write_bytes(b"x" * 5000)
        (self.archive / "lowrank-studio").write_text(PROGRAM)
        (self.archive / "lowrank-studio").chmod(0o755)
        linux.add_scripts(self.archive)
        self.env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def run(self, program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(program), *arguments], env=self.env, capture_output=True, text=True, cwd=self.home)

    def install(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(self.archive / "install.sh", *arguments)

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.home).as_posix() for path in self.home.rglob("*"))


@pytest.fixture
def someone(tmp_path: Path) -> Someone:
    return Someone(tmp_path)


def test_install_start_and_take_away(someone: Someone) -> None:
    done = someone.install()
    assert done.returncode == 0, done.stderr
    folder = someone.home / ".local/lib/lowrank-studio"
    assert f"installed in {folder}" in done.stdout
    assert "add" in done.stdout
    assert "to your PATH" in done.stdout
    for name in ("lowrank", "lowrank-studio"):
        assert someone.run(someone.home / ".local/bin" / name, "plan", "a b").stdout == f"{name} plan a b\n"
    entry = (someone.home / ".local/share/applications/lowrank-studio.desktop").read_text("utf-8")
    assert f'Exec="{folder}/lowrank-studio" %F' in entry
    assert (someone.home / ".local/share/mime/packages/lowrank-studio.xml").is_file()
    done = someone.run(folder / "uninstall.sh")
    assert done.returncode == 0, done.stderr
    assert someone.files() == []


def test_another_disk_may_be_chosen_and_what_was_there_stays(someone: Someone, tmp_path: Path) -> None:
    other = someone.home / ".local/share/applications/other.desktop"
    other.parent.mkdir(parents=True)
    other.write_text("[Desktop Entry]\nType=Application\nName=Other\nExec=true\n")
    before = someone.files()
    chosen = tmp_path / "big disk" / "studio & more|x"
    assert someone.install("--to", str(chosen)).returncode == 0
    entry = (someone.home / ".local/share/applications/lowrank-studio.desktop").read_text("utf-8")
    assert f'Exec="{chosen}/lowrank-studio" %F' in entry
    assert someone.run(chosen / "uninstall.sh").returncode == 0
    assert not chosen.exists()
    left = [name for name in someone.files() if not name.endswith("mimeinfo.cache")]
    assert left == before


def test_data_stays_unless_it_is_asked_to_go(someone: Someone) -> None:
    data = someone.home / ".local/share/lowrank-studio"
    data.mkdir(parents=True)
    (data / "run").write_text("precious")
    for arguments, there in (((), True), (("--data",), False)):
        assert someone.install().returncode == 0
        done = someone.run(someone.home / ".local/lib/lowrank-studio/uninstall.sh", *arguments)
        assert done.returncode == 0, done.stderr
        assert str(data) in done.stdout
        assert data.exists() is there


def test_nothing_is_replaced(someone: Someone) -> None:
    own = someone.home / ".local/bin/lowrank"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    before = someone.files()
    done = someone.install()
    assert done.returncode == 1
    assert str(own) in done.stderr
    assert someone.files() == before
    assert own.read_text() == "mine"


def test_a_folder_with_files_is_refused(someone: Someone) -> None:
    (someone.home / "papers").mkdir()
    (someone.home / "papers" / "letter").write_text("dear")
    done = someone.install("--to", "papers")
    assert done.returncode == 1
    assert "holds other files" in done.stderr
    assert someone.files() == ["papers", "papers/letter"]


def test_a_second_installation_is_refused_with_the_way_out(someone: Someone) -> None:
    assert someone.install().returncode == 0
    before = someone.files()
    done = someone.install()
    assert done.returncode == 1
    assert "uninstall.sh first" in done.stderr
    assert someone.files() == before


def test_a_link_that_somebody_has_turned_elsewhere_is_not_taken_away(someone: Someone) -> None:
    assert someone.install().returncode == 0
    link = someone.home / ".local/bin/lowrank"
    link.unlink()
    link.symlink_to("/usr/bin/true")
    assert someone.run(someone.home / ".local/lib/lowrank-studio/uninstall.sh").returncode == 0
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to",), "--to needs a folder"),
        (("--to", ""), "--to needs a folder"),
        (("--faster",), "is not an option"),
        (("--to", "my $HOME"), "has a letter that desktops cannot have"),
        (("--to", 'my "folder"'), "has a letter that desktops cannot have"),
        (("--to", "/proc/nowhere/studio"), "cannot be made"),
    ],
)
def test_bad_options_are_said(someone: Someone, arguments: tuple[str, ...], words: str) -> None:
    done = someone.install(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert someone.files() == []


def test_inside_the_archive_itself_is_refused(someone: Someone) -> None:
    done = someone.install("--to", str(someone.archive / "here"))
    assert done.returncode == 1
    assert "inside the unpacked archive" in done.stderr


def test_half_an_archive_is_refused(someone: Someone) -> None:
    (someone.archive / "lowrank-studio").unlink()
    done = someone.install()
    assert done.returncode == 1
    assert "Unpack the whole archive" in done.stderr
    assert someone.files() == []


def test_uninstalling_what_was_never_installed_changes_nothing(someone: Someone) -> None:
    done = someone.run(someone.archive / "uninstall.sh")
    assert done.returncode == 1
    assert "nothing was installed" in done.stderr
    assert (someone.archive / "lowrank-studio").exists()


def test_a_program_at_work_is_not_taken_away(someone: Someone) -> None:
    assert someone.install().returncode == 0
    folder = someone.home / ".local/lib/lowrank-studio"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, folder / "lowrank-studio")
    busy = subprocess.Popen([str(folder / "lowrank-studio"), "60"])
    try:
        done = someone.run(folder / "uninstall.sh")
    finally:
        busy.kill()
        busy.wait()
    assert done.returncode == 1
    assert f"process {busy.pid}" in done.stderr
    assert (folder / "lowrank-studio").exists()
