"""What a shorter limit cuts off the rows, estimated from the histogram of their lengths."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from core.plan.solve.changes import FEW_CUT
from core.plan.solve.rows import cut_at, cut_rows
from tests.core.plan.invented_facts import lengths


def test_cuts_are_exact_at_the_edges_of_bins() -> None:
    known = dataclasses.replace(
        lengths(rows=100, mean=30, longest=100), histogram={"20": 50, "40": 30, "60": 0, "100": 20}
    )
    assert cut_at(known, 100) == (0, 0)
    assert cut_at(known, 60).rows == 20
    assert cut_at(known, 60).tokens == 400
    assert cut_at(known, 20).rows == 50
    assert cut_at(known, 80).rows == 10
    shorter = cut_rows(known, 60)
    assert (shorter.tokens, shorter.longest, shorter.truncated_rows) == (2600, 60, 20)
    assert cut_rows(known, 500) == known
    assert 0 < FEW_CUT < 1


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=20),
    st.integers(1, 30),
    st.integers(1, 800),
)
def test_cuts_grow_with_shorter_limits(counts: list[int], width: int, limit: int) -> None:
    rows = sum(counts)
    histogram = {str(width * (index + 1)): count for index, count in enumerate(counts)}
    known = dataclasses.replace(lengths(rows=rows, mean=width, longest=width * len(counts)), histogram=histogram)
    here, lower = cut_at(known, limit), cut_at(known, max(1, limit - width))
    assert lower.rows >= here.rows >= 0
    assert here.rows <= rows
    assert (here.rows == 0) == (here.tokens == 0)
