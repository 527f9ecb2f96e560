"""How the set-up talks: messages, one live line, and the error that ends it."""

import sys
import time


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def say(text: str) -> None:
    """A message to the person at the terminal; standard output belongs to the program that is started."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def clock(seconds: float) -> str:
    """``75`` -> ``"1:15"``."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


class LiveLine:
    """One line on the terminal that says what goes on; where there is no terminal, a line for each new stage."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._start = time.monotonic()
        self._stage = ""
        self._width = 0

    @property
    def seconds(self) -> float:
        """Time since the line began."""
        return time.monotonic() - self._start

    def show(self, stage: str, detail: str = "") -> None:
        """Says ``stage`` and, on a terminal, ``detail`` and the time."""
        if self._live:
            import shutil

            text = " · ".join(part for part in (f"Setting up: {stage}", detail, clock(self.seconds)) if part)
            text = text[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif stage != self._stage:
            sys.stderr.write(f"Setting up: {stage}\n")
        self._stage = stage
        sys.stderr.flush()

    def close(self) -> None:
        """Wipes the line, so that the next message stands on one of its own."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
