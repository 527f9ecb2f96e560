"""Cards of models and data sets on their way: how far each is, Cancel; and after a failure why, and another try."""

from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from core.units import format_bytes, format_duration
from studio.look import tokens
from studio.state.downloads import Arrival, ArrivalKind, Arrivals
from studio.widgets.basics import Card, Elided, IconLabel, ProblemNote, button, label, row
from studio.words import say, tr

_ICONS: dict[ArrivalKind, str] = {
    "starter": "download",
    "import": "import",
    "download": "download",
    "dataset": "database",
    "pack": "package",
}
_STEPS = 1000


class ArrivalCard(Card):
    """One model on its way."""

    def __init__(self, arrivals: Arrivals, arrival: Arrival) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self._arrivals, self.arrival = arrivals, arrival
        self.setObjectName(f"arrival-{arrival.kind}")
        self.setAccessibleName(arrival.name)
        self._title = Elided(arrival.name, "strong")
        self.cancel = button(tr("Cancel"), arrival.cancel, role="quiet", name="arrival-cancel")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Progress of {name}", name=arrival.name))
        self._words = label("", "muted", wrap=True)
        self._numbers = label("", "muted", wrap=True)
        self._numbers.setObjectName("arrival-numbers")
        self._note = label("", "muted", wrap=True)
        self.body.setSpacing(tokens.SPACE_1)
        head = row(IconLabel(_ICONS[arrival.kind], "accent"), self._title, self.cancel)
        head.setStretch(1, 1)
        self.add(head)
        for item in (self._bar, self._words, self._numbers, self._note):
            self.add(item)
        self._ended: QWidget | None = None
        arrival.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Shows how far it is."""
        arrival = self.arrival
        self.cancel.setVisible(arrival.is_live)
        self.cancel.setEnabled(arrival.state == "running")
        self._bar.setVisible(arrival.is_live)
        if arrival.fraction < 0:
            self._bar.setRange(0, 0)
        else:
            self._bar.setRange(0, _STEPS)
            self._bar.setValue(round(arrival.fraction * _STEPS))
        words = tr("Stopping…") if arrival.state == "stopping" else say(arrival.words) or tr("Starting…")
        self._show(self._words, words if arrival.is_live else "")
        self._show(self._numbers, _numbers(arrival) if arrival.state == "running" else "")
        self._show(self._note, say(arrival.note) if arrival.is_live else "")
        if arrival.state == "failed" and self._ended is None:
            self._ended = self._failure()
            self.add(self._ended)

    def _failure(self) -> QWidget:
        holder = QWidget()
        box = QVBoxLayout(holder)
        box.setContentsMargins(0, tokens.SPACE_1, 0, 0)
        box.setSpacing(tokens.SPACE_2)
        for problem in self.arrival.problems:
            box.addWidget(ProblemNote(problem))
        more = (
            tr("Go on")
            if self.arrival.kind in ("download", "dataset", "pack") and self.arrival.done
            else tr("Try again")
        )
        again = button(more, self.arrival.again, icon_name="refresh-cw", name="arrival-again")
        away = button(tr("Dismiss"), lambda: self._arrivals.dismiss(self.arrival), role="quiet", name="arrival-dismiss")
        box.addLayout(row(again, away, None))
        return holder

    def _show(self, target: QWidget, text: str) -> None:
        target.setVisible(bool(text))
        target.setText(text)  # type: ignore[attr-defined]  # labels only


class ArrivalList(QWidget):
    """The cards of all models on their way (or of some kinds); takes no room when there are none."""

    def __init__(self, arrivals: Arrivals, *kinds: ArrivalKind) -> None:
        super().__init__()
        self._arrivals, self._kinds = arrivals, kinds
        self._cards: dict[Arrival, ArrivalCard] = {}
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        arrivals.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Adds and takes away cards."""
        wanted = [item for item in self._arrivals.all if not self._kinds or item.kind in self._kinds]
        for arrival in [item for item in self._cards if item not in wanted]:
            card = self._cards.pop(arrival)
            self._box.removeWidget(card)
            card.hide()
            card.deleteLater()
        for arrival in wanted:
            if arrival not in self._cards:
                self._cards[arrival] = ArrivalCard(self._arrivals, arrival)
                self._box.addWidget(self._cards[arrival])
        self.setVisible(bool(self._cards))


def _numbers(arrival: Arrival) -> str:
    if arrival.unit != "bytes" or not arrival.total:
        return tr("{share} % done", share=round(arrival.fraction * 100)) if arrival.fraction >= 0 else ""
    pieces = [tr("{done} of {total}", done=format_bytes(arrival.done), total=format_bytes(arrival.total))]
    if arrival.speed:
        pieces.append(tr("{speed}/s", speed=format_bytes(arrival.speed)))
    if arrival.seconds_left is not None:
        pieces.append(tr("{time} left", time=format_duration(arrival.seconds_left)))
    return " · ".join(pieces)
