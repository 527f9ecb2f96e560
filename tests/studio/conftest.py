"""What holds for every test of the window: no screen, a desk on an empty data folder, no Qt warnings, nothing left."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

WAIT_MS = 20_000
HARMLESS = ("This plugin does not support", "propagateSizeHints")


@pytest.fixture(autouse=True)
def _no_qt_noise(qtlog: Any) -> Iterator[None]:
    """Fails a test in which Qt warns about anything."""
    yield
    bad = [
        record.message
        for record in qtlog.records
        if record.log_type_name in ("QtWarningMsg", "QtCriticalMsg", "QtFatalMsg")
        and not any(words in record.message for words in HARMLESS)
    ]
    assert not bad, f"Qt complained: {bad}"


@pytest.fixture(autouse=True)
def _look(qapp: Any) -> Iterator[None]:
    """Every test begins in English, light, at the normal text size."""
    from PySide6.QtCore import QCoreApplication, QEvent

    from studio.look.theme import apply_look
    from studio.words import set_language

    set_language("en")
    apply_look(qapp, "light", 1.0)
    yield
    # What pytest-qt closed waits for an event loop to delete it, and without one every later change of the look would
    # style the windows of all tests before it.
    # Python's own cycles go first: an object of theirs that died while Qt was deleting has ended the process.
    gc.collect()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    set_language("en")


@pytest.fixture(autouse=True)
def _quiet_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end in tests are no news on the desktop of whoever tests."""
    from studio.shell import desktop_message

    monkeypatch.setattr(desktop_message, "speaker", lambda: "")


@pytest.fixture
def starter_home(lowrank_home: Path, starter: Path) -> Path:
    """The data folder of this test, with the real starter model in it under its usual name."""
    models = lowrank_home / "models"
    models.mkdir(parents=True)
    (models / "starter").symlink_to(starter, target_is_directory=True)
    return lowrank_home


@pytest.fixture
def short_home(lowrank_home: Path, short_starter: Path) -> Path:
    """The data folder of this test, where what is called starter is only its first layers, which start sooner."""
    models = lowrank_home / "models"
    models.mkdir(parents=True)
    (models / "starter").symlink_to(short_starter, target_is_directory=True)
    return lowrank_home


@pytest.fixture
def desk(qapp: Any, lowrank_home: Path) -> Iterator[Any]:
    """A desk as the window has one, with the machine's facts read; its threads are ended afterwards."""
    from studio.state.desk import Desk
    from studio.state.preferences import Preferences
    from studio.state.runs import Runs
    from studio.state.session import Session
    from studio.workers.task import end_tasks

    made = Desk(Session(), Runs(), Preferences())
    yield made
    made.runs.close()
    assert end_tasks() == 0, "a task did not end"


@pytest.fixture
def settled(qtbot: Any, desk: Any) -> Callable[[], None]:
    """Call it to wait until every fact that the spec calls for has been read (or refused)."""

    def wait() -> None:
        session = desk.session
        if session.hardware is None and "hardware" not in session.busy:
            session.begin()
        qtbot.waitUntil(lambda: not session.is_reading and session.hardware is not None, timeout=WAIT_MS)

    return wait
