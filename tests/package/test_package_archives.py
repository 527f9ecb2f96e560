"""The archives of the packages: every reader of tar, ar and zstd takes them, and the same files make the same bytes."""

import io
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from launcher.package import archive, linux
from launcher.package.archive import FrameWriter, Link, write_ar, write_tar

MOMENT = 1_700_000_000


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder as PyInstaller makes it, in small."""
    folder = tmp_path / "lowrank-studio-9-linux"
    inside = folder / "_internal"
    inside.mkdir(parents=True)
    (folder / "lowrank-studio").write_text("#!/bin/sh\necho started with $*\n")
    (folder / "lowrank-studio").chmod(0o755)
    (inside / "libxcb-cursor.so.0").write_bytes(b"library")
    (inside / "a file with spaces; and “quotes”.txt").write_bytes(b"x" * 1001)
    (inside / "link").symlink_to("libxcb-cursor.so.0")
    deep = inside / "/".join(["a_rather_long_folder_name"] * 6)
    deep.mkdir(parents=True)
    (deep / ("long_name_" * 12 + ".py")).write_bytes(b"deep")
    linux.add_scripts(folder)
    return folder


def contents(folder: Path) -> dict[str, object]:
    """Every file with its bytes and rights, every link with its target."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[place] = str(path.readlink())
        elif path.is_file():
            found[place] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode) & 0o100)
    return found


def test_a_user_archive_unpacks_to_the_same_folder(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (Debian: apt install zstd)")
    monkeypatch.setattr(archive, "FRAME", 1000)  # several frames, as a real package has
    target = tmp_path / "program.tar.zst"
    linux.write_archive(program, target, MOMENT)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", str(target), "-C", str(out)], check=True)
    assert contents(out / program.name) == contents(program)
    again = tmp_path / "again.tar.zst"
    linux.write_archive(program, again, MOMENT)
    assert again.read_bytes() == target.read_bytes()


def test_a_debian_package_says_what_it_needs_and_where_it_puts_things(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    monkeypatch.setattr(archive, "FRAME", 1000)  # dpkg reads one frame of zstd only: larger files must not become more
    target = tmp_path / "program.deb"
    linux.write_deb(program, target, MOMENT, "Somebody <somebody@example.org>")
    told = subprocess.run(["dpkg-deb", "--info", str(target)], capture_output=True, text=True, check=True).stdout
    assert "Package: lowrank-studio" in told
    assert "Maintainer: Somebody <somebody@example.org>" in told
    depends = next(line for line in told.splitlines() if line.strip().startswith("Depends:"))
    assert "libegl1" in depends
    assert "libxcb-cursor0" not in depends, "what the package carries itself need not be installed"
    out = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--extract", str(target), str(out)], check=True)
    assert (out / "usr/bin/lowrank").readlink() == Path("../lib/lowrank-studio/lowrank-studio")
    assert (out / "usr/bin/lowrank").resolve() == (out / "usr/lib/lowrank-studio/lowrank-studio").resolve()
    installed = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {
        "usr/share/applications/lowrank-studio.desktop", "usr/share/icons/hicolor/scalable/apps/lowrank-studio.svg",
        "usr/share/mime/packages/lowrank-studio.xml", "usr/share/man/man1/lowrank.1.gz",
        "usr/share/man/man1/lowrank-studio.1.gz", "usr/share/doc/lowrank-studio/copyright",
    } <= installed  # fmt: skip
    assert "usr/lib/lowrank-studio/install.sh" not in installed, "dpkg installs it, no script does"
    assert "@FOLDER@" not in (out / "usr/share/applications/lowrank-studio.desktop").read_text("utf-8")
    listed = subprocess.run(["dpkg-deb", "--contents", str(target)], capture_output=True, text=True, check=True).stdout
    assert all(" root/root " in line for line in listed.splitlines())
    control = tmp_path / "control"
    subprocess.run(["dpkg-deb", "--control", str(target), str(control)], check=True)
    subprocess.run(["md5sum", "--check", "--quiet", str(control / "md5sums")], cwd=out, check=True)


def test_a_tar_names_each_folder_once_and_before_what_is_in_it() -> None:
    target = io.BytesIO()
    names = [PurePosixPath("a/b/one"), PurePosixPath("a/b/two"), PurePosixPath("a/three"), PurePosixPath("four")]
    write_tar(target, [(b"1", name, 0o644) for name in names], MOMENT)
    target.seek(0)
    with tarfile.open(fileobj=target) as read:
        members = read.getmembers()
        assert [member.name for member in members] == ["./a", "./a/b", "./a/b/one", "./a/b/two", "./a/three", "./four"]
        assert {(member.mtime, member.uid, member.uname) for member in members} == {(MOMENT, 0, "root")}


def test_a_link_that_is_not_on_the_disk() -> None:
    target = io.BytesIO()
    write_tar(target, [(Link("../lib/x"), PurePosixPath("bin/x"), 0o777)], MOMENT)
    target.seek(0)
    with tarfile.open(fileobj=target) as read:
        assert read.getmember("./bin/x").linkname == "../lib/x"


def test_odd_members_of_an_ar_are_padded() -> None:
    target = io.BytesIO()
    write_ar(target, [("odd", b"123"), ("even", b"1234")], MOMENT)
    assert target.getvalue().startswith(b"!<arch>\nodd ")
    assert target.getvalue().index(b"even") % 2 == 0


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
def test_frames_of_any_size_come_back_in_order(size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pyarrow as pa

    monkeypatch.setattr(archive, "FRAME", 1000)
    text = bytes(index % 251 for index in range(size))
    path = tmp_path / "frames.zst"
    with path.open("wb") as file, FrameWriter(file) as packed:
        for start in range(0, size, 300):
            packed.write(text[start : start + 300])
    if size:
        with pa.CompressedInputStream(str(path), "zstd") as read:
            assert read.read() == text
    else:
        assert path.read_bytes() == b""
