"""``lowrank show``: a run as it is now, its curve, or its life as it goes on."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.errors import ExitCode, UserError, error

if TYPE_CHECKING:
    from core.events.run_state import RunState
    from core.runs.layout import RunFolder
    from core.runs.supervisor import Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of the run; “last” is the newest")
    parser.add_argument("--follow", action="store_true", help="keep watching until it ends; Ctrl+C leaves it running")
    parser.add_argument("--curve", metavar="FILE.png", help="also write the loss curve as a picture")
    parser.add_argument(
        "--script", metavar="FILE.py", help="also write a plain transformers and peft script that does the same run"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints the run; with ``--follow`` returns what the run itself would have returned."""
    from core.cli.follow import follow, settle
    from core.cli.run_report import run_record
    from core.runs.process_record import living_process
    from core.runs.store import find_run
    from core.runs.supervisor import Supervisor

    folder = find_run(options.run)
    if options.script:
        _write_script(folder, Path(options.script).expanduser(), console)
    if not folder.events().exists() and living_process(folder) is None and not folder.outcome.exists():
        return _show_new(folder, options, console)
    supervisor = Supervisor(folder)
    supervisor.attach()
    code = ExitCode.DONE
    if options.follow and living_process(folder) is not None:
        greeting = f"Watching “{folder.path.name}”. Ctrl+C leaves it running."
        outcome = follow(supervisor, console, greeting=greeting, on_interrupt="leave")
        code = outcome.exit_code if outcome is not None else ExitCode.DONE
    else:
        settle(supervisor)
    if options.curve:
        _draw(supervisor.run_state, folder, Path(options.curve).expanduser(), console)
    _print(supervisor, folder, console)
    record = run_record(folder, supervisor.run_state, supervisor.outcome)
    console.result({**record, "curve": options.curve, "script": options.script})
    return code


def _show_new(folder: "RunFolder", options: argparse.Namespace, console: Console) -> ExitCode:
    from core.cli.plan_report import print_short_plan
    from core.cli.run_report import print_commands, program, run_record
    from core.events.run_state import RunState
    from core.runs.store import load_facts, load_plan, load_spec

    if options.curve:
        raise _no_curve(folder)
    console.line(f"“{folder.path.name}” has not been started yet.")
    print_short_plan(console, load_spec(folder), load_facts(folder), load_plan(folder))
    print_commands(console, [(f"{program()} resume {folder.path.name}", "start it")])
    console.result(run_record(folder, RunState(), None))
    return ExitCode.DONE


def _print(supervisor: "Supervisor", folder: "RunFolder", console: Console) -> None:
    from core.cli.progress import progress_line
    from core.cli.run_report import (
        print_after_run,
        print_commands,
        print_losses,
        print_memory,
        print_outcome,
        program,
    )
    from core.units import format_bytes, format_duration

    state, name = supervisor.run_state, folder.path.name
    console.line(console.bold(name))
    if supervisor.outcome is not None:
        print_outcome(console, supervisor.outcome)
    else:
        console.line(progress_line(state))
    started = state.started
    if started is not None:
        console.line(
            f"Step {state.step:,} of {state.steps:,}, epoch {state.epoch:.2f}; {started.rows:,} rows, "
            f"{started.trainable:,} trained parameters, weights {started.quantization}, {started.compute_dtype}, "
            f"{started.attention}{'' if 'attention' in started.attention else ' attention'}"
            f"{'' if started.kernels == 'plain' else f', {started.kernels} layers'}"
        )
    if state.memory_peak:
        speed = f", {state.speed:,.0f} tokens a second" if state.speed else ""
        console.line(f"{format_duration(state.seconds)}{speed}, {format_bytes(state.memory_peak)} at most")
    print_losses(console, state)
    print_memory(console, state)
    for notice in state.notices:
        console.paragraph(f"{'Warning: ' if notice.level == 'warning' else ''}{notice.message}", "  ", "")
    if supervisor.outcome is not None:
        print_after_run(console, folder, supervisor.outcome)
    else:
        console.line(f"Run      {folder.path}")
        print_commands(
            console,
            [
                (f"{program()} show {name} --follow", "watch it"),
                (f"{program()} stop {name}", "stop it; it saves first"),
            ],
        )


def _draw(state: "RunState", folder: "RunFolder", path: Path, console: Console) -> None:
    from core.export.curve import draw_run_curve

    if path.suffix.lower() != ".png":
        raise UserError(error("--curve", f"{path.name} is not the name of a PNG file.", "Let it end in “.png”."))
    try:
        draw_run_curve(state, path.absolute(), title=folder.path.name)
    except ValueError:
        raise _no_curve(folder) from None
    except OSError as failure:
        message = f"The curve could not be written to {path.absolute()}: {failure.strerror or failure}."
        raise UserError(error("--curve", message, "Choose another place."), exit_code=ExitCode.FAILED) from failure
    console.line(f"The loss curve is in {path.absolute()}.")


def _write_script(folder: "RunFolder", path: Path, console: Console) -> None:
    from core.export.script import run_script
    from core.paths import write_atomic

    path = path.absolute()
    if path.suffix != ".py":
        raise UserError(error("--script", f"{path.name} is not the name of a Python file.", "Let it end in “.py”."))
    if path.exists():
        raise UserError(error("--script", f"{path} already exists; nothing is overwritten.", "Choose another name."))
    text = run_script(folder)
    try:
        write_atomic(path, text)
    except OSError as failure:
        message = f"The script could not be written to {path}: {failure.strerror or failure}."
        raise UserError(error("--script", message, "Choose another place."), exit_code=ExitCode.FAILED) from failure
    console.line(f"The script is in {path}.")


def _no_curve(folder: "RunFolder") -> UserError:
    message = f"The run “{folder.path.name}” has no loss to draw yet."
    return UserError(error("--curve", message, "Wait for its first step."), exit_code=ExitCode.FAILED)
