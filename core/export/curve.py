"""The loss curve as a picture: raw loss faint, smoothed loss strong, validation as dots on a line."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.events.run_state import RunState
from core.paths import write_atomic

PICTURE_FILE = "loss.png"
"""What the picture beside a model card is called."""
WIDTH, HEIGHT, DOTS_PER_INCH = 1200, 700, 100

_PAPER, _TEXT, _MUTED, _LINE = "#FFFFFF", "#1B1F27", "#5A6372", "#E2E5EA"
_TRAINING = "#3B5BDB"
_VALIDATION = "#D55E00"  # vermilion of the Okabe-Ito set: told apart from the blue by everyone

_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe-Ito without yellow
_STYLES = ("-", "--", ":", "-.")  # another round of the same colours is told apart by the line

_SMOOTH_FROM = 12
"""Fewer steps than this are shown as they are."""
_SMOOTHING_SHARE = 0.02
"""Standard deviation of the smoothing's weights, as a share of the run."""
_SMOOTH_POINTS = 1000
"""Longer runs are averaged into this many bins first; the plot has no more pixels."""
_LABEL_GAP = 0.05
"""Least distance between two labels at the right edge, as a share of the height."""

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class _Label:
    """Words beside the end of a line, at a height in the data's own unit."""

    text: str
    value: float
    colour: str


def has_curve(state: RunState) -> bool:
    """Whether there is a finite loss to draw."""
    return any(_finite(points) for points in _losses(state))


def draw_run_curve(state: RunState, path: Path, *, title: str = "") -> None:
    """`draw_loss_curve` for the losses of a run."""
    draw_loss_curve(*_losses(state), path, title=title)


def _losses(state: RunState) -> tuple[Points, Points]:
    """Training and validation."""
    steps = [int(step) for step in state.history.column("step")]
    train = list(zip(steps, state.history.column("loss"), strict=True))
    return train, [(item.step, item.loss) for item in state.evaluations]


def draw_loss_curve(train: Points, validation: Points, path: Path, *, title: str = "") -> None:
    """Writes a PNG of 1200 x 700 pixels.

    Args:
        train: (step, mean loss per supervised token in nats), steps rising; losses that are not finite are left out.
        validation: the same for the rows that are only measured.
        path: the file to write; its folder must exist.
        title: a line above the plot; empty for none.

    Raises:
        ValueError: there is no finite loss at all.
        OSError: the file cannot be written.
    """
    train, validation = _finite(train), _finite(validation)
    if not train and not validation:
        raise ValueError("there is no loss to draw yet")
    explanation = "; steps faint, smoothed strong" if len(train) >= _SMOOTH_FROM else ""
    axes = _new_axes(0.745, title, explanation)
    labels = _draw_training(axes, train) + _draw_validation(axes, validation)
    _limit(axes, train, validation)
    _label_ends(axes, labels)
    _write(axes, path)


def draw_curves_over(runs: Sequence[tuple[str, RunState]], path: Path, *, title: str = "") -> None:
    """Writes a PNG with the training losses of several runs over each other, smoothed, validation as dots.

    Args:
        runs: what each is called in the legend, and its state; runs without a loss are left out.
        path: the file to write; its folder must exist.
        title: a line above the plot; empty for none.

    Raises:
        ValueError: no run has a finite loss.
        OSError: the file cannot be written.
    """
    axes = _new_axes(0.9, title, "; smoothed where there are many steps")
    everything: list[tuple[int, float]] = []
    for index, (name, state) in enumerate(runs):
        train, validation = map(_finite, _losses(state))
        if train or validation:
            colour = _SERIES[index % len(_SERIES)]
            style = _STYLES[index // len(_SERIES) % len(_STYLES)]
            shown = smooth(train) if len(train) >= _SMOOTH_FROM else train
            axes.plot(*zip(*(shown or validation), strict=True), color=colour, linewidth=2, linestyle=style, label=name)
            if validation:
                axes.plot(*zip(*validation, strict=True), color=colour, marker="o", markersize=5, linestyle="none")
        everything += [*train, *validation]
    if not everything:
        raise ValueError("there is no loss to draw yet")
    _limit(axes, everything, [])
    axes.legend(loc="upper right", frameon=False, fontsize=11, labelcolor=_TEXT)
    _write(axes, path)


def _new_axes(width: float, title: str, explanation: str) -> Any:
    """Empty axes, so wide as a share of the picture."""
    # The figure classes alone: pyplot would look for a screen and keep every figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / DOTS_PER_INCH, HEIGHT / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.075, 0.105, width, 0.775 if title else 0.835))
    _dress(axes, title, explanation)
    return axes


def _write(axes: Any, path: Path) -> None:
    image = io.BytesIO()
    axes.figure.canvas.print_png(image)
    write_atomic(path, image.getvalue())


def _finite(points: Points) -> list[tuple[int, float]]:
    return [(step, loss) for step, loss in points if math.isfinite(loss)]


def smooth(points: Points) -> list[tuple[float, float]]:
    """A local line through each point's neighbours, nearer ones counting more; at most `_SMOOTH_POINTS` points.

    A mean over the past alone would trail behind a falling loss, and a plain mean bends at both ends
    (Fan & Gijbels, Local Polynomial Modelling, 1996, section 2.2).
    """
    import numpy as np

    bins = np.array_split(np.asarray(points, dtype=np.float64), min(len(points), _SMOOTH_POINTS))
    steps, losses = np.array([part.mean(axis=0) for part in bins]).T
    width = max(1.5, _SMOOTHING_SHARE * len(steps)) * max((steps[-1] - steps[0]) / max(1, len(steps) - 1), 1e-9)
    away = steps[None, :] - steps[:, None]
    weight = np.exp(-0.5 * (away / width) ** 2)
    total, first, second = (weight * away**power @ np.ones_like(steps) for power in range(3))
    level, slope = weight @ losses, (weight * away) @ losses
    smoothed = (second * level - first * slope) / (second * total - first**2)
    return list(zip(steps.tolist(), smoothed.tolist(), strict=True))


def _dress(axes: Any, title: str, explanation: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_facecolor(_PAPER)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)
    axes.grid(visible=True, axis="y", color=_LINE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=11, length=0, pad=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=(1, 2, 2.5, 5, 10)))
    axes.set_xlabel("Step", color=_MUTED, fontsize=12, labelpad=8)
    # Above the axis and horizontal: nobody has to tilt their head.
    figure, left = axes.figure, 0.026
    if title:
        heading = figure.text(left, 0.975, title, color=_TEXT, fontsize=16, va="top", fontweight="bold")
        heading.set_parse_math(False)  # a dollar sign in a run's name is no formula
    unit = f"Loss in nats per supervised token{explanation}"
    figure.text(left, 0.915 if title else 0.975, unit, color=_MUTED, fontsize=12, va="top")


def _draw_training(axes: Any, points: Points) -> list[_Label]:
    if not points:
        return []
    steps, losses = zip(*points, strict=True)
    if len(points) < _SMOOTH_FROM:
        axes.plot(steps, losses, color=_TRAINING, linewidth=2.2, marker="o", markersize=4)
        return [_Label(f"training {losses[-1]:.3f}", losses[-1], _TRAINING)]
    axes.plot(steps, losses, color=_TRAINING, linewidth=1, alpha=0.25)
    middles, smoothed = zip(*smooth(points), strict=True)
    axes.plot(middles, smoothed, color=_TRAINING, linewidth=2.4, solid_capstyle="round")
    return [_Label(f"training {smoothed[-1]:.3f}", smoothed[-1], _TRAINING)]


def _draw_validation(axes: Any, points: Points) -> list[_Label]:
    if not points:
        return []
    steps, losses = zip(*points, strict=True)
    axes.plot(steps, losses, color=_VALIDATION, linewidth=1.8, marker="o", markersize=6, markeredgecolor=_PAPER)
    return [_Label(f"validation {losses[-1]:.3f}", losses[-1], _VALIDATION)]


def _limit(axes: Any, train: Points, validation: Points) -> None:
    steps = [step for step, _ in (*train, *validation)]
    losses = [loss for _, loss in (*train, *validation)]
    low, high = min(losses), max(losses)
    margin = 0.06 * (high - low) or max(0.1 * abs(high), 0.1)
    axes.set_ylim(max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    first, last = min(steps), max(steps)
    room = 0.015 * (last - first) or 0.5
    axes.set_xlim(first - room, last + room)


def _label_ends(axes: Any, labels: Sequence[_Label]) -> None:
    """Names the lines at their ends, moved apart where they would touch."""
    low, high = axes.get_ylim()
    heights: list[float] = []
    for label in sorted(labels, key=lambda label: label.value):
        wanted = (label.value - low) / (high - low)
        height = max(wanted, heights[-1] + _LABEL_GAP) if heights else wanted
        heights.append(height)
        axes.text(
            1.015,
            height,
            label.text,
            transform=axes.transAxes,
            color=label.colour,
            fontsize=12,
            va="center",
            fontweight="bold",
        )
