"""Several processes share the tests: what happens when one of them dies, or is silent for too long."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

LOOK_SECONDS = 2.0
MOST_SECONDS, GRACE_SECONDS = 600.0, 120.0  # pytest-timeout ends a test first, unless native code holds it


class Files(LoadFileScheduling):  # type: ignore[misc]
    """Each file of tests goes to one process, as with ``--dist loadfile``, also after one has died.

    xdist 3.8 hands all that a dead process had ever done to the others once more, as files without a test left in them.
    Whoever gets one of those has nothing to report, is therefore given nothing else, and the run never ends. And it
    repeats the test that killed, which kills again.
    """

    def remove_node(self, node: Any) -> str | None:
        """Takes a process out, gives what it had not done to others, and names the test that it died of, if any."""
        left = {file: tests for file, tests in self.assigned_work.pop(node).items() if not all(tests.values())}
        if not left:
            return None
        tests = next(iter(left.values()))
        deadly = next(test for test, is_done in tests.items() if not is_done)
        tests[deadly] = True
        self.workqueue.update({file: tests for file, tests in left.items() if not all(tests.values())})
        self._share()
        return deadly

    def schedule(self) -> None:
        super().schedule()
        self._share()  # twice: a process takes up its last test only when it knows that no other follows

    def _share(self) -> None:
        for node in self.nodes:
            if node in self.registered_collections:  # one that has just come in a dead one's place is still looking
                self._reschedule(node)


class Silence:
    """Ends a process from which nothing has been heard for so long that it must hang; the others do the rest.

    So long is two minutes more than a single test may take.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._limit = float(config.getini("silence") or float(config.getini("timeout") or MOST_SECONDS) + GRACE_SECONDS)
        self._heard: dict[Any, float] = {}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="silence", daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks as long as the block lasts."""
        self._watch.start()
        try:
            yield
        finally:
            self._over.set()
            self._watch.join()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        with self.watched():
            return (yield)

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        return Files(config, log) if config.getoption("dist") == "loadfile" else None

    def pytest_testnodeready(self, node: Any) -> None:
        self._heard[node] = time.monotonic()

    def pytest_testnodedown(self, node: Any) -> None:
        self._heard.pop(node, None)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "???" and (node := getattr(report, "node", None)) in self._heard:
            self._heard[node] = time.monotonic()

    def _look(self) -> None:
        while not self._over.wait(min(LOOK_SECONDS, self._limit / 4)):
            for node, heard in list(self._heard.items()):
                if time.monotonic() - heard > self._limit:
                    self._heard.pop(node, None)
                    self._end(node)

    def _end(self, node: Any) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        words = f"{node.gateway.id} has not ended a test for {self._limit:.0f} seconds, so it is killed."
        terminal.ensure_newline()
        terminal.write_line(words)
        os.kill(node.gateway._io.popen.pid, signal.SIGABRT)  # faulthandler then tells where it was
