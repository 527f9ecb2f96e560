"""The page that says where the suggestions come from has the numbers that the program has."""

import re
from pathlib import Path

import pytest

from core.plan import usual
from core.plan.usual import USUAL
from core.spec.rules_adapter import scale_band

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "suggestions.md").read_text("utf-8")


def short(count: float) -> str:
    return f"{count / 1e6:g} M" if count >= 1e6 else f"{count / 1e3:g} k"


@pytest.mark.parametrize("task", USUAL)
def test_each_task_has_its_ranks(task: usual.Task) -> None:
    ranks = USUAL[task].ranks
    steps = [f"{rank} up to {short(most)}" for most, rank in ranks[:-1]]
    assert f"| {USUAL[task].title} | {', '.join(steps)}, {ranks[-1][1]} beyond |" in PAGE


def test_the_other_settings() -> None:
    tiny, plain, huge = (f"{rate:.0e}".replace("e-0", "e-") for rate in usual.ADAPTER_RATES)
    assert f"{tiny} below {usual.TINY_MODEL / 1e9:g} billion parameters, {plain}, {huge} from 30 billion on" in PAGE
    assert usual.HUGE_MODEL == 30e9
    assert tuple(10 * rate for rate in usual.FULL_RATES) == pytest.approx(usual.ADAPTER_RATES)
    assert {item.rate_share for task, item in USUAL.items() if task in ("text", "short")} == {0.5}
    assert {item.rate_share for task, item in USUAL.items() if task not in ("text", "short")} == {1.0}
    assert f"{USUAL['chat'].batch} rows, {USUAL['short'].batch} for short answers" in PAGE
    assert f"fewer than {usual.FEW_STEPS} steps" in PAGE
    assert f"{usual.SMALL_SET_DROPOUT * 100:g} % below {usual.SMALL_SET:,} rows" in PAGE
    assert f"2 below {usual.FEW_ROWS} rows, 3 below {usual.SMALL_SET:,}, 2 below {usual.LARGE_SET:,}, else 1" in PAGE
    assert f"4 up to {short(usual.LONG_TEXT)} tokens, 2 up to {short(usual.MUCH_KNOWLEDGE)}, else 1" in PAGE
    warmup = f"{usual.USUAL_WARMUP * 100:g} % of the steps, {usual.SHORT_RUN_WARMUP * 100:g} %"
    assert f"{warmup} in runs of fewer than {usual.SHORT_RUN}" in PAGE


def test_the_thresholds_of_the_warnings() -> None:
    from core.plan.problems.course import MOST_EPOCHS

    low, high = usual.RATE_BAND
    assert f"between 1/{1 / low:.0f} and {high:g} times the usual one" in PAGE
    assert f"{MOST_EPOCHS:g} epochs before" in PAGE
    assert scale_band("lora") == (0.25, 8.0)


def test_every_paper_that_the_table_names_is_a_source() -> None:
    named = set(re.findall(r"\d{4}\.\d{5}", (ROOT / "core" / "plan" / "usual.py").read_text("utf-8")))
    assert named == set(re.findall(r"\d{4}\.\d{5}", PAGE))
