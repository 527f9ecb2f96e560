"""How answers are made: temperature, top-p, top-k, repetition, length and seed, each with its two sentences."""

from dataclasses import replace

from PySide6.QtWidgets import QLabel, QWidget

from core.runs.chat_protocol import LONGEST_ANSWER
from studio.look import tokens
from studio.state.chats import Chats
from studio.widgets.basics import Card, button, column, row
from studio.widgets.controls import CalmSpin, NumberSlider, Switch
from studio.words import tr


class SamplingCard(Card):
    """The card at the side of the conversation; edits `Chats.sampling`, which counts from the next question on."""

    def __init__(self, chats: Chats) -> None:
        super().__init__(tr("Sampling"))
        self._chats = chats
        self.temperature = NumberSlider(0, 2, whole=False, log=False)
        self.temperature.setObjectName("temperature")
        self.top_p = NumberSlider(0.05, 1, whole=False, log=False)
        self.top_k = NumberSlider(0, 100, whole=True, log=False)
        self.top_k.setObjectName("top-k")
        self.top_k.set_bounds(0, 1_000_000)
        self.repetition = NumberSlider(1, 2, whole=False, log=False)
        self.repetition.setObjectName("repetition")
        self.repetition.set_bounds(0.1, 10)
        self.length = NumberSlider(16, 2048, whole=True, log=True)
        self.length.set_bounds(1, LONGEST_ANSWER)
        self.fixed = Switch(tr("Fixed seed"))
        self.fixed.setObjectName("fixed-seed")
        self.seed = CalmSpin(whole=True)
        self.seed.setRange(0, 2**32 - 1)
        self.seed.setAccessibleName(tr("Seed"))
        for slider, title, tip in (
            (
                self.temperature,
                tr("Temperature"),
                tr("How freely the model chooses its words. 0 always takes the likeliest one, above 1 it gets wild."),
            ),
            (
                self.top_p,
                tr("Top-p"),
                tr("Only the likeliest words that together reach this share are drawn from. 1 leaves none out."),
            ),
            (
                self.top_k,
                tr("Top-k"),
                tr("Only so many of the likeliest words are drawn from. 0 leaves none out."),
            ),
            (
                self.repetition,
                tr("Repetition penalty"),
                tr("Above 1, words that were there already become less likely. 1 leaves them as they are."),
            ),
            (
                self.length,
                tr("Most tokens"),
                tr("Where an answer is cut at the latest. A token is a piece of a word, about four letters."),
            ),
        ):
            self.add(column(_term(title, tip, slider), slider, spacing=tokens.SPACE_1))
            slider.name_it(title)
            slider.setToolTip(_tip(tip))
            slider.moved.connect(self._edited)
        self.fixed.setToolTip(
            _tip(tr("A seed decides what chance brings: the same seed, prompt and settings give the same answer."))
        )
        self.add(self.fixed)
        self.add(self.seed)
        self.add(row(button(tr("Back to the usual"), self._reset, role="link", name="reset-sampling"), None))
        self.body.addStretch(1)
        self.fixed.clicked.connect(self._edited)
        self.seed.valueChanged.connect(self._edited)
        self._show()

    def _show(self) -> None:
        now = self._chats.sampling
        self.temperature.set_value(now.temperature)
        self.top_p.set_value(now.top_p)
        self.top_k.set_value(now.top_k)
        self.repetition.set_value(now.repetition_penalty)
        self.length.set_value(now.max_new_tokens)
        self.fixed.setChecked(now.fixed_seed)
        self.seed.blockSignals(True)  # noqa: FBT003 (Qt takes no names)
        self.seed.setValue(now.seed)
        self.seed.blockSignals(False)  # noqa: FBT003
        self.seed.setVisible(now.fixed_seed)

    def _edited(self, *_value: object) -> None:
        self._chats.sampling = replace(
            self._chats.sampling,
            temperature=round(self.temperature.value(), 3),
            top_p=round(self.top_p.value(), 3),
            top_k=round(self.top_k.value()),
            repetition_penalty=round(self.repetition.value(), 3),
            max_new_tokens=round(self.length.value()),
            fixed_seed=self.fixed.isChecked(),
            seed=round(self.seed.value()),
        )
        self.seed.setVisible(self.fixed.isChecked())

    def _reset(self) -> None:
        from studio.state.chat_choice import SamplingChoice

        self._chats.sampling = SamplingChoice()
        self._show()


def _term(title: str, tip: str, buddy: QWidget) -> QWidget:
    made = QLabel(title)
    made.setProperty("role", "term")
    made.setToolTip(_tip(tip))
    made.setBuddy(buddy)
    holder = QWidget()
    holder.setLayout(row(made, None))
    return holder


def _tip(text: str) -> str:
    """Rich text, so that a long tip wraps."""
    from html import escape

    return f"<p>{escape(text)}</p>"
