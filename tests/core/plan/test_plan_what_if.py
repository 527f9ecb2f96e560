"""The same run on other cards: fits grow with memory, plans agree with the planner's own, and it is fast."""

import dataclasses
import statistics
import time

import pytest

from core.facts.types import Facts
from core.plan.cards import CARDS, Card, card_of_size, find_cards
from core.plan.planner import plan
from core.plan.what_if import assumed_data, compare, free_on, on_card, smallest_card
from core.units import GIB, MIB
from tests.core.plan.invented_facts import MACHINES, facts, spec


def card(name: str) -> Card:
    (found,) = find_cards(name)
    return found


def test_a_card_replaces_the_gpu_and_nothing_else() -> None:
    known = facts("rtx3060", "1b")
    moved = on_card(known, card("rtx 4090"))
    (gpu,) = moved.hardware.gpus
    assert gpu.name == "NVIDIA GeForce RTX 4090"
    assert gpu.total_bytes == 24564 * MIB
    assert gpu.total_bytes - gpu.free_bytes == GIB
    assert dataclasses.replace(moved.hardware, gpus=known.hardware.gpus) == known.hardware
    assert dataclasses.replace(moved, hardware=known.hardware) == known
    assert free_on(card("t4")) == (15360 - 512) * MIB


@pytest.mark.parametrize("model", ["135m", "1b", "8b", "70b"])
def test_a_comparison_says_what_the_plan_would_say(model: str) -> None:
    known, asked = facts("cpu24", model), spec()
    chosen = (card("rtx 3060 12"), card("t4"), card("rtx 4090"), card("h100 nvl"), card_of_size(6))
    for made in compare(asked, known, chosen):
        planned = plan(asked, on_card(known, made.card))
        assert planned.memory is not None
        assert made.verdict == planned.memory.verdict
        assert (made.peak_bytes, made.free_bytes) == (planned.memory.peak_bytes, planned.memory.free_bytes)
        assert made.duration == planned.duration
        choices = planned.choices
        assert (made.quantization, made.compute_dtype) == (choices.quantization.value, choices.compute_dtype.value)
        assert made.checkpointed_layers == choices.checkpointed_layers.value
        assert made.micro_batch_tokens == choices.micro_batch_tokens.value
        assert made.attention == choices.attention.value


def test_more_memory_never_fits_less() -> None:
    sizes = tuple(card_of_size(size) for size in (4, 8, 12, 16, 24, 32, 48, 80))
    for model in ("1b", "8b", "70b"):
        fits = [made.verdict == "fits" for made in compare(spec(), facts("cpu24", model), sizes)]
        assert fits == sorted(fits)


def test_the_smallest_card_is_the_first_that_fits() -> None:
    known, asked = facts("cpu24", "8b"), spec()
    found = smallest_card(asked, known)
    assert found is not None
    assert 6 <= found.gigabytes <= 12
    (chosen,) = compare(asked, known, (found,))
    assert chosen.fits
    usable = tuple(other for other in CARDS if other.kind != "laptop" and other.supported)
    before = usable[: usable.index(found)]
    assert not any(made.fits for made in compare(asked, known, before))
    larger = smallest_card(asked.replace("model.quantization", "none"), known)
    assert larger is not None
    assert larger.gigabytes > found.gigabytes


def test_there_is_no_smallest_card_for_what_fits_none_or_is_not_known() -> None:
    everything = spec(adapter__method="full", training__learning_rate=2e-5)
    assert smallest_card(everything, facts("h100", "70b")) is None
    assert smallest_card(spec(), Facts(MACHINES["cpu24"])) is None
    assert smallest_card(spec(adapter__targets=("no_such_module",)), facts("cpu24", "1b")) is None


def test_flash_attention_where_there_is_none_is_an_obstacle() -> None:
    asked = spec(hardware__attention="flash")
    old, new = compare(asked, facts("cpu24", "1b"), (card("t4"), card("l4")))
    assert "compute capability 7.5" in old.obstacle
    assert not old.fits
    assert new.obstacle == ""
    assert new.fits
    found = smallest_card(asked, facts("cpu24", "1b"))
    assert found is not None
    assert found.flash


def test_a_spec_for_the_processor_is_compared_on_gpus() -> None:
    (made,) = compare(spec(hardware__device="cpu"), facts("cpu24", "1b"), (card("rtx 4090"),))
    assert made.duration is not None
    assert made.duration.watt_hours > 0
    assert made.free_bytes == free_on(card("rtx 4090"))


def test_without_data_rows_are_assumed_that_need_no_less_memory() -> None:
    known = dataclasses.replace(facts("cpu24", "8b"), data=None)
    asked = spec(data__max_length=1024)
    (made,) = compare(asked, known, (card("rtx 4090"),))
    assert made.duration is not None
    assert made.duration.seconds > 0
    planned = plan(asked, on_card(known, card("rtx 4090")))
    assert planned.memory is not None
    assert planned.memory.peak_bytes == made.peak_bytes
    assert assumed_data(asked).train.longest == 1024
    (unknown,) = compare(asked, Facts(MACHINES["cpu24"]), (card("rtx 4090"),))
    assert unknown.verdict == "unknown"
    assert unknown.duration is None


@pytest.mark.parametrize("model", ["1b", "8b", "70b"])
def test_a_card_takes_two_milliseconds_at_most(model: str) -> None:
    """The median of the processor's own time, because other work on the machine is nobody's fault."""
    known, asked = facts("cpu24", model), spec()
    compare(asked, known, CARDS[:2])
    seconds = []
    for one in CARDS[::4]:
        began = time.process_time()
        compare(asked, known, (one,))
        seconds.append(time.process_time() - began)
    assert statistics.median(seconds) < 2e-3
