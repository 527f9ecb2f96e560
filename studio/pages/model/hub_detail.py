"""One model of the hub before its weights are fetched: facts, files, room, what stands in the way, and Download."""

from collections.abc import Iterator

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from core.errors import Edit, Problem, Severity, UserError
from core.facts.types import HardwareFacts
from core.hub.details import MAIN
from core.hub.problems import HubError
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.pages.model.halves import clear
from studio.pages.model.hub_memory import Seen, hub_memory, see
from studio.state.desk import Desk
from studio.state.downloads import arrivals
from studio.widgets.basics import Card, Elided, Empty, IconLabel, Pill, ProblemNote, button, column, label, row
from studio.words import tr, tr_count
from studio.workers.task import Task, start_task

_MOST_FILES = 12
_FOUR_BITS = 0.5625  # bytes of a weight in NF4 with its scale factors
_ROOM = 0.85  # share of the memory that weights may take before nothing is left to train with


class HubDetail(QWidget):
    """The model that was chosen in the list of results.

    Attributes:
        token_asked: a token is needed to go on.
        used: the model has been chosen as the base model.
        slot: the place for the token's card, between what stands in the way and the facts.
    """

    token_asked = Signal()
    used = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._memory = hub_memory(desk)
        self._task: Task | None = None
        self._seen: Seen | None = None
        self._top, self.slot, self._below = column(), column(), column()
        self.setLayout(column(self._top, self.slot, self._below, None, spacing=tokens.SPACE_3))
        self._get: QPushButton | None = None
        self._was_live = False
        self._arrivals = arrivals(desk)
        self._arrivals.changed.connect(self._arrivals_changed)
        if self._memory.chosen:
            self.show_model(self._memory.chosen)
        else:
            self._show_nothing()

    def show_model(self, name: str) -> None:
        """Looks a model up, by its id or the address of its page."""
        self._memory.chosen = name
        known = self._memory.seen.get(name)
        if known is not None:
            self._show(known)
        else:
            self._clear()
            card = Card()
            card.add(Elided(name, "section", mode=Qt.TextElideMode.ElideMiddle))
            card.add(label(tr("Asking the hub…"), "help", wrap=True))
            self._top.addWidget(card)
        if self._task is not None:
            self._task.cancel()
        self._task = start_task(lambda _report: see(name), on_done=self._arrived, on_failed=self._failed, parent=self)

    def look_again(self) -> None:
        """Asks the hub once more about the model that is shown."""
        if self._memory.chosen:
            self.show_model(self._memory.chosen)

    def _arrived(self, seen: Seen) -> None:
        self._task = None
        self._memory.seen[self._memory.chosen] = seen
        self._show(seen)

    def _failed(self, failure: Exception) -> None:
        self._task = None
        if not isinstance(failure, UserError):
            raise failure
        self._memory.seen.pop(self._memory.chosen, None)
        self._clear()
        card = Card()
        card.add(Elided(self._memory.chosen, "section", mode=Qt.TextElideMode.ElideMiddle))
        for problem in failure.problems:
            card.add(_problem_note(problem))
        page = failure.page if isinstance(failure, HubError) else ""
        again = button(tr("Try again"), self.look_again, icon_name="refresh-cw", name="hub-again")
        card.add(row(again, *_page_button(page), None))
        self._top.addWidget(card)
        if isinstance(failure, HubError) and failure.reason in ("token", "gated"):
            self.token_asked.emit()

    def _show_nothing(self) -> None:
        self._clear()
        card = Card()
        words = tr("Choose a model from the results, or enter its full name, such as {example}.", example="owner/model")
        card.add(Empty("search", tr("Models of the Hugging Face Hub"), words))
        self._top.addWidget(card)

    def _show(self, seen: Seen) -> None:
        self._clear()
        self._seen = seen
        found = seen.found
        card = Card()
        title = Elided(found.id, "section", mode=Qt.TextElideMode.ElideMiddle)
        title.setObjectName("hub-name")
        head = row(title, *([Pill(tr("terms to accept"), "warn")] if found.gated else []))
        head.setStretch(0, 1)
        card.add(head)
        for problem in _problems(seen):
            card.add(_problem_note(problem))
        if found.barrier is not None:
            self.token_asked.emit()
        card.add(self._buttons(seen))
        self._top.addWidget(card)
        facts = Card()
        facts.setAccessibleName(tr("Facts about the model"))
        fits = _weights_fit(found.parameters, self._desk.session.hardware)
        if fits is not None:
            facts.add(fits)
        facts.add(_grid(_lines(seen)))
        facts.add(_files(seen))
        self._below.addWidget(facts)
        self._arrivals_changed()

    def _buttons(self, seen: Seen) -> QWidget:
        found = seen.found
        if seen.folder is not None:
            self._get = button(tr("Use this model"), self._use, role="primary", icon_name="check", name="hub-use")
        else:
            self._get = button("", self._download, role="primary", icon_name="download", name="hub-download")
        holder = QWidget()
        holder.setLayout(row(self._get, *_page_button(found.page), None))
        return holder

    def _arrivals_changed(self) -> None:
        """Follows a download of this model, whoever began it; when it ends, what is here of it has changed."""
        seen = self._seen
        if seen is None:
            return
        arrival = self._arrivals.find("download", seen.found.id)
        live = arrival is not None and arrival.is_live
        ended, self._was_live = self._was_live and not live, live
        if ended:
            self.look_again()
        elif self._get is not None and seen.folder is None:
            blocked = seen.found.barrier is not None or not seen.found.supported
            self._get.setEnabled(not live and not blocked and seen.bytes_to_come <= seen.free_bytes)
            size = format_bytes(seen.bytes_to_come)
            words = tr("Go on, {size}", size=size) if seen.bytes_here else tr("Download, {size}", size=size)
            self._get.setText(tr("Downloading…") if live else words)

    def _download(self) -> None:
        assert self._seen is not None, "there is no button without a model"
        self._arrivals.download(self._seen.found.id, _asked_revision(self._seen))

    def _use(self) -> None:
        assert self._seen is not None, "there is no button without a model"
        edits = (Edit("model.base", self._seen.found.id), Edit("model.revision", _asked_revision(self._seen)))
        self._desk.session.apply(edits)
        self.used.emit()

    def _clear(self) -> None:
        self._seen = self._get = None
        for box in (self._top, self._below):
            clear(box)


def _asked_revision(seen: Seen) -> str:
    """The revision as the spec has it: empty for the newest."""
    return "" if seen.found.revision == MAIN else seen.found.revision


def _problems(seen: Seen) -> Iterator[Problem]:
    found = seen.found
    if found.why_not:
        yield Problem(Severity.ERROR, "", found.why_not, "")
    if found.barrier is not None:
        yield found.barrier
    if seen.folder is None and seen.bytes_to_come > seen.free_bytes:
        message = tr(
            "The download takes {size}, and {free} are free on the disk.",
            size=format_bytes(seen.bytes_to_come),
            free=format_bytes(seen.free_bytes),
        )
        advice = tr("Free some space, or put the cache on another disk with the variable HF_HUB_CACHE.")
        yield Problem(Severity.ERROR, "", message, advice)


def _problem_note(problem: Problem) -> ProblemNote:
    note = ProblemNote(problem)
    note.setObjectName("hub-problem")
    return note


def _lines(seen: Seen) -> Iterator[tuple[str, str, str]]:
    found = seen.found
    unknown = tr("not stated")
    yield "family", tr("Family"), found.family or unknown
    yield "parameters", tr("Parameters"), format_count(found.parameters) if found.parameters else unknown
    if found.context_length:
        yield "context", tr("Context"), tr("{n} tokens", n=f"{found.context_length:,}")
    yield "licence", tr("Licence"), found.licence or unknown
    yield (
        "popularity",
        tr("Popularity"),
        tr("{n} downloads a month, {likes} likes", n=format_count(found.downloads), likes=format_count(found.likes)),
    )
    if found.updated:
        yield "updated", tr("Last changed"), found.updated[:10]
    size = format_bytes(found.bytes)
    if seen.folder is not None:
        yield "size", tr("Size"), tr("{size}, wholly on this computer", size=size)
    elif seen.bytes_here:
        yield "size", tr("Size"), tr("{size}, {here} of it here already", size=size, here=format_bytes(seen.bytes_here))
    else:
        yield "size", tr("Size"), tr("{size} to download", size=size)
    yield "free", tr("Free disk"), format_bytes(seen.free_bytes)


def _grid(lines: Iterator[tuple[str, str, str]]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(tokens.SPACE_4)
    grid.setVerticalSpacing(tokens.SPACE_1 + 2)
    grid.setColumnStretch(1, 1)
    top = Qt.AlignmentFlag.AlignTop
    for number, (name, title, value) in enumerate(lines):
        right = label(value, wrap=True, selectable=True)
        right.setObjectName(f"hub-{name}")
        right.setAccessibleName(f"{title}: {value}")
        grid.addWidget(label(title, "help"), number, 0, top | Qt.AlignmentFlag.AlignLeft)
        grid.addWidget(right, number, 1, top)
    return grid


def _weights_fit(parameters: int, hardware: HardwareFacts | None) -> QWidget | None:
    """Whether the weights alone have room; more cannot be said before the model's headers are here."""
    if not parameters or hardware is None:
        return None
    limit = hardware.gpus[0].total_bytes if hardware.gpus else hardware.ram_total_bytes
    full, four = parameters * 2, parameters * _FOUR_BITS
    values = {"full": format_bytes(full), "four": format_bytes(four), "limit": format_bytes(limit)}
    if four > limit * _ROOM:
        icon_name, color = "octagon-x", "bad"
        words = tr("Does not fit: even in 4 bits the weights take {four}, of {limit}.", **values)
    elif full > limit * _ROOM:
        icon_name, color = "triangle-alert", "warn"
        words = tr("Fits in 4 bits only: the weights take {full} in 16 bits, {four} in 4, of {limit}.", **values)
    else:
        icon_name, color = "circle-check", "good"
        words = tr("The weights fit: they take {full} in 16 bits, {four} in 4, of {limit}.", **values)
    text = label(words, wrap=True)
    text.setObjectName("hub-fit")
    holder = QWidget()
    box = row(IconLabel(icon_name, color), text)
    box.setStretch(1, 1)
    box.setAlignment(Qt.AlignmentFlag.AlignTop)
    holder.setLayout(box)
    return holder


def _files(seen: Seen) -> QWidget:
    found = seen.found
    wanted = sorted(found.wanted, key=lambda file: -file.size)
    shown = "\n".join(f"{file.name}  {format_bytes(max(0, file.size))}" for file in wanted[:_MOST_FILES])
    more = len(wanted) - _MOST_FILES
    text = label(shown, "muted", wrap=True, selectable=True)
    text.setObjectName("hub-files")
    text.hide()
    turn = button(
        tr_count(len(wanted), "Show the one file", "Show the {n} files"),
        lambda: text.setVisible(not text.isVisible()),
        role="link",
        name="hub-show-files",
    )
    if more > 0:
        text.setText(f"{shown}\n{tr_count(more, 'and one more', 'and {n} more')}")
    holder = QWidget()
    box = QVBoxLayout(holder)
    box.setContentsMargins(0, 0, 0, 0)
    box.setSpacing(tokens.SPACE_1)
    box.addWidget(turn, 0, Qt.AlignmentFlag.AlignLeft)
    box.addWidget(text)
    return holder


def _page_button(page: str) -> list[QPushButton]:
    if not page:
        return []
    return [
        button(
            tr("Open its page"),
            lambda: QDesktopServices.openUrl(QUrl(page)),
            role="quiet",
            icon_name="external-link",
            name="hub-page",
        )
    ]
