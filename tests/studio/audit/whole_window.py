"""The whole application in the states that people see it in, for audits that look at every page."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytest
from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QAbstractButton, QApplication

from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.spec.demo import demo_spec
from studio.shell.pages import _WHERE
from studio.shell.window import WELCOME
from tests.studio.audit.told_runs import queue_told_runs, told_runs

State = Literal["empty", "ready", "live"]
"""Nothing chosen and nothing there; all chosen and runs there; the same with a run at work."""

SIZES = ((1024, 640), (1280, 800))
FAKE_ENGINE = Path(__file__).parents[2] / "fakes" / "fake_engine.py"
PAGES = tuple(name for name, where in _WHERE.items() if importlib.util.find_spec(where.partition(":")[0]))
VIEWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "model": (("model-place-local",), ("model-place-hub",)),
    "data": (("sample-conversation",), ("sample-tokens",), ("sample-raw",)),
    "training": (
        ("training-side-setup",),
        ("training-side-run", "run-tab-samples"),
        ("run-tab-log",),
        ("run-tab-notices",),
        ("run-tab-used",),
    ),
    "try": ((), ("turn-sampling",)),
    "queue": (("queue-view-waiting",), ("queue-view-sweep",), ("queue-view-results",)),
}
"""Page -> the ways it can be looked at: names of buttons to press, one after the other."""
_PATIENCE_SECONDS = 120.0
_SOON_SECONDS = 2.0
TOLD: dict[tuple[str, ...], dict[str, Any]] = {}
"""What torch said of this computer, by what it was asked."""
_LAYERS = 8
"""Layouts within layouts that a changed text may pass through: each one asks the next to be laid out."""


def _is_soon(timer: QTimer) -> bool:
    """Whether it runs out once, in no time that anybody is to read something in."""
    return timer.isActive() and timer.isSingleShot() and timer.interval() < 1000 * _SOON_SECONDS


class WholeWindow:
    """A running studio, and how to bring each part of it to the front."""

    def __init__(self, app: QApplication, studio: Any) -> None:
        self.app = app
        self.studio = studio
        self.desk = studio.desk

    @property
    def window(self) -> Any:
        """The window; another one after each `speak`."""
        return self.studio.window

    def rail_items(self) -> list[QAbstractButton]:
        """The rail's buttons, from top to bottom."""
        return list(self.window.rail.items.values())

    def settle(self, seconds: float = 0.05) -> None:
        """Waits until nothing is being read and everything is laid out."""
        from studio.workers.task import _alive

        self.wait_for(lambda: not self.desk.session.is_reading and not _alive)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.app.processEvents()
            time.sleep(0.005)
        self.app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        self.app.processEvents()
        # a living run may have changed a text just now: lay that out, widget by widget, without hearing more of the run
        for _ in range(_LAYERS):
            self.app.sendPostedEvents(None, QEvent.Type.LayoutRequest)

    def wait_for_timers(self) -> None:
        """Waits for what is done a moment after the last change, as a sweep is planned, and for what it begins."""
        until = time.monotonic() + _SOON_SECONDS
        while time.monotonic() < until and any(map(_is_soon, self.window.findChildren(QTimer))):
            self.app.processEvents()
            time.sleep(0.005)
        self.settle(0.0)

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Lets the application work until something is so."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < until, "the window does not come to rest"
            self.app.processEvents()
            time.sleep(0.005)

    def speak(self, language: str, scale: float, theme: str = "light") -> None:
        """Makes the window anew in a language, at a text size, in a theme."""
        for name, value in (("language", language), ("text_scale", scale), ("theme", theme)):
            self.studio.preferences.set(name, value)
        self.settle()

    def resize(self, size: tuple[int, int]) -> None:
        """Gives the window a size."""
        self.window.resize(*size)
        self.settle(0.02)

    def views(self, pages: tuple[str, ...] = PAGES) -> Iterator[str]:
        """Brings one view of a page after the other to the front, and names it."""
        for page in pages:
            self.window.show_page(page)
            self.settle()
            for number, presses in enumerate(VIEWS.get(page, ((),))):
                for name in presses:
                    button = self.window.findChild(QAbstractButton, name)
                    if button is not None and button.isVisible() and button.isEnabled():
                        button.click()
                self.settle(0.02 if number else 0.05)
                yield f"{page}/{presses[-1]}" if presses else page


@contextmanager
def _one_checkup() -> Iterator[None]:
    """Lets the Settings page ask torch about this computer once: the answer stays, and takes seconds to give."""
    from core.runs import checkup

    ask = checkup._ask

    def remembered(arguments: tuple[str, ...], on_wait: Callable[[], None]) -> dict[str, Any]:
        if arguments not in TOLD:
            TOLD[arguments] = ask(arguments, on_wait)
        return deepcopy(TOLD[arguments])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkup, "_ask", remembered)
        yield


@contextmanager
def whole_window(app: QApplication, state: State, starter: Path | None = None) -> Iterator[WholeWindow]:
    """Opens the application on the present data folder, and closes it; the starter model is needed unless empty."""
    from studio.app import Studio
    from studio.workers.task import end_tasks

    runs = told_runs(starter) if starter is not None and state != "empty" else {}
    if runs:
        queue_told_runs(runs)
    studio = Studio(app)
    studio.preferences.set("more_settings", tuple(PAGES))
    whole = WholeWindow(app, studio)
    studio.show()
    with _one_checkup():
        try:
            whole.wait_for(lambda: studio.desk.session.hardware is not None and studio.desk.runs.known)
            if state != "empty":
                studio.desk.session.set_spec(demo_spec("starter"))
                whole.settle()
                studio.desk.runs.watch(runs["completed"])
                whole.wait_for(lambda: not studio.desk.runs.is_live)
            if state == "live":
                _begin_run(whole)
            for card in list(studio.window.notices.cards):
                card.leave()
            yield whole
        finally:
            current = studio.desk.runs.current
            if current is not None and current.is_live:
                current.stop(1.0)
                whole.wait_for(lambda: not current.is_live)
            studio.window.close()
            studio.close()
            studio.window.deleteLater()
            app.processEvents()
            assert end_tasks() == 0, "a task did not end"


def _begin_run(whole: WholeWindow) -> None:
    desk = whole.desk

    def command(folder: RunFolder) -> LaunchCommand:
        environment = {**child_env(), "PYTHONPATH": str(FAKE_ENGINE.parents[2])}
        return LaunchCommand((sys.executable, str(FAKE_ENGINE), str(folder.path), "steady"), environment, folder.path)

    desk.runs._command = command
    prepared = desk.session.prepared()
    assert prepared is not None
    run = desk.runs.start(prepared)
    assert run is not None
    whole.wait_for(lambda: run.state.step > 3)


__all__ = ["PAGES", "SIZES", "TOLD", "VIEWS", "WELCOME", "State", "WholeWindow", "whole_window"]
