"""Files are written as they were given, past the system's cache or through it, and a disk that refuses is heard."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.export import disk_writer
from core.export.disk_writer import DiskWriter
from core.units import MIB

SIZES = (0, 1, 7, 4095, 4096, 4097, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 4096)


def pieces_of(blob: bytes, seed: int) -> Iterator[memoryview]:
    """The bytes in pieces of any length."""
    rng, at = random.Random(seed), 0
    while at < len(blob):
        count = rng.choice((1, 3, 4096, 70_001, 3 * MIB))
        yield memoryview(blob)[at : at + count]
        at += count


def write(folder: Path) -> dict[str, bytes]:
    """Writes a file of each size; returns what belongs into them."""
    wanted = {f"{number}.bin": random.Random(number).randbytes(size) for number, size in enumerate(SIZES)}
    with DiskWriter() as disk:
        for number, (name, blob) in enumerate(wanted.items()):
            disk.begin(folder / name)
            assert sum(disk.write(piece) for piece in pieces_of(blob, number)) == len(blob)
    return wanted


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_hold_what_they_were_given(tmp_path: Path) -> None:
    wanted = write(tmp_path)
    assert read(tmp_path) == wanted


def test_a_system_without_direct_writes_makes_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_writer, "_DIRECT", 0)
    monkeypatch.setattr(disk_writer, "_FLUSH_BYTES", MIB)
    wanted = write(tmp_path)
    assert read(tmp_path) == wanted


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="the system has no direct writes")
def test_a_disk_that_refuses_direct_writes_gets_them_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open, real_write = os.open, os.write
    refused = []

    def no_open(path: Any, flags: int, *others: Any) -> int:
        if flags & os.O_DIRECT:
            refused.append("open")
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_open(path, flags, *others)

    def no_write(number: int, view: Any) -> int:
        import fcntl

        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append("write")
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(number, view[: 1 + len(view) // 2])  # and only a part of it each time

    for name, stand_in in (("open", no_open), ("write", no_write)):
        folder = tmp_path / name
        folder.mkdir()
        with monkeypatch.context() as patched:
            patched.setattr(os, name, stand_in)
            wanted = write(folder)
        assert read(folder) == wanted
    assert "open" in refused


def test_a_full_disk_is_told_and_the_file_is_let_go(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk / "a.bin")
    (small_disk / "a.bin").unlink()
    assert not any(str(small_disk) in target for target in open_files())


def fill(path: Path) -> None:
    with DiskWriter() as disk:
        disk.begin(path)
        for _ in range(60):
            disk.write(bytes(MIB))


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    links = [link for link in folder.iterdir() if link.is_symlink()] if folder.is_dir() else []
    return [str(link.readlink()) for link in links]
