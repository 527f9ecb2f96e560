"""``lowrank demo``: the main job end to end, on the starter model and bundled data."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.numbers import whole_number
from core.cli.spec_options import add_change_arguments, change_spec
from core.errors import ExitCode
from core.spec.demo import STEPS, demo_spec
from core.spec.run_spec import RunSpec

if TYPE_CHECKING:
    from core.events.run_state import RunState
    from core.runs.layout import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--out", metavar="FOLDER", help="where the exports go; must be empty or not exist (exports/RUN if left out)"
    )
    parser.add_argument("--steps", type=_steps, default=STEPS, help=f"how many steps to train ({STEPS})")
    add_change_arguments(parser)


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Fetches the starter model, trains, compares answers, and exports."""
    from core.cli.exporting import require_empty

    began = time.time()
    target = Path(options.out).expanduser().absolute() if options.out else None
    if target is not None:
        require_empty(target)
    console.line(console.bold("Lowrank Studio teaches a small language model to speak like Ambrose Bierce."))
    console.line()
    spec = change_spec(demo_spec(str(_starter(console)), options.steps), options)
    folder, state, code = _train(spec, console)
    if code is not ExitCode.DONE:
        return code
    _print_answers(state, console)
    return _export(folder, state, target, began, console)


def _starter(console: Console) -> Path:
    from core.cli.verbs.models import fetch_starter

    folder = fetch_starter(console)
    console.line(f"The base model is SmolLM2-135M-Instruct in {folder}.")
    return folder


def _train(spec: RunSpec, console: Console) -> "tuple[RunFolder, RunState, ExitCode]":
    from core.cli.follow import follow
    from core.cli.plan_report import print_short_plan
    from core.cli.preparing import prepare_spec, require_start
    from core.cli.run_report import print_after_run, print_outcome, run_record
    from core.runs.store import create_run
    from core.runs.supervisor import Supervisor

    prepared = prepare_spec(spec, console)
    print_short_plan(console, prepared.spec, prepared.facts, prepared.plan)
    require_start(prepared, console)
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    console.line()
    supervisor = Supervisor(folder)
    greeting = "Training starts. Ctrl+C stops it and saves."
    outcome = follow(supervisor, console, start=True, greeting=greeting, answers=False)
    assert outcome is not None, "a run that Ctrl+C stops is never left alone"
    print_outcome(console, outcome)
    if outcome.exit_code is not ExitCode.DONE:
        print_after_run(console, folder, outcome)
        console.result(run_record(folder, supervisor.run_state, outcome))
    return folder, supervisor.run_state, outcome.exit_code


def _print_answers(state: "RunState", console: Console) -> None:
    """The same prompts before and after, one below the other: answers are too long for columns."""
    before = {item.index: item for item in state.samples if item.variant == "base"}
    after = {item.index: item for item in state.samples if item.variant != "base"}
    console.line()
    for index, sample in sorted(after.items()):
        console.line(console.bold(sample.prompt))
        if index in before:
            console.paragraph(_joined(before[index].text), " " * 10, "  before  ")
        console.paragraph(_joined(sample.text), " " * 10, "  after   ")
        console.line()


def _joined(text: str) -> str:
    return " ".join(text.split()) or "(no answer)"


def _export(folder: "RunFolder", state: "RunState", target: Path | None, began: float, console: Console) -> ExitCode:
    from core.cli.exporting import export_result
    from core.cli.run_report import print_losses, run_record, validation_fall
    from core.export.curve import draw_run_curve
    from core.paths import home
    from core.runs.outcome import read_outcome
    from core.units import format_duration

    target = target or home() / "exports" / folder.path.name
    for kind in ("adapter", "merged"):
        exported = export_result(folder, kind, target / kind, console)
        if exported.code is not ExitCode.DONE:
            return exported.code
    curve = target / "loss-curve.png"
    draw_run_curve(state, curve, title="Demo: SmolLM2-135M learns from The Devil’s Dictionary")
    seconds = time.time() - began
    console.line()
    print_losses(console, state)
    console.line(f"All of it took {format_duration(seconds)}.")
    console.line()
    console.line(f"Run           {folder.path}")
    console.line(f"Adapter       {target / 'adapter'}")
    console.line(f"Merged model  {target / 'merged'}")
    console.line(f"Loss curve    {curve}")
    _print_next(folder, console)
    record = run_record(folder, state, read_outcome(folder))
    files = {"adapter": str(target / "adapter"), "merged": str(target / "merged"), "curve": str(curve)}
    console.result({**record, "exports": files, "validation_fall": validation_fall(state), "total_seconds": seconds})
    return ExitCode.DONE


def _print_next(folder: "RunFolder", console: Console) -> None:
    from core.cli.run_report import print_commands, program

    call, name = program(), folder.path.name
    question = 'Define \\"Money\\" as a devil\'s dictionary would.'
    print_commands(
        console,
        [
            (f'{call} sample {name} --both --prompt "{question}"', "ask it yourself"),
            (f"{call} show {name}", "see the run again"),
            (f"{call} plan --set model.base=starter --set data.train=YOUR.jsonl", "plan a run on your own rows"),
        ],
    )


def _steps(text: str) -> int:
    steps = whole_number(text, 1, 100_000)
    if steps is None:
        raise argparse.ArgumentTypeError(f"“{text}” is not a whole number from 1 to 100,000")
    return steps
