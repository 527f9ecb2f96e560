"""How long an edit takes until the window shows it: `python -m benchmarks.window_edit_latency [TICKS]`.

The real window stands on the Adapter page, off the screen. Each tick moves a slider (or clicks a cell of the matrix)
and ends when the plan panel, the page and the matrix have been painted with the new numbers. One frame at 60 Hz is
16.7 ms. Besides the clock's time the thread's own time is printed: where the two differ, other programs were at work.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

FRAME_MS = 16.7
MODEL_NAMES = ("135m", "8b", "70b")
WARM_UP = 20


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(
    ticks: int, act: Callable[[int], None], numbers: Callable[[], object]
) -> tuple[list[float], list[float], int]:
    """Milliseconds by the clock and of the thread's own, and how many ticks moved parameters or memory."""
    from PySide6.QtWidgets import QApplication

    clock, own, moved = [], [], 0
    for tick in range(-WARM_UP, ticks):
        before = numbers()
        start, start_own = time.perf_counter(), time.thread_time()
        act(tick)
        QApplication.processEvents()
        if tick >= 0:
            clock.append(1e3 * (time.perf_counter() - start))
            own.append(1e3 * (time.thread_time() - start_own))
            moved += numbers() != before
    return clock, own, moved


def window_on(name: str) -> Any:
    """A window on the Adapter page with the facts of an invented model on an invented machine."""
    from PySide6.QtWidgets import QApplication

    from studio.shell.window import MainWindow
    from studio.state.desk import Desk
    from studio.state.preferences import Preferences
    from studio.state.runs import Runs
    from studio.state.session import Session
    from tests.core.plan.invented_facts import MACHINES, MODELS, data, spec

    class Invented(Session):
        def _read_stale(self) -> None:
            """These facts lie in no files."""

    session = Invented(spec())
    session.hardware, session.model, session.data = MACHINES["rtx4090"], MODELS[name], data()
    session.edit("training.effective_batch", 8)  # makes the first plan
    desk = Desk(session, Runs(), Preferences(Path(os.environ["LOWRANK_HOME"]) / f"{name}.json"))
    desk.preferences.set("welcomed", value=True)
    window = MainWindow(desk)
    window.resize(1280, 800)
    window.show()
    desk.go("adapter")
    QApplication.processEvents()
    return window, desk


def acts_on(page: Any) -> dict[str, Callable[[int], None]]:
    """What is measured: sliders from end to end, and single cells."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    def slide(row: Any, step: int) -> Callable[[int], None]:
        track = row.editor.slider.slider
        return lambda tick: track.setValue(track.minimum() + step * tick % (track.maximum() + 1))

    def click(tick: int) -> None:
        grid = page.places.grid
        cells = grid.matrix.every()
        place = grid.cell_box(cells[7 * tick % len(cells)]).center().toPoint()
        QTest.mouseClick(grid, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    strength = page.strength
    return {
        "rank": slide(strength.rank, 1),
        "alpha": slide(strength.alpha, 7),
        "dropout": slide(strength.dropout, 7),
        "paint a cell": click,
    }


def main() -> None:
    os.environ["LOWRANK_HOME"] = tempfile.mkdtemp(prefix="lowrank-latency-")
    ticks = int(sys.argv[1]) if len(sys.argv) > 1 else 300

    from PySide6.QtWidgets import QApplication

    from studio.app import make_application
    from studio.look.theme import apply_look
    from studio.pages.adapter.page import AdapterPage
    from studio.workers.collector import Collector

    app = make_application([])
    apply_look(app, "light", 1.0)
    collector = Collector()  # as in the application: garbage is not collected in the middle of a tick
    print(f"one frame: {FRAME_MS} ms")
    print(f"{'model':6} {'edit':14} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'own p99':>8} {'moved':>8}")
    worst = worst_own = 0.0
    for name in MODEL_NAMES:
        window, desk = window_on(name)
        page = next(item for item in window.findChildren(AdapterPage) if item.isVisible())

        def numbers(session: Any = desk.session) -> object:
            return session.plan.parameters.trainable, session.plan.memory.peak_bytes

        for title, act in acts_on(page).items():
            clock, own, moved = measure(ticks, act, numbers)
            p99, own_p99 = percentile(clock, 0.99), percentile(own, 0.99)
            worst, worst_own = max(worst, p99), max(worst_own, own_p99)
            row = f"{statistics.median(clock):8.2f} {p99:8.2f} {max(clock):8.2f} {own_p99:8.2f} {moved:4}/{ticks}"
            print(f"{name:6} {title:14} {row}")
        window.close()
        window.deleteLater()
        QApplication.processEvents()
    collector.stop()
    verdict = "within" if worst <= FRAME_MS else "OVER"
    print(f"worst p99: {worst:.2f} ms ({worst_own:.2f} ms of its own), {verdict} one frame")


if __name__ == "__main__":
    main()
