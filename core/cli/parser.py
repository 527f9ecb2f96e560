"""The grammar of the command line: which verbs there are, and what each option means to all of them."""

import argparse
import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from core.errors import Problem, UserError, error


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's name and the sentence that ``--help`` says about it; its module is loaded only when it is used."""

    name: str
    help: str

    def load(self) -> Any:
        """The module that declares its options (``add_arguments``) and does it (``perform``)."""
        return importlib.import_module(f"core.cli.verbs.{self.name.replace('-', '_')}")


VERBS = (
    Verb("demo", "train the starter model on bundled data, end to end, in a few minutes"),
    Verb("data", "say what is in data files and what is wrong with it, before anything is trained"),
    Verb("plan", "say what a run will do and need, without starting it"),
    Verb("run", "start a run and follow it"),
    Verb("resume", "go on with a run that was stopped or failed"),
    Verb("extend", "train a finished run further"),
    Verb("launch-script", "write a script that trains with torchrun or Slurm, on several GPUs or machines"),
    Verb("stop", "stop a run; it saves first"),
    Verb("queue", "train runs one after another, such as over night"),
    Verb("sweep", "train a group of runs that differ in some settings, and compare them"),
    Verb("runs", "list the runs"),
    Verb("show", "show a run, or follow one that is going on"),
    Verb("sample", "ask a model, before and after training"),
    Verb("chat", "talk to a run, a checkpoint, an adapter or a model, or to several side by side"),
    Verb("evaluate", "measure a run's model beside its base: loss, answers, multiple choice; compare runs"),
    Verb("export", "write a run's adapter, or base and adapter merged into one model"),
    Verb("verify", "compare an export once more with what was trained"),
    Verb("models", "list, inspect, fetch and import base models"),
    Verb("pack", "put models into a folder that one copies to a computer without a network"),
    Verb("unpack", "take in the models of such a folder"),
    Verb("presets", "list the presets"),
    Verb("schema", "print the settings as a JSON Schema or as a reference"),
    Verb("bench", "measure attention, or how fast a model answers, on this computer"),
    Verb("doctor", "check this computer and this installation"),
)
NAMES = tuple(verb.name for verb in VERBS)
OTHER_WORDS = {
    "train": "run",
    "start": "run",
    "list": "runs",
    "ls": "runs",
    "status": "show",
    "log": "show",
    "talk": "chat",
    "ask": "sample",
    "merge": "export",
    "check": "doctor",
}
EXIT_CODES = "Exit status: 0 done, 2 bad spec or command, 3 does not fit, 4 failed, 5 stopped."


class _Parser(argparse.ArgumentParser):
    """Reports what is wrong as a `UserError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise UserError(error("", f"{message[:1].upper()}{message[1:]}.", f"“{self.prog} --help” explains it."))


def overview() -> argparse.ArgumentParser:
    """The parser that explains the program as a whole."""
    width = max(map(len, NAMES))
    listed = "\n".join(f"  {verb.name:<{width}}  {verb.help}" for verb in VERBS)
    return _Parser(
        prog="lowrank",
        usage="lowrank VERB [OPTIONS]",
        description=f"Lowrank Studio: fine-tune language models on your own machine.\n\nVerbs:\n{listed}",
        epilog=f"“lowrank VERB --help” explains a verb. {EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parser_of(verb: Verb, module: Any) -> argparse.ArgumentParser:
    """The parser of one verb."""
    parser = _Parser(
        prog=f"lowrank {verb.name}",
        description=f"{verb.help[:1].upper()}{verb.help[1:]}.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object for programs, and nothing else")
    parser.add_argument("--yes", action="store_true", help=argparse.SUPPRESS)  # nothing ever asks; scripts may say so
    return parser


def find_verb(name: str) -> Verb:
    """The verb called ``name``.

    Raises:
        UserError: there is none; it says which one may have been meant.
    """
    for verb in VERBS:
        if verb.name == name:
            return verb
    close = difflib.get_close_matches(name.lower(), (*NAMES, *OTHER_WORDS), n=1, cutoff=0.5)
    advice = (
        f"Did you mean “lowrank {OTHER_WORDS.get(close[0], close[0])}”?"
        if close
        else f"The verbs are {', '.join(NAMES)}."
    )
    raise UserError(error("", f"There is no verb “{name}”.", advice))


def read_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The verb's options.

    Raises:
        UserError: an option is unknown, lacks its value, or has a wrong one.
    """
    options, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise UserError(*(_unknown(parser, word) for word in unknown))
    return options


def _unknown(parser: argparse.ArgumentParser, word: str) -> Problem:
    if not word.startswith("-"):
        return error("", f"“{word}” is one argument too many.", f"“{parser.prog} --help” explains the verb.")
    flag = word.partition("=")[0]
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 (no public list)
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    advice = f"Did you mean “{close[0]}”?" if close else f"“{parser.prog} --help” lists the options."
    return error("", f"“{parser.prog}” has no option “{flag}”.", advice)
