"""The conversations of the page “Try”, and the one engine that answers in them; outlives the page and the window."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from core.errors import Problem, UserError, error
from core.events.types import ChatAnswer, ChatPiece, ChatReady, Notice, PhaseStarted, Variant
from core.facts.locate import InstalledModel
from core.runs.chat import ChatSession, ChatUpdate
from core.runs.outcome import Outcome
from core.runs.targets import ChatTarget
from studio.state.chat_choice import BOTH, ChatChoice, ChatCost, Mode, SamplingChoice, find_target, read_cost
from studio.state.conversation import Conversation, Reply, Turn
from studio.state.desk import Desk
from studio.state.results import ResultRuns, results_of
from studio.workers.chat_thread import ChatThread
from studio.workers.task import Task, start_task

_SEEDS = 2**31


class Phase(StrEnum):
    """Where the engine is in its life, as the page shows it.

    ASKING: it would come beside a training, so the user has to say whether it may.
    """

    EMPTY = "empty"
    ASKING = "asking"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(slots=True)
class Loaded:
    """The engine that is loading or ready: its thread, who answers, and what it said about itself."""

    thread: ChatThread
    target: ChatTarget | None = None
    ready: ChatReady | None = None
    words: str = ""
    cancelled: set[str] = field(default_factory=set)


class Chats(QObject):
    """One engine at a time, and a conversation for each choice.

    Attributes:
        choice: whom to talk to; None while there is nobody.
        mode: who answers: base, tuned, or both side by side.
        sampling: how answers are made.
        models: the base models on this computer, as far as anybody has looked.
        cost: what loading the choice takes; None while unknown.
        problems: why it could not be loaded.
        phase: where the engine is in its life.
        changed: anything of the above, or turns came or went.
        moved: the list of `Reply` that have more text, or are over.
    """

    changed = Signal()
    moved = Signal(object)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.results: ResultRuns = results_of(desk)
        self.choice: ChatChoice | None = None
        self.mode: Mode = "both"
        self.sampling = SamplingChoice()
        self.cost: ChatCost | None = None
        self.problems: tuple[Problem, ...] = ()
        self.make_session: Callable[[ChatTarget], ChatSession] = ChatSession
        self._is_asking = False
        self._unsent = ""
        self._loaded: Loaded | None = None
        self._leaving: ChatThread | None = None
        self._wanted = False
        self._costing: Task | None = None
        self.models: tuple[InstalledModel, ...] = ()
        self._listing: Task | None = None
        self._conversations: dict[ChatChoice, Conversation] = {}
        self._nobody = Conversation()
        self.results.changed.connect(self._runs_changed)
        self._runs_changed()

    # --- whom to talk to, and how

    def choose(self, choice: ChatChoice) -> None:
        """Talks to another one; what is loaded is put away first, its conversation is kept."""
        if choice == self.choice:
            return
        self.unload()
        self.choice, self.problems, self.cost = choice, (), None
        self._find_cost()
        self.changed.emit()

    def choose_mode(self, mode: Mode) -> None:
        """Lets others answer the next question."""
        self.mode = mode
        self.changed.emit()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Who can be asked, as far as is known."""
        if self._loaded is not None and self._loaded.target is not None:
            return self._loaded.target.variants
        if self.cost is not None:
            return self.cost.variants
        return ("base",) if self.choice is not None and self.choice.kind == "model" else BOTH

    @property
    def asked(self) -> tuple[Variant, ...]:
        """Who answers the next question: the mode, as far as it is possible here."""
        wanted: tuple[Variant, ...] = BOTH if self.mode == "both" else (self.mode,)
        possible = self.variants
        return tuple(variant for variant in wanted if variant in possible) or possible[:1]

    @property
    def conversation(self) -> Conversation:
        """The one with the present choice."""
        if self.choice is None:
            return self._nobody
        fresh = Conversation(title=self.choice.name, plain=self.choice.kind == "model")
        return self._conversations.setdefault(self.choice, fresh)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Questions to begin with, that belong to the choice."""
        return self.cost.prompts if self.cost is not None else ()

    def _runs_changed(self) -> None:
        gone = self.choice is not None and self.choice.kind == "run" and self.results.find(self.choice.path) is None
        if self.choice is None or (gone and self.phase is Phase.EMPTY and not self.conversation.turns):
            preferred = self.results.preferred()
            if preferred is not None:
                self.choose(ChatChoice("run", preferred.path))
            elif gone:
                self.choice = self.cost = None
            self._choose_model()
        self.changed.emit()

    def _choose_model(self) -> None:
        """Without any run there may still be a model to talk to."""
        if self.choice is None and self.models and self.results.known:
            self.choose(ChatChoice("model", self.models[0].path))

    def list_models(self) -> None:
        """Looks for base models in the background."""
        from core.facts.locate import list_models

        if self._listing is None:
            self._listing = start_task(
                lambda _report: list_models(), on_done=self._models_listed, on_failed=self._not_listed, parent=self
            )

    def _models_listed(self, models: tuple[InstalledModel, ...]) -> None:
        self._listing = None
        if models != self.models:
            self.models = models
            self._choose_model()
            self.changed.emit()

    def _not_listed(self, failure: Exception) -> None:
        self._listing = None
        raise failure

    def _find_cost(self) -> None:
        if self._costing is not None:
            self._costing.cancel()
        choice = self.choice
        assert choice is not None
        self._costing = start_task(
            lambda _report: read_cost(choice), on_done=self._cost_known, on_failed=self._cost_unknown, parent=self
        )

    def _cost_known(self, cost: ChatCost) -> None:
        self._costing, self.cost = None, cost
        self.changed.emit()

    def _cost_unknown(self, failure: Exception) -> None:
        self._costing = None
        self.problems = _problems(failure)
        self.changed.emit()

    # --- the engine's life

    @property
    def phase(self) -> Phase:
        """Where the engine is in its life."""
        if self._loaded is not None:
            return Phase.READY if self._loaded.ready is not None else Phase.LOADING
        if self._leaving is not None:
            return Phase.LOADING if self._wanted else Phase.UNLOADING
        return Phase.ASKING if self._is_asking else Phase.EMPTY

    @property
    def loaded(self) -> Loaded | None:
        """The engine that is loading or ready."""
        return self._loaded

    def load(self, *, beside_training: bool = False) -> None:
        """Loads the choice; with a training under way only when the user has agreed (``beside_training``)."""
        if self.choice is None or self._loaded is not None:
            return
        if self._desk.runs.live_count and not beside_training:
            self._is_asking = True
            if self.cost is not None:
                self._find_cost()  # what is free changes while a training goes on
            self.changed.emit()
            return
        self._is_asking, self.problems = False, ()
        self.conversation.notice = None
        if self._leaving is not None:  # never two at once
            self._wanted = True
        else:
            self._launch(self.choice)
        if self._unsent:
            text, self._unsent = self._unsent, ""
            self.send(text)
        self.changed.emit()

    def _launch(self, choice: ChatChoice) -> None:
        self._wanted = False
        thread = ChatThread(lambda: find_target(choice), self.make_session)
        self._loaded = Loaded(thread)
        for signal, slot in (
            (thread.targeted, self._targeted),
            (thread.refused, self._refused),
            (thread.updated, self._updated),
        ):
            signal.connect(_while_loaded(self, thread, slot), Qt.ConnectionType.QueuedConnection)
        thread.finished.connect(lambda: self._finished(thread), Qt.ConnectionType.QueuedConnection)
        thread.start()

    def load_anyway(self) -> None:
        """The user has agreed to load beside a training."""
        self.load(beside_training=True)

    def not_now(self) -> None:
        """The user would rather not load beside a training."""
        if self._unsent:
            self.conversation.draft, self._unsent = self._unsent, ""
        self._is_asking = False
        self.changed.emit()

    def unload(self) -> None:
        """Ends the engine, which gives all its memory back; what it had not answered is over."""
        self._wanted = False
        self.not_now()
        if self._loaded is not None:
            thread, self._loaded = self._loaded.thread, None
            self._close_replies("cancelled")
            self._leaving = thread if not thread.isFinished() else None
            thread.leave()
        self.changed.emit()

    def _targeted(self, target: ChatTarget) -> None:
        assert self._loaded is not None
        self._loaded.target = target
        self.conversation.title = target.title
        self._ask_waiting()
        self.changed.emit()

    def _refused(self, failure: Exception) -> None:
        self._loaded = None
        self.problems = _problems(failure)
        self._close_replies("failed", self.problems[0].message, self.problems[0].advice)
        self.changed.emit()

    def _finished(self, thread: ChatThread) -> None:
        if self._leaving is thread:
            self._leaving = None
            if self._wanted and self.choice is not None:
                self._launch(self.choice)
            self.changed.emit()

    def _updated(self, updates: list[ChatUpdate]) -> None:
        moved: list[Reply] = []
        for update in updates:
            if isinstance(update, ChatPiece | ChatAnswer):
                reply = self.conversation.reply_to(update.request)
                if reply is not None:
                    if isinstance(update, ChatPiece):
                        reply.add(update)
                    else:
                        reply.end(update)
                    moved.append(reply)
            else:
                self._told(update)
        if moved:
            self.moved.emit(list({id(reply): reply for reply in moved}.values()))

    def _told(self, update: PhaseStarted | ChatReady | Notice | Outcome) -> None:
        loaded = self._loaded
        if isinstance(update, Outcome):
            self._loaded = None
            self.conversation.notice = update
            for reply in self.conversation.replies():
                if reply.ended == "failed" and reply.message == update.message:
                    reply.message = reply.hint = ""  # the notice says it
            self._close_replies("failed")
        elif loaded is not None and isinstance(update, ChatReady):
            loaded.ready = update
        elif loaded is not None and isinstance(update, PhaseStarted):
            loaded.words = update.message
        elif isinstance(update, Notice):
            self._desk.warn(update.message)
        self.changed.emit()

    # --- the conversation

    def send(self, text: str) -> None:
        """Puts a question to everyone who is asked; loads the model first where it is not there."""
        if not text.strip() or self.choice is None or self.conversation.is_open:
            return
        conversation = self.conversation
        if self._loaded is None and not self._wanted:
            self._unsent = text
            conversation.draft = ""
            self.load()
            return
        if conversation.editing and conversation.turns:
            conversation.turns.pop()
        conversation.draft, conversation.editing = "", False
        turn = Turn(text)
        conversation.turns.append(turn)
        self._open_replies(turn)
        self.changed.emit()

    def regenerate(self) -> None:
        """Asks the last question anew."""
        conversation = self.conversation
        if not conversation.turns or conversation.is_open:
            return
        turn = conversation.turns[-1]
        if self._loaded is None:
            conversation.turns.pop()
            self.send(turn.prompt)
            return
        turn.replies.clear()
        self._open_replies(turn)
        self.changed.emit()

    def edit_last(self) -> None:
        """Takes the last prompt back into the draft; sending it replaces the last turn."""
        conversation = self.conversation
        if conversation.turns and not conversation.is_open:
            conversation.draft, conversation.editing = conversation.turns[-1].prompt, True
            self.changed.emit()

    def stop_editing(self) -> None:
        """Leaves the last turn as it is."""
        if self.conversation.editing:
            self.conversation.draft, self.conversation.editing = "", False
            self.changed.emit()

    def cancel(self) -> None:
        """Ends every answer that is waited for."""
        loaded, moved = self._loaded, []
        for reply in list(self.conversation.open_replies()):
            if loaded is not None and reply.request:
                try:
                    loaded.thread.cancel(reply.request)
                except OSError as failure:
                    self._desk.complain(str(failure))
            else:
                reply.ended = "cancelled"
                moved.append(reply)
        self.moved.emit(moved)
        self.changed.emit()

    def begin_anew(self) -> Callable[[], None]:
        """Begins a new conversation under the same system prompt; what is returned brings the old one back."""
        choice, old = self.choice, self.conversation
        self.cancel()
        for reply in old.open_replies():  # its end will not be heard any more
            reply.ended, reply.request = "cancelled", ""

        def take(conversation: Conversation) -> None:
            if choice is not None:
                self._conversations[choice] = conversation
                self.changed.emit()

        take(Conversation(title=old.title, plain=old.plain, system=old.system))
        return lambda: take(old)

    def _open_replies(self, turn: Turn) -> None:
        seed = self.sampling.seed if self.sampling.fixed_seed else random.randrange(_SEEDS)  # noqa: S311 (no secret)
        turn.replies = {variant: Reply(variant, seed=seed) for variant in self.asked}
        self._ask_waiting()

    def _ask_waiting(self) -> None:
        """Hands over every question that the engine has not been told yet."""
        loaded, conversation = self._loaded, self.conversation
        if loaded is None or loaded.target is None:
            return
        for index, turn in enumerate(conversation.turns):
            for variant, reply in turn.replies.items():
                if not reply.is_open or reply.request:
                    continue
                messages = conversation.messages(variant, index)
                try:
                    reply.request = loaded.thread.ask(messages, variant, self.sampling.sampling(reply.seed))
                except UserError as failure:
                    reply.fail(failure.problems[0].message, failure.problems[0].advice)

    def _close_replies(self, how: str, message: str = "", hint: str = "") -> None:
        moved = list(self.conversation.open_replies())
        for reply in moved:
            if how == "cancelled":
                reply.ended, reply.request = "cancelled", ""
            else:
                reply.fail(message, hint)
        if moved:
            self.moved.emit(moved)


def chats_of(desk: Desk) -> Chats:
    """The desk's one `Chats`."""
    found = desk.memory.get("chats")
    if not isinstance(found, Chats):
        found = desk.memory["chats"] = Chats(desk)
    return found


def _while_loaded(chats: Chats, thread: ChatThread, slot: Callable[[Any], None]) -> Callable[[Any], None]:
    """What a thread says counts only as long as it is the one that is loaded."""

    def hear(value: Any) -> None:
        if chats.loaded is not None and chats.loaded.thread is thread:
            slot(value)

    return hear


def _problems(failure: Exception) -> tuple[Problem, ...]:
    if isinstance(failure, UserError):
        return failure.problems
    if isinstance(failure, OSError):
        words = f"The disk refused: {failure.strerror or failure}."
        return (error(str(failure.filename or ""), words, "Check the data folder and its disk."),)
    raise failure
