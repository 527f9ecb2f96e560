"""Colours, spaces and sizes of the window: the only place that names any."""

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Colors:
    """One scheme's colours as #RRGGBB; text on panel and window has a contrast of 4.5 at least, `faint` excepted.

    Attributes:
        accent_soft: a tint of the accent for selections and hovers.
        good_soft, warn_soft, bad_soft: tints behind verdicts.
        series: colours that colour-blind people can tell apart, after Okabe and Ito; the last two for memory alone.
    """

    window: str
    panel: str
    raised: str
    hover: str
    line: str
    line_strong: str
    text: str
    muted: str
    faint: str
    accent: str
    accent_hover: str
    accent_text: str
    accent_soft: str
    good: str
    warn: str
    bad: str
    good_soft: str
    warn_soft: str
    bad_soft: str
    series: tuple[str, ...]


LIGHT = Colors(
    window="#F6F7F9",
    panel="#FFFFFF",
    raised="#FFFFFF",
    hover="#EEF0F4",
    line="#E2E5EA",
    line_strong="#C9CED6",
    text="#1B1F27",
    muted="#5A6372",
    faint="#8A93A3",
    accent="#3B5BDB",
    accent_hover="#324DBF",
    accent_text="#FFFFFF",
    accent_soft="#E7ECFD",
    good="#187A42",
    warn="#9A5B00",
    bad="#C92A2A",
    good_soft="#E3F5EA",
    warn_soft="#FDF1DC",
    bad_soft="#FDE8E8",
    series=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B58900", "#4C97CB", "#5A4FA3", "#7A828F"),
)
DARK = Colors(
    window="#16181D",
    panel="#1D2026",
    raised="#252932",
    hover="#2A2F39",
    line="#2E333D",
    line_strong="#424957",
    text="#E8EBF0",
    muted="#A3ACBA",
    faint="#717A89",
    accent="#7C95FF",
    accent_hover="#93A8FF",
    accent_text="#10131A",
    accent_soft="#293256",
    good="#4CC38A",
    warn="#F0B429",
    bad="#FF6B6B",
    good_soft="#1C3529",
    warn_soft="#3A2F16",
    bad_soft="#412325",
    series=("#56B4E9", "#F28E4B", "#2DC79B", "#E09AC4", "#D6C14E", "#8FA7FF", "#B79CF0", "#98A1AF"),
)
SCHEMES: dict[Scheme, Colors] = {"light": LIGHT, "dark": DARK}

SPACE_1, SPACE_2, SPACE_3, SPACE_4, SPACE_6, SPACE_8 = 4, 8, 12, 16, 24, 32
RADIUS, CARD_RADIUS = 6, 10
CONTROL, RAIL_ITEM, START = 32, 40, 40
RAIL_WIDTH, PLAN_WIDTH, STATUS_HEIGHT = 188, 288, 28
NARROW = 1100
"""Below this width the plan panel folds into a strip."""
BODY, SMALL, SECTION, TITLE = 13, 12, 15, 20
MOTION_MS = 120

COMPONENT_SERIES: dict[str, int] = {}
"""Memory component -> its place in `Colors.series`; filled in the order in which components are first seen."""


def component_color(name: str, colors: Colors) -> str:
    """The colour of a memory component; the same one everywhere, for as long as the program runs."""
    place = COMPONENT_SERIES.setdefault(name, len(COMPONENT_SERIES))
    return colors.series[place % len(colors.series)]
