"""``lowrank sample``: asks a model, before and after training."""

import argparse
from typing import Any

from core.cli.console import Console
from core.errors import ExitCode, Severity, UserError, error


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
        "--temperature", type=_number(0, 10), default=0.0, help="0 takes the likeliest token (default); more is freer"
    )
    parser.add_argument("--top-p", type=_number(0.001, 1), default=1.0, help="draw from the likeliest tokens alone")
    parser.add_argument("--tokens", type=_whole(1, 32_768), default=200, help="longest answer in tokens (200)")
    parser.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, help="seed for temperatures above 0")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Answers every prompt with every model asked for."""
    if bool(options.run) == bool(options.model):
        raise UserError(error("", "It is not said which model to ask.", "Name a RUN, or a model with --model."))
    if options.model and options.which in ("tuned", "both"):
        raise UserError(error(f"--{options.which}", "A model given with --model is asked as it is.", "Leave it out."))
    jobs, prompts = _of_model(options.model) if options.model else _of_run(options.run, options.which or "tuned")
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
    return _ask([{**job, **asked} for job in jobs], console, named=len(jobs) > 1)


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


def _of_run(name: str, which: str) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The jobs that ask a run's base and tuned model, and its own sample prompts."""
    from core.cli.run_files import require_result, result_base
    from core.runs.store import find_run, load_plan, load_spec

    folder = find_run(name)
    spec = load_spec(folder)
    choices = load_plan(folder).choices
    common = {
        "device": choices.device.value,
        "compute_dtype": choices.compute_dtype.value,
        "quantization": choices.quantization.value,
        "threads": choices.threads.value,
        "template": spec.data.template,
        "trust_remote_code": spec.model.trust_remote_code,
    }
    jobs = []
    if which in ("base", "both"):
        jobs.append({**common, "model": str(result_base(folder)), "adapter": None})
    if which in ("tuned", "both"):
        require_result(folder)
        if spec.adapter.method == "full":
            jobs.append({**common, "model": str(folder.adapter), "adapter": None})
        else:
            jobs.append({**common, "model": str(result_base(folder)), "adapter": str(folder.adapter)})
    return jobs, spec.training.sample_prompts


def _of_model(name: str) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The job that asks a model as it is, on the device and in the format that the planner would take."""
    from core.facts.hardware import read_hardware
    from core.facts.locate import find_model
    from core.facts.model_files import read_model
    from core.facts.types import Facts
    from core.paths import home
    from core.plan.planner import plan
    from core.spec.run_spec import RunSpec

    path = find_model(name)
    facts = Facts(read_hardware(home()), read_model(path))
    planned = plan(RunSpec().replace("model.base", str(path)).replace("data.max_length", 128), facts)
    refused = [
        problem
        for problem in planned.problems
        if problem.severity is Severity.ERROR and problem.path.startswith("model.")
    ]
    if refused:
        raise UserError(*refused)
    choices = planned.choices
    job = {
        "model": str(path),
        "adapter": None,
        "device": choices.device.value,
        "compute_dtype": choices.compute_dtype.value,
        "quantization": choices.quantization.value,
        "threads": choices.threads.value,
    }
    return [job], ()


def _number(low: float, high: float) -> Any:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"“{text}” is not a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"“{text}” is not between {low:g} and {high:g}")
        return value

    return read


def _whole(low: int, high: int) -> Any:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"“{text}” is not a whole number from {low:,} to {high:,}")
        return int(text)

    return read
