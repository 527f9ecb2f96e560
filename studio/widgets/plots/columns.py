"""A dense curve as one picture: for each pixel column the rows that it covers, smooth at both ends.

Qt strokes a jagged line of a thousand points in tens of milliseconds, because each segment is filled by itself. Filling
an image by columns takes one or two.
"""

import functools
from typing import TYPE_CHECKING

from PySide6.QtGui import QColor, QImage

if TYPE_CHECKING:
    import numpy as np

    from studio.widgets.plots.pyramid import Array

DASH, GAP = 7, 4
"""Lengths of a dashed curve, in pixels."""


def line_columns(xs: "Array", ys: "Array", count: int) -> "tuple[Array, Array]":
    """The lowest and highest y of a line through points, in each of ``count`` columns of width 1 from x = 0.

    NaN where the line has a gap. x rises; there may be far more points than columns or far fewer.
    """
    import numpy as np

    edges = np.interp(np.arange(count + 1.0), xs, ys, left=np.nan, right=np.nan)
    lows, highs = np.fmin(edges[:-1], edges[1:]), np.fmax(edges[:-1], edges[1:])
    column = np.floor(xs).astype(np.int64)
    seen = (column >= 0) & (column < count)
    if seen.any():
        column, ys = column[seen], ys[seen]
        starts = np.concatenate(([0], np.flatnonzero(np.diff(column)) + 1))
        at = column[starts]
        lows[at] = np.fmin(lows[at], np.fmin.reduceat(ys, starts))
        highs[at] = np.fmax(highs[at], np.fmax.reduceat(ys, starts))
    return lows, highs


def band_columns(xs: "Array", lows: "Array", highs: "Array", count: int) -> "tuple[Array, Array]":
    """The same for merged points, where each entry stands for a stretch around its x; neighbours are joined."""
    import numpy as np

    joined_low, joined_high = lows.copy(), highs.copy()
    joined_low[1:] = np.fmin(lows[1:], np.where(np.isnan(lows[1:]), np.nan, highs[:-1]))
    joined_high[1:] = np.fmax(highs[1:], np.where(np.isnan(highs[1:]), np.nan, lows[:-1]))
    middles = np.arange(count) + 0.5
    at = np.floor(xs).astype(np.int64)
    seen = (at >= 0) & (at < count)
    out_low = np.interp(middles, xs, joined_low, left=np.nan, right=np.nan)
    out_high = np.interp(middles, xs, joined_high, left=np.nan, right=np.nan)
    out_low[at[seen]], out_high[at[seen]] = joined_low[seen], joined_high[seen]
    return out_low, out_high


def picture(
    tops: "Array", bottoms: "Array", rows: int, color: QColor, *, half: float, dashed: float = 0.0
) -> tuple[QImage, int] | None:
    """The columns filled from ``tops - half`` to ``bottoms + half`` (rows downwards), and the row where it begins.

    ``dashed`` is the number of columns of one pixel of a dash, 0 for a whole line. None where nothing is to be seen.
    """
    import numpy as np

    known = np.isfinite(tops) & np.isfinite(bottoms)
    if dashed:
        known &= (np.arange(len(tops)) / dashed) % (DASH + GAP) < DASH
    top = np.clip(np.where(known, tops - half, rows + 2.0), 0.0, rows + 2.0)
    bottom = np.clip(np.where(known, bottoms + half, -2.0), -2.0, float(rows))
    seen = bottom > top
    if not seen.any():
        return None
    first, last = int(top[seen].min()), min(rows, int(np.ceil(bottom[seen].max())))
    filled = _coverage(top - first, bottom - first, seen, last - first)
    height, width = filled.shape
    image = QImage(filled.data, width, height, width, QImage.Format.Format_Indexed8)
    image.setColorTable(_shades(color.rgba()))
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied), first


def _coverage(
    top: "Array", bottom: "Array", seen: "np.ndarray[tuple[int], np.dtype[np.bool_]]", rows: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """How much of each pixel is covered, 0 to 255."""
    import numpy as np

    first, last = np.floor(top).astype(np.int32), np.floor(bottom).astype(np.int32)
    row = np.arange(rows, dtype=np.int32)[:, None]
    filled = np.zeros((rows, len(top)), np.uint8)
    np.negative(((row > first) & (row < last)).view(np.uint8), out=filled)
    column = np.flatnonzero(seen)
    begin, end = first[column], last[column]
    part = np.where(begin == end, bottom[column] - top[column], 1.0 - (top[column] - begin))
    inside = begin < rows
    filled[begin[inside], column[inside]] = np.round(255 * part[inside])
    inside = (end < rows) & (end > begin)
    filled[end[inside], column[inside]] = np.round(255 * (bottom[column] - end)[inside])
    return filled


@functools.lru_cache(maxsize=64)
def _shades(color: int) -> list[int]:
    """A colour at each coverage, as ARGB."""
    alpha, rest = color >> 24, color & 0xFFFFFF
    return [((alpha * step + 127) // 255 << 24) | rest for step in range(256)]
