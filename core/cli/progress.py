"""A run's state as one line, a curve of small blocks, and what its events say."""

import itertools
import math
from collections.abc import Sequence

from core.cli.console import Console
from core.events.run_state import RunState
from core.events.types import CheckpointSaved, Evaluated, Event, Notice, Sampled
from core.units import format_bytes, format_duration

_BLOCKS = "▁▂▃▄▅▆▇█"
_PHASES = {
    "load": "Loading",
    "data": "Reading data",
    "adapt": "Adding adapters",
    "reference": "Measuring answers",
    "train": "Training",
    "evaluate": "Evaluating",
    "sample": "Sampling",
    "save": "Saving",
    "resume": "Resuming",
    "export": "Exporting",
    "verify": "Checking",
    "import": "Importing",
    "download": "Downloading",
}


def bar(share: float, width: int = 20) -> str:
    """A share from 0 to 1 as a bar."""
    filled = round(width * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (width - filled)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Numbers as a row of small blocks, averaged where there are more than ``width``; empty without finite ones."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    count = min(width, len(finite))
    edges = [round(index * len(finite) / count) for index in range(count + 1)]
    means = [sum(finite[start:stop]) / (stop - start) for start, stop in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in means)


def progress_line(state: RunState, *, stopping: bool = False) -> str:
    """What a run does now, in one line; most important first, because a narrow terminal cuts its end."""
    if state.hello is None:
        return "Starting the engine"
    parts = [_doing(state, stopping=stopping)]
    if state.started is not None and state.steps:
        parts.append(f"step {state.step:,}/{state.steps:,}")
        parts += _numbers(state)
    return "  ".join(parts)


def _doing(state: RunState, *, stopping: bool) -> str:
    if stopping:
        return "Stopping"
    if state.phase is None:
        training = state.started is not None and state.steps
        if training:
            return f"Training {bar(state.step / state.steps, 12)}"
        return "Preparing" if state.hello is not None and state.hello.job == "train" else "Working"
    word = _PHASES[state.phase]
    told = state.progress
    if told is not None and told.total:
        return f"{word} {told.done / told.total:4.0%}"
    return state.phase_message or word


def _numbers(state: RunState) -> list[str]:
    parts = []
    if state.loss is not None:
        parts.append(f"loss {state.loss:.3f}")
    if state.validation_loss is not None:
        parts.append(f"val {state.validation_loss:.3f}")
    if state.preferred is not None:
        parts.append(f"preferred {state.preferred:.0%}")
    if state.margin is not None:
        parts.append(f"margin {state.margin:.2f}")
    if state.seconds_left is not None and state.step < state.steps:
        parts.append(f"{format_duration(state.seconds_left)} left")
    if state.speed:
        parts.append(f"{state.speed:,.0f} tokens/s")
    if state.memory_peak:
        parts.append(format_bytes(state.memory_peak))
    return parts


class EventLines:
    """Prints what deserves a line of its own: notices, evaluations, answers and saved states."""

    def __init__(self, console: Console, *, answers: bool = True) -> None:
        """``answers`` leaves the sample prompts' answers out when False."""
        self._console = console
        self._answers = answers

    def show(self, event: Event) -> None:
        """Prints an event, if it is one of those."""
        body, console = event.body, self._console
        if isinstance(body, Notice):
            word = console.colour("yellow", "Warning: ") if body.level == "warning" else ""
            console.paragraph(f"{word}{body.message}", "  ", "")
        elif isinstance(body, Evaluated):
            best = ", the best so far" if body.best and body.step else ""
            pairs = "" if body.preferred is None else f", {body.preferred:.0%} preferred"
            pairs += "" if body.margin is None else f", margin {body.margin:.3f}"
            console.line(f"Step {body.step:,}: validation loss {body.loss:.4f}{pairs}{best}")
        elif isinstance(body, Sampled) and self._answers:
            when = "Before training" if body.variant == "base" else f"Step {body.step:,}"
            console.paragraph(f"{when}: {body.prompt}", "  ", "")
            console.paragraph(body.text.strip() or "(no answer)", "    ")
        elif isinstance(body, CheckpointSaved) and body.reason != "end":
            console.line(f"Step {body.step:,}: saved ({format_bytes(body.bytes)})")
