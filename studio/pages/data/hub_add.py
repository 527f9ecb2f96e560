"""“From Hugging Face”: a data set by its name, its subsets and splits, what stands in the way, and Download and add."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QLayout, QLineEdit, QPushButton, QWidget

from core.data.hub_files import missing_hub_data
from core.errors import Problem, Severity, UserError, error
from core.facts.locate import cache_folder
from core.hub.datasets import DatasetDetails, DatasetPart, dataset_details
from core.hub.problems import HubError
from core.hub.token import token_text
from core.paths import existing_parent
from core.spec.hub_data import SYNTAX, HubData, typed_hub_data
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.pages.model.arrival_cards import ArrivalList
from studio.pages.model.halves import clear
from studio.pages.model.token_card import TokenCard
from studio.state.desk import Desk
from studio.state.downloads import add_data_files, arrivals
from studio.widgets.basics import Card, Elided, Pill, ProblemNote, button, column, label, row, tool_button
from studio.widgets.controls import CalmList
from studio.words import tr, tr_count
from studio.workers.task import Task, start_task

_FIELD_WIDTH = 220


@dataclass(frozen=True, slots=True)
class Seen:
    """A data set of the hub, and what was asked for of it."""

    wanted: HubData
    found: DatasetDetails


def see(text: str) -> Seen:
    """Everything about the data set with a name or the address of a page.

    Raises:
        UserError: it is no name, there is no such data set, or the hub cannot be asked.
    """
    wanted = typed_hub_data(text)
    if wanted is None:
        message = f"“{text[:120]}” is not the name of a data set of the Hugging Face Hub."
        raise UserError(error("", message, f"Write owner/name, all of {SYNTAX}, or the address of its page."))
    return Seen(wanted, dataset_details(wanted.id, wanted.revision, token_text()))


class HubAdd(Card):
    """A place to type a name, and below it what the hub says. Asks nothing before somebody wants it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("From Hugging Face"), margin=tokens.SPACE_4)
        self.setObjectName("hub-add")
        self._desk = desk
        self._setting = "data.train"
        self._asking: Task | None = None
        self._seen: Seen | None = None
        self._part: DatasetPart | None = None
        self._token: TokenCard | None = None
        self._go: QPushButton | None = None
        self._arrivals = arrivals(desk)
        self.head.addWidget(tool_button("x", tr("Close"), self.close_panel, name="hub-add-close"))
        self._where = label("", "help", wrap=True)
        self.field = QLineEdit()
        self.field.setObjectName("hub-add-name")
        self.field.setPlaceholderText(tr("owner/name, or the address of its page"))
        self.field.setAccessibleName(tr("Name of a data set of the Hugging Face Hub"))
        self.field.returnPressed.connect(self._look)
        ask = button(tr("Look up"), self._look, icon_name="search", name="hub-add-look")
        line = row(self.field, ask)
        line.setStretch(0, 1)
        self._answer = column(spacing=tokens.SPACE_3)
        for item in (self._where, line, self._answer):
            self.add(item)
        self._arrivals.changed.connect(self._arrivals_changed)
        desk.session.spec_changed.connect(self._spec_changed)
        self.hide()

    def open_for(self, setting: str) -> None:
        """Shows the panel; what is found goes to this list of files."""
        self._setting = setting
        words = tr("Goes to the training files.") if setting == "data.train" else tr("Goes to the validation files.")
        self._where.setText(words)
        self.show()
        if not self.field.text():
            self.field.setText(self._missing())
        if self._go is not None:
            self._list_splits()
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)
        self.field.selectAll()

    def _missing(self) -> str:
        """The first data set of the spec that is not on this computer: most likely it is what is wanted here."""
        try:
            missing = missing_hub_data(self._desk.session.spec.data)
        except UserError:  # a name that means nothing; the problems on the page say so
            return ""
        return str(missing[0]) if missing else ""

    def close_panel(self) -> None:
        """Hides the panel and ends what is being asked; a download goes on."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self.hide()

    # --- asking

    def _look(self) -> None:
        text = self.field.text().strip()
        if not text:
            return
        if self._asking is not None:
            self._asking.cancel()
        self._forget()
        self._answer.addWidget(label(tr("Asking the hub…"), "help", wrap=True))
        self._asking = start_task(lambda _report: see(text), on_done=self._found, on_failed=self._failed, parent=self)

    def _failed(self, failure: Exception) -> None:
        self._asking = None
        if not isinstance(failure, UserError):
            raise failure
        self._forget()
        for problem in failure.problems:
            self._answer.addWidget(_note(problem))
        if isinstance(failure, HubError) and failure.reason == "token":
            self._answer.addWidget(_held(row(*_page_button(failure.page), None)))
            self._show_token()

    def _found(self, seen: Seen) -> None:
        self._asking = None
        self._forget()
        self._seen = seen
        found = seen.found
        title = Elided(found.id, "strong", mode=Qt.TextElideMode.ElideMiddle)
        title.setObjectName("hub-add-id")
        head = row(title, *([Pill(tr("terms to accept"), "warn")] if found.gated else []), *_page_button(found.page))
        head.setStretch(0, 1)
        self._answer.addWidget(_held(head))
        facts = label(" · ".join(_facts(found)), "muted", wrap=True)
        facts.setObjectName("hub-add-facts")
        self._answer.addWidget(facts)
        if found.barrier is not None:
            self._answer.addWidget(_note(found.barrier))
            self._show_token()
        if found.why_not:
            self._answer.addWidget(_note(Problem(Severity.ERROR, "", found.why_not, found.advice)))
        else:
            self._add_choices(seen)

    def _add_choices(self, seen: Seen) -> None:
        self._configs, self._splits = CalmList(), CalmList()
        for chooser, name, title in (
            (self._configs, "hub-add-config", tr("Subset")),
            (self._splits, "hub-add-split", tr("Part")),
        ):
            chooser.setObjectName(name)
            chooser.setAccessibleName(title)
            chooser.setMinimumWidth(_FIELD_WIDTH)
        for config in seen.found.configs:
            self._configs.addItem(config.name)
        names = [config.name for config in seen.found.configs]
        if seen.wanted.config in names:
            self._configs.setCurrentIndex(names.index(seen.wanted.config))
        subset = _held(column(label(tr("Subset"), "help"), self._configs, spacing=tokens.SPACE_1))
        subset.setVisible(len(names) > 1)
        part = column(label(tr("Part"), "help"), self._splits, spacing=tokens.SPACE_1)
        choices = _held(row(subset, part, None, spacing=tokens.SPACE_3))
        self._answer.addWidget(choices)
        self._size = label("", "muted", wrap=True)
        self._size.setObjectName("hub-add-size")
        self._full = column()
        self._go = button("", self._take, role="primary", name="hub-add-go")
        self._answer.addWidget(self._size)
        self._notes = _held(self._full)
        self._answer.addWidget(self._notes)
        self._answer.addWidget(_held(row(self._go, None)))
        self._configs.activated.connect(lambda _place: self._list_splits())
        self._splits.activated.connect(lambda _place: self._show_choice())
        self._list_splits()

    def _list_splits(self) -> None:
        """The splits of the subset that is chosen; the one that was asked for, the usual or the first one in front."""
        assert self._seen is not None, "there are no lists without a data set"
        names = [part.name for part in self._seen.found.configs[self._configs.currentIndex()].splits]
        usual = "train" if self._setting == "data.train" else "validation"
        place = next((names.index(name) for name in (self._seen.wanted.split, usual) if name in names), 0)
        self._splits.clear()
        self._splits.addItems(names)
        self._splits.setCurrentIndex(place)
        self._show_choice()

    # --- what is chosen

    def _show_choice(self) -> None:
        """What the chosen part takes, and the button that fits: download, go on, add, or nothing."""
        if self._seen is None or self._go is None or self._splits.currentIndex() < 0:
            return
        config = self._seen.found.configs[self._configs.currentIndex()]
        part = self._part = DatasetPart(self._seen.found, config, config.splits[self._splits.currentIndex()])
        clear(self._full)
        size, here, is_here = part.bytes, part.bytes_here, part.is_here
        arrival = self._arrivals.find("dataset", str(part.name))
        live = arrival is not None and arrival.is_live
        free = _free_bytes()
        is_full = not is_here and size - here > free
        self._notes.setVisible(is_full)
        if is_full:
            self._full.addWidget(_note(_too_full(size - here, free)))
        is_known = is_here and str(part.name) in self._desk.session.spec.get(self._setting)
        self._size.setText(" · ".join(_sizes(part, is_here=is_here)))
        words = tr("Download and add, {size}", size=format_bytes(size - here))
        if is_known:
            words = tr("Added")
        elif live:
            words = tr("Downloading…")
        elif is_here:
            words = tr("Add to the files")
        elif here:
            words = tr("Go on and add, {size}", size=format_bytes(size - here))
        self._go.setText(words)
        self._go.setEnabled(not (live or is_known or is_full or self._seen.found.barrier is not None))

    def _take(self) -> None:
        assert self._part is not None, "there is no button without a part"
        if self._part.is_here:
            add_data_files(self._desk, self._setting, (str(self._part.name),))
            self._desk.tell(tr("{name} is added to the data files.", name=self._part.name.short))
        else:
            self._arrivals.download_data(self._part.name, self._setting)

    def _arrivals_changed(self) -> None:
        if not self.isHidden():
            self._show_choice()

    def _spec_changed(self, paths: frozenset[str]) -> None:
        if paths & {"data.train", "data.validation"}:
            self._arrivals_changed()

    # --- the token

    def _show_token(self) -> None:
        self._token = TokenCard()
        self._token.changed.connect(self._look)
        self._answer.addWidget(self._token)

    def _forget(self) -> None:
        self._seen = self._part = self._token = self._go = None
        clear(self._answer)


def data_arrivals(desk: Desk) -> ArrivalList:
    """Data sets on their way, wherever they were asked for."""
    return ArrivalList(arrivals(desk), "dataset")


def _facts(found: DatasetDetails) -> Iterator[str]:
    yield tr("licence {name}", name=found.licence) if found.licence else tr("no licence stated")
    if found.downloads:
        popular = {"n": format_count(found.downloads), "likes": format_count(found.likes)}
        yield tr("{n} downloads a month, {likes} likes", **popular)
    if found.updated:
        yield tr("last changed {date}", date=found.updated[:10])
    yield tr("commit {name}", name=found.commit[:7])


def _sizes(part: DatasetPart, *, is_here: bool) -> Iterator[str]:
    if part.split.rows:
        yield tr("{n} rows", n=f"{part.split.rows:,}")
    count, size = len(part.split.files), format_bytes(part.bytes)
    yield tr_count(count, "one file", "{n} files")
    if is_here:
        yield tr("{size}, wholly on this computer", size=size)
    elif part.bytes_here:
        yield tr("{size}, {here} of it here already", size=size, here=format_bytes(part.bytes_here))
    else:
        yield tr("{size} to download", size=size)


def _free_bytes() -> int:
    folder: Path = existing_parent(cache_folder())
    return shutil.disk_usage(folder).free


def _too_full(missing: int, free: int) -> Problem:
    message = tr(
        "The download takes {size}, and {free} are free on the disk.",
        size=format_bytes(missing),
        free=format_bytes(free),
    )
    advice = tr("Free some space, or put the cache on another disk with the variable HF_HUB_CACHE.")
    return Problem(Severity.ERROR, "", message, advice)


def _held(layout: QLayout) -> QWidget:
    """A widget around a layout, so that it goes away as one."""
    holder = QWidget()
    holder.setLayout(layout)
    return holder


def _note(problem: Problem) -> ProblemNote:
    note = ProblemNote(problem)
    note.setObjectName("hub-add-problem")
    return note


def _page_button(page: str) -> list[QPushButton]:
    if not page:
        return []
    open_page = button(
        tr("Open its page"),
        lambda: QDesktopServices.openUrl(QUrl(page)),
        role="quiet",
        icon_name="external-link",
        name="hub-add-page",
    )
    return [open_page]
