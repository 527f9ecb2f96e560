"""Who answers beside the model of the page “Try”: other runs, saved states, adapters and models."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QObject, Signal

from core.errors import Problem, UserError, error
from core.events.types import ChatVoice
from core.runs.chat_cost import LoadingCost
from core.runs.panel import shares_weights
from core.runs.targets import ChatTarget
from core.runs.voices import BASE
from studio.state.chat_choice import ChatChoice, read_cost
from studio.workers.chat_thread import ChatThread
from studio.workers.task import start_task

MOST_GUESTS = 2


class GuestState(StrEnum):
    """Where a guest is on its way.

    ASKING: it needs weights of its own, and the user has not said yet whether it may take the memory.
    """

    LOOKING = "looking"
    ASKING = "asking"
    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    REFUSED = "refused"


@dataclass(slots=True)
class Guest:
    """Somebody who is to answer beside the main model.

    Attributes:
        key: the guest's own number, as text; the name that questions give it while nobody has loaded it.
        voice: what the engine calls it; empty before it was told.
        cost: what it takes; None while that is looked for.
        shares: it stands on the weights that are loaded for the main model, and takes an adapter's memory alone.
        agreed: the user lets it take memory of its own.
        problems: why it cannot answer.
    """

    key: str
    choice: ChatChoice
    state: GuestState = GuestState.LOOKING
    voice: str = ""
    cost: LoadingCost | None = None
    shares: bool = True
    agreed: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        return self.cost.target.title if self.cost is not None else self.choice.name


class Guests(QObject):
    """The guests of one main model; whoever was invited is loaded with it, and loaded again with it.

    Attributes:
        all: in the order in which they were invited.
        changed: anything about any of them.
    """

    changed = Signal()

    def __init__(self, main: Callable[[], ChatTarget | None], parent: QObject) -> None:
        """``main`` tells what the page's model is, as far as is known; a guest waits until it is."""
        super().__init__(parent)
        self.all: list[Guest] = []
        self._main = main
        self._thread: ChatThread | None = None
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody else can come."""
        return len(self.all) >= MOST_GUESTS

    @property
    def answering(self) -> list[Guest]:
        """Those who can be asked now, or as soon as the model is loaded."""
        return [guest for guest in self.all if guest.state not in (GuestState.ASKING, GuestState.REFUSED)]

    def invite(self, choice: ChatChoice) -> None:
        """Lets somebody answer as well; looks in the background at what that takes."""
        if self.is_full or any(guest.choice == choice for guest in self.all):
            return
        self._count += 1
        guest = Guest(f"guest-{self._count}", choice)
        self.all.append(guest)
        start_task(
            lambda _report: read_cost(choice),
            on_done=lambda cost: self._known(guest, cost),
            on_failed=lambda failure: self._refuse(guest, problems_of(failure)),
            parent=self,
        )
        self.changed.emit()

    def agree(self, guest: Guest) -> None:
        """The user lets a guest take memory of its own."""
        if guest.state is GuestState.ASKING:
            guest.state, guest.agreed = GuestState.WAITING, True
            self._seat(guest)
            self.changed.emit()

    def dismiss(self, guest: Guest) -> None:
        """Lets a guest go, with the memory that it took."""
        if guest in self.all:
            self.all.remove(guest)
            if self._thread is not None and self._thread.panel is not None and guest.voice:
                self._thread.panel.remove(guest.voice)
            self.changed.emit()

    def dismiss_all(self) -> None:
        """Lets everybody go."""
        for guest in list(self.all):
            self.dismiss(guest)

    def welcome(self, thread: ChatThread) -> None:
        """The main model's engine is there: everybody who waits is put beside it."""
        self._thread = thread
        for guest in list(self.all):
            self._compare(guest)
            self._seat(guest)
        self.changed.emit()

    def part(self) -> None:
        """The main model's engine has gone, and the guests' with it; they come again with the next one."""
        self._thread = None
        for guest in self.all:
            guest.voice = ""
            if guest.state in (GuestState.LOADING, GuestState.READY):
                guest.state = GuestState.WAITING
        self.changed.emit()

    def tell(self, update: ChatVoice) -> None:
        """An engine says how a guest is doing."""
        guest = next((guest for guest in self.all if guest.voice == update.voice), None)
        if guest is None:
            return
        if update.state == "ready":
            guest.state = GuestState.READY
        elif update.message:
            self._refuse(guest, (error("", update.message, update.hint),))
        self.changed.emit()

    def _known(self, guest: Guest, cost: LoadingCost) -> None:
        guest.cost = cost
        if guest.state is GuestState.LOOKING:
            guest.state = GuestState.WAITING
        self._compare(guest)
        self._seat(guest)
        self.changed.emit()

    def _compare(self, guest: Guest) -> None:
        """Whether a guest needs weights of its own, for which the user is asked."""
        main = self._main()
        if main is None or guest.cost is None or guest.state is not GuestState.WAITING:
            return
        guest.shares = shares_weights(main, guest.cost.target)
        if not guest.shares and not guest.agreed:
            guest.state = GuestState.ASKING

    def _seat(self, guest: Guest) -> None:
        panel = self._thread.panel if self._thread is not None else None
        if panel is None or guest.cost is None or guest.state is not GuestState.WAITING:
            return
        try:
            guest.voice = panel.add(guest.cost.target)
        except (UserError, OSError) as failure:
            self._refuse(guest, problems_of(failure))
            return
        if guest.voice == BASE:  # nobody new
            self.all.remove(guest)
        else:
            guest.state = GuestState.LOADING

    def _refuse(self, guest: Guest, problems: tuple[Problem, ...]) -> None:
        guest.state, guest.problems, guest.voice = GuestState.REFUSED, problems, ""
        self.changed.emit()


def problems_of(failure: Exception) -> tuple[Problem, ...]:
    """What to say about something that could not be loaded.

    Raises:
        Exception: ``failure`` itself, where it is nothing that a user can mend.
    """
    if isinstance(failure, UserError):
        return failure.problems
    if isinstance(failure, OSError):
        words = f"The disk refused: {failure.strerror or failure}."
        return (error(str(failure.filename or ""), words, "Check the data folder and its disk."),)
    raise failure
