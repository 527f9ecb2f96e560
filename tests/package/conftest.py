"""The packages, built once for all tests that want them, and one computer that they are installed on."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.computers import ROOT, Computer, dpkg, listing
from tests.studio.e2e.person import Screen, missing_programs


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the packages, fresh from the present source unless one was named."""
    named = os.environ.get("LOWRANK_PACKAGES")
    if named:
        yield Path(named).absolute()
        return
    folder = tmp_path_factory.mktemp("packages")
    env = {name: value for name, value in os.environ.items() if name != "LOWRANK_HOME"}
    built = subprocess.run(
        [sys.executable, "-m", "launcher.package", "--to", str(folder)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    assert re.search(r"MiB  PyTorch\n", built.stderr), "the table of sizes"
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def computer(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computer]:
    """One with the Debian package installed and the starter model fetched from it."""
    if shutil.which("dpkg") is None or (os.getuid() and shutil.which("fakeroot") is None):
        pytest.skip("dpkg, or fakeroot for somebody who is not root, is not installed")
    made = Computer(tmp_path_factory.mktemp("computer"))
    dpkg(made.root, "--install", str(next(packages.glob("*.deb"))))
    made.installed = listing(made.root / "usr")
    fetched = made.lowrank("models", "--fetch", "starter")
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    yield made
    shutil.rmtree(made.root, ignore_errors=True)


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A screen without a monitor."""
    missing = missing_programs()
    if missing:
        pytest.skip(missing)
    made = Screen()
    yield made
    made.close()
