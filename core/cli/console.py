"""Where a verb's words go: plain lines, one live line on a terminal, or a single JSON object and nothing else."""

import codecs
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable
from typing import TextIO

from core.cli.assignments import as_assignment
from core.errors import Problem, Severity

QUIET_SECONDS = 5.0
"""Least time between two progress lines where there is no terminal to redraw one."""
UNCHANGED_SECONDS = 60.0
"""After this long the same words are said again there, as a sign of life."""
LIVE_SECONDS = 0.1
WIDEST = 120
LABEL = 12
"""How much room a label has in front of its lines."""

_PLAIN = {
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "…": "...",
    "·": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "→": "->",
    "√": "sqrt ",
    "█": "#",
    "░": ".",
    "▁": "_",
    "▂": ".",
    "▃": "-",
    "▄": "=",
    "▅": "+",
    "▆": "*",
    "▇": "%",
    "✓": "ok",
}
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_SEVERITY = {Severity.ERROR: ("Error", "red"), Severity.WARNING: ("Warning", "yellow"), Severity.INFO: ("Note", "dim")}


def _in_plain_letters(failure: UnicodeError) -> tuple[str, int]:
    """Replaces what a terminal's encoding lacks by the nearest ASCII."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    text = failure.object[failure.start : failure.end]
    return "".join(_PLAIN.get(letter, "?") for letter in text), failure.end


codecs.register_error("lowrank.plain", _in_plain_letters)


class Console:
    """The two streams of a command.

    Attributes:
        json: the caller is a program: standard output carries one object, and nothing else is said.
        live: standard output is a terminal, so a progress line is redrawn in place.
        closed: the reader of standard output has gone (``lowrank … | head``); everything further is dropped.
    """

    def __init__(self, *, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out, self._err = out or sys.stdout, err or sys.stderr
        for stream in (self._out, self._err):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="lowrank.plain")
        self.json = json
        self.live = self._is_terminal(self._out) and os.environ.get("TERM") != "dumb" and not json
        self.closed = False
        self._drawn = 0
        self._last_progress = 0.0
        self._last_words = ""

    # --- words

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.json:
            self._wipe()
            self._write(self._out, f"{text}\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Lines for people."""
        for text in texts:
            self.line(text)

    def piece(self, text: str) -> None:
        """A part of a line for people, as it comes."""
        if not self.json:
            self._wipe()
            self._write(self._out, text)

    def paragraph(self, text: str, indent: str = "", first: str | None = None) -> None:
        """A text broken into lines; ``first`` begins the first one instead of ``indent``."""
        start = indent if first is None else first
        for part in text.splitlines() or [""]:
            self.lines(self.wrap(part, indent, start))
            start = indent

    def item(self, label: str, *texts: str) -> None:
        """Lines behind a bold label of at most `LABEL` letters, all of them as far to the right."""
        start = label.ljust(LABEL)
        for text in texts:
            first = self.wrap(text, " " * LABEL, start)
            first[0] = first[0].replace(start, self.bold(start), 1) if start.strip() else first[0]
            self.lines(first)
            start = " " * LABEL

    def wrap(self, text: str, indent: str = "", first: str | None = None) -> list[str]:
        """A text as lines no wider than the terminal."""
        return textwrap.wrap(
            text,
            width=max(40, self.width),
            initial_indent=indent if first is None else first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [(indent if first is None else first).rstrip()]

    def progress(self, text: str) -> None:
        """What is going on now; redrawn in place on a terminal, elsewhere a line now and then."""
        if self.json or self.closed:
            return
        now = time.monotonic()
        quiet = UNCHANGED_SECONDS if text == self._last_words else QUIET_SECONDS
        if now - self._last_progress < (LIVE_SECONDS if self.live else quiet):
            return
        unchanged = text == self._last_words and self._drawn > 0
        self._last_progress, self._last_words = now, text
        if unchanged:
            return
        if not self.live:
            self._write(self._out, f"{text}\n")
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        self._write(self._out, "\r" + text.ljust(self._drawn))
        self._drawn = len(text)

    def end_progress(self) -> None:
        """Takes the live line away; the next line then stands in its place."""
        self._wipe()
        self._last_progress = 0.0

    def problems(self, problems: Iterable[Problem], *, to_errors: bool = True) -> None:
        """Every problem with its advice and, where a setting mends it, the option to add to the command."""
        self._wipe()
        stream = self._err if to_errors else self._out
        for problem in () if self.json else problems:
            word, colour = _SEVERITY[problem.severity]
            where = f"{problem.path}: " if problem.path and problem.path not in problem.message else ""
            text = self.wrap(f"{where}{problem.message}", "  ", f"{word}: ")
            text[0] = text[0].replace(f"{word}:", self._paint(colour, f"{word}:", stream), 1)
            text += self.wrap(problem.advice, "  ") if problem.advice else []
            for fix in problem.fixes:
                options = " ".join(f"--set {as_assignment(edit)}" for edit in fix.edits)
                text += [f"    {self._paint('bold', options, stream)}", *self.wrap(fix.title, "        ")]
            self._write(stream, "\n".join(text) + "\n")

    def result(self, value: object) -> None:
        """The one object that a program reads; people get lines instead."""
        if self.json:
            utf8 = (getattr(self._out, "encoding", "") or "").lower().replace("-", "") == "utf8"
            self._write(self._out, json.dumps(value, indent=2, ensure_ascii=not utf8, allow_nan=False) + "\n")

    # --- looks

    @property
    def width(self) -> int:
        """Columns that a line of text may fill."""
        return min(WIDEST, shutil.get_terminal_size((100, 24)).columns)

    def bold(self, text: str) -> str:
        """A heading or a command."""
        return self._paint("bold", text, self._out)

    def dim(self, text: str) -> str:
        """Something said in passing."""
        return self._paint("dim", text, self._out)

    def colour(self, name: str, text: str) -> str:
        """Text in red, green or yellow."""
        return self._paint(name, text, self._out)

    def _paint(self, name: str, text: str, stream: TextIO) -> str:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or self.json
        if plain or not self._is_terminal(stream) or not _understands_colours():
            return text
        return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m"

    @staticmethod
    def _is_terminal(stream: TextIO) -> bool:
        return hasattr(stream, "isatty") and stream.isatty()

    # --- writing

    def _wipe(self) -> None:
        if self._drawn:
            self._write(self._out, "\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _write(self, stream: TextIO, text: str) -> None:
        if stream is self._out and self.closed:
            return
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            self._reader_has_gone(stream)

    def _reader_has_gone(self, stream: TextIO) -> None:
        if stream is self._out:
            self.closed = True
        # what is still buffered would complain again when the interpreter ends
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _understands_colours() -> bool:
    return sys.platform != "win32" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM"))
