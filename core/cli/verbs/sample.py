"""``lowrank sample``: asks a model, before and after training."""

import argparse
from typing import TYPE_CHECKING, Any

from core.cli.console import Console
from core.cli.numbers import number_between, whole_between
from core.errors import ExitCode, UserError, error

if TYPE_CHECKING:
    from core.runs.targets import ChatTarget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="name or folder of a run with a result")
    parser.add_argument("--model", metavar="MODEL", help="ask this model instead: a name or a folder")
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="what to ask; may be repeated (the run's own sample prompts if left out)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tuned", dest="which", action="store_const", const="tuned", help="ask the tuned model (default)"
    )
    which.add_argument("--base", dest="which", action="store_const", const="base", help="ask the base model")
    which.add_argument("--both", dest="which", action="store_const", const="both", help="ask both, one after the other")
    parser.add_argument(
        "--temperature",
        type=number_between(0, 10),
        default=0.0,
        help="0 takes the likeliest token (default); more is freer",
    )
    parser.add_argument(
        "--top-p", type=number_between(0.001, 1), default=1.0, help="draw from the likeliest tokens alone"
    )
    parser.add_argument("--tokens", type=whole_between(1, 32_768), default=200, help="longest answer in tokens (200)")
    parser.add_argument("--seed", type=whole_between(0, 2**32 - 1), default=0, help="seed for temperatures above 0")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Answers every prompt with every model asked for."""
    if bool(options.run) == bool(options.model):
        raise UserError(error("", "It is not said which model to ask.", "Name a RUN, or a model with --model."))
    if options.model and options.which in ("tuned", "both"):
        raise UserError(error(f"--{options.which}", "A model given with --model is asked as it is.", "Leave it out."))
    targets, prompts = _of_model(options.model) if options.model else _of_run(options.run, options.which or "tuned")
    prompts = options.prompt or prompts
    if not prompts:
        raise UserError(error("--prompt", "There is nothing to ask.", 'Add --prompt "…".'))
    asked = {
        "prompts": prompts,
        "max_new_tokens": options.tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
    }
    return _ask([{**target.arguments(), **asked} for target in targets], console, named=len(targets) > 1)


def _ask(jobs: list[dict[str, Any]], console: Console, *, named: bool) -> ExitCode:
    from core.cli.jobs import run_job
    from core.records import to_plain

    answers = []
    code = ExitCode.DONE
    for job in jobs:
        finished = run_job("sample", job, console, answers=False)
        if named:
            console.line(console.bold("The base model" if job["adapter"] is None else "The tuned model"))
        for sample in finished.state.samples:
            console.paragraph(sample.prompt, "  ", "> ")
            console.paragraph(sample.text.strip() or "(no answer)", "  ")
            console.line()
            answers.append(to_plain(sample))
        code = finished.outcome.exit_code
        if code is not ExitCode.DONE:
            break
    console.result({"answers": answers, "exit_code": int(code)})
    return code


def _of_run(name: str, which: str) -> tuple[list["ChatTarget"], tuple[str, ...]]:
    """The base and tuned models of a run that are asked for, and its own sample prompts."""
    from core.runs.store import find_run
    from core.runs.targets import base_of_run, tuned_of_run

    folder = find_run(name)
    targets = []
    if which in ("base", "both"):
        targets.append(base_of_run(folder))
    if which in ("tuned", "both"):
        targets.append(tuned_of_run(folder))
    return targets, targets[0].prompts


def _of_model(name: str) -> tuple[list["ChatTarget"], tuple[str, ...]]:
    from core.runs.targets import target_of_model

    return [target_of_model(name)], ()
