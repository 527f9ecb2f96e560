"""What a plot shows, apart from how large it is and where: the same scene goes to the screen, a picture and a file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from studio.widgets.plots.pyramid import Pyramid
from studio.widgets.plots.ticks import Write, number, steady
from studio.widgets.plots.view import View

Style = Literal["faint", "strong", "marked", "dashed"]
"""Raw values thin in the background; a strong line; a line with a mark at each point; another run for comparison."""

_ORDER: tuple[Style, ...] = ("faint", "dashed", "strong", "marked")


@dataclass
class Series:
    """One curve: its name for people, a place in `Colors.series`, how it is drawn, and all its points."""

    key: str
    label: str
    color: int
    style: Style
    hidden: bool = False
    points: Pyramid = field(default_factory=Pyramid)


@dataclass
class Scene:
    """Several curves over the same x.

    Attributes:
        compact: a small multiple: no legend, the newest value beside the title.
        write: writes a value for people, `write_tick` one on the axis; `x_title` says what x counts.
        empty: what to say without any point.
        at_least: the y range always reaches this value, such as 0 for a learning rate.
    """

    title: str
    x_title: str
    empty: str = ""
    compact: bool = False
    write: Write = steady
    write_tick: Write = number
    at_least: float | None = None
    series: dict[str, Series] = field(default_factory=dict)
    view: View = field(default_factory=View)

    def visible(self) -> list[Series]:
        """The curves to draw, the ones in the background first."""
        shown = [item for item in self.series.values() if not item.hidden and len(item.points)]
        return sorted(shown, key=lambda item: _ORDER.index(item.style))

    def fit(self) -> None:
        """Tells the view how far the data reaches."""
        ends = [(item.points.xs[0], item.points.xs[-1]) for item in self.series.values() if len(item.points)]
        self.view.extent = (float(min(e[0] for e in ends)), float(max(e[1] for e in ends))) if ends else None

    def newest(self) -> str:
        """The newest value of each curve in one line."""
        parts = [f"{item.label} {self.write(float(item.points.ys[-1]))}" for item in self.named()]
        return ", ".join(parts)

    def named(self) -> Sequence[Series]:
        """The curves that have points, in the order in which they were made."""
        return [item for item in self.series.values() if len(item.points)]
