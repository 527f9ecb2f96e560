"""The program ``lowrank``: finds the verb, does it, and turns whatever goes wrong into sentences and an exit status."""

import sys
from collections.abc import Sequence

from core.cli.console import Console
from core.cli.parser import find_verb, overview, parser_of, read_options
from core.errors import ExitCode, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say and returns the exit status (`core.errors.ExitCode`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(json="--json" in words)
    try:
        return int(_perform(words, console))
    except UserError as failure:
        _report(console, failure)
        return int(failure.exit_code)
    except KeyboardInterrupt:
        console.end_progress()
        _say(console, "Interrupted.", ExitCode.STOPPED)
        return int(ExitCode.STOPPED)
    except SystemExit as ending:  # argparse has printed the help
        return int(ending.code or 0) if not isinstance(ending.code, str) else int(ExitCode.FAILED)
    except Exception as failure:  # noqa: BLE001 (the border of the program: a user never sees a traceback)
        console.end_progress()
        _say(console, _recorded(failure, words), ExitCode.FAILED)
        return int(ExitCode.FAILED)


def _perform(words: list[str], console: Console) -> ExitCode:
    if not words or words[0] in ("-h", "--help", "help"):
        return _help(words[1:], console)
    if words[0] == "--version":
        from core import __version__

        console.line(f"lowrank {__version__}")
        console.result({"version": __version__})
        return ExitCode.DONE
    if words[0] == "--json":  # before the verb as well as after it
        words = [*words[1:2], "--json", *words[2:]]
    verb = find_verb(words[0])
    module = verb.load()
    parser = parser_of(verb, module)
    performed = module.perform(read_options(parser, words[1:]), console)
    return ExitCode(performed)


def _help(words: list[str], console: Console) -> ExitCode:
    if words and words[0] != "--json":
        verb = find_verb(words[0])
        console.line(parser_of(verb, verb.load()).format_help().rstrip())
    else:
        console.line(overview().format_help().rstrip())
    return ExitCode.DONE


def _report(console: Console, failure: UserError) -> None:
    console.end_progress()
    console.problems(failure.problems)
    if console.json:
        from core.records import to_plain

        problems = [to_plain(problem) for problem in failure.problems]
        console.result({"problems": problems, "exit_code": int(failure.exit_code)})


def _say(console: Console, sentence: str, code: ExitCode) -> None:
    if console.json:
        problem = {"severity": "error", "path": "", "message": sentence, "advice": "", "fixes": []}
        console.result({"problems": [problem], "exit_code": int(code)})
    else:
        sys.stderr.write(f"{sentence}\n")


def _recorded(failure: Exception, words: list[str]) -> str:
    """Writes an internal error where it can be sent from, and says so in a sentence."""
    import platform
    import time
    import traceback

    from core import __version__
    from core.paths import home, write_atomic

    text = "".join(traceback.format_exception(failure))
    head = f"lowrank {__version__}, Python {platform.python_version()}, {platform.platform()}\nlowrank {words}\n\n"
    folder = home() / "crashes"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / time.strftime("%Y-%m-%d-%H%M%S.txt")
        write_atomic(path, head + text)
    except OSError as obstacle:
        return f"An error in Lowrank Studio ended this command: {text}It could not be recorded in {folder}: {obstacle}."
    kind = type(failure).__name__
    return f"An error in Lowrank Studio ended this command ({kind}: {failure}); the details are in {path}."
