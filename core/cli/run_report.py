"""What there is to say about a run: how it ended, where its files are, and what can be done next."""

import math
import sys
from pathlib import Path
from typing import Any

from core.cli.console import Console
from core.cli.progress import sparkline
from core.events.run_state import RunState
from core.events.types import MemoryMeasured
from core.records import to_plain
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.units import format_bytes, format_duration

_COLOURS = {"completed": "green", "stopped": "yellow"}


def program() -> str:
    """How this program is called here, for commands that can be copied."""
    if Path(sys.argv[0]).stem == "lowrank":
        return "lowrank"
    python = "python" if sys.platform == "win32" else "python3"
    return f"{python} launch.py" if Path("launch.py").is_file() else "lowrank"


def print_outcome(console: Console, outcome: Outcome) -> None:
    """How a run or job ended."""
    colour = _COLOURS.get(outcome.kind, "red")
    time = f" ({format_duration(outcome.seconds)})" if outcome.seconds >= 1 else ""
    text = outcome.text if outcome.text.startswith(outcome.title) else f"{outcome.title}. {outcome.text}"
    lines = console.wrap(text + time)
    lines[0] = lines[0].replace(outcome.title, console.colour(colour, outcome.title), 1)
    console.lines(lines)


def print_losses(console: Console, state: RunState) -> None:
    """Training and validation loss, first to last, with the fall in percent, and what pairs of answers have come to."""
    losses = list(state.history.column("loss"))
    if len(losses) > 1:
        console.line(f"Training loss    {losses[0]:.3f} → {losses[-1]:.3f}  {sparkline(losses)}")
    fall = validation_fall(state)
    if fall is not None:
        first, last = state.evaluations[0].loss, state.evaluations[-1].loss
        share = f"{abs(fall):.0%} {'lower' if fall >= 0 else 'higher'}"
        console.line(f"Validation loss  {first:.3f} → {last:.3f}  {share}")
    _print_preferences(console, state)


def _print_preferences(console: Console, state: RunState) -> None:
    """Of pairs of answers how many are preferred rightly, and by how much; the same of the validation pairs."""
    shares = [share for share in state.history.column("preferred") if math.isfinite(share)]
    margins = [margin for margin in state.history.column("margin") if math.isfinite(margin)]
    if not shares or not margins:
        return
    newest = state.evaluations[-1] if state.evaluations else None
    told = ("", "")
    if newest is not None and newest.preferred is not None and newest.margin is not None:
        told = (f", {newest.preferred:.0%} of the validation pairs", f", {newest.margin:.3f} for the validation pairs")
    console.line(f"Preferred        {shares[0]:.0%} → {shares[-1]:.0%} of a step's pairs{told[0]}")
    console.line(f"Margin           {margins[0]:.3f} → {margins[-1]:.3f}{told[1]}")


def print_memory(console: Console, state: RunState) -> None:
    """The peak as it was planned and as it was measured, and what it was at other moments than a step."""
    memory = state.memory
    if memory is None:
        return
    residual = memory.residual
    if residual is None:
        console.line(f"Memory           {format_bytes(memory.peak_bytes)} measured; the plan had no prediction")
    else:
        planned, measured = format_bytes(memory.predicted_bytes), format_bytes(memory.peak_bytes)
        difference = f"{abs(residual):.1%} {'more' if residual >= 0 else 'less'}"
        if memory.counted_bytes:
            console.line(
                f"Memory           {measured} measured, {format_bytes(memory.counted_bytes)} counted for its largest "
                f"pass of {memory.pass_tokens:,} tokens ({difference})"
            )
            console.line(f"  planned        {planned} at most, for the largest pass there can be")
        else:
            console.line(f"Memory           {planned} planned, {measured} measured ({difference})")
    console.line(f"  peaks          {_moments(memory)}")
    if memory.reserved_bytes:
        console.line(
            f"  on the GPU     {format_bytes(memory.reserved_bytes)} held by the allocator, "
            f"{format_bytes(memory.shown_bytes)} shown by its driver, other programs included"
        )


def _moments(memory: MemoryMeasured) -> str:
    return ", ".join(f"{moment} {format_bytes(peak)}" for moment, peak in memory.peaks.items())


def validation_fall(state: RunState) -> float | None:
    """By which share the validation loss fell from the first to the last evaluation; None without two of them."""
    if len(state.evaluations) < 2 or not state.evaluations[0].loss > 0:
        return None
    return 1 - state.evaluations[-1].loss / state.evaluations[0].loss


def print_after_run(console: Console, folder: RunFolder, outcome: Outcome) -> None:
    """Where everything is, and what to do next."""
    name, call = folder.path.name, program()
    console.line()
    console.line(f"Run      {folder.path}")
    if folder.adapter.is_dir():
        console.line(f"Result   {folder.adapter}")
    if outcome.kind in ("failed", "crashed", "lost") and folder.log.exists():
        console.line(f"Log      {folder.log}")
    commands = []
    if outcome.resumable and outcome.kind != "completed":
        commands.append((f"{call} resume {name}", "go on from the last saved state"))
    if folder.adapter.is_dir():
        commands.append((f'{call} sample {name} --both --prompt "…"', "ask it, before and after"))
        commands.append((f"{call} export {name} --kind merged --to FOLDER", "one model that any program loads"))
    print_commands(console, commands)


def print_commands(console: Console, commands: list[tuple[str, str]]) -> None:
    """Commands and what each is for."""
    if not commands:
        return
    console.line()
    console.line("Next:")
    for command, purpose in commands:
        console.line(f"  {purpose}")
        console.line(f"    {console.bold(command)}")


def run_record(folder: RunFolder, state: RunState, outcome: Outcome | None) -> dict[str, Any]:
    """A run for programs."""
    return {
        "run": folder.path.name,
        "folder": str(folder.path),
        "result": str(folder.adapter) if folder.adapter.is_dir() else None,
        "outcome": to_plain(outcome) if outcome is not None else None,
        "exit_code": int(outcome.exit_code) if outcome is not None else None,
        "step": state.step,
        "steps": state.steps,
        "epoch": state.epoch,
        "loss": to_plain(state.loss),
        "preferred": to_plain(state.preferred),
        "margin": to_plain(state.margin),
        "validation_loss": to_plain(state.validation_loss),
        "best_validation_loss": to_plain(state.best_validation_loss),
        "tokens_per_second": to_plain(state.speed),
        "seconds": state.seconds,
        "seconds_left": to_plain(state.seconds_left),
        "memory_peak_bytes": state.memory_peak,
        "memory": {**to_plain(state.memory), "residual": state.memory.residual} if state.memory is not None else None,
        "evaluations": [to_plain(item) for item in state.evaluations],
        "samples": [to_plain(item) for item in state.samples],
        "notices": [to_plain(item) for item in state.notices],
    }
