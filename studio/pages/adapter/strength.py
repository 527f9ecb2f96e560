"""Method, rank, alpha and dropout: rank and alpha on logarithmic sliders, with a chain between them."""

import math

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from core.errors import Edit
from core.spec.run_spec import field_at
from studio.forms.editors import NumberEditor
from studio.forms.form import FieldRow
from studio.look import tokens
from studio.look.icons import icon
from studio.look.theme import look
from studio.pages.adapter.changes import ChangeLabel, Changes
from studio.state.desk import Desk
from studio.widgets.basics import Card, label, show_inside, tool_button
from studio.widgets.controls import CalmSpin
from studio.widgets.flow import FlowLayout
from studio.words import say, tr

RANK_STOPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_USUAL_FACTOR = 2.0
_SAVE_MS = 600


class LinkedRow(FieldRow):
    """The row of rank or alpha: rank takes alpha along while they are linked, alpha then changes the factor."""

    def __init__(self, desk: Desk, path: str, link: "AlphaLink") -> None:
        info = field_at(path)
        self._link = link
        super().__init__(desk, path, NumberEditor(info, RANK_STOPS) if path == "adapter.rank" else None)

    def _edited(self, value: object) -> None:
        edits = [Edit(self.info.path, value)]
        if self.info.path == "adapter.rank" and isinstance(value, int) and self._link.is_on:
            edits.append(Edit("adapter.alpha", self._link.alpha_for(value)))
        self.desk.session.apply(edits)

    def _reset(self) -> None:
        self._edited(self.info.default)
        self.editor.main_widget().setFocus()


class AlphaLink(QWidget):
    """The chain between rank and alpha, the factor that it holds, and the scale with which the adapters act."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._session = desk.session
        self.chain = tool_button("link", "", self._turn, name="alpha-link")
        self.chain.setCheckable(True)
        self.words = label(tr("alpha ="), "muted")
        self.factor = CalmSpin(whole=False)
        self.factor.setRange(0.01, 64)
        self.factor.setSingleStep(0.5)
        self.factor.setFixedWidth(look().px(64))
        self.factor.setObjectName("alpha-factor")
        self.factor.setAccessibleName(tr("Alpha as a multiple of rank"))
        self.factor.valueChanged.connect(self._typed)
        self.times = label(tr("× rank"), "muted")
        self.scale = label("", "muted")
        self.scale.setObjectName("alpha-scale")
        self.scale.setIndent(tokens.SPACE_3)
        self.scale.setToolTip(
            tr(
                "What the adapters compute is multiplied by this number before it is added to the base model’s result. "
                "More makes them louder; about 2 is usual."
            )
        )
        box = FlowLayout(self)
        for item in (self.chain, self.words, self.factor, self.times, self.scale):
            box.addWidget(item)
        self._shown_on: bool | None = None
        self._factor = desk.preferences.now.linked_alpha or _USUAL_FACTOR
        self._saver = QTimer(self)
        self._saver.setSingleShot(True)
        self._saver.setInterval(_SAVE_MS)
        self._saver.timeout.connect(self._save)
        self._session.spec_changed.connect(self._spec_changed)
        desk.preferences.changed.connect(self._preferred)
        self._refresh()

    @property
    def is_on(self) -> bool:
        """Whether alpha moves with rank."""
        return self._desk.preferences.now.linked_alpha > 0

    def alpha_for(self, rank: int) -> float:
        """Alpha at a rank, by the factor, within alpha's bounds."""
        bounds = field_at("adapter.alpha").setting.bounds
        assert bounds is not None
        alpha = float(f"{self._factor * rank:.10g}")
        return min(max(alpha, bounds.low or 0.0), bounds.high or alpha)

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if paths & {"adapter.rank", "adapter.alpha", "adapter.method"}:
            self._refresh()

    def _preferred(self, name: str) -> None:
        if name == "linked_alpha":
            self._refresh()

    def _refresh(self) -> None:
        adapter = self._session.spec.adapter
        rank, alpha = max(1, adapter.rank), adapter.alpha
        if abs(alpha - self.alpha_for(rank)) > 1e-6 * abs(alpha):
            self._factor = float(f"{alpha / rank:.4g}")
            if self.is_on:
                self._saver.start()
        if self.is_on is not self._shown_on:
            self._show_chain(on=self.is_on)
        self.factor.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        self.factor.setValue(self._factor)
        self.factor.blockSignals(False)  # noqa: FBT003
        root = adapter.method == "rslora"
        value = f"{alpha / (math.sqrt(rank) if root else rank):.3g}"
        self.scale.setText(
            tr("acts × {value} (alpha / √rank)", value=value)
            if root
            else tr("acts × {value} (alpha / rank)", value=value)
        )
        show_inside(self, is_shown=adapter.method != "full")

    def _show_chain(self, *, on: bool) -> None:
        """Only when it changed: an icon that is set anew lays the page out anew."""
        self._shown_on = on
        self.chain.setChecked(on)
        self.chain.setIcon(icon("link" if on else "unlink", "accent" if on else "muted"))
        tip = tr("Alpha moves with rank; press to part them") if on else tr("Alpha stands; press to link it to rank")
        self.chain.setToolTip(tip)
        self.chain.setAccessibleName(tip)
        for item in (self.words, self.factor, self.times):
            item.setVisible(on)

    def _turn(self) -> None:
        self.chain.setChecked(self.is_on)  # the preference decides, and says so
        self._desk.preferences.set("linked_alpha", 0.0 if self.is_on else self._factor)

    def _typed(self, value: float) -> None:
        self._factor = value
        self._session.edit("adapter.alpha", self.alpha_for(max(1, self._session.spec.adapter.rank)))
        self._saver.start()

    def _save(self) -> None:
        if self.is_on:
            self._desk.preferences.set("linked_alpha", self._factor)


class StrengthCard(Card):
    """How the model is changed: the method with its explanation, then rank, alpha and dropout."""

    def __init__(self, desk: Desk, changes: Changes) -> None:
        super().__init__()
        self._session = desk.session
        self.method = FieldRow(desk, "adapter.method")
        self.meaning = label("", "muted", wrap=True)
        self.method.add_below(self.meaning)
        self.link = AlphaLink(desk)
        self.rank = LinkedRow(desk, "adapter.rank", self.link)
        self.rank.add_below(self.link)
        self.alpha = LinkedRow(desk, "adapter.alpha", self.link)
        self.dropout = FieldRow(desk, "adapter.dropout")
        for item in (self.method, self.rank, self.dropout):
            item.set_aside(ChangeLabel(desk, changes, (item.info.path,)))
        self.alpha.set_aside(_Rest(desk, changes, ("adapter.alpha",), ("adapter.rank",)))
        for item in (self.method, self.rank, self.alpha, self.dropout):
            self.add(item)
        self._session.spec_changed.connect(self._spec_changed)
        self._refresh()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if "adapter.method" in paths:
            self._refresh()

    def _refresh(self) -> None:
        method = self._session.spec.adapter.method
        choices = {choice.value: choice.help for choice in field_at("adapter.method").setting.choices}
        self.meaning.setText(say(choices.get(method, "")))


class _Rest(ChangeLabel):
    """A change label that stays quiet where another one, of the setting that led, speaks already."""

    def __init__(self, desk: Desk, changes: Changes, paths: tuple[str, ...], led_by: tuple[str, ...]) -> None:
        super().__init__(desk, changes, paths)
        self._led_by = frozenset(led_by)

    def _changed(self, paths: frozenset[str], parameters: int, size: int) -> None:
        if not paths & self._led_by:
            super()._changed(paths, parameters, size)
