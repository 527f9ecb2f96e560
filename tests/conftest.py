"""What holds for every test: a data folder of its own, no network, no noise, nothing left running. And a real model."""

import gc
import hashlib
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.short_models import first_layers, four_layers, short_starter  # noqa: F401 (fixtures for every test)

ROOT = Path(__file__).resolve().parent.parent

# Before any library reads them; engine processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# As in `core.runs.child_env`, but threads sleep at once: beside a busy program, as another process of these tests is,
# that trains a quarter faster than to spin for a moment first (184 instead of 149 tokens/s on 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# An example takes longer than usual wherever the machine is busy; pytest-timeout ends what never ends.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

WEEK_SECONDS = 7 * 86400


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("silence", "seconds after which a process that ends no test is killed")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        from tests.workers import Silence

        config.pluginmanager.register(Silence(config), "silence")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, files with slow ones come first: none is left working alone at the end.

    Each process collects for itself, and all must come to the same order.
    """
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def _lasting_memory() -> None:
    """What lives as a file of tests begins, mostly libraries, lives to the end: Python looks for no cycles in it.

    Looking took a sixth of all time, and nearly a third where every test of the window ends with it.
    """
    gc.collect()
    gc.freeze()


# ------------------------------------------------------------------------------------------------------- no network


class NetworkUseError(RuntimeError):
    """A test tried to reach another machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path
    host = address[0]
    return host in ("", "localhost", "::1") or str(host).startswith("127.")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Lets sockets reach this machine only. Programs that a test starts are not covered."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise NetworkUseError(f"a test opened a connection to {address!r}; tests need no network")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(("" if host in (None, socket.gethostname()) else host, 0))
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


# ------------------------------------------------------------------------------------------- a world for each test


@pytest.fixture(autouse=True, scope="session")
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A data folder for what is made once for many tests: that must not lie among somebody's runs either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(tmp_path_factory.mktemp("shared-home") / "lowrank-home"))
        yield


@pytest.fixture(autouse=True)
def lowrank_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of this test: under its tmp_path, empty, and not yet made."""
    monkeypatch.delenv("COLUMNS", raising=False)  # what processes beside this one are told of the terminal's width
    home = tmp_path / "lowrank-home"
    monkeypatch.setenv("LOWRANK_HOME", str(home))
    return home


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.expected = False

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def usual_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of somebody who has chosen none, below a person's own folder that the test has made."""
    from core import paths

    monkeypatch.delenv(paths.HOME_VARIABLE, raising=False)
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "person" / name))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    return paths.home()


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[_Collector]:
    """Fails a test in which core logs a warning that nobody asked about."""
    collector = _Collector()
    logger = logging.getLogger("core")
    logger.addHandler(collector)
    yield collector
    logger.removeHandler(collector)
    if collector.records and not collector.expected:
        lines = [f"{record.name}: {record.getMessage()}" for record in collector.records]
        pytest.fail("core logged warnings (take the fixture core_log to expect them):\n" + "\n".join(lines))


@pytest.fixture
def core_log(_quiet_log: _Collector) -> list[logging.LogRecord]:
    """What core logs at WARNING and above during the test, which then has to check it."""
    _quiet_log.expected = True
    return _quiet_log.records


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """Fails a test that leaves a thread behind which would keep the program from ending."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 1
    while (leaked := _threads_since(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if leaked:
        pytest.fail(f"the test left threads running: {', '.join(sorted(thread.name for thread in leaked))}")


def _threads_since(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


# ------------------------------------------------------------------------------------------------ the starter model


@pytest.fixture(scope="session")
def starter() -> Path:
    """The folder of the real starter model, imported once and kept outside the tree. Never write to it.

    Lies under ``$LOWRANK_TEST_CACHE``, else ``~/.cache/lowrank-tests``, apart for each version of the code that makes
    it. Skips where the model can neither be found nor fetched; any other failure is one.
    """
    from core.runs.starter import StarterUnavailable, ensure_starter
    from core.runs.starter_package import GGUF_SHA256

    cache = Path(os.environ.get("LOWRANK_TEST_CACHE") or Path.home() / ".cache" / "lowrank-tests")
    maker = (ROOT / "core" / "engine" / "import_gguf.py").read_bytes()
    version = hashlib.sha256(maker + GGUF_SHA256.encode()).hexdigest()[:12]
    home = cache / f"starter-{version}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(home))
        try:
            folder = ensure_starter()
        except StarterUnavailable as failure:
            pytest.skip(str(failure))
    os.utime(home)
    for other in cache.glob("starter-*"):
        if other != home and time.time() - other.stat().st_mtime > WEEK_SECONDS:
            shutil.rmtree(other)
    return folder
