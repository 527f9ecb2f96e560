"""A real window on the Data page, real rows with real faults, and what a person does there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import QAbstractItemView, QAbstractScrollArea, QLabel, QScrollArea, QWidget

from core.errors import Edit
from studio.pages.data.finding_detail import FindingDetail
from studio.pages.data.findings import FindingEntry

WAIT_MS = 60_000
_WORDS = (
    "river stone lamp garden winter letter bridge candle forest harbour mirror ladder basket pepper violin thunder "
    "saddle copper pillow anchor meadow castle tunnel button ribbon pocket marble feather kettle blanket"
)
NOUNS = _WORDS.split()


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    """A row of turns."""
    return {"messages": [{"role": role, "content": words} for role, words in turns]}


def plain(number: int) -> dict[str, Any]:
    """A row like no other: which nouns it has, and how many, follows from its number."""
    picked = [NOUNS[(number * 7 + step * (1 + number % 11)) % len(NOUNS)] for step in range(8 + number % 5)]
    asked = f"What do you know about the {picked[0]} and the {picked[1]} of house {number}?"
    return chat(("user", asked), ("assistant", f"In {1500 + number} there was a {', a '.join(picked)}."))


def faulty_rows() -> list[dict[str, Any]]:
    """120 sound rows, and among them three duplicates, two double turns, two placeholders and one damaged row."""
    rows = [plain(number) for number in range(120)]
    rows[10] = rows[3]
    rows[20] = rows[3]
    rows[30] = rows[4]
    for place in (40, 41):
        asked, answer = rows[place]["messages"]
        rows[place]["messages"] = [asked, {"role": "user", "content": "Please hurry up."}, answer]
    for place in (50, 51):
        rows[place] = chat(
            ("user", f"Write to {{{{name}}}} about case {place}."), ("assistant", "Dear {{name}}, hello.")
        )
    rows[60] = chat(("user", "Where is the bakery?"), ("assistant", "The cafÃ© is near, and the bakery is behind it."))
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def texts(widget: QWidget) -> list[str]:
    """All words that can be seen in a widget."""
    return [item.text() for item in widget.findChildren(QLabel) if item.isVisible()]


class ReportWindow:
    """The window, its Data page, and the report on it."""

    def __init__(self, qtbot: Any, studio: Any) -> None:
        self.bot, self.studio, self.desk = qtbot, studio, studio.desk

    @property
    def page(self) -> Any:
        """The Data page; another one after the window was made anew."""
        return self.studio.window.pages["data"]

    @property
    def card(self) -> Any:
        """The card of the report."""
        return self.page.report

    def choose(self, *files: Path, model: str = "starter", **settings: object) -> None:
        """Chooses files, a model and settings of the data, as other parts of the window do, at once."""
        edits = [Edit("data.train", tuple(map(str, files))), Edit("model.base", model)]
        edits += [Edit(f"data.{name}", value) for name, value in settings.items()]
        self.desk.session.apply(edits)

    def wait(self, is_so: Callable[[], Any]) -> None:
        """Lets the window work until something is so."""
        self.bot.waitUntil(lambda: bool(is_so()), timeout=WAIT_MS)

    def wait_report(self) -> Any:
        """Waits for the report about what is chosen now."""
        source = self.desk.report
        self.wait(lambda: source.report is not None and not source.is_stale and not self.desk.session.is_reading)
        return source.report

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Scrolls there and clicks, where a person would see what is clicked."""
        area = _scroll_area_of(widget)
        if area is not None:
            area.ensureWidgetVisible(widget)
        assert widget.isVisible(), f"{widget.objectName()} cannot be seen"
        assert widget.isEnabled(), f"{widget.objectName()} cannot be clicked"
        place = at if at is not None else widget.rect().center()
        self.bot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place)

    def find(self, name: str) -> Any:
        """A visible widget of the page by its object name."""
        found = [item for item in self.page.findChildren(QWidget, name) if item.isVisible()]
        assert found, f"there is no {name}"
        return found[0]

    def has(self, name: str) -> bool:
        """Whether a widget of that name can be seen."""
        return any(item.isVisible() for item in self.page.findChildren(QWidget, name))

    def entry(self, name: str) -> FindingEntry:
        """A finding in the list."""
        found = [item for item in self.card.findings.entries if item.finding.name == name]
        assert found, f"no {name} among {self.names()}"
        entry: FindingEntry = found[0]
        return entry

    def names(self) -> list[str]:
        """The findings in the order of the list."""
        return [item.finding.name for item in self.card.findings.entries]

    def open(self, name: str) -> FindingDetail:
        """Clicks a finding and waits until its first row is shown."""
        self.click(self.entry(name).header)
        detail = self.entry(name).detail
        assert detail is not None
        self.wait(lambda: not detail.reader.is_busy and detail._row is not None)
        return detail

    def click_row(self, view: QAbstractItemView, row: int) -> None:
        """Clicks a row of a list."""
        index = view.model().index(row, view.model().columnCount() - 1)
        view.scrollTo(index)
        box: QRect = view.visualRect(index)
        viewport = view.viewport()
        assert isinstance(view, QAbstractScrollArea)
        assert viewport.rect().contains(box.center())
        self.click(viewport, box.center())

    def shown_tokens(self, detail: FindingDetail) -> str:
        """The text of all tokens of the row on show."""
        return "".join(piece.text for piece in detail.sample.tokens.view.pieces)


def _scroll_area_of(widget: QWidget) -> QScrollArea | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent
