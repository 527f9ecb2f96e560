"""Where everything in the matrix lies, and how it is drawn."""

import math
from collections.abc import Iterator, Mapping

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen

from core.plan.matrix import Cell, Matrix
from studio.look import tokens
from studio.look.theme import look, mono_font
from studio.look.tokens import Colors
from studio.words import tr

_ROW, _HEAD, _GROUP, _RANK_WIDTH = 24, 18, 22, 72
_FAINTEST, _WIDEST_RANK = 0.22, 256
_TICK_ROOM = 26


class Frame:
    """The geometry: header of layer numbers, groups of rows, names at the left, ranks at the right."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.group_titles = {"attention": tr("Attention"), "mlp": tr("MLP"), "other": tr("Other"), "head": tr("Other")}
        self._px = look().px
        self.name_font = mono_font(tokens.SMALL)
        metrics = QFontMetrics(self.name_font)
        widest = max((metrics.horizontalAdvance(kind.title) for kind in matrix.kinds), default=0)
        self.left = widest + self._px(16)
        self.right = self._px(_RANK_WIDTH)
        self.tops: list[int] = []
        self.groups: list[tuple[int, str]] = []
        top, role = self._px(_HEAD), ""
        for kind in matrix.kinds:
            if kind.role != role:
                role = kind.role
                self.groups.append((top, self.group_titles[role]))
                top += self._px(_GROUP)
            self.tops.append(top)
            top += self._px(_ROW)
        self._height = top + self._px(2)

    def height(self) -> int:
        """Of the whole matrix, in pixels."""
        return self._height

    def step(self, width: int) -> float:
        """The width of a column."""
        return max(1.0, (width - self.left - self.right) / max(1, self.matrix.num_layers))

    def box(self, cell: Cell, width: int) -> QRectF:
        """A cell; of row -1 a layer's number, of layer -1 a module's name."""
        row, layer = cell
        step = self.step(width)
        top, height = (0, self._px(_HEAD)) if row < 0 else (self.tops[row], self._px(_ROW))
        if layer < 0:
            return QRectF(0, top, self.left - self._px(4), height)
        left = self.left + round(layer * step)
        return QRectF(left, top, self.left + round((layer + 1) * step) - left, height)

    def span(self, row: int, first: int, last: int, width: int) -> QRectF:
        """Cells beside each other."""
        box = self.box((row, first), width)
        box.setRight(self.box((row, last), width).right())
        return box

    def rank_box(self, row: int, width: int) -> QRectF:
        """Where a row's rank stands."""
        return QRectF(width - self.right + self._px(4), self.tops[row], self.right - self._px(4), self._px(_ROW))

    def at(self, position: QPointF, width: int) -> Cell | None:
        """The cell or header at a place; a row's rank is at layer ``num_layers``; None between them."""
        x, y = position.x(), position.y()
        row = (
            -1
            if y < self._px(_HEAD)
            else next((number for number, top in enumerate(self.tops) if top <= y < top + self._px(_ROW)), None)
        )
        if row is None or y < 0:
            return None
        if x < self.left:
            return row, -1
        layer = int((x - self.left) / self.step(width))
        layers = self.matrix.num_layers
        if layer < layers:
            return row, layer
        return (row, layers) if row >= 0 and x >= width - self.right else None


def shade(rank: int) -> float:
    """How strong a cell of this rank is drawn, 0 to 1; a step for each doubling."""
    return _FAINTEST + (1 - _FAINTEST) * min(1.0, math.log2(max(1, rank)) / math.log2(_WIDEST_RANK))


def mixed(front: str, back: str, part: float) -> QColor:
    """``front`` laid over ``back`` with an opacity."""
    a, b, rest = QColor(front), QColor(back), 1 - part
    return QColor.fromRgbF(
        a.redF() * part + b.redF() * rest,
        a.greenF() * part + b.greenF() * rest,
        a.blueF() * part + b.blueF() * rest,
    )


def paint_matrix(
    painter: QPainter,
    frame: Frame,
    width: int,
    cells: Mapping[Cell, int],
    rank: int,
    hovered: Cell | None,
    cursor: Cell | None,
) -> None:
    """Draws everything; cells of the usual rank carry no number, runs of another one carry it once."""
    c = look().colors
    _ticks(painter, frame, width, hovered, c)
    _groups(painter, frame, width, c)
    gap = 2 if frame.step(width) >= 9 else 1 if frame.step(width) >= 4 else 0
    small = QFont(painter.font())
    small.setPixelSize(look().px(tokens.SMALL - 2))
    colors = {value: mixed(c.accent, c.panel, shade(value)) for value in set(cells.values())}
    empty = QColor(c.hover)
    for row, kind in enumerate(frame.matrix.kinds):
        _name(painter, frame, width, row, hovered, c)
        for start, end, value in _runs(frame, row, cells):
            if value is not None or start in kind.layers:
                box = frame.span(row, start, end, width).adjusted(0, 1, -gap, -1)
                painter.fillRect(box, empty if value is None else colors[value])
        _rank(painter, frame, width, row, cells, c)
    _gaps(painter, frame, width, gap, QColor(c.panel))
    painter.setFont(small)
    for row in range(len(frame.matrix.kinds)):
        _numbers(painter, frame, width, row, cells, rank, c)
    if hovered is not None and min(hovered) >= 0 and hovered[1] < frame.matrix.num_layers:
        painter.setPen(QPen(QColor(c.muted), 1))
        painter.drawRect(frame.box(hovered, width).adjusted(0, 1, -gap - 1, -2))
    if cursor is not None:
        painter.setPen(QPen(QColor(c.accent_text), 3))
        box = frame.box(cursor, width).adjusted(0, 1, -gap, -1)
        painter.drawRect(box)
        painter.setPen(QPen(QColor(c.text), 2))
        painter.drawRect(box)


def _ticks(painter: QPainter, frame: Frame, width: int, hovered: Cell | None, c: Colors) -> None:
    layers, step = frame.matrix.num_layers, frame.step(width)
    every = next((n for n in (1, 2, 4, 5, 8, 10, 20, 40, 100) if n * step >= look().px(_TICK_ROOM)), 200)
    font = QFont(painter.font())
    font.setPixelSize(look().px(tokens.SMALL - 1))
    painter.setFont(font)
    painter.setPen(QColor(c.muted))
    title = frame.box((-1, -1), width)
    painter.drawText(
        title.adjusted(0, 0, -4, 0), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, tr("Layer")
    )
    for layer in range(0, layers, every):
        at = frame.box((-1, layer), width)
        wide = QRectF(at.center().x() - 30, at.top(), 60, at.height())
        painter.drawText(wide, Qt.AlignmentFlag.AlignCenter, str(layer))
    rank = QRectF(width - frame.right, 0, frame.right - 4, title.height())
    painter.drawText(rank, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, tr("Rank"))
    if hovered is not None and 0 <= hovered[1] < layers:
        at = frame.box((-1, hovered[1]), width)
        painter.fillRect(QRectF(at.left(), at.bottom() - 2, max(2.0, at.width() - 2), 2), QColor(c.accent))


def _groups(painter: QPainter, frame: Frame, width: int, c: Colors) -> None:
    font = QFont(painter.font())
    font.setPixelSize(look().px(tokens.SMALL - 1))
    font.setWeight(QFont.Weight.DemiBold)
    painter.setFont(font)
    painter.setPen(QColor(c.muted))
    for top, title in frame.groups:
        painter.drawText(QRectF(0, top, width, look().px(_GROUP)), Qt.AlignmentFlag.AlignVCenter, title)


def _name(painter: QPainter, frame: Frame, width: int, row: int, hovered: Cell | None, c: Colors) -> None:
    box = frame.box((row, -1), width)
    under = hovered is not None and hovered[0] == row
    painter.setFont(frame.name_font)
    painter.setPen(QColor(c.text if under else c.muted))
    painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, frame.matrix.kinds[row].title)


def _runs(frame: Frame, row: int, cells: Mapping[Cell, int]) -> Iterator[tuple[int, int, int | None]]:
    """Layers that look alike beside each other: first, last, rank; None for cells without adapter and for no cells."""
    layers, has = frame.matrix.num_layers, frame.matrix.kinds[row].layers
    whole = len(has) == layers
    start, before = 0, (cells.get((row, 0)), whole or 0 in has)
    for layer in range(1, layers + 1):
        look_of = (cells.get((row, layer)), whole or layer in has) if layer < layers else None
        if look_of != before:
            yield start, layer - 1, before[0]
            if look_of is not None:
                start, before = layer, look_of


def _gaps(painter: QPainter, frame: Frame, width: int, gap: int, color: QColor) -> None:
    if gap and frame.tops:
        for layer in range(frame.matrix.num_layers):
            right = frame.box((0, layer), width).right()
            painter.fillRect(QRectF(right - gap, frame.tops[0], gap, frame.height() - frame.tops[0]), color)


def _numbers(
    painter: QPainter, frame: Frame, width: int, row: int, cells: Mapping[Cell, int], rank: int, c: Colors
) -> None:
    """The rank once for each run of cells of the same unusual rank, where it has room."""
    metrics = painter.fontMetrics()
    for start, end, value in _runs(frame, row, cells):
        if value is None or value == rank:
            continue
        box = frame.span(row, start, end, width)
        half = metrics.horizontalAdvance(str(value)) / 2 + 3
        if 2 * half > box.width():
            continue
        middle = QRectF(box.center().x() - half, box.top() + 1, 2 * half, box.height() - 2)
        painter.fillRect(middle, mixed(c.accent, c.panel, shade(value)))  # no gap between cells runs through it
        painter.setPen(_readable(value, c))
        painter.drawText(middle, Qt.AlignmentFlag.AlignCenter, str(value))


def _readable(rank: int, c: Colors) -> QColor:
    back = mixed(c.accent, c.panel, shade(rank)).lightnessF()
    dark, light = sorted((QColor(c.text), QColor(c.panel)), key=lambda color: color.lightnessF())
    return light if back < 0.62 else dark


def _rank(painter: QPainter, frame: Frame, width: int, row: int, cells: Mapping[Cell, int], c: Colors) -> None:
    kind = frame.matrix.kinds[row]
    ranks = sorted({cells[row, layer] for layer in kind.layers if (row, layer) in cells})
    text = "–" if not ranks else str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    painter.setFont(frame.name_font)
    painter.setPen(QColor(c.text if ranks else c.faint))
    box = frame.rank_box(row, width).adjusted(0, 0, -4, 0)
    painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, text)
