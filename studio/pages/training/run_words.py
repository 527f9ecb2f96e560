"""What a run does now, in words: status, progress, and what has been asked of it."""

import math

from core.runs.supervisor import State
from core.units import format_bytes, format_count, format_duration
from studio.state.runs import WatchedRun
from studio.widgets.plots.ticks import steady
from studio.words import say, tr

_OUTCOME_TONES = {"completed": "good", "stopped": "accent", "failed": "bad", "crashed": "bad", "lost": "bad"}


def status_of(run: WatchedRun) -> tuple[str, str]:
    """A word and the tone of the pill that holds it."""
    if run.outcome is not None:
        return say(run.outcome.title), _OUTCOME_TONES[run.outcome.kind]
    if run.problems:
        return tr("Not started"), "bad"
    if "stop" in run.asked:
        return tr("Stopping"), "warn"
    if "pause" in run.asked:
        return tr("Pausing"), "warn"
    if run.life in (State.IDLE, State.STARTING):
        return tr("Starting"), "accent"
    phases = {
        "load": tr("Loading"),
        "data": tr("Reading data"),
        "adapt": tr("Preparing"),
        "reference": tr("Measuring answers"),
        "resume": tr("Resuming"),
        "train": tr("Training"),
        "evaluate": tr("Evaluating"),
        "sample": tr("Sampling"),
        "save": tr("Saving"),
    }
    phase = run.state.phase
    if phase is None:
        return tr("Training") if run.state.started is not None else tr("Running"), "accent"
    return phases.get(phase, tr("Running")), "accent"


def doing_words(run: WatchedRun) -> str:
    """One sentence on what happens now; empty when the run has ended."""
    if not run.is_live:
        return ""
    if run.trouble:
        return say(run.trouble)
    if "stop" in run.asked:
        return tr("The run stops after this step and saves its state first. Press “Stop now” not to wait.")
    if "pause" in run.asked:
        return tr("The run pauses after this step and saves its state first.")
    state = run.state
    if state.phase_message:
        return say(state.phase_message)
    if state.started is not None:
        return tr("Learning from step to step…")
    if state.hello is None:
        return tr("Reading what has happened so far…") if run.thread_of_run.attach else tr("Starting the engine…")
    return tr("Working…")


def progress_of(run: WatchedRun) -> float | None:
    """How far the whole run is, or the phase before it, 0 to 1; None where nobody knows."""
    state = run.state
    if state.steps and (state.started is not None):
        return min(1.0, state.step / state.steps)
    progress = state.progress
    return min(1.0, progress.done / progress.total) if progress is not None and progress.total else None


def waiting_words(run: WatchedRun) -> str:
    """What was asked for and has not been answered, or the newest answer."""
    if not run.is_live:
        return ""
    if "save" in run.asked and "sample" in run.asked:
        return tr("Saving and sampling follow after this step.")
    if "save" in run.asked:
        return tr("The state is saved after this step.")
    if "sample" in run.asked:
        return tr("The prompts are answered after this step.")
    saved = run.state.checkpoints
    if saved:
        newest = saved[-1]
        return tr("Saved after step {step} ({size}).", step=f"{newest.step:,}", size=format_bytes(newest.bytes))
    return tr("Nothing saved yet.") if run.state.started is not None else ""


def metrics_of(run: WatchedRun) -> dict[str, tuple[str, str]]:
    """The numbers of the header, each with a tip: by "step", "epoch", "loss", "validation", "speed" and so on."""
    state = run.state
    best = state.best_validation_loss
    measured = state.evaluations[-1] if state.evaluations else None
    left = state.seconds_left if run.is_live else None
    step = f"{state.step:,}"
    learned = state.supervised_speed
    return {
        "step": (tr("{step} of {steps}", step=step, steps=f"{state.steps:,}") if state.steps else step, ""),
        "epoch": (f"{state.epoch:.2f}" if state.step else "–", tr("How often every row has been seen so far.")),
        "loss": (steady(state.loss) if state.loss is not None else "–", tr("The training loss of the newest step.")),
        "validation": (
            _validation(state.validation_loss, best),
            tr("The newest loss on rows that are not trained on, and the lowest so far."),
        ),
        "preferred": (
            _beside_validation(_share(state.preferred), _share(measured.preferred) if measured else ""),
            tr("Of the newest step’s pairs, those whose chosen answer is preferred. About half before the training."),
        ),
        "margin": (
            _beside_validation(_margin(state.margin), _margin(measured.margin) if measured else ""),
            tr(
                "By how much the chosen answers are preferred, on average. At 5 there is hardly anything left to learn."
            ),
        ),
        "speed": (
            tr("{n} tokens/s", n=format_count(state.speed)) if state.speed else "–",
            tr("{n} tokens a second carry loss.", n=format_count(learned)) if learned else "",
        ),
        "elapsed": (format_duration(state.seconds) if state.seconds else "–", tr("Pauses do not count.")),
        "left": (
            tr("about {time}", time=format_duration(left)) if left is not None else "–",
            tr("At the pace of the newest steps, with evaluations and saving."),
        ),
        "memory": (
            format_bytes(state.memory_peak) if state.memory_peak else "–",
            tr("The highest so far on the device that trains."),
        ),
    }


def _validation(newest: float | None, best: float | None) -> str:
    if newest is None:
        return "–"
    if best is None or best >= newest:
        return steady(newest)
    return tr("{loss} (best {best})", loss=steady(newest), best=steady(best))


def _beside_validation(trained: str, measured: str) -> str:
    """What pairs of answers come to, and what those that are not trained do; nothing for other rows."""
    if trained and measured:
        return tr("{trained} (validation {measured})", trained=trained, measured=measured)
    return trained


def _share(share: float | None) -> str:
    return f"{100 * share:.0f} %" if share is not None and math.isfinite(share) else ""


def _margin(margin: float | None) -> str:
    return f"{margin:.2f}" if margin is not None and math.isfinite(margin) else ""
