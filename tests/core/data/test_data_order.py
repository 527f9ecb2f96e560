import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.lengths import measure
from core.data.order import epoch_of, epochs_done, permutation, seed_number, step_rows, steps_per_epoch
from core.data.packing import pack
from core.data.split import content_key, hold_back
from core.data.types import Encoded, Message, Sample


@given(rows=st.integers(1, 300), seed=st.integers(0, 2**63), epoch=st.integers(0, 50))
def test_an_epoch_is_a_permutation(rows: int, seed: int, epoch: int) -> None:
    assert sorted(permutation(rows, seed, epoch)) == list(range(rows))


@given(rows=st.integers(1, 100), batch=st.integers(1, 40), seed=st.integers(0, 1000))
def test_steps_of_an_epoch_see_every_row_once(rows: int, batch: int, seed: int) -> None:
    steps = steps_per_epoch(rows, batch)
    assert steps == math.ceil(rows / batch)
    for epoch in range(2):
        seen = [step_rows(rows, batch, seed, epoch * steps + step) for step in range(steps)]
        assert sorted(index for group in seen for index in group) == list(range(rows))
        assert all(len(group) == batch for group in seen[:-1])
        assert 1 <= len(seen[-1]) <= batch
        assert {epoch_of(rows, batch, epoch * steps + step) for step in range(steps)} == {epoch}
    assert epochs_done(rows, batch, 2 * steps) == 2.0


def test_the_order_is_the_same_forever() -> None:
    # Changing these numbers would make every interrupted run resume with other rows.
    assert seed_number("order", 42, 0) == 48655806501825036722267659810795421138
    assert permutation(10, 42, 0) == (4, 3, 6, 8, 2, 0, 7, 5, 1, 9)
    assert step_rows(10, 4, 42, 2) == (1, 9)


def test_orders_differ_by_seed_and_epoch() -> None:
    orders = {permutation(50, seed, epoch) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_partial_epochs_count_rows() -> None:
    assert epochs_done(10, 4, 0) == 0.0
    assert epochs_done(10, 4, 1) == 0.4
    assert epochs_done(10, 4, 4) == 1.4


@pytest.mark.parametrize(("rows", "batch", "step"), [(0, 4, 0), (4, 0, 0), (4, 4, -1)])
def test_impossible_steps_are_refused(rows: int, batch: int, step: int) -> None:
    with pytest.raises(ValueError, match=r"needs rows and a batch|counted from 0"):
        step_rows(rows, batch, 0, step)


@given(lengths=st.lists(st.integers(0, 50), max_size=60), budget=st.integers(1, 60))
def test_packing_keeps_every_row_and_the_budget(lengths: list[int], budget: int) -> None:
    passes = pack(lengths, budget)
    assert sorted(index for group in passes for index in group) == list(range(len(lengths)))
    for group in passes:
        assert list(group) == sorted(group)
        full = sum(lengths[index] for index in group)
        longest = max(lengths[index] for index in group)
        assert full <= budget or (longest > budget and full == longest)
    assert list(passes) == sorted(passes)
    assert passes == pack(lengths, budget)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40), budget=st.integers(40, 80))
def test_packing_is_first_fit_decreasing(lengths: list[int], budget: int) -> None:
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [number for number, free in enumerate(room) if free >= length]
        if fitting:
            room[fitting[0]] -= length
        else:
            room.append(budget - length)
    assert len(pack(lengths, budget)) == len(room)


def test_packing_examples() -> None:
    assert pack([], 10) == ()
    assert pack([5, 5, 5], 10) == ((0, 1), (2,))
    assert pack([3, 20, 7], 10) == ((0, 2), (1,))
    with pytest.raises(ValueError, match="at least one token"):
        pack([1], 0)
    with pytest.raises(ValueError, match="negative"):
        pack([-1], 4)


def encoded(length: int, *, trained: int = 1, lost: int = 0) -> Encoded:
    return Encoded(tuple(range(length)), (False,) * (length - trained) + (True,) * trained, "file:1", lost)


def test_lengths_are_counted() -> None:
    facts = measure([encoded(10), encoded(20, trained=5), encoded(30), encoded(100, lost=7)])
    assert (facts.rows, facts.tokens, facts.supervised_tokens) == (4, 160, 8)
    assert (facts.longest, facts.median, facts.p95) == (100, 20, 100)
    assert (facts.truncated_rows, facts.lost_tokens) == (1, 7)
    assert facts.histogram["10"] == 1
    assert facts.histogram["15"] == 0
    assert list(facts.histogram)[-1] == "100"
    empty = measure([])
    assert (empty.rows, empty.longest, empty.median, dict(empty.histogram)) == (0, 0, 0, {})


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_the_histogram_holds_every_row(lengths: list[int]) -> None:
    facts = measure([encoded(length) for length in lengths])
    assert sum(facts.histogram.values()) == len(lengths)
    assert 1 <= len(facts.histogram) <= 20
    edges = [int(edge) for edge in facts.histogram]
    assert edges == sorted(edges)
    assert edges[-1] >= max(lengths)


@given(
    contents=st.lists(st.integers(0, 30), max_size=80),
    share=st.floats(0, 0.5, allow_nan=False),
    seed=st.integers(0, 99),
)
def test_duplicates_stay_on_one_side(contents: list[int], share: float, seed: int) -> None:
    keys = [bytes([content]) for content in contents]
    held = hold_back(keys, share, seed)
    assert not {keys[index] for index in held} & {key for index, key in enumerate(keys) if index not in held}
    assert len(held) <= max(1 if share else 0, round(len(keys) * share))
    assert len(held) < max(1, len(keys))
    if share and len(keys) >= 10 and len(set(keys)) == len(keys):
        assert len(held) == max(1, round(len(keys) * share))


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    keys = [bytes([number]) for number in range(40)]
    held = {keys[index] for index in hold_back(keys, 0.2, 7)}
    turned = keys[::-1]
    assert {turned[index] for index in hold_back(turned, 0.2, 7)} == held
    assert hold_back(keys, 0.2, 8) != hold_back(keys, 0.2, 7)
    assert hold_back(keys, 0.0, 7) == frozenset()


def test_content_keys_ignore_the_place_alone() -> None:
    base = Sample("a:1", (Message("user", "x"), Message("assistant", "y")))
    assert content_key(base) == content_key(Sample("b:9", base.messages))
    others = [
        Sample("a:1", base.messages[::-1]),
        Sample("a:1", prompt="x", completion="y"),
        Sample("a:1", base.messages, tools=({"name": "f"},)),
        Sample("a:1", (Message("user", "x"), Message("assistant", "y", {"weight": 0}))),
    ]
    assert len({content_key(item) for item in [base, *others]}) == 5
