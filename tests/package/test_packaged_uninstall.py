"""What was seen of the network while the package was used, and what is left of it when it goes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.computers import WANTED, Computer, dpkg, listing

pytestmark = WANTED


def test_no_socket_was_ever_opened(computer: Computer) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace, which sees every socket, is not installed")
    assert len(list(computer.traces.iterdir())) > 5, "this test comes after those that use the program"
    assert computer.sockets() == []


def test_the_watch_sees_a_socket(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    watched = Computer(tmp_path)
    program = "import socket; socket.socket().close()"
    subprocess.run(watched.command(Path(sys.executable), "-c", program), env=watched.env, check=True)
    assert len(watched.sockets()) == 1


def test_uninstalled_it_leaves_only_the_data(computer: Computer) -> None:
    assert listing(computer.root / "usr") == computer.installed, "something was written beside the program"
    runs = [run.name for run in computer.runs]
    assert runs
    dpkg(computer.root, "--purge", "lowrank-studio")
    left = [path for path in computer.root.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path for path in left if not path.is_relative_to(computer.root / "var/lib/dpkg")] == []
    assert sorted(path.name for path in computer.home.iterdir()) == [".local", "rows.jsonl", "spec.yaml"]
    assert [path.name for path in (computer.home / ".local/share").iterdir()] == ["lowrank-studio"]
    assert [run.name for run in computer.runs] == runs, "runs stay, and so do models"
    assert (computer.data / "models/starter/model.safetensors").is_file()
    assert list(computer.temporary.iterdir()) == []


def test_the_archive_installs_for_one_user_and_goes_without_or_with_its_data(packages: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (Debian: apt install zstd)")
    someone = Computer(tmp_path)
    archive = next(packages.glob("*.tar.zst"))
    chosen = tmp_path / "another disk" / "studio"
    model = someone.data / "models" / "mine" / "config.json"
    for words in ((), ("--data",)):
        subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(someone.root)], check=True)
        unpacked = next(someone.root.iterdir())
        installed = someone.run([str(unpacked / "install.sh"), "--to", str(chosen)])
        assert installed.returncode == 0, installed.stderr
        shutil.rmtree(unpacked)
        for arguments in (("--version",), ("presets",)):
            command = someone.command(someone.home / ".local/bin/lowrank", *arguments)
            assert someone.run(command).returncode == 0
        entry = (someone.home / ".local/share/applications/lowrank-studio.desktop").read_text("utf-8")
        assert f'Exec="{chosen}/lowrank-studio" %F' in entry
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_text("{}")
        done = someone.run([str(chosen / "uninstall.sh"), *words])
        assert done.returncode == 0, done.stderr
        assert str(someone.data) in done.stdout
        assert not chosen.exists()
        assert model.exists() is not bool(words), "models and runs stay unless they are asked to go"
    assert [path for path in someone.home.rglob("*") if not path.is_dir()] == []
    assert someone.sockets() == []
