"""A screen and a person for each test of the whole window."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studio.e2e.person import Person, Screen, missing_programs


@pytest.fixture(scope="session")
def screen() -> Iterator[Screen]:
    """A real X server."""
    missing = missing_programs()
    if missing:
        pytest.skip(missing)
    made = Screen()
    yield made
    made.close()


@pytest.fixture
def person(screen: Screen, starter_home: Path, tmp_path: Path) -> Iterator[Person]:
    """Somebody in front of it, with the starter model already fetched."""
    made = Person(screen, starter_home, tmp_path)
    yield made
    made.end()
    _end_engines(starter_home)


def _end_engines(home: Path) -> None:
    """Engines outlive windows; none may outlive the test."""
    from core.runs.layout import RunFolder
    from core.runs.process_record import living_process
    from core.runs.process_tree import family, kill

    for parent in (home / "runs", home / "jobs"):
        for path in parent.iterdir() if parent.is_dir() else ():
            record = living_process(RunFolder(path)) if path.is_dir() else None
            if record is not None:
                kill(family(record.key))
