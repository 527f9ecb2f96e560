"""Steps arithmetic and expected passes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.plan.batch import batch_of, count_steps
from core.spec.sections import TrainingSpec
from tests.core.plan.invented_facts import lengths


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "per_epoch", "steps"),
    [
        (160, 16, 1.0, 10, 10),
        (161, 16, 1.0, 11, 11),
        (161, 16, 2.0, 11, 22),
        (160, 16, 1.1, 10, 11),
        (160, 16, 2.5, 10, 25),
        (161, 16, 1.5, 11, 17),
        (3, 16, 1.0, 1, 1),
        (3, 16, 0.01, 1, 1),
        (1000, 10, 0.3, 100, 30),
        (1000, 10, 0.07, 100, 7),
        (0, 16, 2.0, 0, 0),
        (17, 16, 0.99, 2, 2),
    ],
)
def test_steps_of_epochs(rows: int, batch: int, epochs: float, per_epoch: int, steps: int) -> None:
    assert count_steps(TrainingSpec(epochs=epochs, effective_batch=batch), rows) == (per_epoch, steps)


def test_max_steps_overrides_epochs() -> None:
    assert count_steps(TrainingSpec(epochs=3.0, max_steps=7), 1000) == (63, 7)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 600), st.integers(1, 400))
def test_steps_are_whole_epochs_and_their_fraction(rows: int, batch: int, hundredths: int) -> None:
    epochs = hundredths / 100
    per_epoch, steps = count_steps(TrainingSpec(epochs=epochs, effective_batch=batch), rows)
    whole, rest = divmod(hundredths, 100)
    assert per_epoch == math.ceil(rows / batch)
    # Exact arithmetic in whole numbers: no rounding of floats may cost or save a step.
    assert steps == max(1, whole * per_epoch + min(per_epoch, -(-rest * rows // (100 * batch))))


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 300), st.integers(64, 8192), st.booleans())
def test_passes_lie_between_one_and_the_rows(rows: int, batch: int, budget: int, packing: bool) -> None:
    facts = lengths(rows, 200, 900)
    made = batch_of(TrainingSpec(effective_batch=batch), facts, budget, packing=packing)
    assert made.rows == rows
    assert made.tokens_per_step * made.steps_per_epoch == pytest.approx(facts.tokens)
    assert made.supervised_per_step * made.steps_per_epoch == pytest.approx(facts.supervised_tokens)
    assert 1 <= made.passes_per_step <= max(1, rows / made.steps_per_epoch) + 1e-9
    if not packing:
        assert made.passes_per_step == pytest.approx(max(1, rows / made.steps_per_epoch))


def test_no_rows() -> None:
    made = batch_of(TrainingSpec(), lengths(0, 0, 0), 2048, packing=True)
    assert (made.steps, made.tokens_per_step, made.passes_per_step) == (0, 0, 1)
