"""“Hub”: searching the Hugging Face Hub, the results, downloads on their way and those that broke off."""

from collections.abc import Callable

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.errors import Problem, UserError
from core.hub.problems import HubError
from core.hub.search import FoundModel
from core.hub.unfinished import Unfinished, discard
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.pages.model.arrival_cards import ArrivalList
from studio.pages.model.cards import CardData, CardView
from studio.pages.model.halves import Halves, clear
from studio.pages.model.hub_detail import HubDetail
from studio.pages.model.hub_memory import find, hub_memory, unfinished
from studio.pages.model.token_card import TokenCard
from studio.state.desk import Desk
from studio.state.downloads import arrivals
from studio.widgets.basics import Card, Elided, Empty, IconLabel, ProblemNote, button, column, label, row
from studio.words import tr, tr_count
from studio.workers.task import Task, start_task

_SETTLE_MS = 400


class UnfinishedCard(Card):
    """A download of an earlier time: how much has come, Go on, Discard."""

    def __init__(self, item: Unfinished, on_resume: Callable[[], object], on_discard: Callable[[], object]) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self.setObjectName("unfinished")
        self.setAccessibleName(item.id)
        self.body.setSpacing(tokens.SPACE_1)
        title = Elided(item.id, "strong")
        head = row(IconLabel("clock"), title)
        head.setStretch(1, 1)
        self.add(head)
        words = tr(
            "Not finished: {here} of {total} have come.",
            here=format_bytes(item.bytes_here),
            total=format_bytes(item.bytes),
        )
        self.add(label(words, "muted", wrap=True))
        go_on = button(tr("Go on"), on_resume, icon_name="download", name="unfinished-resume")
        away = button(tr("Discard"), on_discard, role="quiet", name="unfinished-discard")
        self.add(row(go_on, away, None))


class HubPane(QWidget):
    """Results on the left, the chosen one on the right. Asks nothing before it is shown."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._memory = hub_memory(desk)
        self._arrivals = arrivals(desk)
        self._asking: Task | None = None
        self._asked = ""
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        self.view = CardView(tr("Models of the hub"), "hub-list")
        self.view.hide()
        self.view.picked.connect(self._pick)
        self._status = label("", "muted", wrap=True)
        self._status.setObjectName("hub-status")
        turn = button(tr("Token…"), self._turn_token, role="quiet", icon_name="key", name="hub-token")
        self._message = QVBoxLayout()
        self._waiting = QVBoxLayout()
        self._waiting.setSpacing(tokens.SPACE_2)
        self.detail = HubDetail(desk)
        self.detail.token_asked.connect(self._ask_for_token)
        self.token: TokenCard | None = None
        left = QWidget()
        head = row(self._status, turn)
        head.setStretch(0, 1)
        box = column(ArrivalList(self._arrivals, "download"), self._waiting, head, spacing=tokens.SPACE_2)
        box.addLayout(self._message)
        box.addWidget(self.view, 1)
        box.addStretch(0)
        left.setLayout(box)
        self.setLayout(column(Halves(left, self.detail)))
        self._arrivals.changed.connect(self._list_unfinished)
        if self._memory.token_open:
            self._show_token()
        if self._memory.query is not None:
            self._asked = self._memory.query
            self._show_results()
        self._list_unfinished()

    def begin(self, text: str) -> None:
        """The pane is shown: searches for a text unless that has been done."""
        if self._memory.query is None or text.strip() != self._memory.query:
            self.search(text, at_once=True)

    def search(self, text: str, *, at_once: bool = False) -> None:
        """Searches, when the typing has paused or at once."""
        self._asked = text.strip()
        if at_once:
            self._ask()
        else:
            self._settle.start()

    def look_up(self, text: str) -> None:
        """Shows one model by its full name or the address of its page."""
        self.detail.show_model(text.strip())

    def end(self) -> None:
        """Ends what is being asked."""
        self._settle.stop()
        if self._asking is not None:
            self._asking.cancel()

    # --- searching

    def _ask(self) -> None:
        self._settle.stop()
        if self._asking is not None:
            self._asking.cancel()
        text = self._asked
        self._status.setText(tr("Searching…"))
        self._asking = start_task(
            lambda _report: find(text), on_done=self._found, on_failed=self._not_found, parent=self
        )

    def _found(self, results: tuple[FoundModel, ...]) -> None:
        self._asking = None
        self._memory.query, self._memory.results = self._asked, results
        self._show_results()

    def _show_results(self) -> None:
        results, query = self._memory.results, self._memory.query
        clear(self._message)
        if query:
            self._status.setText(tr_count(len(results), "one model found", "{n} models found"))
        else:
            self._status.setText(tr("The most downloaded models"))
        self.view.setVisible(bool(results))
        self._show_cards()
        if not results:
            words = tr("The hub has no model with safetensors weights for “{query}”.", query=query or "")
            self._message.addWidget(Empty("search", tr("Nothing found"), words))

    def _show_cards(self) -> None:
        self.view.show_cards([_card(model, is_shown=model.id == self._memory.chosen) for model in self._memory.results])

    def _not_found(self, failure: Exception) -> None:
        self._asking = None
        if not isinstance(failure, UserError):
            raise failure
        self._memory.query, self._memory.results = None, ()
        self._status.setText("")
        self.view.hide()
        clear(self._message)
        for problem in failure.problems:
            self._message.addWidget(_note(problem))
        reason = failure.reason if isinstance(failure, HubError) else ""
        if reason != "offline":
            again = button(tr("Try again"), self._ask, icon_name="refresh-cw", name="hub-search-again")
            holder = QWidget()
            holder.setLayout(row(again, None))
            self._message.addWidget(holder)
        if reason == "token":
            self._show_token()

    def _pick(self, key: str) -> None:
        if self.token is not None and not self._memory.token_open:
            self.token.hide()  # it was shown for the model before
        self.detail.show_model(key)
        self._show_cards()

    # --- the token

    def _turn_token(self) -> None:
        self._memory.token_open = self.token is None or not self.token.isVisibleTo(self)
        if self._memory.token_open:
            self._show_token().field.setFocus()
        elif self.token is not None:
            self.token.hide()

    def _ask_for_token(self) -> None:
        self._show_token()

    def _show_token(self) -> TokenCard:
        if self.token is None:
            self.token = TokenCard()
            self.token.changed.connect(self._token_changed)
            self.detail.slot.addWidget(self.token)
        self.token.show()
        return self.token

    def _token_changed(self) -> None:
        self._memory.seen.clear()
        self.detail.look_again()
        if not self._memory.results:
            self._ask()

    # --- downloads that broke off

    def _list_unfinished(self) -> None:
        start_task(lambda _report: unfinished(), on_done=self._show_unfinished, on_failed=_raise, parent=self)

    def _show_unfinished(self, items: tuple[Unfinished, ...]) -> None:
        clear(self._waiting)
        for item in items:
            if self._arrivals.find("download", item.id) is None:
                self._waiting.addWidget(self._unfinished_card(item))

    def _unfinished_card(self, item: Unfinished) -> UnfinishedCard:
        revision = item.revision if item.revision != "main" else ""
        return UnfinishedCard(item, lambda: self._arrivals.download(item.id, revision), lambda: self._discard(item.id))

    def _discard(self, name: str) -> None:
        start_task(lambda _report: discard(name), on_done=self._discarded, on_failed=self._not_discarded, parent=self)

    def _discarded(self, freed: int) -> None:
        self._desk.tell(tr("The unfinished download is gone; {size} are free again.", size=format_bytes(freed)))
        self._list_unfinished()
        self._memory.seen.clear()
        self.detail.look_again()

    def _not_discarded(self, failure: Exception) -> None:
        if not isinstance(failure, OSError):
            raise failure
        self._desk.complain(
            tr("The download cannot be discarded: {why}", why=str(failure)), tr("Check the rights of the cache folder.")
        )


def _note(problem: Problem) -> ProblemNote:
    note = ProblemNote(problem)
    note.setObjectName("hub-search-problem")
    return note


def _card(model: FoundModel, *, is_shown: bool) -> CardData:
    numbers = [
        format_count(model.parameters) if model.parameters else "",
        format_bytes(model.bytes) if model.bytes else "",
        model.licence,
    ]
    popular = tr(
        "{n} downloads a month, {likes} likes", n=format_count(model.downloads), likes=format_count(model.likes)
    )
    return CardData(
        key=model.id,
        title=model.id,
        numbers=" · ".join(piece for piece in numbers if piece) or tr("size not stated"),
        place=popular,
        icon="lock" if model.gated else "box",
        mark=tr("terms to accept") if model.gated else "",
        tone="warn",
        shown=is_shown,
    )


def _raise(failure: Exception) -> None:
    raise failure
