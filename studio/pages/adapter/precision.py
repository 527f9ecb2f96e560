"""The card of the frozen base: in 4 bits or not, what that saves for this model, and what was chosen by itself."""

from dataclasses import dataclass

from PySide6.QtCore import QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout

from core.facts.types import Facts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec, field_at
from core.units import format_bytes
from studio.forms.form import FieldRow
from studio.look import tokens
from studio.pages.adapter.changes import ChangeLabel, Changes
from studio.state.desk import Desk
from studio.widgets.basics import Card, Pill, label, row
from studio.widgets.controls import Switch
from studio.widgets.flow import FlowLayout
from studio.words import say, tr

PATH = "model.quantization"
_SETTLE_MS = 80


_SPENT = 0.8
"""Below this part of what the weights save, the plan spends the rest on something else."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Bytes of the frozen weights without and with 4 bits, and what of the peak those save in all."""

    full: int
    four: int
    peak: int


def saving(spec: RunSpec, facts: Facts) -> Saving | None:
    """What 4-bit weights save against unquantized ones; None while the model is unknown."""
    peaks, weights = [], []
    for value in ("none", "nf4"):
        memory = plan(spec.replace(PATH, value), facts).memory
        if memory is None or memory.verdict == "unknown":
            return None
        peaks.append(memory.peak_bytes)
        weights.append(sum(part.bytes for part in memory.parts if part.name == "weights"))
    return Saving(weights[0], weights[1], peaks[0] - peaks[1])


class PrecisionCard(Card):
    """A switch for 4 bits with its saving beside it, the reason of the automatic choice, and all choices below."""

    def __init__(self, desk: Desk, changes: Changes) -> None:
        super().__init__()
        self._desk = desk
        self._session = desk.session
        self.switch = Switch(tr("Load the base model in 4 bits (NF4)"))
        self.switch.setObjectName("four-bit")
        self.switch.setToolTip(
            tr(
                "The base model stays frozen, so its weights can be held in 4 bits while the adapters learn: QLoRA. "
                "It needs far less memory and costs some speed and a little precision."
            )
        )
        self.switch.clicked.connect(self._turned)
        self.saved = Pill()
        self.saved.setObjectName("four-bit-saving")
        self.why = label("", "muted", wrap=True)
        self.why.setObjectName("four-bit-reason")
        self.weights = label("", "muted", wrap=True)
        self.weights.setObjectName("four-bit-weights")
        self.change = ChangeLabel(desk, changes, (PATH, "model.double_quant"))
        top = FlowLayout()
        for item in (self.switch, self.saved):
            top.addWidget(item)
        self.add(top)
        words = QVBoxLayout()
        words.setSpacing(tokens.SPACE_1)
        words.addWidget(self.weights)
        words.addWidget(self.why)
        said = row(words, self.change)  # not beside the choice, which then stands where the others do
        said.setStretch(0, 1)
        self.add(said)
        self.row = FieldRow(desk, PATH)
        self.add(self.row)
        # two more plans and a new layout are needed for the words: they follow an edit, they do not hold it up
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_SETTLE_MS)
        self._later.timeout.connect(self._follow)
        self._session.plan_changed.connect(self._planned)
        self._planned()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Brings up to date what hidden cards leave out."""
        super().showEvent(event)
        self._follow()

    def _turned(self, on: bool) -> None:
        self._session.edit(PATH, "nf4" if on else "none")

    def _planned(self) -> None:
        planned = self._session.plan
        if planned is None:
            return
        chosen = planned.choices.quantization
        self.switch.setChecked(chosen.value == "nf4")
        if self.isVisible():
            self._later.start()

    def _follow(self) -> None:
        self._show_reason()
        self._show_saving()

    def _show_reason(self) -> None:
        planned = self._session.plan
        automatic = planned is not None and self._session.spec.get(PATH) == "auto"
        self.why.setVisible(automatic)
        if planned is not None and automatic:
            chosen = planned.choices.quantization
            choices = {choice.value: say(choice.title) for choice in field_at(PATH).setting.choices}
            title = choices.get(chosen.value, chosen.value)
            self.why.setText(tr("Chosen automatically: {what}. {reason}", what=title, reason=say(chosen.reason)))

    def _show_saving(self) -> None:
        facts = self._session.facts
        found = saving(self._session.spec, facts) if facts is not None else None
        self.saved.setVisible(found is not None)
        self.weights.setVisible(found is not None)
        if found is None:
            return
        size = format_bytes(abs(found.peak))
        if found.peak <= 0:
            self.saved.show_text(tr("saves nothing here"), "muted")
        elif self.switch.isChecked():
            self.saved.show_text(tr("saves {size}", size=size), "good")
        else:
            self.saved.show_text(tr("would save {size}", size=size), "muted")
        full, four = format_bytes(found.full), format_bytes(found.four)
        text = tr("The weights take {four} in 4 bits and {full} unquantized.", four=four, full=full)
        if found.peak < _SPENT * (found.full - found.four):
            text = tr(
                "The weights take {four} in 4 bits and {full} unquantized; the plan spends some of that on speed.",
                four=four,
                full=full,
            )
        self.weights.setText(text)
