"""``lowrank chat``: a conversation in the terminal, with one model or with several side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.numbers import number_between, whole_between
from core.errors import ExitCode, UserError, error
from core.runs.chat_protocol import LONGEST_ANSWER
from core.runs.voices import BASE, MOST_VOICES

if TYPE_CHECKING:
    from core.runs.targets import ChatTarget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a run, RUN@STEP for one of its checkpoints, the folder of an adapter or export, or a model",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--base", dest="which", action="store_const", const="base", help="talk to its base model")
    which.add_argument("--both", dest="which", action="store_const", const="both", help="talk to it and its base model")
    parser.add_argument(
        "--with", dest="others", action="append", default=[], metavar="NAME", help="let NAME answer as well; repeatable"
    )
    parser.add_argument("--anyway", action="store_true", help="load a second model even where the memory looks short")
    parser.add_argument("--system", default=None, metavar="TEXT", help="system prompt")
    parser.add_argument("--temperature", type=number_between(0, 10), default=0.7, help="0 takes the likeliest (0.7)")
    parser.add_argument("--top-p", type=number_between(0.001, 1), default=0.95, help="draw from the likeliest (0.95)")
    parser.add_argument("--top-k", type=whole_between(0, 1_000_000), default=0, help="draw from so many; 0: from all")
    parser.add_argument("--repetition-penalty", type=number_between(0.1, 10), default=1.0, help="1 leaves them (1)")
    parser.add_argument("--tokens", type=whole_between(1, LONGEST_ANSWER), default=512, help="longest answer (512)")
    parser.add_argument(
        "--seed", type=whole_between(0, 2**32 - 1), default=None, help="the same for every question (another each time)"
    )
    parser.add_argument("--open", type=Path, default=None, metavar="FILE", help="go on with a saved conversation")
    parser.add_argument("--save", type=Path, default=None, metavar="FILE", help="keep it at the end: .json or .md")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Talks until the input ends or somebody says /quit."""
    from core.cli.chat_commands import check_file, obey
    from core.cli.chat_input import typed_lines
    from core.cli.chat_room import ChatRoom
    from core.export.chat_targets import find_target
    from core.runs.chat_protocol import ChatSampling
    from core.runs.conversation import Conversation, read_conversation

    target = find_target(options.name)
    others = [find_target(name) for name in options.others]
    asked = _asked(target, options.which)
    if len(asked) + len(others) > MOST_VOICES:
        message = f"{len(asked) + len(others)} were to answer, and {MOST_VOICES} can at once."
        raise UserError(error("--with", message, "Name fewer."))
    if options.save is not None:
        check_file(options.save)
    talk = Conversation(target=str(options.name))
    if options.open is not None:
        talk = read_conversation(options.open)
    talk.title, talk.plain = target.title, len(target.variants) == 1
    if options.system is not None:
        talk.system = options.system
    sampling = ChatSampling(
        max_new_tokens=options.tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed or 0,
    )
    room = ChatRoom(console, target, talk, sampling, fixed_seed=options.seed is not None, anyway=options.anyway)
    code = room.talk(typed_lines(console), asked, others, obey)
    if options.save is not None and talk.turns:
        room.save(options.save)
    console.result({**talk.plain_record(), "exit_code": int(code)})
    return code


def _asked(target: "ChatTarget", which: str | None) -> tuple[str, ...]:
    """Who answers: the tuned model where there is one, else the base, or what was asked for.

    Raises:
        UserError: there is no base to ask here.
    """
    if which is not None and BASE not in target.variants:
        message = f"{target.title} is a whole model and has no base in memory."
        raise UserError(error(f"--{which}", message, "Leave it out, or add the base by --with."))
    if which == "both":
        return target.variants
    return (BASE,) if which == "base" else target.variants[-1:]
