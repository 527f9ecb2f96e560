"""Follows an engine in the terminal until it ends, and gives Ctrl+C its meaning."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from core.cli.console import Console
from core.cli.progress import EventLines, progress_line
from core.runs.outcome import Outcome
from core.runs.process_record import living_process
from core.runs.supervisor import POLL_SECONDS, State, Supervisor

OnInterrupt = Literal["stop", "leave"]

_SAID = (
    "Stopping: the engine finishes its step and saves. Press Ctrl+C again to end it without waiting.",
    "Ending the engine now; what came after the last saved state is lost. Press Ctrl+C once more to kill it.",
    "Killing the engine.",
)


class Presses:
    """How often Ctrl+C has been pressed; a count and no exception, so that no event is lost halfway."""

    def __init__(self) -> None:
        self.count = 0

    def press(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Once more."""
        self.count += 1


@contextmanager
def counted_presses() -> Iterator[Presses]:
    """Counts Ctrl+C while the block runs, instead of interrupting it."""
    presses = Presses()
    before = signal.signal(signal.SIGINT, presses.press)
    try:
        yield presses
    finally:
        signal.signal(signal.SIGINT, before)


def follow(
    supervisor: Supervisor,
    console: Console,
    *,
    start: bool = False,
    greeting: str = "",
    on_interrupt: OnInterrupt = "stop",
    answers: bool = True,
) -> Outcome | None:
    """Shows an engine until it ends; what it said before is taken in but not printed again.

    Args:
        supervisor: the engine's, attached already unless ``start``.
        console: where to show it.
        start: start the engine first; from then on Ctrl+C has its meaning, so that none is lost in between.
        greeting: a line to print as soon as it is started or attached.
        on_interrupt: whether Ctrl+C stops the engine, or only leaves it alone.
        answers: whether answers to prompts are printed.

    Returns:
        How it ended; None when it was left running.

    Raises:
        UserError: it cannot be started.
    """
    since = time.time()
    lines = EventLines(console, answers=answers)
    with counted_presses() as presses:
        if start:
            supervisor.start()
        if greeting:
            console.line(greeting)
        obeyed = 0
        while True:
            for event in supervisor.poll():
                if event.time >= since:
                    lines.show(event)
            if supervisor.outcome is not None:
                console.end_progress()
                return supervisor.outcome
            if on_interrupt == "leave" and (presses.count or console.closed):
                console.end_progress()
                return None
            if presses.count > obeyed:
                _climb(supervisor, console, obeyed)
                obeyed += 1
            stopping = supervisor.state is State.STOPPING and supervisor.run_state.ended is None
            console.progress(progress_line(supervisor.run_state, stopping=stopping))
            time.sleep(POLL_SECONDS)


def _climb(supervisor: Supervisor, console: Console, rung: int) -> None:
    """One more rung of the stop ladder: ask, terminate, kill."""
    console.end_progress()
    console.line(_SAID[min(rung, len(_SAID) - 1)])
    if rung == 0:
        supervisor.stop()
    elif rung == 1:
        supervisor.stop(grace_seconds=0)
    else:
        supervisor.kill()


def settle(supervisor: Supervisor, seconds: float = 3.0) -> None:
    """Polls an attached engine until its end is known, if it has ended; a living one is looked at once."""
    deadline = time.monotonic() + seconds
    supervisor.poll()
    while supervisor.outcome is None and living_process(supervisor.folder) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        supervisor.poll()
