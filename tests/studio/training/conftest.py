"""A Training page on a desk whose facts are invented and whose engine is the fake one."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand, exit_status
from core.runs.layout import RunFolder
from core.runs.process_record import read_process
from core.runs.process_tree import family, kill
from core.runs.store import create_run
from tests.core.plan import invented_facts

FAKE_ENGINE = Path(__file__).parents[2] / "fakes" / "fake_engine.py"
WAIT_MS = 30_000


@pytest.fixture
def planned(desk: Any) -> Any:
    """The desk with everything known at once: a small GPU, a small model, two thousand rows."""
    session = desk.session
    facts = invented_facts.facts("rtx3060", "1b")
    spec = invented_facts.spec()
    session._read_stale = lambda: None
    session.hardware, session.model, session.data = facts.hardware, facts.model, facts.data
    session.set_spec(spec)
    session._replan()
    return desk


@pytest.fixture
def page(planned: Any, qtbot: Any) -> Iterator[Any]:
    """The page, seen."""
    from studio.pages.training.page import TrainingPage

    made = TrainingPage(planned)
    qtbot.addWidget(made)
    made.resize(824, 900)
    made.show()
    qtbot.waitExposed(made)
    made.shown()
    yield made
    made.hidden()
    made.close_page()


@pytest.fixture
def begin(page: Any) -> Iterator[Callable[..., Any]]:
    """Starts a run with a fake engine in some mode, and ends whatever is left of it."""
    desk = page.desk
    folders: list[RunFolder] = []
    wanted: list[str] = ["ok"]

    def command(folder: RunFolder) -> LaunchCommand:
        argv = (sys.executable, "-P", str(FAKE_ENGINE), str(folder.path), *wanted)
        return LaunchCommand(argv, child_env(), folder.path)

    desk.runs._command = command

    def start(mode: str, *arguments: object, folder: RunFolder | None = None) -> Any:
        wanted[:] = [mode, *map(str, arguments)]
        if folder is None:
            folder = create_run(desk.session.spec.replace("output.name", mode), desk.session.facts, desk.session.plan)
            folders.append(folder)
        return desk.runs.resume(folder)

    yield start
    desk.runs.close()
    for folder in folders:
        end(folder)


def end(folder: RunFolder) -> None:
    """Whatever still runs on a folder goes."""
    try:
        record = read_process(folder)
    except (OSError, UserError):
        return
    if record is not None:
        if record.alive:
            kill(family(record.key))
        exit_status(record.key)
