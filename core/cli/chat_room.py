"""A conversation in the terminal: loads whoever is asked, prints answers as they come, and obeys “/” commands."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from core.cli.console import Console
from core.cli.follow import Presses, counted_presses
from core.errors import ExitCode, UserError, error
from core.events.types import ChatAnswer, ChatEnd, ChatPiece, ChatReady, ChatVoice, Notice, PhaseStarted
from core.export.chat_targets import find_target
from core.runs.chat import ChatUpdate
from core.runs.chat_protocol import ChatSampling
from core.runs.conversation import Conversation, Reply, Turn, fresh_seed
from core.runs.outcome import Outcome
from core.runs.panel import Panel, shares_weights
from core.runs.targets import ChatTarget
from core.runs.voices import BASE, MOST_VOICES, TUNED
from core.units import format_bytes, format_duration

POLL_SECONDS = 0.03
_ENDS: dict[ChatEnd, str] = {
    "length": "cut at the length limit",
    "context": "cut because the context is full",
    "cancelled": "stopped",
    "failed": "broken off",
}


class _EndedError(Exception):
    """The main model's engine has ended, or the user wants the end."""


class ChatRoom:
    """One conversation.

    Attributes:
        asked: who answers the next question, by the panel's names.
        titles: what people call everybody who is there.
    """

    def __init__(
        self,
        console: Console,
        target: ChatTarget,
        talk: Conversation,
        sampling: ChatSampling,
        *,
        fixed_seed: bool,
        anyway: bool,
    ) -> None:
        self.console, self.target, self.conversation, self.sampling = console, target, talk, sampling
        self.fixed_seed = fixed_seed
        self.asked: list[str] = []
        main: dict[str, str] = {BASE: "base" if TUNED in target.variants else target.title, TUNED: target.title}
        self.titles: dict[str, str] = {name: main[name] for name in target.variants}
        self._anyway = anyway
        self._panel = Panel(target)
        self._presses = Presses()
        self._waiting: set[str] = set()

    def talk(
        self,
        lines: Iterator[str],
        asked: Sequence[str],
        others: Sequence[ChatTarget],
        obey: Callable[["ChatRoom", str], bool],
    ) -> ExitCode:
        """Talks until there are no more lines.

        Args:
            lines: what is typed.
            asked: who answers, of the target's variants.
            others: who answers beside them.
            obey: asks what was typed, or does what it orders; False to end.

        Raises:
            UserError: nobody could be loaded, or the engine died.
        """
        for other in others:
            self._check_room(other)
        try:
            with counted_presses() as self._presses:
                self._load(asked, others)
            for line in lines:
                with counted_presses() as self._presses:
                    if not obey(self, line):
                        break
        except _EndedError as ended:
            return self._ended(ended)
        finally:
            self.console.end_progress()
            self._panel.close()
        return ExitCode.DONE

    def save(self, path: Path) -> None:
        """Keeps the conversation.

        Raises:
            UserError: it cannot be written.
        """
        try:
            self.conversation.save(path)
        except OSError as failure:
            message = f"The conversation could not be saved: {failure.strerror or failure}."
            raise UserError(error(str(path), message, "Choose another place."), exit_code=ExitCode.FAILED) from failure
        self.console.line(self.console.dim(f"Saved to {path}."))

    def remark(self, words: str) -> None:
        """Something said in passing."""
        self.console.line(self.console.dim(words))

    # --- loading

    def _load(self, asked: Sequence[str], others: Sequence[ChatTarget]) -> None:
        self._panel.start()
        self.asked = list(asked)
        for other in others:
            self._add(other)
        ready = False
        while not ready or self._waiting:
            for update in self._poll():
                if isinstance(update, ChatReady):
                    ready = True
                    self._greet(update)
                elif isinstance(update, PhaseStarted):
                    self.console.progress(update.message)
            if self._presses.count:
                raise _EndedError
            time.sleep(POLL_SECONDS)

    def _greet(self, ready: ChatReady) -> None:
        console = self.console
        console.end_progress()
        where = "the processor" if ready.device == "cpu" else ready.device
        names = ", ".join(self.titles[name] for name in self.asked)
        console.line(f"{console.bold(names)} on {where}, loaded in {format_duration(ready.seconds)}.")
        if not self.conversation.system and ready.system:
            console.paragraph(console.dim(f"System prompt of the template: {ready.system}"))
        console.line(console.dim("/help lists what else can be typed. Ctrl+C ends an answer, Ctrl+D the chat."))

    def _check_room(self, other: ChatTarget) -> None:
        """Says what weights of their own will cost before they are loaded.

        Raises:
            UserError: they do not fit.
        """
        from core.runs.chat_cost import loading_cost

        if shares_weights(self.target, other):
            return
        cost = loading_cost(other)
        needed, free = format_bytes(cost.bytes), format_bytes(cost.free_bytes)
        words = f"{other.title} has weights of its own: a second model that takes about {needed}"
        if not cost.fits and not self._anyway:
            advice = "Leave it out, or begin the chat with --anyway."
            raise UserError(error("", f"{words}, and only {free} are free.", advice), exit_code=ExitCode.DOES_NOT_FIT)
        self.console.line(f"{words} of {free} free.")

    def _add(self, other: ChatTarget) -> None:
        name = self._panel.add(other)
        if name.startswith("voice-"):
            self._waiting.add(name)
            self.titles[name] = other.title
        if name not in self.asked:
            self.asked.append(name)

    def _poll(self) -> list[ChatUpdate]:
        """What the engines say; what concerns everybody is dealt with here.

        Raises:
            _EndedError: the main one has ended.
        """
        updates = self._panel.poll()
        for update in updates:
            if isinstance(update, ChatVoice):
                self._voice_changed(update)
            elif isinstance(update, Notice):
                self.console.paragraph(update.message)
            elif isinstance(update, Outcome):
                raise _EndedError
        return updates

    def _voice_changed(self, update: ChatVoice) -> None:
        self._waiting.discard(update.voice)
        if update.state == "ready":
            title = self.titles[update.voice]
            self.console.line(self.console.dim(f"{title} is there, after {format_duration(update.seconds)}."))
        elif update.message:
            self.console.problems((error(self.titles.get(update.voice, ""), update.message, update.hint),))
            self._forget(update.voice)

    def _forget(self, voice: str) -> None:
        self.titles.pop(voice, None)
        if voice in self.asked:
            self.asked.remove(voice)
        if not self.asked:
            self.asked = [self.target.variants[-1]]

    # --- talking

    def ask(self, prompt: str) -> None:
        """Puts a question to everybody who is asked, and prints the answers.

        Raises:
            UserError: it cannot be asked; the conversation is as before.
        """
        turn = Turn(prompt)
        self.conversation.turns.append(turn)
        try:
            self._answer(turn)
        except UserError:
            self.conversation.turns.remove(turn)
            raise

    def _answer(self, turn: Turn) -> None:
        talk = self.conversation
        seed = self.sampling.seed if self.fixed_seed else fresh_seed()
        talk.open_turn(turn, {name: self._kept_title(name) for name in self.asked}, seed)
        place = talk.turns.index(turn)
        for name, reply in turn.replies.items():
            reply.request = self._panel.ask(talk.messages(name, place), name, replace(self.sampling, seed=seed))
        for name, reply in turn.replies.items():
            if len(turn.replies) > 1:
                self.console.line(self.console.bold(self.titles.get(name, name)))
            self._print(reply)

    def _kept_title(self, name: str) -> str:
        return "" if name in self.target.variants else self.titles[name]

    def _print(self, reply: Reply) -> None:
        """Prints one answer as it comes; the others are collected meanwhile."""
        shown, cancelled = 0, False
        while True:
            for update in self._poll():
                if isinstance(update, ChatPiece | ChatAnswer):
                    self.conversation.hear(update)
            self.console.piece(_printable(reply.text[shown:]))
            shown = max(shown, len(reply.text))
            if not reply.is_open:
                break
            if self._presses.count and not cancelled:
                cancelled = True
                for open_reply in list(self.conversation.open_replies()):
                    self._panel.cancel(open_reply.request)
            time.sleep(POLL_SECONDS)
        self.console.line()
        self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        if reply.message:
            self.console.problems((error("", reply.message, reply.hint),))
        parts = [f"{reply.tokens:,} tokens"] if reply.tokens else []
        if reply.speed is not None:
            parts.append(f"{reply.speed:.1f} tokens/s")
        if reply.first_seconds is not None:
            parts.append(f"first token after {format_duration(reply.first_seconds)}")
        if reply.ended in _ENDS:
            parts.append(_ENDS[reply.ended])
        if parts:
            self.console.line(self.console.dim(" · ".join(parts)))
        self.console.line()

    # --- changes

    def ask_instead(self, prompt: str = "") -> None:
        """Asks the last question again, or another one in its place.

        Raises:
            UserError: nothing has been asked, or it cannot be; the conversation is as before.
        """
        talk = self.conversation
        if not talk.turns:
            raise UserError(error("", "Nothing has been asked yet.", "Type a question first."))
        turn = talk.turns.pop()
        try:
            self.ask(prompt or turn.prompt)
        except UserError:
            talk.turns.append(turn)
            raise

    def invite(self, name: str) -> None:
        """Lets somebody else answer as well, and waits until it can.

        Raises:
            UserError: nobody is called so, it does not fit, or there are three already.
        """
        if len(self.asked) >= MOST_VOICES:
            advice = "/ask chooses who does, /without lets somebody go."
            raise UserError(error("/with", f"{MOST_VOICES} answer at most.", advice))
        other = find_target(name)
        self._check_room(other)
        self._add(other)
        while self._waiting:
            self._poll()
            time.sleep(POLL_SECONDS)

    def dismiss(self, voices: Sequence[str]) -> None:
        """Lets somebody go, with the memory that it took.

        Raises:
            UserError: it is what the chat was begun with.
        """
        kept = [name for name in voices if name in self.target.variants]
        if kept:
            advice = "/ask chooses who answers."
            raise UserError(error("/without", f"{self.titles[kept[0]]} stays as long as the chat.", advice))
        for name in voices:
            self._panel.remove(name)
            self._forget(name)

    def _ended(self, ended: _EndedError) -> ExitCode:
        outcome = self._panel.outcome
        if outcome is None or outcome.kind in ("completed", "stopped"):
            if outcome is not None:
                self.console.line(outcome.message)
            return ExitCode.DONE if outcome is not None else ExitCode.STOPPED
        where = f" The engine's log is {self._panel.log}." if self._panel.log else ""
        raise UserError(
            error("", outcome.message, f"{outcome.hint}{where}".strip()), exit_code=ExitCode.FAILED
        ) from ended


def _printable(text: str) -> str:
    """Without the control characters by which a text could rule the terminal."""
    odd = "\N{REPLACEMENT CHARACTER}"
    return "".join(letter if letter in "\n\t" or letter.isprintable() else odd for letter in text)
