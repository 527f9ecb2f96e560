"""The queue in words: what it does, the runs in it, and what can be done next."""

import time
from collections.abc import Sequence
from typing import Any

from core.cli.console import Console
from core.cli.run_report import print_commands, program
from core.cli.tables import columns, joined
from core.records import to_plain
from core.runs.history import RunSummary
from core.runs.queue import Entry, Queue
from core.units import format_duration

_COLOURS = {"done": "green", "running": "bold", "skipped": "yellow", "stopped": "yellow", "failed": "red"}
_STATES = {
    "empty": "Nothing waits in the queue.",
    "waiting": "The queue has not been started.",
    "going": "The queue is at work.",
    "pausing": "The queue is pausing: the present run saves its state and ends.",
    "stopping": "The queue stops after the present run.",
    "paused": "The queue is paused.",
    "interrupted": "The queue broke off, as when the computer was switched off; what was at work goes on from its last "
    "saved state.",
}


def print_queue(queue: Queue, runs: Sequence[RunSummary], console: Console) -> None:
    """The whole queue with a summary of each run, and the commands that may be wanted now."""
    state = queue.state
    if not queue.entries:
        console.line("The queue is empty.")
        print_commands(console, [(f"{program()} queue add SPEC.yaml …", "put runs into it")])
        return
    numbered = enumerate(zip(queue.entries, runs, strict=True), 1)
    rows = [_row(number, entry, run) for number, (entry, run) in numbered]
    title, *lines = columns((_HEAD, *rows))
    console.line(console.bold(joined(title)))
    for entry, (number, name, word, *others) in zip(queue.entries, lines, strict=True):
        painted = console.colour(_COLOURS[entry.state], word) if entry.state in _COLOURS else word
        console.line(joined((number, name, painted, *others)))
        if entry.reason and entry.state != "done":
            console.paragraph(entry.reason, "     ")
    console.line()
    console.line(_STATES[state])
    if queue.waiting_for:
        console.line(f"It waits for the run “{queue.waiting_for}” to end.")
    left = queue.seconds_left
    if left:
        console.line(f"The runs that wait take about {format_duration(left)} together.")
    print_commands(console, _commands(state))


_HEAD = ("#", "RUN", "STATE", "STEP", "LOSS", "VALIDATION", "TIME", "GROUP")


def _row(number: int, entry: Entry, run: RunSummary) -> tuple[str, ...]:
    begun = entry.state != "queued" or run.step
    expected = f"about {format_duration(entry.expected_seconds)}" if entry.expected_seconds else ""
    return (
        str(number),
        entry.name,
        entry.state,
        f"{run.step:,}/{run.steps:,}" if run.steps else "",
        f"{run.loss:.3f}" if run.loss is not None else "",
        f"{run.validation_loss:.3f}" if run.validation_loss is not None else "",
        format_duration(run.seconds) if begun and run.seconds else expected,
        entry.group,
    )


def _commands(state: str) -> list[tuple[str, str]]:
    call = program()
    if state in ("waiting", "paused", "interrupted"):
        return [(f"{call} queue start", "begin" if state == "waiting" else "go on")]
    if state == "going":
        return [
            (f"{call} queue stop", "stop after the present run"),
            (f"{call} queue pause", "save the present run now, and go on another time"),
        ]
    if state in ("pausing", "stopping"):
        return [(f"{call} queue start", "go on after all")]
    return []


def queue_record(queue: Queue, runs: Sequence[RunSummary]) -> dict[str, Any]:
    """The queue for programs."""
    return {
        "state": queue.state,
        "waiting_for": queue.waiting_for,
        "seconds_left": queue.seconds_left,
        "time": time.time(),
        "entries": [
            {"run": entry.name, "folder": str(entry.path), **to_plain(entry), "status": run.status}
            for entry, run in zip(queue.entries, runs, strict=True)
        ],
    }
