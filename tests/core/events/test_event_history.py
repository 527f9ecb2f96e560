"""The two growing sequences behave like the plain ones they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.history import Log, StepTable
from core.events.types import Step


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9))))
def test_every_view_of_a_log_stays_what_it_was(operations: list[tuple[int, int]]) -> None:
    views: list[tuple[Log[int], list[int]]] = [(Log(), [])]
    for which, value in operations:
        log, plain = views[which % len(views)]
        views.append((log.append(value), [*plain, value]))
        views.append((log.first(value), plain[:value]))
    for log, plain in views:
        assert list(log) == plain
        assert len(log) == len(plain)
        assert log == Log(plain)


def test_a_log_reads_like_a_list() -> None:
    log = Log("abc")
    assert (log[0], log[-1], log[1:], log[::-1], "b" in log, repr(log)) == (
        "a", "c", ("b", "c"), ("c", "b", "a"), True, "Log(['a', 'b', 'c'])",
    )  # fmt: skip
    shorter = log.first(2)
    for index in (2, -3):
        with pytest.raises(IndexError):
            _ = shorter[index]
    assert log != Log("abd")
    assert log != ["a", "b", "c"]


def test_a_table_hands_out_copies() -> None:
    row = Step(1, 0.1, 2.0, 1e-4, 0.5, 10, 5, 0.1, 7, applied=False)
    table = StepTable().extend([(1.0, row)])
    copy = table.column("loss")
    copy[0] = 99.0
    assert table.last("loss") == 2.0
    assert table.last("applied") == 0.0
    assert repr(table) == "StepTable(1 steps)"
    assert table != "table"


def test_an_empty_table_and_a_wrong_column() -> None:
    with pytest.raises(IndexError, match="no step"):
        StepTable().last("loss")
    with pytest.raises(ValueError, match=r"not in"):
        StepTable().column("beauty")  # type: ignore[arg-type]
    assert StepTable().extend([]) == StepTable()
