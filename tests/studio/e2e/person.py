"""A person in front of a screen: a real X server, the window as a program of its own, mouse and keyboard."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PROBE = Path(__file__).with_name("probe.py")
FILE_MANAGER = Path(__file__).with_name("file_manager.py")
WAIT = 60.0


def missing_programs() -> str:
    """Which of the programs that a screen needs are not installed; empty when all are."""
    missing = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
    return f"{', '.join(missing)} not installed (Debian: apt install xvfb xdotool)" if missing else ""


class Screen:
    """An X server without a screen, ended with `close`."""

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        read, write = os.pipe()
        size = f"{width}x{height}x24"
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
        self._process = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "the X server did not start"
        self.display = f":{number}"

    def close(self) -> None:
        """Ends the server."""
        self._process.terminate()
        self._process.wait(10)


class Person:
    """Starts the window on a screen, looks at it, and uses mouse and keyboard."""

    def __init__(self, screen: Screen, home: Path, pictures: Path) -> None:
        self.env = {**os.environ, "DISPLAY": screen.display, "LOWRANK_HOME": str(home), "QT_QPA_PLATFORM": "xcb"}
        self.env |= {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "NO_AT_BRIDGE": "1"}
        self.pictures = pictures
        self._window: subprocess.Popen[str] | None = None
        self._log = pictures / "window.log"

    # --- the window

    def open_window(self, *paths: Path) -> None:
        """Starts the window and waits until it answers."""
        with self._log.open("a") as log:
            self._window = subprocess.Popen(
                [sys.executable, str(PROBE), *map(str, paths)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.env,
                cwd=ROOT,
            )
        self.see()
        self.focus_window()

    @property
    def window_pid(self) -> int:
        """The window's process."""
        assert self._window is not None
        return self._window.pid

    def focus_window(self) -> None:
        """Gives the window the keyboard; there is no window manager that would."""
        self.do("search", "--sync", "--onlyvisible", "--name", "^Lowrank Studio$", "windowfocus", "--sync")

    def close_window(self) -> None:
        """Closes it with its own shortcut, and waits until the program has ended."""
        assert self._window is not None
        self.press("ctrl+q")
        assert self._window.wait(30) == 0, self.log()
        self._forget()

    def kill_window(self) -> None:
        """Ends the program at once."""
        assert self._window is not None
        self._window.send_signal(signal.SIGKILL)
        self._window.wait(10)
        self._forget()

    def _forget(self) -> None:
        assert self._window is not None
        for pipe in (self._window.stdin, self._window.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._window = None

    def end(self) -> None:
        """Whatever is still open goes away."""
        if self._window is not None:
            self.kill_window()

    def log(self) -> str:
        """What the window wrote on its standard error."""
        return self._log.read_text("utf-8", "replace")[-4000:]

    # --- eyes

    def ask(self, **question: Any) -> dict[str, Any]:
        """Asks the window a question; see probe.py."""
        assert self._window is not None
        assert self._window.stdin is not None
        assert self._window.stdout is not None
        self._window.stdin.write(json.dumps(question) + "\n")
        self._window.stdin.flush()
        line = self._window.stdout.readline()
        assert line, f"the window is gone:\n{self.log()}"
        reply: dict[str, Any] = json.loads(line)
        assert "error" not in reply, reply
        return reply

    def see(self) -> dict[str, Any]:
        """The state of session and run."""
        return self.ask(summary=True)

    def find(self, name: str, wait: float = WAIT) -> dict[str, Any]:
        """The visible widget with an object name; waits until there is one."""

        def look() -> dict[str, Any] | None:
            found: list[dict[str, Any]] = self.ask(find=name)["found"]
            return found[0] if found else None

        return self.until(look, f"nothing called “{name}” is visible", wait)

    def until(self, look: Callable[[], Any], otherwise: str, wait: float = WAIT) -> Any:
        """Looks until something is seen."""
        deadline = time.monotonic() + wait
        while not (seen := look()):
            if time.monotonic() > deadline:
                self.picture("failure")
                raise AssertionError(f"{otherwise}; the window says {self.see()}\n{self.log()}")
            time.sleep(0.1)
        return seen

    def picture(self, name: str) -> None:
        """Keeps what is on the screen, for whoever reads a failure."""
        if shutil.which("import"):
            target = str(self.pictures / f"{name}.png")
            subprocess.run(["import", "-window", "root", target], env=self.env, check=False, capture_output=True)

    # --- hands

    def do(self, *words: str) -> None:
        """Moves mouse or keys."""
        subprocess.run(["xdotool", *words], env=self.env, check=True, timeout=30, capture_output=True)

    def click(self, name: str, wait: float = WAIT) -> None:
        """Clicks into the middle of a widget, when it is enabled and can be seen."""

        def ready() -> dict[str, Any] | None:
            found = [item for item in self.ask(find=name)["found"] if item["enabled"] and item["seen"]]
            return found[0] if found else None

        spot = self.until(ready, f"“{name}” cannot be clicked", wait)
        self.do("mousemove", "--sync", str(spot["x"]), str(spot["y"]), "click", "1")
        time.sleep(0.15)

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        self.do("key", "--clearmodifiers", *keys)
        time.sleep(0.1)

    def type(self, text: str) -> None:
        """Types a text."""
        self.do("type", "--delay", "5", text)
        time.sleep(0.1)

    def fill(self, name: str, text: str) -> None:
        """Replaces what is in a field and leaves it with Enter."""
        self.click(name)
        self.press("ctrl+a")
        self.type(text)
        self.press("Return")

    def drop(self, path: Path, x: int, y: int) -> None:
        """Drags a file from another program's window and lets it go at a place."""
        left, top = 1270, 830
        with self._log.open("a") as log:
            source = subprocess.Popen(
                [sys.executable, str(FILE_MANAGER), str(path), str(left), str(top)],
                stdout=log,
                stderr=log,
                env=self.env,
            )
        try:
            self.do("search", "--sync", "--onlyvisible", "--name", "^file manager$", "windowraise")
            time.sleep(0.5)
            self.do("mousemove", "--sync", str(left + 60), str(top + 30), "mousedown", "1")
            for part in range(1, 11):
                at = (left + 60 + (x - left - 60) * part // 10, top + 30 + (y - top - 30) * part // 10)
                self.do("mousemove", "--sync", str(at[0]), str(at[1]))
                time.sleep(0.08)
            self.do("mousemove", "--sync", str(x + 3), str(y + 3))
            time.sleep(0.4)
            self.do("mouseup", "1")
            time.sleep(0.5)
        finally:
            source.kill()
            source.wait(10)
