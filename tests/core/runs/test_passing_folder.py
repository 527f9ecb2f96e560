"""Folders that are needed for a while go away with their block, or with the next one where a process was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from core.paths import jobs_dir
from core.runs.passing_folder import passing_folder

HOLDS_ONE = (
    "import sys, time\nfrom core.runs.passing_folder import passing_folder\n"
    "with passing_folder('model') as folder:\n"
    "    (folder / 'weights').write_text('large')\n    print('made', flush=True)\n    time.sleep(600)"
)


def test_it_goes_away_with_its_block(lowrank_home: Path) -> None:
    with passing_folder("merged") as folder:
        assert folder.name == "merged"
        assert list(folder.iterdir()) == []
        (folder / "weights").write_text("large")
    assert list(jobs_dir().iterdir()) == []
    with pytest.raises(ValueError, match="broken"), passing_folder("merged"):
        raise ValueError("broken")
    assert list(jobs_dir().iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_one_and_what_is_in_use_stays(lowrank_home: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDS_ONE], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "made\n"
        with passing_folder("mine"):
            assert len(list(jobs_dir().glob("*/model/weights"))) == 1, "its owner is alive"
    finally:
        other.kill()
        other.communicate()
    assert len(list(jobs_dir().glob("*/model/weights"))) == 1, "nobody could tidy up"
    with passing_folder("mine"):
        assert [path.name for path in jobs_dir().glob("*/*") if path.is_dir()] == ["mine"]
    assert list(jobs_dir().iterdir()) == []


def test_a_data_folder_that_takes_nothing_is_named(lowrank_home: Path) -> None:
    jobs_dir().parent.mkdir(parents=True, exist_ok=True)
    jobs_dir().write_text("a file")
    with pytest.raises(UserError, match="cannot be made") as caught, passing_folder("mine"):
        pass
    assert caught.value.problems[0].advice
