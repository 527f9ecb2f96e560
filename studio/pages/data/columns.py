"""Which column plays which part: asked where the rows were not recognised, and changed by hand, also by templates."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from core.data.cells import cell
from core.data.mapping import ALL_PARTS, EXCLUDED, forgotten, is_complete, mapping_edits, parts_of
from core.data.messages import MisfitError
from core.data.preview import PreviewRow
from core.data.shapes import ANSWERS_OF_PAIR, mapped_columns
from core.data.types import Row, Shape
from core.errors import Problem, UserError
from studio.look import tokens
from studio.look.theme import look
from studio.pages.data.rows_table import cell_text, part_title
from studio.state.desk import Desk
from studio.widgets.basics import Elided, button, column, label, row, set_role, show_inside
from studio.widgets.controls import CalmList
from studio.widgets.notes import ProblemNotes
from studio.words import say, tr

_FIELD = 220


class ColumnsEditor(QWidget):
    """A field for each part: a column of the file, or a text with columns in braces, and what a row gives for it.

    Attributes:
        closed: the user is done with it.
    """

    closed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._columns: tuple[str, ...] = ()
        self._shape: Shape | None = None
        self._row: PreviewRow | None = None
        self.fields: dict[str, CalmList] = {}
        self._previews: dict[str, Elided] = {}
        self._names: dict[str, QWidget] = {}
        self._shown: tuple[str, ...] = ALL_PARTS
        self._title = label("", "strong", wrap=True)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(2, 1)
        for place, part in enumerate(ALL_PARTS):
            self._add_part(grid, place, part)
        self._problems = ProblemNotes(lambda fix: desk.session.apply(fix.edits))
        self.take = button(tr("Use these columns"), self._take, role="primary", name="use-columns")
        self.forget = button(tr("Recognise by itself"), self._forget, role="quiet", icon_name="wand-sparkles")
        self.forget.setObjectName("forget-columns")
        self.cancel = button(tr("Cancel"), self.closed.emit, role="quiet", name="cancel-columns")
        hint = label(
            tr("A part may be made of several columns: write them in braces, such as {example}; \\n is a line break.",
               example="{question}\\n{context}"),
            "muted", wrap=True,
        )  # fmt: skip
        box = column(self._title, grid, hint, self._problems, spacing=tokens.SPACE_2)
        box.addLayout(row(self.take, self.cancel, self.forget, None))
        self.setLayout(box)
        self.hide()

    def _add_part(self, grid: QGridLayout, place: int, part: str) -> None:
        field = CalmList()
        field.setEditable(True)
        field.setInsertPolicy(CalmList.InsertPolicy.NoInsert)
        field.setObjectName(f"column-{part}")
        field.setMinimumWidth(look().px(_FIELD))
        field.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        field.setSizeAdjustPolicy(CalmList.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        title = part_title(part)
        field.setAccessibleName(tr("Column for: {part}", part=title))
        edit = field.lineEdit()
        assert edit is not None  # the list is editable
        edit.setPlaceholderText(tr("none"))
        edit.setAccessibleName(tr("Column for: {part}", part=title))
        edit.textChanged.connect(lambda _text, part=part: self._changed(part))
        name = label(title, "muted")
        name.setBuddy(field)
        preview = Elided("", "muted")
        preview.setObjectName(f"preview-{part}")
        for index, item in enumerate((name, field, preview)):
            grid.addWidget(item, place, index, Qt.AlignmentFlag.AlignVCenter)
        self.fields[part], self._previews[part], self._names[part] = field, preview, name

    # --- what it shows

    def ask(self, columns: Sequence[str]) -> None:
        """Asks about the columns of a file that was not recognised; no columns ask nothing."""
        self._begin(columns, None, {})
        self._set(_guess(columns, pairs=self._wants_pairs()))
        self._title.setText(
            tr("Which columns hold the two answers?") if self._wants_pairs() else
            tr("Which columns should be learned from?")
        )  # fmt: skip
        self.setVisible(len(columns) > (1 if self._wants_pairs() else 0))
        self.cancel.hide()

    def begin(self, columns: Sequence[str], shape: Shape | None, mapping: Mapping[str, str]) -> None:
        """Opens it on what counts now, changed by ``mapping``."""
        self._begin(columns, shape, mapping)
        self._title.setText(tr("Which column plays which part"))
        self.cancel.show()
        self.show()

    def show_row(self, chosen: PreviewRow | None) -> None:
        """Shows another row's parts beside the fields."""
        self._row = chosen
        self._preview()

    def _begin(self, columns: Sequence[str], shape: Shape | None, mapping: Mapping[str, str]) -> None:
        self._columns, self._shape = tuple(columns), shape
        for field in self.fields.values():
            field.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
            field.clear()
            field.addItems(list(self._columns))
            field.blockSignals(False)  # noqa: FBT003
        data = self._desk.session.spec.data
        self._shown = parts_of(data, shape)
        for part, field in self.fields.items():
            for item in (field, self._names[part]):
                show_inside(item, is_shown=part in self._shown)
        self._set({part: text for part, text in mapping.items() if part in self._shown})
        self.forget.setVisible(bool(data.mapping) or data.format != "auto")

    def _set(self, mapping: Mapping[str, str]) -> None:
        for part, field in self.fields.items():
            edit = field.lineEdit()
            assert edit is not None
            edit.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
            field.setCurrentIndex(-1)
            field.setEditText(mapping.get(part, ""))
            edit.blockSignals(False)  # noqa: FBT003
        self._refresh()

    def _wants_pairs(self) -> bool:
        return self._desk.session.spec.data.train_on == "preferences"

    # --- what is typed

    def mapping(self) -> dict[str, str]:
        """The mapping as it stands in the fields."""
        return {part: text for part, field in self.fields.items() if (text := field.currentText().strip())}

    def _changed(self, part: str) -> None:
        """Running text, a conversation, a prompt with its answer, and the two of a pair exclude each other."""
        mapping = self.mapping()
        if part in mapping:
            rest = {name: text for name, text in mapping.items() if name not in EXCLUDED[part]}
            if rest != mapping:
                typed = self.fields[part].lineEdit()
                place = typed.cursorPosition() if typed is not None else 0
                self._set(rest)
                if typed is not None:
                    typed.setCursorPosition(place)
        self._refresh()

    def _refresh(self) -> None:
        mapping = self.mapping()
        problems: tuple[Problem, ...] = ()
        try:
            mapped_columns(tr("The file"), self._columns, mapping)
        except UserError as failure:
            problems = failure.problems
        self._problems.show_problems(problems)
        is_twice = len(set(mapping.values())) < len(mapping)  # one column cannot be both
        self.take.setEnabled(is_complete(mapping, pairs=self._wants_pairs()) and not problems and not is_twice)
        self._preview()

    def _preview(self) -> None:
        mapping, chosen = self.mapping(), self._row
        for part, preview in self._previews.items():
            words, is_bad = "", False
            if part in mapping and chosen is not None and chosen.value is not None:
                words, is_bad = _part_of(chosen, mapping[part], self._columns)
            preview.set_text(words)
            set_role(preview, "bad" if is_bad else "muted")
            show_inside(preview, is_shown=part in self._shown)

    def _take(self) -> None:
        session = self._desk.session
        session.apply(mapping_edits(session.spec.data, self._shape, self.mapping()))
        self.closed.emit()

    def _forget(self) -> None:
        self._desk.session.apply(forgotten())
        self.closed.emit()


def _guess(columns: Sequence[str], *, pairs: bool) -> dict[str, str]:
    """What the fields begin with where nobody knows what the columns are: their order."""
    parts: tuple[str, ...] = ("prompt", "completion") if len(columns) > 1 else ("text",)
    if pairs:
        parts = ("prompt", *ANSWERS_OF_PAIR) if len(columns) > len(ANSWERS_OF_PAIR) else ANSWERS_OF_PAIR
    return dict(zip(parts, columns, strict=False))


def _part_of(chosen: PreviewRow, text: str, columns: Sequence[str]) -> tuple[str, bool]:
    """What a row gives for a part, on one line, and whether it cannot."""
    value = chosen.value or {}
    try:
        name = mapped_columns("", columns, {"prompt": text})["prompt"]
    except UserError:  # said below the fields, once
        return "", True
    try:
        found = cell(Row("", chosen.line, value), name)
    except MisfitError as failure:
        return say(str(failure)), True
    words = cell_text(found)
    return (f"→ {words}", False) if words else (tr("→ nothing in this row"), False)
