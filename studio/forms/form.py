"""Rows of settings, made from core's table: label, editor, reset, help, and problems where they belong."""

from collections.abc import Iterable

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from core.errors import Severity
from core.spec.fields import FieldInfo
from core.spec.run_spec import field_at, fields, is_visible
from studio.forms.editors import Editor, editor_for
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, label, row, show_inside, tool_button
from studio.widgets.notes import ProblemNotes
from studio.words import say, tr

_LABEL_WIDTH = 148
_TALL = 60  # editors of several lines have their label at the first one
_NO_LIMIT = 16_777_215  # Qt's own largest width


def _indent() -> int:
    """Where editors begin while labels stand beside them."""
    return look().px(_LABEL_WIDTH) + tokens.SPACE_3


class FieldRow(QWidget):
    """One setting: its label (with the help on hover and focus), its editor, a reset button, and its problems."""

    def __init__(self, desk: Desk, path: str, editor: Editor | None = None, *, show_help: bool = False) -> None:
        """``editor`` replaces the usual one of the setting's kind; ``show_help`` writes the help below the editor."""
        super().__init__()
        self.desk = desk
        self.info: FieldInfo = field_at(path)
        self.editor = editor or editor_for(self.info)
        setting = self.info.setting
        self.label = QLabel(say(setting.title))
        self.label.setProperty("role", "term")
        self.label.setToolTip(_tip(say(setting.help)))
        self.label.setBuddy(self.editor.main_widget())
        self.label.setWordWrap(True)
        self._holder = QWidget()
        self._holding = QHBoxLayout(self._holder)
        self._holding.setContentsMargins(0, 0, 0, 0)
        self._holding.addWidget(self.label, 1, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.editor.setToolTip(_tip(say(setting.help)))
        self.reset = tool_button("rotate-ccw", tr("Reset to the default"), self._reset)
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(policy)
        self._top = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._top.setContentsMargins(0, 0, 0, 0)
        tall = self.editor.sizeHint().height() > _TALL
        self._top.addWidget(self._holder, 0, Qt.AlignmentFlag.AlignTop if tall else self._top.alignment())
        self._beside = row(self.editor, self.reset, spacing=tokens.SPACE_3)
        self._beside.setStretch(0, 1)
        self._top.addLayout(self._beside, 1)
        self._aside: QWidget | None = None
        self._below = QVBoxLayout()
        self._below.setSpacing(tokens.SPACE_1)
        if show_help:
            self._below.addWidget(label(say(setting.help), "muted", wrap=True))
        self._notes = ProblemNotes(lambda fix: desk.session.apply(fix.edits))
        self._below.addWidget(self._notes)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(tokens.SPACE_1)
        outer.addLayout(self._top)
        outer.addLayout(self._below)
        self._stacked: bool | None = None
        self._stack(on=False)
        self.editor.edited.connect(self._edited)
        desk.session.spec_changed.connect(self._spec_changed)
        desk.session.plan_changed.connect(self._problems_changed)
        desk.session.ways_out.found.connect(self._problems_changed)
        self._refresh()
        self._problems_changed()

    def add_below(self, item: QWidget) -> None:
        """Puts something under the editor, above the problems."""
        self._below.insertWidget(self._below.count() - 1, item)

    def set_aside(self, item: QWidget) -> None:
        """Puts something at the right end of the row; where the label stands above the editor, beside the label."""
        self._aside = item
        (self._holding if self._stacked else self._beside).addWidget(item)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """No wider than the editor: where space is short, the label stands above it."""
        hint = super().minimumSizeHint()
        below = self._below.minimumSize().width() - (0 if self._stacked else _indent())
        return QSize(max(self._editor_width(), below), hint.height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Puts the label beside or above the editor."""
        super().resizeEvent(event)
        aside = self._aside
        more = tokens.SPACE_3 + max(aside.sizeHint().width(), aside.minimumWidth()) if aside is not None else 0
        self._stack(on=self.width() < _indent() + self._editor_width() + more)

    def _editor_width(self) -> int:
        return self.editor.minimumSizeHint().width() + tokens.SPACE_3 + self.reset.sizeHint().width()

    def _stack(self, *, on: bool) -> None:
        if on == self._stacked:
            return
        self._stacked = on
        self._top.setDirection(QBoxLayout.Direction.TopToBottom if on else QBoxLayout.Direction.LeftToRight)
        self._top.setSpacing(tokens.SPACE_1 if on else tokens.SPACE_3)
        # a label that may wrap asks for a narrow shape, and would break a title that has room on one line
        title = self.label.fontMetrics().horizontalAdvance(self.label.text()) + 2
        self.label.setMinimumWidth(title if on else min(title, look().px(_LABEL_WIDTH)))
        self._holder.setMinimumWidth(0 if on else look().px(_LABEL_WIDTH))
        self._holder.setMaximumWidth(_NO_LIMIT if on else look().px(_LABEL_WIDTH))
        self._below.setContentsMargins(0 if on else _indent(), 0, 0, 0)
        if self._aside is not None:
            (self._beside if on else self._holding).removeWidget(self._aside)
            (self._holding if on else self._beside).addWidget(self._aside)

    def _edited(self, value: object) -> None:
        self.desk.session.edit(self.info.path, value)

    def _reset(self) -> None:
        self.desk.session.edit(self.info.path, self.info.default)
        self.editor.main_widget().setFocus()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        when = self.info.setting.visible_when
        if self.info.path in paths or (when is not None and when.path in paths):
            self._refresh()

    def _refresh(self) -> None:
        spec = self.desk.session.spec
        value = spec.get(self.info.path)
        self.editor.show_value(value)
        self.reset.setVisible(value != self.info.default)
        show_inside(self, is_shown=is_visible(spec, self.info))

    def _problems_changed(self) -> None:
        found = tuple(
            problem
            for problem in self.desk.session.problems
            if problem.path == self.info.path and problem.severity is not Severity.INFO
        )
        self._notes.show_problems(found, awaiting=self.desk.session.ways_out.is_looking)


class MoreSettings(QWidget):
    """“More settings”: rows that open and close with a button; whether they are open is remembered for each page."""

    def __init__(self, desk: Desk, page: str, rows: Iterable[QWidget]) -> None:
        super().__init__()
        self._desk, self._page = desk, page
        self._button = button("", self._turn, role="quiet")
        self._button.setObjectName(f"more-{page}")
        self._card = Card()
        for item in rows:
            self._card.add(item)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        box.addWidget(self._button, 0, Qt.AlignmentFlag.AlignLeft)
        box.addWidget(self._card)
        self._show(page in desk.preferences.now.more_settings)

    def _turn(self) -> None:
        is_open = not self._card.isVisibleTo(self)
        others = tuple(name for name in self._desk.preferences.now.more_settings if name != self._page)
        self._desk.preferences.set("more_settings", (*others, self._page) if is_open else others)
        self._show(is_open)

    def _show(self, is_open: bool) -> None:
        from studio.look.icons import icon

        self._card.setVisible(is_open)
        self._button.setIcon(icon("chevron-down" if is_open else "chevron-right", "muted"))
        self._button.setText(tr("Fewer settings") if is_open else tr("More settings"))


def rows_of(desk: Desk, section: str, *, advanced: bool, without: Iterable[str] = ()) -> list[FieldRow]:
    """A row for every simple (or every advanced) setting of a section, but for some paths."""
    left_out = frozenset(without)
    return [
        FieldRow(desk, info.path)
        for info in fields()
        if info.section == section and info.setting.advanced is advanced and info.path not in left_out
    ]


def _tip(text: str) -> str:
    """Rich text, so that a long tip wraps."""
    from html import escape

    return f"<p>{escape(text)}</p>"
