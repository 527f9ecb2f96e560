"""What is typed in a terminal chat, prompt by prompt."""

import sys
from collections.abc import Iterator

from core.cli.console import Console

_PROMPT = "> "


def typed_lines(console: Console) -> Iterator[str]:
    """What is typed, prompt by prompt; a line that ends in a backslash goes on in the next one."""
    live = sys.stdin.isatty() and not console.json
    if live:
        _edit_lines()
    held = ""
    while True:
        try:
            line = input(_PROMPT if not held else "  ") if live else sys.stdin.readline()
        except EOFError:
            return
        except KeyboardInterrupt:  # between answers it takes back what was typed, as shells do
            console.line()
            console.line(console.dim("Ctrl+D or /quit ends the chat."))
            held = ""
            continue
        if not live and not line:
            if held.strip():
                yield held
            return
        line = line.rstrip("\n")
        if line.endswith("\\"):
            held += line[:-1] + "\n"
            continue
        held, whole = "", held + line
        if not live and whole.strip():
            console.line(console.bold(f"{_PROMPT}{whole}"))
        yield whole


def _edit_lines() -> None:
    """Arrow keys and a history, where the system has them."""
    try:
        import readline  # noqa: F401 (its import is what counts)
    except ImportError:
        return
