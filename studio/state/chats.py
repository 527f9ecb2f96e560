"""The conversations of the page “Try”, and the engines that answer in them; outlives the page and the window."""

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from core.errors import Problem, UserError
from core.events.types import ChatAnswer, ChatPiece, ChatReady, ChatVoice, Notice, PhaseStarted
from core.facts.locate import InstalledModel
from core.runs.chat import ChatUpdate
from core.runs.chat_cost import LoadingCost
from core.runs.conversation import Conversation, Reply, Turn, fresh_seed
from core.runs.outcome import Outcome
from core.runs.targets import ChatTarget
from core.runs.voices import BASE, MOST_VOICES, TUNED
from studio.state.chat_choice import ChatChoice, SamplingChoice, read_cost
from studio.state.chat_engine import ChatEngine, Loaded, Phase
from studio.state.desk import Desk
from studio.state.guests import Guest, Guests, problems_of
from studio.state.results import ResultRuns, results_of
from studio.workers.task import Task, start_task


@dataclass(slots=True)
class Talk(Conversation):
    """A conversation on the page.

    Attributes:
        draft: what is typed and not sent yet.
        editing: the draft replaces the last prompt.
        notice: how the engine ended over it; None while all is well.
    """

    draft: str = ""
    editing: bool = False
    notice: Outcome | None = None


class Chats(QObject):
    """One model at a time with its guests, and a conversation for each choice.

    Attributes:
        choice: whom to talk to; None while there is nobody.
        guests: who answers beside it.
        silent: those who are there and do not answer the next question, by the names of `voices`.
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
        self.silent: set[str] = set()
        self._hushed: list[str] = []
        self.sampling = SamplingChoice()
        self.cost: LoadingCost | None = None
        self.problems: tuple[Problem, ...] = ()
        self.engine = ChatEngine(self)
        for signal, slot in (
            (self.engine.targeted, self._targeted),
            (self.engine.refused, self._refused),
            (self.engine.updated, self._updated),
        ):
            signal.connect(slot)
        self.engine.gone.connect(self.changed)
        self._is_asking = False
        self._unsent = ""
        self._costing: Task | None = None
        self.models: tuple[InstalledModel, ...] = ()
        self._listing: Task | None = None
        self._conversations: dict[ChatChoice, Talk] = {}
        self._nobody = Talk()
        self.guests = Guests(lambda: self.target, self)
        self.guests.changed.connect(self._guests_changed)
        self.results.changed.connect(self._runs_changed)
        self._runs_changed()

    # --- whom to talk to, and how

    def choose(self, choice: ChatChoice) -> None:
        """Talks to another one; what is loaded is put away first, its conversation is kept."""
        if choice == self.choice:
            return
        self.unload()
        self.guests.dismiss_all()
        self.choice, self.problems, self.cost = choice, (), None
        self.silent.clear()
        self._hushed.clear()
        self._find_cost()
        self.changed.emit()

    def invite(self, choice: ChatChoice) -> None:
        """Lets somebody answer beside the present one; of those who would be too many the first one falls silent."""
        self.guests.invite(choice)

    def dismiss(self, guest: Guest) -> None:
        """Lets a guest go; what it has not answered stays unanswered."""
        moved = [reply for reply in self.conversation.open_replies() if reply.voice == guest.key]
        for reply in moved:
            self._cancel(reply)
            reply.ended, reply.request = "cancelled", ""
        self.guests.dismiss(guest)
        self.moved.emit(moved)

    def _guests_changed(self) -> None:
        """Guests come and go: whoever fell silent for one answers again when there is room."""
        while self._hushed and len(self.asked) < MOST_VOICES:
            self.silent.discard(self._hushed.pop())
        while len(self.asked) > MOST_VOICES:
            self._hushed.append(next(iter(self.asked)))
            self.silent.add(self._hushed[-1])
        self._ask_waiting()
        self.changed.emit()

    def let_answer(self, voice: str, *, answers: bool) -> None:
        """Lets one of the `voices` answer the next question or not; one of them always does."""
        if voice in self._hushed:
            self._hushed.remove(voice)
        if answers and len(self.asked) < MOST_VOICES:
            self.silent.discard(voice)
        elif not answers and set(self.asked) != {voice}:
            self.silent.add(voice)
        self.changed.emit()

    @property
    def voices(self) -> dict[str, str]:
        """Who can be asked, as far as is known, with titles; those of base and tuned model are empty."""
        target = self.target
        if target is not None:
            names: tuple[str, ...] = target.variants
        else:
            names = (BASE,) if self.choice is not None and self.choice.kind == "model" else (BASE, TUNED)
        guests = {guest.key: guest.title for guest in self.guests.answering}
        own = target.title if target is not None and len(names) == 1 and guests else ""
        return {**dict.fromkeys(names, own), **guests}

    @property
    def asked(self) -> dict[str, str]:
        """Who answers the next question, with titles."""
        voices = self.voices
        asked = {name: title for name, title in voices.items() if name not in self.silent}
        return asked or dict(list(voices.items())[:1])

    @property
    def target(self) -> ChatTarget | None:
        """What is loaded, or would be, as far as is known."""
        if self.loaded is not None and self.loaded.target is not None:
            return self.loaded.target
        return self.cost.target if self.cost is not None else None

    @property
    def conversation(self) -> Talk:
        """The one with the present choice."""
        if self.choice is None:
            return self._nobody
        fresh = Talk(title=self.choice.name, target=str(self.choice.path), plain=self.choice.kind == "model")
        return self._conversations.setdefault(self.choice, fresh)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Questions to begin with, that belong to the choice."""
        return self.cost.target.prompts if self.cost is not None else ()

    def _runs_changed(self) -> None:
        gone = self.choice is not None and self.choice.kind == "run" and not self._is_there(self.choice)
        if self.choice is None or (gone and self.phase is Phase.EMPTY and not self.conversation.turns):
            preferred = self.results.preferred()
            if preferred is not None:
                self.choose(ChatChoice("run", preferred.path))
            elif gone:
                self.choice = self.cost = None
            self._choose_model()
        self.changed.emit()

    def _is_there(self, choice: ChatChoice) -> bool:
        if choice.step:
            return choice.step in self.results.states.get(choice.path, ())
        return self.results.find(choice.path) is not None

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

    def _cost_known(self, cost: LoadingCost) -> None:
        self._costing, self.cost = None, cost
        self.conversation.plain = len(cost.target.variants) == 1
        self.changed.emit()

    def _cost_unknown(self, failure: Exception) -> None:
        self._costing = None
        self.problems = problems_of(failure)
        self.changed.emit()

    # --- the engine's life

    @property
    def phase(self) -> Phase:
        """Where the engine is in its life."""
        phase = self.engine.phase
        return Phase.ASKING if phase is Phase.EMPTY and self._is_asking else phase

    @property
    def loaded(self) -> Loaded | None:
        """The engine that is loading or ready."""
        return self.engine.loaded

    def load(self, *, beside_training: bool = False) -> None:
        """Loads the choice; with a training under way only when the user has agreed (``beside_training``)."""
        if self.choice is None or self.loaded is not None:
            return
        if self._desk.runs.live_count and not beside_training:
            self._is_asking = True
            if self.cost is not None:
                self._find_cost()  # what is free changes while a training goes on
            self.changed.emit()
            return
        self._is_asking, self.problems = False, ()
        self.conversation.notice = None
        self.engine.load(self.choice)
        if self._unsent:
            text, self._unsent = self._unsent, ""
            self.send(text)
        self.changed.emit()

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
        self.not_now()
        if self.engine.leave():
            self._close_replies("cancelled")
            self.guests.part()
        self.changed.emit()

    def _targeted(self, target: ChatTarget) -> None:
        assert self.loaded is not None
        self.conversation.title = target.title
        self.guests.welcome(self.loaded.thread)
        self._ask_waiting()
        self.changed.emit()

    def _refused(self, failure: Exception) -> None:
        self.guests.part()
        self.problems = problems_of(failure)
        self._close_replies("failed", self.problems[0].message, self.problems[0].advice)
        self.changed.emit()

    def _updated(self, updates: list[ChatUpdate]) -> None:
        moved: list[Reply] = []
        for update in updates:
            if isinstance(update, ChatPiece | ChatAnswer):
                reply = self.conversation.hear(update)
                if reply is not None:
                    self._explain(reply)
                    moved.append(reply)
            else:
                self._told(update)
        if moved:
            self.moved.emit(list({id(reply): reply for reply in moved}.values()))

    def _explain(self, reply: Reply) -> None:
        """What stands against a guest says more than the engine, which only misses it."""
        guest = next((guest for guest in self.guests.all if guest.key == reply.voice), None)
        if guest is not None and guest.problems and reply.ended == "failed":
            reply.message, reply.hint = guest.problems[0].message, guest.problems[0].advice

    def _told(self, update: PhaseStarted | ChatReady | ChatVoice | Notice | Outcome) -> None:
        loaded = self.loaded
        if isinstance(update, Outcome):
            self.engine.loaded = None
            self.guests.part()
            self.conversation.notice = update
            for reply in self.conversation.replies():
                if reply.ended == "failed" and reply.message == update.message:
                    reply.message = reply.hint = ""  # the notice says it
            self._close_replies("failed")
        elif loaded is not None and isinstance(update, ChatReady):
            loaded.ready = update
        elif loaded is not None and isinstance(update, PhaseStarted):
            loaded.words = update.message
        elif isinstance(update, ChatVoice):
            self.guests.tell(update)
            self._ask_waiting()
        elif isinstance(update, Notice):
            self._desk.warn(update.message)
        self.changed.emit()

    # --- the conversation

    def send(self, text: str) -> None:
        """Puts a question to everyone who is asked; loads the model first where it is not there."""
        if not text.strip() or self.choice is None or self.conversation.is_open:
            return
        conversation = self.conversation
        if self.loaded is None and self.engine.wanted is None:
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
        if self.loaded is None:
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
        moved = []
        for reply in list(self.conversation.open_replies()):
            if not self._cancel(reply):
                reply.ended = "cancelled"
                moved.append(reply)
        self.moved.emit(moved)
        self.changed.emit()

    def _cancel(self, reply: Reply) -> bool:
        """Tells the engine to end an answer; False where it has not been asked for one."""
        if self.loaded is None or not reply.request:
            return False
        try:
            self.loaded.thread.cancel(reply.request)
        except OSError as failure:
            self._desk.complain(str(failure))
        return True

    def begin_anew(self) -> Callable[[], None]:
        """Begins a new conversation under the same system prompt; what is returned brings the old one back."""
        choice, old = self.choice, self.conversation
        self.cancel()
        for reply in old.open_replies():  # its end will not be heard any more
            reply.ended, reply.request = "cancelled", ""

        def take(conversation: Talk) -> None:
            if choice is not None:
                self._conversations[choice] = conversation
                self.changed.emit()

        take(Talk(title=old.title, target=old.target, plain=old.plain, system=old.system))
        return lambda: take(old)

    def open_conversation(self, kept: Conversation) -> Callable[[], None]:
        """Goes on with a conversation that was saved, with the present choice; what is returned brings the old back."""
        bring_back = self.begin_anew()
        talk = self.conversation
        talk.system, talk.turns, talk.began = kept.system, kept.turns, kept.began
        self.changed.emit()
        return bring_back

    def _open_replies(self, turn: Turn) -> None:
        seed = self.sampling.seed if self.sampling.fixed_seed else fresh_seed()
        self.conversation.open_turn(turn, self.asked, seed)
        self._ask_waiting()

    def _ask_waiting(self) -> None:
        """Hands over every question that the engine has not been told yet; a guest's waits until it is seated."""
        loaded, conversation = self.loaded, self.conversation
        if loaded is None or loaded.target is None:
            return
        seated = {guest.key: guest.voice for guest in self.guests.all}
        for index, turn in enumerate(conversation.turns):
            for name, reply in turn.replies.items():
                if not reply.is_open or reply.request:
                    continue
                voice = seated.get(name, "") if name.startswith("guest-") else name
                if not voice:
                    self._wait_for(name, reply)
                    continue
                messages = conversation.messages(name, index)
                try:
                    reply.request = loaded.thread.ask(messages, voice, self.sampling.sampling(reply.seed))
                except UserError as failure:
                    reply.fail(failure.problems[0].message, failure.problems[0].advice)

    def _wait_for(self, name: str, reply: Reply) -> None:
        """A guest that will not come leaves its question unanswered."""
        guest = next((guest for guest in self.guests.all if guest.key == name), None)
        if guest is None:
            reply.ended = "cancelled"
        elif guest.problems:
            reply.fail(guest.problems[0].message, guest.problems[0].advice)
        else:
            return
        self.moved.emit([reply])

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
