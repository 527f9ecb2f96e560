"""The card of the target modules: quick sets, the brush, the matrix, and what lies outside the layers."""

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from core.errors import Severity
from core.facts.types import ModelFacts, Role
from core.plan.matrix import Cell, Matrix
from core.plan.types import Target
from studio.look import tokens
from studio.look.theme import look
from studio.pages.adapter.changes import ChangeLabel, Changes
from studio.pages.adapter.grid import MatrixGrid
from studio.state.desk import Desk
from studio.widgets.basics import Card, Elided, button, label, row
from studio.widgets.controls import CalmSpin, Segments
from studio.widgets.flow import FlowLayout
from studio.widgets.notes import ProblemNotes
from studio.words import tr

PATHS = ("adapter.targets", "adapter.layers", "adapter.rank_pattern")
_ROLES: dict[str, tuple[Role, ...]] = {"attention": ("attention",), "mlp": ("mlp",), "all": ()}


class PlacesCard(Card):
    """Where adapters go. What is painted becomes the shortest targets, layers and ranks that mean exactly it."""

    def __init__(self, desk: Desk, changes: Changes) -> None:
        super().__init__(tr("Target modules"))
        self._desk = desk
        self._session = desk.session
        self._targets: Sequence[Target] | None = None
        self.matrix: Matrix | None = None
        self.grid: MatrixGrid | None = None
        self._model: ModelFacts | None = None
        self.change = ChangeLabel(desk, changes, PATHS)
        self.head.addWidget(self.change)
        self._build_sets()
        self._place = QVBoxLayout()
        self.add(self._place)
        self.words = Elided("", "muted")
        self.words.setObjectName("matrix-words")
        self.add(self.words)
        self._outside = QVBoxLayout()
        self._outside.setSpacing(tokens.SPACE_1)
        self.add(self._outside)
        self._boxes: dict[str, QPushButton] = {}
        self._notes = ProblemNotes(lambda fix: self._session.apply(fix.edits), spacing=tokens.SPACE_2)
        self.add(self._notes)
        self._session.plan_changed.connect(self._planned)
        self._planned()

    def _build_sets(self) -> None:
        self.sets = Segments(
            [("attention", tr("Attention")), ("mlp", tr("MLP")), ("all", tr("All linear")), ("custom", tr("Custom"))],
            [
                tr("Only the projections of attention: how tokens look at each other."),
                tr("Only the MLP blocks: where much of the knowledge lies."),
                tr("Every linear layer but the output head; learns most for its size."),
            ],
            "set",
        )
        self.sets.chosen.connect(self._set_chosen)
        self.spans = Segments(
            [("all", tr("All")), ("last", tr("Last")), ("first", tr("First")), ("custom", tr("Custom"))],
            [
                tr("In every layer."),
                tr("Only in the last layers, which are closest to the answer; the first ones stay as they are."),
                tr("Only in the first layers."),
            ],
            "span",
        )
        self.spans.chosen.connect(self._span_chosen)
        self.count = CalmSpin(whole=True)
        self.count.setObjectName("span-count")
        self.count.setAccessibleName(tr("Number of layers"))
        self.count.setFixedWidth(look().px(56))
        self.count.setRange(1, 1)
        self.count.valueChanged.connect(lambda _value: self._count_changed())
        self.brush = CalmSpin(whole=True)
        self.brush.setObjectName("brush-rank")
        self.brush.setRange(0, 1024)
        self.brush.setSpecialValueText(tr("usual"))
        self.brush.setFixedWidth(look().px(72))
        self.brush.setAccessibleName(tr("Rank of the brush"))
        self.brush.setToolTip(
            tr("The rank that painting gives to cells. With 0 they get the usual rank, and painted ones keep theirs.")
        )
        self.brush.valueChanged.connect(self._brush_changed)
        self.clear = button(tr("Clear"), self._clear, role="quiet", icon_name="eraser", name="matrix-clear")
        first, second = label(tr("Modules"), "muted"), label(tr("Layers"), "muted")
        widest = max(first.sizeHint().width(), second.sizeHint().width())
        for item in (first, second):
            item.setMinimumWidth(widest)
        layers, painting = QWidget(), QWidget()
        layers.setLayout(row(second, self.spans, self.count))
        painting.setLayout(row(tokens.SPACE_3, label(tr("Paint with rank"), "muted"), self.brush, self.clear))
        sets = FlowLayout(spacing=tokens.SPACE_2)
        sets.addWidget(layers)
        sets.addWidget(painting)
        self.add(row(first, self.sets))
        self.add(sets)

    # --- following the plan

    def _planned(self) -> None:
        model, planned = self._session.model, self._session.plan
        if model is not self._model:
            self._take_model(model)
        if planned is None or self.matrix is None or self.grid is None:
            return
        rank = self._session.spec.adapter.rank
        if planned.targets != self._targets or rank != self.grid.rank:
            self._targets = planned.targets
            self.grid.show_cells(self.matrix.cells(planned.targets), rank)
            self._show_sets()
            chosen = self.matrix.chosen_outside(planned.targets)
            for name, box in self._boxes.items():
                box.setChecked(name in chosen)
        self._show_problems()

    def _take_model(self, model: ModelFacts | None) -> None:
        self._model, self._targets = model, None
        _empty(self._place)
        _empty(self._outside)
        self._boxes = {}
        self.matrix = self.grid = None
        if model is None or not model.linears:
            return
        self.matrix = Matrix(model)
        self.grid = MatrixGrid(self.matrix)
        self.grid.painted.connect(self._painted)
        self.grid.pointed.connect(self._pointed)
        self.grid.rank_given.connect(self._rank_given)
        self.grid.brush = round(self.brush.value()) or None
        self._place.addWidget(self.grid)
        remembered = self._desk.memory.get("adapter.count")
        with QSignalBlocker(self.count):
            self.count.setRange(1, max(1, model.num_layers))
            self.count.setValue(remembered if isinstance(remembered, int) else max(1, model.num_layers // 2))
        if self.matrix.outside:
            line = row(label(tr("Outside the layers"), "muted"))
            for linear in self.matrix.outside:
                box = button(linear.name)
                box.setCheckable(True)
                box.setObjectName(f"outside-{linear.name}")
                size = f"{linear.in_features:,} × {linear.out_features:,}"
                box.setToolTip(tr("{size}; adapters here are rarely needed.", size=size))
                box.clicked.connect(self._outside_clicked)
                self._boxes[linear.name] = box
                line.addWidget(box)
            line.addStretch(1)
            self._outside.addLayout(line)
        self._pointed(None)

    def _show_sets(self) -> None:
        grid, matrix = self.grid, self.matrix
        assert grid is not None
        assert matrix is not None
        rows = frozenset(row for row, _ in grid.cells)
        layers = frozenset(layer for _, layer in grid.cells)
        product = {cell for cell in matrix.every() if cell[0] in rows and cell[1] in layers}
        whole = product == grid.cells.keys() and bool(product)
        kinds = {name: frozenset(cell[0] for cell in matrix.every(*roles)) for name, roles in _ROLES.items()}
        name = next((name for name, members in kinds.items() if members == rows), "custom") if whole else "custom"
        count, last = len(layers), matrix.num_layers - 1
        span = "custom"
        if whole and count == matrix.num_layers:
            span = "all"
        elif whole and max(layers) - min(layers) == count - 1 and (last in layers or 0 in layers):
            span = "last" if last in layers else "first"
            self._set_count(count)
        self.sets.choose(name)
        self.spans.choose(span)
        self.sets.button("custom").setEnabled(name == "custom")
        self.spans.button("custom").setEnabled(span == "custom")

    def _show_problems(self) -> None:
        found = tuple(
            problem
            for problem in self._session.problems
            if problem.path in PATHS and problem.severity is not Severity.INFO
        )
        self._notes.show_problems(found)

    # --- what the user does

    def _set_chosen(self, name: str) -> None:
        if name in _ROLES:
            self._choose(_ROLES[name], self.spans.value())
        else:
            self._show_sets()

    def _span_chosen(self, span: str) -> None:
        if span == "custom":
            self._show_sets()
            return
        self._choose(self._roles_now(), span)

    def _count_changed(self) -> None:
        self._desk.memory["adapter.count"] = round(self.count.value())
        if self.spans.value() in ("last", "first"):
            self._choose(self._roles_now(), self.spans.value())

    def _roles_now(self) -> tuple[Role, ...]:
        return _ROLES.get(self.sets.value(), ())

    def _choose(self, roles: tuple[Role, ...], span: str) -> None:
        grid, matrix = self.grid, self.matrix
        if grid is None or matrix is None:
            return
        count, layers = round(self.count.value()), matrix.num_layers
        allowed = {"last": range(layers - count, layers), "first": range(count)}.get(span, range(layers))
        rank = grid.rank
        self._write({cell: grid.cells.get(cell, rank) for cell in matrix.every(*roles) if cell[1] in allowed})

    def _clear(self) -> None:
        self._write({})

    def _painted(self, cells: dict[Cell, int], gesture: str) -> None:
        self._write(cells, gesture)
        grid = self.grid
        if grid is not None and min(grid.spot) >= 0:
            self._pointed(grid.spot)

    def _rank_given(self, kind: int, rank: int) -> None:
        grid, matrix = self.grid, self.matrix
        if grid is None or matrix is None:
            return
        mine = [cell for cell in grid.cells if cell[0] == kind]
        chosen = mine or [(kind, layer) for layer in matrix.kinds[kind].layers]
        self._write(grid.cells | dict.fromkeys(chosen, rank))

    def _outside_clicked(self) -> None:
        if self.grid is not None:
            self._write(self.grid.cells)

    def _write(self, cells: dict[Cell, int], gesture: str = "") -> None:
        if self.matrix is None:
            return
        outside = [name for name, box in self._boxes.items() if box.isChecked()]
        found = self.matrix.express(cells, self._session.spec.adapter.rank, outside)
        self._session.apply(found.edits, gesture=gesture)

    def _brush_changed(self, value: float) -> None:
        if self.grid is not None:
            self.grid.brush = round(value) or None

    def _set_count(self, count: int) -> None:
        with QSignalBlocker(self.count):
            self.count.setValue(count)

    def _pointed(self, at: Cell | None) -> None:
        if at is None or self.grid is None:
            self.words.set_text(tr("Drag to set or clear. Space sets, Shift+arrows paint, Enter edits a rank."))
        else:
            self.words.set_text(self.grid.words_for(at))


def _empty(layout: QVBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget, inner = item.widget(), item.layout()
        if isinstance(widget, QWidget):
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            while (part := inner.takeAt(0)) is not None:
                made = part.widget()
                if isinstance(made, QWidget):
                    made.hide()
                    made.deleteLater()
