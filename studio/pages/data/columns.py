"""Which column plays which part, asked where the rows were not recognised by themselves."""

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from studio.look import tokens
from studio.state.desk import Desk
from studio.widgets.basics import button, column, label, row
from studio.widgets.controls import CalmList
from studio.widgets.flow import FlowLayout
from studio.words import tr

MAPPING = "data.mapping"


class ColumnsLine(QWidget):
    """Lists of the file's columns for prompt and answer, or for running text, and a button that takes them."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._lists: dict[str, CalmList] = {}
        holder = QWidget()
        flow = FlowLayout(holder, spacing=tokens.SPACE_3)
        titles = {"prompt": tr("Prompt"), "completion": tr("Answer"), "text": tr("or running text")}
        for part, title in titles.items():
            made = CalmList()
            made.setObjectName(f"column-{part}")
            made.setAccessibleName(tr("Column for: {part}", part=title))
            made.activated.connect(lambda _place, part=part: self._chosen(part))
            self._lists[part] = made
            name = label(title, "muted")
            name.setBuddy(made)
            pair = QWidget()
            pair.setLayout(column(name, made, spacing=2))
            flow.addWidget(pair)
        self.take = button(tr("Use these columns"), self._take, role="primary", name="use-columns")
        box = column(label(tr("Which columns should be learned from?"), "strong", wrap=True), holder)
        box.addLayout(row(self.take, None))
        self.setLayout(box)
        self.hide()

    def ask(self, columns: Sequence[str]) -> None:
        """Shows the columns of a file; no columns hide the question."""
        self.setVisible(bool(columns))
        for made in self._lists.values():
            made.clear()
            made.addItem(tr("none"), "")
            for name in columns:
                made.addItem(name, name)
        if len(columns) > 1:
            self._lists["prompt"].setCurrentIndex(1)
            self._lists["completion"].setCurrentIndex(2)
        elif columns:
            self._lists["text"].setCurrentIndex(1)
        self.take.setEnabled(bool(self._mapping()))

    def _chosen(self, part: str) -> None:
        """Running text and a prompt with its answer exclude each other."""
        if self._lists[part].currentData():
            for other in ("prompt", "completion") if part == "text" else ("text",):
                self._lists[other].setCurrentIndex(0)
        self.take.setEnabled(bool(self._mapping()))

    def _mapping(self) -> dict[str, str]:
        chosen = {part: str(made.currentData()) for part, made in self._lists.items() if made.currentData()}
        pair = chosen.keys() == {"prompt", "completion"} and chosen["prompt"] != chosen["completion"]
        return chosen if pair or chosen.keys() == {"text"} else {}

    def _take(self) -> None:
        self._desk.session.edit(MAPPING, self._mapping())
