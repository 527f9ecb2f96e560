"""A few random kills in every run of the tests; `tests.e2e.random_kills` does a hundred."""

from pathlib import Path

import pytest

from tests.e2e.random_kills import kill_all
from tests.e2e.real_runs import write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_runs_that_are_killed_at_random_end_as_if_nothing_had_happened(short_starter: Path, tmp_path: Path) -> None:
    tally = kill_all(short_starter, write_rows(tmp_path / "rows.jsonl", 40), 5, seed=7)
    assert tally.kills == 5
