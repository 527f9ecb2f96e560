"""What can be typed in a terminal chat beside questions: “/again”, “/set temperature 0.2” and so on."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.cli.chat_room import ChatRoom
from core.errors import UserError, error
from core.runs.chat_protocol import ChatSampling
from core.runs.conversation import read_conversation
from core.runs.voices import MOST_VOICES

_NEEDS_WORDS = {"with", "without", "save", "open", "ask"}
_TAKES_WORDS = _NEEDS_WORDS | {"edit", "set", "system"}
_NAMES = ("again", "ask", "edit", "help", "new", "open", "quit", "save", "set", "system", "who", "with", "without")
_OTHER_WORDS = {"exit": "quit", "bye": "quit", "q": "quit", "regenerate": "again", "retry": "again", "clear": "new"}
HELP = (
    "/again              answer the last question once more",
    "/edit TEXT          ask this instead of the last question",
    "/system TEXT        another system prompt; without TEXT none",
    "/set NAME VALUE     temperature, top_p, top_k, repetition_penalty, tokens, or seed (a number, or “random”)",
    "/set                what they are now",
    "/who                who is there; a star stands before those who answer",
    "/ask NAME, NAME     who answers the next question",
    "/with NAME          let another run, checkpoint (RUN@STEP), adapter or model answer as well",
    "/without NAME       let it go, with its memory",
    "/new                a new conversation",
    "/save FILE          keep the conversation, as .json or .md",
    "/open FILE          go on with one that was saved as .json",
    "/quit               end the chat",
    "A line that ends in \\ goes on in the next one. Ctrl+C ends an answer.",
)
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top-p": "top_p",
    "top_k": "top_k",
    "top-k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "repetition-penalty": "repetition_penalty",
    "tokens": "max_new_tokens",
    "seed": "seed",
}
_WHOLE = ("top_k", "max_new_tokens", "seed")


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what stands behind it."""

    name: str
    words: str

    def changed(self, sampling: ChatSampling, *, fixed_seed: bool) -> tuple[ChatSampling, bool]:
        """The settings after “/set NAME VALUE”, and whether the seed is now a fixed one.

        Raises:
            UserError: there is no such setting, or it cannot have this value.
        """
        name, _, value = self.words.replace("=", " ", 1).partition(" ")
        value = value.strip()
        if name not in _SETTINGS:
            message = f"There is no setting “{name}”."
            raise UserError(
                error("/set", message, f"There are {', '.join(name for name in _SETTINGS if '-' not in name)}.")
            )
        setting = _SETTINGS[name]
        if setting == "seed" and value == "random":
            return sampling, False
        try:
            number = int(value) if setting in _WHOLE else float(value)
        except ValueError:
            kind = "whole number" if setting in _WHOLE else "number"
            message = f"“{value}” is not a {kind}."
            raise UserError(error(f"/set {name}", message, f"For example: /set {name} 1")) from None
        made = replace(sampling, **{setting: number})  # type: ignore[arg-type]  # whole where it has to be
        problems = made.problems()
        if problems:
            raise UserError(*problems)
        return made, fixed_seed or setting == "seed"

    def chosen(self, titles: Mapping[str, str]) -> list[str]:
        """The voices that are named behind the command, by their titles or a clear beginning of one.

        Raises:
            UserError: nobody, or too many, or several are called so.
        """
        found: list[str] = []
        for wanted in filter(None, (part.strip() for part in self.words.split(","))):
            hits = [name for name, title in titles.items() if wanted in (title, name)]
            hits = hits or [name for name, title in titles.items() if title.lower().startswith(wanted.lower())]
            if len(hits) != 1:
                message = f"{'Nobody' if not hits else 'More than one'} here is called “{wanted}”."
                raise UserError(error(f"/{self.name}", message, f"There are {', '.join(titles.values())}."))
            found += [name for name in hits if name not in found]
        if len(found) > MOST_VOICES:
            raise UserError(error(f"/{self.name}", f"{MOST_VOICES} answer at most.", "Name fewer."))
        return found


def command_of(line: str) -> Command:
    """The command that a line beginning with “/” means.

    Raises:
        UserError: there is none of that name, or something is missing behind it.
    """
    name, _, words = line[1:].strip().partition(" ")
    name = _OTHER_WORDS.get(name, name)
    words = words.strip()
    if name not in _NAMES:
        close = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.5)
        advice = f"Did you mean “/{close[0]}”?" if close else "“/help” lists them."
        raise UserError(
            error("", f"There is no command “/{name}”.", f"{advice} A space before the “/” asks it as it is.")
        )
    if name in _NEEDS_WORDS and not words:
        raise UserError(error("", f"Something is missing behind “/{name}”.", "“/help” shows what belongs there."))
    if words and name not in _TAKES_WORDS:
        raise UserError(error("", f"Nothing belongs behind “/{name}”.", "Leave it out."))
    return Command(name, words)


def obey(room: ChatRoom, line: str) -> bool:
    """Asks what was typed, or does what it orders, and says what stands against it; False to end the chat."""
    if not line.strip():
        return True
    try:
        if not line.startswith("/"):
            room.ask(line)
            return True
        command = command_of(line)
        if command.name == "quit":
            return False
        _ORDERS[command.name](room, command)
    except UserError as failure:
        room.console.problems(failure.problems)
    return True


def _begin_anew(room: ChatRoom, _command: Command) -> None:
    room.conversation.turns.clear()
    room.remark("A new conversation, under the same system prompt.")


def _change_system(room: ChatRoom, command: Command) -> None:
    room.conversation.system = command.words
    room.remark("The system prompt counts from the next question on.")


def _change_setting(room: ChatRoom, command: Command) -> None:
    if command.words:
        room.sampling, room.fixed_seed = command.changed(room.sampling, fixed_seed=room.fixed_seed)
    values = {name: getattr(room.sampling, setting) for name, setting in _SETTINGS.items() if "-" not in name}
    if not room.fixed_seed:
        values["seed"] = "random"
    room.remark(", ".join(f"{name} {value}" for name, value in values.items()))


def _choose(room: ChatRoom, command: Command) -> None:
    room.asked = command.chosen(room.titles)


def _list_voices(room: ChatRoom, _command: Command) -> None:
    for name, title in room.titles.items():
        room.console.line(f"{'*' if name in room.asked else ' '} {title}")


def _save(room: ChatRoom, command: Command) -> None:
    path = Path(command.words).expanduser()
    check_file(path)
    room.save(path)


def _open(room: ChatRoom, command: Command) -> None:
    kept = read_conversation(Path(command.words).expanduser())
    room.conversation.system, room.conversation.turns = kept.system, kept.turns
    room.remark(f"{len(kept.turns)} turns; go on.")


_ORDERS: Mapping[str, Callable[[ChatRoom, Command], None]] = {
    "again": lambda room, _command: room.ask_instead(),
    "ask": _choose,
    "edit": lambda room, command: room.ask_instead(command.words),
    "help": lambda room, _command: room.console.lines(HELP),
    "new": _begin_anew,
    "open": _open,
    "save": _save,
    "set": _change_setting,
    "system": _change_system,
    "who": _list_voices,
    "with": lambda room, command: room.invite(command.words),
    "without": lambda room, command: room.dismiss(command.chosen(room.titles)),
}


def check_file(path: Path) -> None:
    """Refuses a file that a conversation could not be kept in, before anything is said.

    Raises:
        UserError: its folder is not there, or it has an ending that means neither JSON nor Markdown.
    """
    if path.suffix not in (".json", ".md"):
        message = f"A conversation is kept as JSON or Markdown, not as “{path.suffix}”."
        advice = "Name it .json, which can be opened again, or .md, which reads well."
        raise UserError(error(str(path), message, advice))
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(error(str(path), f"There is no folder {folder}.", "Make it, or name another."))
