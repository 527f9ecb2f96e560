"""The matrix itself: a row for each kind of module, a column for each layer, painted on with mouse or keyboard."""

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from core.plan.matrix import Cell, Matrix
from studio.look.theme import look
from studio.pages.adapter.grid_painting import Frame, paint_matrix
from studio.pages.adapter.meanings import meaning_of
from studio.widgets.controls import CalmSpin
from studio.words import tr

HEADER = -1
"""Row or column number of the headers."""


@dataclass(slots=True)
class _Stroke:
    """A drag: what it does to the cells it meets. ``rank`` None clears."""

    rank: int | None
    keeps: bool
    last: Cell
    name: str


class MatrixGrid(QWidget):
    """A heat grid of which modules get adapters, and of what rank.

    Rows are kinds of modules, columns are layers. A press sets or clears, a drag goes on with it; headers take whole
    rows and columns. On the keyboard arrows move, Space sets or clears, Shift+arrows paint, Enter edits a row's rank.

    Attributes:
        painted: the cells with their ranks after a change by the user, and the name of the gesture that made it.
        pointed: the cell under the mouse or the cursor, with `HEADER` for headers; None when there is none.
        rank_given: a kind's number and the rank that the user typed for it.
    """

    painted = Signal(object, str)
    pointed = Signal(object)
    rank_given = Signal(int, int)

    def __init__(self, matrix: Matrix) -> None:
        super().__init__()
        self.matrix = matrix
        self.cells: dict[Cell, int] = {}
        self.rank = 16
        self.brush: int | None = None
        self.spot: Cell = (0, 0)
        self._hovered: Cell | None = None
        self._stroke: _Stroke | None = None
        self._strokes = 0
        self._editing = 0
        self.frame = Frame(matrix)
        self.setObjectName("matrix")
        self.setAccessibleName(tr("Target modules: layers and modules"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.field = CalmSpin(whole=True)
        self.field.setParent(self)
        self.field.setObjectName("row-rank")
        self.field.setAccessibleName(tr("Rank of this module"))
        self.field.setRange(1, 1024)
        self.field.installEventFilter(self)
        self.field.hide()
        self.field.editingFinished.connect(self._typed)

    def show_cells(self, cells: Mapping[Cell, int], rank: int) -> None:
        """Shows a choice; ``rank`` is the one that needs no number."""
        if cells != self.cells or rank != self.rank:
            self.cells, self.rank = dict(cells), rank
            self.update()
            self._describe()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As high as its rows."""
        return QSize(look().px(480), self.frame.height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Cells may become narrow, rows stay readable."""
        return QSize(look().px(320), self.frame.height())

    def cell_box(self, cell: Cell) -> QRectF:
        """Where a cell, or a header of `HEADER`, lies in the widget."""
        return self.frame.box(cell, self.width())

    # --- what the user does

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Begins a stroke, or the edit of a row's rank."""
        at = self.frame.at(event.position(), self.width())
        if at is None or event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton):
            return
        if at[1] == self.matrix.num_layers:
            self.edit_rank(at[0])
            return
        self.spot = at
        self._begin(at, erase=event.button() is Qt.MouseButton.RightButton)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Goes on with the stroke, or points."""
        at = self.frame.at(event.position(), self.width())
        if self._stroke is not None and at is not None and self._same_part(at, self._stroke.last):
            self._paint_over(_line(self._stroke.last, at))
            self._stroke.last = self.spot = at
        self.setCursor(Qt.CursorShape.ArrowCursor if at is None else Qt.CursorShape.PointingHandCursor)
        if at != self._hovered:
            self._hovered = at
            self.pointed.emit(at)
            self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Ends the stroke."""
        self._stroke = None

    def leaveEvent(self, _event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Points at nothing, or at the cursor while the grid has the focus."""
        self._hovered = None
        self.pointed.emit(self.spot if self.hasFocus() else None)
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 (Qt's name)
        """Shows the cursor."""
        super().focusInEvent(event)
        self._describe()
        self.pointed.emit(self.spot)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 (Qt's name)
        """Hides the cursor."""
        super().focusOutEvent(event)
        self.pointed.emit(self._hovered)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Moves, sets, clears and paints."""
        key = event.key()
        steps = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        if key in steps:
            far = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            self._move(*steps[Qt.Key(key)], far=far, paint=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            self._go((self.spot[0], 0 if key == Qt.Key.Key_Home else self.matrix.num_layers - 1))
        elif key == Qt.Key.Key_Space:
            self._begin(self.spot)
            self._stroke = None
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._begin(self.spot, erase=True)
            self._stroke = None
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.spot[0] != HEADER:
            self.edit_rank(self.spot[0])
        else:
            super().keyPressEvent(event)

    def _move(self, down: int, right: int, *, far: bool, paint: bool) -> None:
        if far:
            down, right = down * len(self.matrix.kinds), right * self.matrix.num_layers
        start = self.spot
        lowest = 0 if far else HEADER
        row = min(max(start[0] + down, lowest if down else start[0]), len(self.matrix.kinds) - 1)
        layer = min(max(start[1] + right, lowest if right else start[1]), self.matrix.num_layers - 1)
        if paint and HEADER not in (*start, row, layer):
            self._strokes += 1
            self._stroke = _Stroke(self.cells.get(start), keeps=False, last=start, name=f"matrix-{self._strokes}")
            self._paint_over(_line(start, (row, layer)))
            self._stroke = None
        self._go((row, layer))

    def _go(self, cell: Cell) -> None:
        self.spot = cell
        self._describe()
        self.pointed.emit(cell)
        self.update()

    # --- strokes

    def _begin(self, at: Cell, *, erase: bool = False) -> None:
        """Sets where anything under ``at`` is clear (or of another rank than the brush), else clears."""
        under = self._under(at)
        if not under:
            return
        if self.brush is None:
            clears = all(cell in self.cells for cell in under)
        else:
            clears = all(self.cells.get(cell) == self.brush for cell in under)
        rank = None if erase or clears else (self.brush or self.rank)
        self._strokes += 1
        self._stroke = _Stroke(rank, keeps=self.brush is None, last=at, name=f"matrix-{self._strokes}")
        self._paint_over([at])

    def _same_part(self, at: Cell, other: Cell) -> bool:
        """Whether a stroke may go on from one to the other: cells to cells, headers to headers of their kind."""
        same = [(one == HEADER) == (two == HEADER) for one, two in zip(at, other, strict=True)]
        return all(same) and at[1] < self.matrix.num_layers

    def _under(self, at: Cell) -> list[Cell]:
        kinds, layers = range(len(self.matrix.kinds)), range(self.matrix.num_layers)
        rows = kinds if at[0] == HEADER else (at[0],)
        columns = layers if at[1] == HEADER else (at[1],)
        return [(row, layer) for row in rows for layer in columns if layer in self.matrix.kinds[row].layers]

    def _paint_over(self, path: list[Cell]) -> None:
        stroke = self._stroke
        assert stroke is not None
        cells = dict(self.cells)
        for at in path:
            for cell in self._under(at):
                if stroke.rank is None:
                    cells.pop(cell, None)
                elif not (stroke.keeps and cell in cells):
                    cells[cell] = stroke.rank
        if cells != self.cells:
            self.show_cells(cells, self.rank)
            self.painted.emit(cells, stroke.name)

    # --- the rank of a row

    def edit_rank(self, kind: int) -> None:
        """Opens the field for the rank of a whole row."""
        self._editing = kind
        ranks = sorted(rank for cell, rank in self.cells.items() if cell[0] == kind)
        box = self.frame.rank_box(kind, self.width())
        height = self.field.sizeHint().height()
        with QSignalBlocker(self.field):
            self.field.setValue(ranks[-1] if ranks else self.rank)
        self.field.setGeometry(round(box.left()), round(box.center().y() - height / 2), round(box.width()), height)
        self.field.show()
        self.field.setFocus()
        self.field.selectAll()

    def _typed(self) -> None:
        if not self.field.isHidden():
            self._close_field()
            self.rank_given.emit(self._editing, round(self.field.value()))

    def _close_field(self) -> None:
        had_focus = self.field.hasFocus()
        with QSignalBlocker(self.field):
            self.field.hide()
        if had_focus:
            self.setFocus()

    def eventFilter(self, watched: object, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Enter takes the rank, Escape leaves it as it was; neither goes on to the grid."""
        if watched is not self.field or not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress:
            return False
        if event.key() == Qt.Key.Key_Escape:
            self._close_field()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.field.interpretText()
            self._typed()
        else:
            return False
        return True

    # --- words and picture

    def words_for(self, at: Cell) -> str:
        """A cell or header in words."""
        row, layer = at
        if row == HEADER and layer == HEADER:
            return tr("All modules in all layers")
        if row == HEADER:
            return tr("Layer {layer}, all modules", layer=layer)
        title = self.matrix.kinds[row].title
        if layer in (HEADER, self.matrix.num_layers):
            return tr("{module} in all layers", module=title)
        linears = self.matrix.kinds[row].layers.get(layer)
        if linears is None:
            return tr("Layer {layer} has no {module}", layer=layer, module=title)
        size = f"{linears[0].in_features:,} × {linears[0].out_features:,}"
        rank = self.cells.get(at)
        if rank is None:
            return tr("{module} in layer {layer} · {size} · no adapter", module=title, layer=layer, size=size)
        count = sum(rank * (linear.in_features + linear.out_features) for linear in linears)
        return tr(
            "{module} in layer {layer} · {size} · rank {rank} adds {count} parameters",
            module=title, layer=layer, size=size, rank=rank, count=f"{count:,}",
        )  # fmt: skip

    def event(self, event: QEvent) -> bool:
        """Tips: what a module does, on its name; what a cell is, elsewhere."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            self._tip(event.pos(), event.globalPos())
            return True
        return super().event(event)

    def _tip(self, position: QPoint, globally: QPoint) -> None:
        at = self.frame.at(position.toPointF(), self.width())
        if at is None:
            QToolTip.hideText()
            return
        text = self.words_for(at)
        if at[0] != HEADER and at[1] == HEADER:
            text = meaning_of(self.matrix.kinds[at[0]]) or text
        elif at[1] == self.matrix.num_layers:
            text = tr("Rank of {module}; press to change it", module=self.matrix.kinds[at[0]].title)
        QToolTip.showText(globally, text, self)

    def _describe(self) -> None:
        self.setAccessibleDescription(self.words_for(self.spot))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Headers, cells, ranks, and the ring of the cursor."""
        painter = QPainter(self)
        cursor = self.spot if self.hasFocus() else None
        paint_matrix(painter, self.frame, self.width(), self.cells, self.rank, self._hovered, cursor)
        painter.end()


def _line(start: Cell, end: Cell) -> list[Cell]:
    """The cells that a straight stroke meets, so that a fast one leaves no gaps."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (round(start[0] + (end[0] - start[0]) * step / steps), round(start[1] + (end[1] - start[1]) * step / steps))
        for step in range(steps + 1)
    ]
