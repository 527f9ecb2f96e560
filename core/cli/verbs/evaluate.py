"""``lowrank evaluate``: base against tuned in numbers, and runs against each other."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.numbers import whole_number
from core.errors import ExitCode, UserError, error
from core.units import format_bytes

if TYPE_CHECKING:
    from core.runs.layout import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="name or folder of a run with a result")
    parser.add_argument("--data", default="", metavar="FILE", help="measure the loss on these rows (validation rows)")
    parser.add_argument("--answers", default="", metavar="FILE", help="compare greedy answers with those of this file")
    parser.add_argument("--choices", default="", metavar="FILE", help="answer the multiple-choice questions of a file")
    parser.add_argument("--rows", default="0", metavar="N", help="at most so many rows of each, spread over all (all)")
    parser.add_argument("--tokens", default="256", metavar="N", help="longest answer in tokens (256)")
    parser.add_argument("--anyway", action="store_true", help="measure even where the model does not fit the memory")
    parser.add_argument("--compare", action="store_true", help="put what was measured of several RUNs side by side")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Measures in an engine of its own, keeps the result with the run, and prints it."""
    from core.runs.store import find_run

    folders = [find_run(name) for name in options.runs]
    if options.compare:
        return _compare(options, console)
    if len(folders) > 1:
        advice = "Add --compare to compare what was measured before, or evaluate one after the other."
        raise UserError(error("", "One run is evaluated at a time.", advice))
    return _evaluate(options, console)


def _compare(options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.evaluation_report import print_comparison
    from core.records import to_plain
    from core.runs.evaluations import compare_evaluations
    from core.runs.store import find_run

    given = [name for name in ("data", "answers", "choices") if getattr(options, name)]
    if given:
        message = "--compare measures nothing new."
        raise UserError(error(f"--{given[0]}", message, "Leave the file out, or leave --compare out."))
    compared = compare_evaluations([find_run(name) for name in options.runs])
    print_comparison(compared, console)
    console.result({**to_plain(compared), "exit_code": int(ExitCode.DONE)})
    return ExitCode.DONE


def _evaluate(options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.evaluation_report import print_evaluation
    from core.cli.jobs import run_job
    from core.records import to_plain
    from core.runs.evaluation_files import as_given
    from core.runs.evaluation_rows import Asked, check_asked
    from core.runs.evaluations import load_evaluation
    from core.runs.store import find_run
    from core.runs.targets import base_of_run, tuned_of_run

    folder = find_run(options.runs[0])
    tuned_of_run(folder)
    base_of_run(folder)
    files = {
        name: as_given(getattr(options, name)) for name in ("data", "answers", "choices") if getattr(options, name)
    }
    rows, tokens = _whole(options.rows, "--rows", 0), _whole(options.tokens, "--tokens", 1)
    check_asked(folder, Asked(**files, rows=rows))
    _check_room(folder, options, console)
    arguments = {"run": str(folder.path), **files, "rows": rows, "tokens": tokens}
    finished = run_job("evaluate", arguments, console)
    code = finished.outcome.exit_code
    if code is not ExitCode.DONE:
        console.result({"exit_code": int(code)})
        return code
    path = Path(str((finished.outcome.result or {})["path"]))
    evaluation = load_evaluation(path)
    print_evaluation(evaluation, console)
    console.line(f"Kept in  {path}")
    console.result({**to_plain(evaluation), "path": str(path), "exit_code": int(code)})
    return code


def _check_room(folder: "RunFolder", options: argparse.Namespace, console: Console) -> None:
    """Says what the copy of the model will take before it is loaded.

    Raises:
        UserError: it does not fit.
    """
    from core.runs.chat_cost import evaluation_cost

    cost = evaluation_cost(folder)
    needed, free = format_bytes(cost.bytes), format_bytes(cost.free_bytes)
    if not cost.fits and not options.anyway:
        message = f"The model takes about {needed} of memory, and only {free} are free."
        advice = "Close what holds memory, such as a chat with a model, or add --anyway."
        raise UserError(error("", message, advice), exit_code=ExitCode.DOES_NOT_FIT)
    console.line(f"Loads a copy of the model: about {needed} of memory, {free} are free.")


def _whole(text: str, option: str, low: int) -> int:
    number = whole_number(text, low, 1_000_000)
    if number is None:
        raise UserError(error(option, f"“{text}” is no whole number from {low} on.", "Write one such as 100."))
    return number
