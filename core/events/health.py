"""How a run is doing, in plain words: pure rules over its state, quick enough to be asked with every step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal

from core.events.history import Column
from core.events.run_state import RunState
from core.events.trend import FEWEST_BLOCKS, Trend, blocks, trend
from core.units import format_bytes, format_duration

Level = Literal["good", "info", "warning", "bad"]
_ORDER: dict[Level, int] = {"bad": 0, "warning": 1, "info": 2, "good": 3}

# How many standard errors a movement has to have before it counts as one.
SURE = 3.0
# Shares of the loss: less is no movement that anyone cares for, more is a good one.
SMALL_FALL = 0.02
GOOD_FALL = 0.05
RISE = 0.05
# So many steps, and this share of the run, before a loss may be called flat or slow.
PATIENCE_STEPS = 40
PATIENCE_SHARE = 0.15

OPENING_STEPS = 3
RECENT_STEPS = 100
SKIPS_SEEN = 1000
EXPLODING_NORM = 100.0
GROWN_NORM = 10.0
ALWAYS_CLIPPED = 0.9
FEWEST_NORMS = 20

# Margins are what a sigmoid is taken of: at 5 a pair has 0.7 % of the gradient left, at 0.05 nearly all of it.
SURELY_PREFERRED, LARGE_MARGIN = 0.99, 5.0
LIKE_CHANCE, SMALL_MARGIN = 0.05, 0.05

WORSE_VALIDATION = 0.01
WIDE_GAP = 0.3
GROWN_GAP = 0.2

SPEED_STEPS = 40
START_STEPS = 3
SLOWER = 0.6

NEAR_LIMIT = 0.92
GROWING = 0.02

SILENT_SECONDS = 120.0
SILENT_LOADING_SECONDS = 600.0
SILENT_STEPS = 15


@dataclass(frozen=True, slots=True)
class Note:
    """One observation; ``code`` is stable, ``message`` says what is so and ``advice`` what to do, if anything."""

    level: Level
    code: str
    message: str
    advice: str = ""


def health(
    state: RunState, *, max_grad_norm: float = 0.0, memory_limit: int = 0, idle_seconds: float = 0.0
) -> tuple[Note, ...]:
    """What is to be said about a run, the worst first; nothing while there is nothing to go by. Never raises.

    Args:
        state: the run as told by its events, running or ended.
        max_grad_norm: the length to which gradients are clipped; 0 for no clipping.
        memory_limit: bytes that the device has; 0 while unknown.
        idle_seconds: how long nothing has been heard of the engine, as the caller sees it.
    """
    found = [*_silence(state, idle_seconds), *_validation(state), *_memory(state, memory_limit), *_speed(state)]
    if len(state.history):
        found += [*_skipped(state), *_gradients(state, max_grad_norm), *_loss(state), *_preferences(state)]
    return tuple(sorted(found, key=lambda note: _ORDER[note.level]))


# ---------------------------------------------------------------------------------------------------------------- loss


def _loss(state: RunState) -> Iterator[Note]:
    rows = len(state.history)
    newest = _recent(state, "loss", 3)
    if len(newest) == 3 and max(newest) <= 1e-7 and min(newest) >= 0:
        advice = "Look at the token view: perhaps no token carries loss, or the rows are known by heart."
        yield Note("bad", "loss_zero", "The loss is 0, so there is nothing left to learn from.", advice)
        return
    start = warmup_rows(state)
    if start >= rows and state.ended is None:
        message = f"The learning rate is still rising (warm-up, step {state.step:,})."
        yield Note("info", "warming_up", message, "Do not judge the loss yet.")
        return
    start = min(start, max(0, rows - FEWEST_BLOCKS))  # a run that ended early is judged by what there is
    found = trend(state.history, "loss", start)
    if found is None:
        if state.ended is None:
            message = f"Only {rows:,} steps have been taken: too few to tell where the loss is going."
            yield Note("info", "too_early", message)
        return
    yield from _movement(state, found, rows - start)


def _movement(state: RunState, found: Trend, rows: int) -> Iterator[Note]:
    first, last, level = _number(found.first), _number(found.last), abs(found.first)
    falls = found.levels.surely_falls(SURE) or found.whole.surely_falls(SURE)
    if found.levels.surely_rises(SURE) and -found.fall > RISE * level:
        message = f"The loss has risen from {first} to {last}: the training is going astray."
        advice = "Stop it, lower the learning rate to a third or less, and start again."
        yield Note("bad", "loss_diverging", message, advice)
    elif found.half.surely_rises(SURE) and found.half.change > RISE * abs(found.last):
        message = f"The loss is rising again: it is at {last}, after a start at {first}."
        yield Note("warning", "loss_rising", message, "If it goes on, stop and lower the learning rate.")
    elif falls and found.fall >= GOOD_FALL * level:
        yield from _good(state, found)
    elif not _patient(state, rows):
        return
    elif falls and found.fall >= SMALL_FALL * level:
        message = f"The loss is falling very slowly: from {first} to {last}."
        advice = "A higher learning rate or more rank may help, unless the model knew these rows before."
        yield Note("info", "loss_slow", message, advice)
    elif found.fall + 2 * found.levels.error < GOOD_FALL * level:
        verb = "is not falling" if state.ended is None else "has not fallen"
        message = f"The loss {verb}: it began at {first} and is at {last} after {state.step:,} steps."
        advice = (
            "Check the answers and the learning rate; raise it two- to fivefold if the gradients are small. A model "
            "that knew these rows before has nothing to learn from them."
        )
        yield Note("warning", "loss_flat", message, advice)


def _good(state: RunState, found: Trend) -> Iterator[Note]:
    """The fall as the curve shows it: from its very first steps, which fall fastest, to now."""
    opening = [x for x in state.history.column("loss", 0, OPENING_STEPS) if math.isfinite(x)]
    begin = max(found.first, median(opening)) if opening else found.first
    words = f"from {_number(begin)} to {_number(found.last)}"
    words += f", {100 * (begin - found.last) / begin:.0f} % less" if begin > 0 else ""
    # Settled only where even the error of the slope leaves no fall worth the name.
    if -found.half.change + 2 * found.half.error < GOOD_FALL * abs(found.first):
        yield Note("good", "loss_settled", f"The loss has fallen {words}, and stays there.")
    elif state.ended is not None:
        yield Note("good", "loss_falling", f"The loss has fallen {words}.")
    else:
        yield Note("good", "loss_falling", f"The loss is falling well: {words}.")


def _patient(state: RunState, rows: int) -> bool:
    """Whether the run has gone far enough for a complaint about its pace."""
    return rows >= PATIENCE_STEPS and (state.steps <= 0 or state.step >= PATIENCE_SHARE * state.steps)


def warmup_rows(state: RunState) -> int:
    """How many of the first rows of the history belong to the warm-up, seen by the learning rate still rising."""
    history = state.history
    low, high = 0, max(0, len(history) - 1)  # rows below `low` rise towards the next one; rows from `high` on do not
    while low < high:
        middle = (low + high) // 2
        rates = history.column("learning_rate", middle, middle + 2)
        if rates[1] > rates[0]:
            low = middle + 1
        else:
            high = middle
    return low + 1 if low and low == len(history) - 1 else low


# -------------------------------------------------------------------------------------------------------- preferences


def _preferences(state: RunState) -> Iterator[Note]:
    """Of pairs of answers: preferred beyond doubt, or as if by a coin's fall."""
    shares, margins = _recent(state, "preferred", RECENT_STEPS), _recent(state, "margin", RECENT_STEPS)
    if len(shares) < PATIENCE_STEPS or not margins:
        return
    share, margin = sum(shares) / len(shares), median(margins)
    if share >= SURELY_PREFERRED and margin > LARGE_MARGIN:
        message = (
            f"{100 * share:.0f} % of the pairs of the last {len(shares)} steps are preferred rightly, by a margin of "
            f"{_number(margin)}: there is hardly anything left to learn from them."
        )
        advice = "Compare with the validation rows; fewer steps, a lower rate or a higher beta keep the model closer."
        yield Note("info", "preferred_beyond_doubt", message, advice)
    elif abs(share - 0.5) < LIKE_CHANCE and abs(margin) < SMALL_MARGIN:
        message = f"{100 * share:.0f} % of the pairs of the last {len(shares)} steps are preferred rightly, by chance."
        advice = "Raise the learning rate two- to fivefold, or check that the two answers of a pair differ in quality."
        yield Note("warning", "preferred_by_chance", message, advice)


# ---------------------------------------------------------------------------------------------------------- gradients


def _skipped(state: RunState) -> Iterator[Note]:
    applied = state.history.column("applied", max(0, len(state.history) - SKIPS_SEEN))
    skipped = sum(1 for value in applied if not value)
    if not skipped:
        return
    in_a_row = next((number for number, value in enumerate(reversed(applied)) if value), len(applied))
    half = state.started is not None and state.started.compute_dtype == "fp16"
    if in_a_row >= 2 and not (half and in_a_row < 5):
        message = f"The last {in_a_row} steps were skipped: loss or gradients were not finite, and nothing was learned."
        advice = "Lower the learning rate, or compute in bfloat16 or float32."
        yield Note("bad", "not_finite", message, advice)
    elif half and skipped <= max(3, 0.02 * len(applied)):
        message = f"{skipped} of the last {len(applied):,} steps were skipped while float16 found its scale."
        yield Note("info", "scale_skips", message, "A few of them are usual and cost nothing.")
    else:
        message = f"{skipped} of the last {len(applied):,} steps were skipped: loss or gradients were not finite."
        advice = "Lower the learning rate if it happens again; bfloat16 and float32 bear more than float16."
        yield Note("warning", "skipped_steps", message, advice)


def _gradients(state: RunState, limit: float) -> Iterator[Note]:
    norms = _recent(state, "grad_norm", RECENT_STEPS)
    if len(norms) >= 3 and max(norms[-FEWEST_NORMS:]) == 0.0:
        message = "The gradients are zero: the model does not change."
        advice = "Check in the token view that answers carry loss, and that target modules are chosen."
        yield Note("bad", "gradients_zero", message, advice)
        return
    if len(norms) < FEWEST_NORMS:
        return
    now = median(norms[-FEWEST_NORMS:])
    before = blocks(state.history, "grad_norm", warmup_rows(state), max(0, len(state.history) - FEWEST_NORMS))
    usual = median(before) if len(before) >= FEWEST_BLOCKS else now
    if now > EXPLODING_NORM or (now > GROWN_NORM * usual and now > max(limit, 1.0)):
        message = f"The gradients are exploding: their norm is {_number(now)}"
        message += f", after {_number(usual)} before." if now > GROWN_NORM * usual else "."
        advice = "Lower the learning rate; the saved states from before are still good."
        yield Note("warning", "gradients_exploding", message, advice)
        return
    clipped = sum(1 for norm in norms if norm > limit) / len(norms) if limit > 0 else 0.0
    if clipped >= ALWAYS_CLIPPED:
        message = (
            f"{100 * clipped:.0f} % of the last {len(norms)} steps had their gradients shortened to {limit:g}; their "
            f"usual norm is {_number(median(norms))}."
        )
        advice = "That is harmless while the loss falls; it acts like a lower learning rate."
        yield Note("info", "always_clipped", message, advice)


# --------------------------------------------------------------------------------------------------------- validation


def _validation(state: RunState) -> Iterator[Note]:
    measured = state.evaluations
    if not measured:
        return
    newest = measured[-1]
    if not math.isfinite(newest.loss):
        advice = "Stop, lower the learning rate, and go on from the last good saved state."
        yield Note("bad", "validation_not_finite", "The validation loss is no number.", advice)
        return
    finite = [(item.step, item.loss) for item in measured[-SKIPS_SEEN:] if math.isfinite(item.loss)]
    best_step, best = min(finite, key=lambda item: item[1])
    since = sum(1 for step, _ in finite if step > best_step)
    worse = newest.loss - best > WORSE_VALIDATION * abs(best)
    if worse and best_step == 0 and since >= 2:
        message = f"The validation loss is {_number(newest.loss)}, above the {_number(best)} from before the training."
        advice = "Lower the learning rate, or check that the validation rows are like the training rows."
        yield Note("warning", "validation_worse", message, advice)
    elif worse and since >= 2:
        message = f"The validation loss rises since step {best_step:,}: from {_number(best)} to {_number(newest.loss)}"
        falls = _falls_since(state, best_step)
        message += " while the training loss falls, so the rows are being learned by heart." if falls else "."
        advice = "Stop here or take fewer epochs; the best state was at that step. More rows or dropout help as well."
        yield Note("warning", "overfitting" if falls else "validation_rising", message, advice)
    else:
        if best_step == newest.step and finite[0][1] - best > WORSE_VALIDATION * abs(finite[0][1]):
            message = f"The validation loss is at its best: {_number(best)}, from {_number(finite[0][1])} at the start."
            yield Note("good", "validation_falling", message)
        yield from _gap(state, finite)


def _falls_since(state: RunState, step: int) -> bool:
    """Whether the training loss is lower now than around ``step``."""
    history = state.history
    before = len(history.before(step + 1))
    then = [x for x in history.column("loss", max(0, before - 10), before + 10) if math.isfinite(x)]
    now = _recent(state, "loss", 20)
    return bool(then) and bool(now) and sum(now) / len(now) < sum(then) / len(then)


def _gap(state: RunState, measured: list[tuple[int, float]]) -> Iterator[Note]:
    """Validation far above training: learned by heart if the gap has grown, other rows if it was there before."""
    early = [x for x in state.history.column("loss", 0, 20) if math.isfinite(x)]
    late = _recent(state, "loss", 20)
    if len(late) < 20 or len(state.history) < 2 * len(early):
        return
    training, trained_first = median(late), median(early)
    gap, first_gap = measured[-1][1] - training, measured[0][1] - trained_first
    if gap <= WIDE_GAP * abs(training) or gap <= 0.1:
        return
    words = f"The validation loss ({_number(measured[-1][1])}) is far above the training loss ({_number(training)})"
    if gap - first_gap > GROWN_GAP * abs(training):
        advice = "Fewer epochs, more rows, dropout or less rank keep rows from being learned by heart."
        yield Note("warning", "validation_far", f"{words}, and the distance has grown.", advice)
    else:
        advice = "The validation rows seem to be of another kind than the training rows."
        yield Note("info", "validation_differs", f"{words}, and was from the start.", advice)


# ------------------------------------------------------------------------------------------ speed, memory and silence


def _speed(state: RunState) -> Iterator[Note]:
    first = state.attempt_row + START_STEPS
    rows = len(state.history)
    if state.ended is not None or rows - first < 2 * SPEED_STEPS:
        return
    before, now = _pace(state, first, first + SPEED_STEPS), _pace(state, rows - SPEED_STEPS, rows)
    if 0 < now < SLOWER * before:
        message = f"The training has become slower: {now:,.0f} tokens a second, after {before:,.0f} at the start."
        advice = "Look for other programs on the device, heat, or memory that spills over into slower memory."
        yield Note("warning", "slower", message, advice)


def _pace(state: RunState, start: int, stop: int) -> float:
    """Median tokens a second of some rows."""
    tokens, seconds = state.history.column("tokens", start, stop), state.history.column("seconds", start, stop)
    rates = [count / time for count, time in zip(tokens, seconds, strict=True) if time > 0]
    rates = [rate for rate in rates if math.isfinite(rate)]
    return median(rates) if rates else 0.0


def _memory(state: RunState, limit: int) -> Iterator[Note]:
    if limit <= 0 or state.ended is not None or state.memory_peak <= 0:
        return
    advice = "Close other programs, or start again with a shorter longest row or fewer tokens a pass."
    used = f"{format_bytes(state.memory_peak)} of {format_bytes(limit)}"
    if state.memory_peak > limit:  # Windows' driver for NVIDIA's GPUs does that unless it is told not to
        message = f"The run takes more than the GPU has ({used}), so the driver keeps a part in the computer's RAM."
        spilled = (
            "That makes every step many times slower. Take fewer tokens a pass, or set “CUDA – Sysmem Fallback "
            "Policy” in the NVIDIA Control Panel to “Prefer No Sysmem Fallback”: the run then gets by with smaller "
            "passes by itself."
        )
        yield Note("warning", "memory_spilled", message, spilled)
        return
    if state.memory_peak >= NEAR_LIMIT * limit:
        yield Note("warning", "memory_tight", f"The memory is nearly used up: {used}.", advice)
        return
    rows, first = len(state.history), state.attempt_row
    left = max(0, state.steps - state.step)
    if rows - first < 3 * FEWEST_NORMS or not left:
        return
    third = (rows - first) // 3
    column = [state.history.column("memory_bytes", row, row + 1)[0] for row in (rows - 1 - third, rows - 1)]
    growth = column[1] - column[0]
    if growth > GROWING * column[1] and column[1] + growth / third * left > limit:
        message = f"The memory keeps growing and will run out before the last step at this pace: {used} so far."
        yield Note("warning", "memory_growing", message, advice)


def _silence(state: RunState, idle_seconds: float) -> Iterator[Note]:
    if state.hello is None or state.ended is not None:
        return
    idle = max(idle_seconds, state.idle_seconds)
    seconds = [x for x in _recent(state, "seconds", FEWEST_NORMS) if x > 0]
    patience = SILENT_LOADING_SECONDS if state.phase not in (None, "train") or not seconds else SILENT_SECONDS
    patience = max(patience, SILENT_STEPS * median(seconds) if seconds else 0.0)
    if math.isfinite(idle) and idle > patience:
        message = f"Nothing has been heard of the engine for {format_duration(idle)}."
        advice = "Look into the log; if it stays silent, stop it and go on from the last saved state."
        yield Note("warning", "silent", message, advice)


def _recent(state: RunState, name: Column, count: int) -> list[float]:
    """The newest finite values of a column, from at most ``count`` rows."""
    rows = state.history.column(name, max(0, len(state.history) - count))
    return [value for value in rows if math.isfinite(value)]


def _number(value: float) -> str:
    """About three significant digits, as many as anyone reads from a curve."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"
