"""Answers to the sample prompts: what the base said, beside what the model says after so many steps."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from core.events.run_state import RunState
from core.events.types import Sampled
from studio.look import tokens
from studio.widgets.basics import Card, Empty, label, row
from studio.widgets.controls import CalmList
from studio.words import tr, tr_count

_NEWEST = -1


class SamplesView(QWidget):
    """One box for each prompt, with the base's answer and the one after a step that can be chosen; the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._samples: tuple[Sampled, ...] = ()
        self.steps = CalmList()
        self.steps.setObjectName("sample-step")
        self.steps.setAccessibleName(tr("Answers after which step"))
        self.steps.activated.connect(self._fill)
        caption = label(tr("Answers"), "muted")
        caption.setBuddy(self.steps)
        self._choosing = QWidget()
        self._choosing.setLayout(row(caption, self.steps, None))
        self._empty = Empty(
            "message-square",
            tr("No answers yet"),
            tr(
                "Sample prompts are answered before and after the training, and whenever “Sample now” is pressed. They "
                "are part of the settings."
            ),
        )
        self._content = QWidget()
        self._list = QVBoxLayout(self._content)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(tokens.SPACE_3)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_3)
        box.addWidget(self._choosing)
        box.addWidget(self._content)
        box.addWidget(self._empty)
        box.addStretch(1)
        self._show_steps()

    def take(self, state: RunState) -> None:
        """Shows the newest answers, unless others have been chosen."""
        samples = tuple(state.samples)
        if samples != self._samples:
            self._samples = samples
            self._show_steps()

    def _show_steps(self) -> None:
        chosen = self.steps.currentData()
        steps = sorted({item.step for item in self._samples if item.variant == "tuned"}, reverse=True)
        self.steps.clear()
        self.steps.addItem(tr("newest"), _NEWEST)
        for step in steps:
            self.steps.addItem(tr("after step {step}", step=f"{step:,}"), step)
        place = self.steps.findData(chosen)
        self.steps.setCurrentIndex(max(0, place))
        self._choosing.setVisible(len(steps) > 1)
        self._empty.setVisible(not self._samples)
        self._content.setVisible(bool(self._samples))
        self._fill()

    def _fill(self) -> None:
        while (item := self._list.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        wanted = self.steps.currentData()
        for index in sorted({item.index for item in self._samples}):
            of_prompt = [item for item in self._samples if item.index == index]
            base = next((item for item in of_prompt if item.variant == "base"), None)
            tuned = [item for item in of_prompt if item.variant == "tuned" and wanted in (_NEWEST, item.step)]
            self._list.addWidget(_box(of_prompt[-1].prompt, base, tuned[-1] if tuned else None))


def _box(prompt: str, base: Sampled | None, tuned: Sampled | None) -> QWidget:
    made = Card(role="inset", margin=tokens.SPACE_3)
    made.setObjectName("sample")
    made.setAccessibleName(prompt)
    made.add(label(prompt, "strong", wrap=True, selectable=True))
    grid = QGridLayout()
    grid.setHorizontalSpacing(tokens.SPACE_4)
    grid.setVerticalSpacing(tokens.SPACE_1)
    titles = (
        (base, tr("Base model")),
        (tuned, tr("After step {step}", step=f"{tuned.step:,}") if tuned is not None else tr("Tuned")),
    )
    for place, (sample, title) in enumerate(titles):
        grid.addWidget(label(title, "caption"), 0, place)
        text = sample.text.strip() if sample is not None else ""
        answer = label(text or (tr("(an empty answer)") if sample is not None else "–"), wrap=True, selectable=True)
        answer.setObjectName("answer-base" if place == 0 else "answer-tuned")
        answer.setAlignment(Qt.AlignmentFlag.AlignTop)
        grid.addWidget(answer, 1, place)
        if sample is not None:
            words = tr_count(sample.tokens, "one token", "{n} tokens")
            grid.addWidget(label(words, "muted"), 2, place)
        grid.setColumnStretch(place, 1)
    made.add(grid)
    return made
