"""A seeded share of the mutated files; all ten thousand: ``python -m tests.core.data.fuzz.run 10000``."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.data.fuzz.mutations import MUTATIONS
from tests.core.data.fuzz.seeds import seeds
from tests.core.data.fuzz.trials import make_trial

SHARE = 400


@pytest.mark.slow
def test_no_mutated_file_gets_past_the_importer(tmp_path: Path) -> None:
    """In a process of its own: a file that crashes it is found as well, and its memory is its own."""
    command = [sys.executable, "-m", "tests.core.data.fuzz.run", str(SHARE), "--seed", "7"]
    root = Path(__file__).parents[4]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    assert f"{SHARE} files in" in ran.stdout
    assert " 0 findings" in ran.stdout


def test_trials_are_the_same_everywhere_and_reach_everything() -> None:
    trials = [make_trial(7, number) for number in range(SHARE)]
    assert trials == [make_trial(7, number) for number in range(SHARE)]
    assert {name for trial in trials for name in trial.mutations} == set(MUTATIONS)
    good = {blob for _, blob in seeds()}
    assert sum(trial.blob not in good for trial in trials) > 0.9 * SHARE


def test_the_fuzzer_finds_an_exception_that_escapes(tmp_path: Path) -> None:
    """A fuzzer that finds nothing must be able to find something."""
    script = (
        "import sys\n"
        "def broken(*_, **__): raise KeyError('escaped')\n"
        "import tests.core.data.fuzz.trials as trials\n"
        "trials.open_preview = broken\n"
        "from tests.core.data.fuzz.run import main\n"
        "sys.argv = ['fuzz', '3']\n"
        "sys.exit(main())\n"
    )
    root = Path(__file__).parents[4]
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1
    assert "3 findings" in ran.stdout
    assert "KeyError: 'escaped'" in ran.stdout
