"""Kept tokens take no more room than they may: the oldest go, and foreign files stay."""

import os
from pathlib import Path

from core.data.token_cache import TokenCache
from core.data.types import Encoded
from core.errors import Problem


def batch_of(size: int) -> list[Encoded | Problem]:
    return [Encoded(range(size), [True] * size, "f:1")]


def test_the_oldest_files_go_first_and_foreign_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    cache = TokenCache(folder, limit=10_000)
    for number in range(4):
        cache.write(str(number), batch_of(1000))
        os.utime(folder / f"{number}.tokens", (number, number))
    (folder / "notes.txt").write_text("mine")
    (folder / "old.1234abcd.part").write_bytes(b"half")
    os.utime(folder / "old.1234abcd.part", (0, 0))
    (folder / "new.1234abcd.part").write_bytes(b"half")
    later = TokenCache(folder, limit=7000)
    assert later.read("0", ["f:1"]) is not None  # it has just been of use
    later.write("4", batch_of(1000))
    later.trim()
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.tokens", "3.tokens", "4.tokens", "new.1234abcd.part", "notes.txt",
    ]  # fmt: skip


def test_of_a_set_that_is_too_large_the_beginning_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    for expected in (0, 3):
        cache = TokenCache(folder, limit=7000)
        for number in range(9):
            if cache.read(str(number), ["f:1"]) is None:
                cache.write(str(number), batch_of(1000))
        cache.trim()
        assert cache.hits == expected
        assert sorted(path.stem for path in folder.iterdir()) == ["0", "1", "2"]
