"""Frames while a curve of a million points is panned and zoomed, beside pyqtgraph: `-m benchmarks.loss_curve_pan`.

Runs on whatever platform Qt finds (``QT_QPA_PLATFORM=offscreen``, or a real or virtual X server). A frame is one change
of the view painted at once (`repaint`). The peer is a `PlotDataItem` with its own down-sampling and clipping on, which
is what pyqtgraph advises for large data; “plain” is the same without.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QApplication, QWidget

from studio.look.theme import apply_look, colors
from studio.widgets.plots.curve_plot import CurvePlot
from studio.widgets.plots.smoothing import Smoother

if TYPE_CHECKING:
    from studio.widgets.plots.pyramid import Array

WIDTH, HEIGHT = 1000, 420
FRAMES = 150


def windows(points: int) -> Iterator[tuple[str, float, float]]:
    """What a hand does: everything, zooming in, panning at several widths, zooming out."""
    for index in range(FRAMES):
        width = points * (1.0 - 0.9 * index / FRAMES)
        yield "zoom", points / 2 - width / 2, points / 2 + width / 2
    for share in (0.6, 0.1, 0.01, 0.001):
        width = points * share
        for index in range(FRAMES):
            left = (points - width) * index / FRAMES
            yield f"pan {share:g}", left, left + width


def measure(show: Callable[[float, float], None], widget: QWidget, app: QApplication, points: int) -> list[float]:
    taken = []
    for _, left, right in windows(points):
        start = time.perf_counter()
        show(left, right)
        widget.repaint()
        taken.append(1e3 * (time.perf_counter() - start))
        app.processEvents()
    return taken


def report(name: str, taken: list[float]) -> float:
    ordered = sorted(taken)
    p99 = ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)]
    median = statistics.median(ordered)
    print(f"{name:44} {median:8.2f} {p99:8.2f} {ordered[-1]:8.2f}", flush=True)
    return median


def curve(points: int) -> "tuple[Array, Array]":
    import numpy as np

    chance = np.random.default_rng(7)
    steps = np.arange(1.0, points + 1.0)
    loss = 1.5 + 2.5 * np.exp(-steps / (0.15 * points)) + chance.gamma(2.0, 0.12, points)
    return steps, loss


def ours(app: QApplication, points: int) -> list[float]:
    steps, loss = curve(points)
    plot = CurvePlot("Loss")
    plot.set_series("raw", "Training", 0, "faint")
    plot.set_series("smooth", "Smoothed", 0, "strong")
    plot.set_series("validation", "Validation", 1, "marked")
    start = time.perf_counter()
    plot.set_data("raw", steps, loss)
    filled = time.perf_counter()
    smooth = Smoother(0.9).extend(loss)
    smoothed = time.perf_counter()
    plot.set_data("smooth", steps, smooth)
    plot.set_data("validation", steps[:: points // 20], smooth[:: points // 20])
    print(f"  filling {1e3 * (filled - start):.1f} ms, smoothing {1e3 * (smoothed - filled):.1f} ms")
    plot.resize(WIDTH, HEIGHT)
    plot.show()
    app.processEvents()
    taken = measure(lambda left, right: plot.set_window((left, right), follows=False), plot, app, points)
    plot.show_all()
    appending = []
    for index in range(100):
        start = time.perf_counter()
        plot.append("raw", [points + 1.0 + index], [1.6])
        plot.append("smooth", [points + 1.0 + index], [1.6])
        plot.repaint()
        appending.append(1e3 * (time.perf_counter() - start))
    report("ours: one more step, everything shown", appending)
    plot.close()
    return taken


def peer(app: QApplication, points: int, *, tuned: bool) -> list[float]:
    import pyqtgraph as pg

    pg.setConfigOptions(background=colors().panel, foreground=colors().muted, antialias=True)
    steps, loss = curve(points)
    plot = pg.PlotWidget()
    smooth = Smoother(0.9).extend(loss)
    for ys, width in ((loss, 1), (smooth, 1)):
        item = plot.plot(steps, ys, pen=pg.mkPen(colors().series[0], width=width))
        if tuned:
            item.setDownsampling(auto=True, method="peak")
            item.setClipToView(True)
    every = points // 20
    plot.plot(steps[::every], smooth[::every], pen=pg.mkPen(colors().series[1], width=1), symbol="o")
    plot.resize(WIDTH, HEIGHT)
    plot.show()
    app.processEvents()
    box = plot.getViewBox()
    viewport = plot.viewport()
    taken = measure(lambda left, right: box.setXRange(left, right, padding=0), viewport, app, points)
    plot.close()
    return taken


def main() -> None:
    points = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    app = QApplication([])
    apply_look(app, "light", 1.0)
    print(f"{points:,} points twice and 20 marks, {WIDTH}×{HEIGHT}, platform {app.platformName()}")
    print(f"{'':44} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    mine = report("ours: pan and zoom", ours(app, points))
    try:
        theirs = report("pyqtgraph, down-sampling and clipping", peer(app, points, tuned=True))
    except ImportError:
        print("pyqtgraph is not installed: no peer")
        return
    print(f"ratio of medians: {theirs / mine:.1f}")
    if points <= 200_000:
        report("pyqtgraph, plain", peer(app, points, tuned=False))


if __name__ == "__main__":
    main()
