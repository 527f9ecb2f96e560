"""How long a run is, how often it is measured, and how much of it a crash would cost."""

import math
from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, warning
from core.plan.disk import WRITTEN_PER_SECOND
from core.plan.problems.case import Case
from core.plan.types import Batch
from core.plan.usual import FEW_STEPS, SMALL_SET, usual_batch
from core.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE, format_bytes, format_duration

MOST_EPOCHS = 16.0
"""The longest that published instruction tuning found useful (Ouyang et al. 2022, InstructGPT: 16 epochs; LIMA: 15);
text read more often teaches next to nothing new (Muennighoff et al. 2023)."""
USUAL_PATIENCE = 3
USUAL_MINUTES = 10.0
MOST_LOST_SECONDS = SECONDS_PER_HOUR
SHORT_WAIT = 5 * SECONDS_PER_MINUTE
"""Runs that are over sooner need no advice about time."""
SAVING_SHARE, CALM_SAVING_SHARE = 0.2, 0.05


def course_problems(case: Case) -> Iterator[Problem]:
    """Steps, epochs, evaluations and saved states."""
    if case.batch is not None and case.batch.rows > 0:
        yield from _few_steps(case, case.batch)
        yield from _many_epochs(case, case.batch)
        yield from _never_reached(case, case.batch)
        yield from _patience(case, case.batch)
        yield from _costly_evaluation(case, case.batch)
    yield from _rare_checkpoints(case)
    yield from _costly_checkpoints(case)


def _few_steps(case: Case, batch: Batch) -> Iterator[Problem]:
    training = case.spec.training
    if training.max_steps > 0 or batch.rows < max(training.effective_batch, FEW_STEPS):
        return  # asked for outright, or said of the rows of a step or of the set
    if batch.steps == 1:
        yield warning(
            "training.epochs",
            "The whole run is 1 step, which changes the model only once.",
            "Take more epochs, more rows, or fewer rows a step.",
            *_more_steps(case, batch),
        )
    elif batch.steps < FEW_STEPS:
        yield warning(
            "training.epochs",
            f"The whole run is {batch.steps} steps, which hardly move the model.",
            "Take more epochs, more rows, or fewer rows a step.",
            *_more_steps(case, batch),
        )


def _more_steps(case: Case, batch: Batch) -> Iterator[Fix]:
    """Fewer rows a step where that is enough, else more epochs where those are few."""
    fewer = min(usual_batch("chat", batch.rows), case.spec.training.effective_batch)
    seen = case.epochs * batch.rows
    if seen / fewer >= FEW_STEPS:
        yield Fix(f"Take {fewer} rows a step", (Edit("training.effective_batch", fewer),))
    epochs = math.ceil(FEW_STEPS / batch.steps_per_epoch)
    if case.epochs < epochs <= USUAL_PATIENCE:
        yield Fix(f"Take {epochs} epochs", (Edit("training.epochs", float(epochs)),))


def _many_epochs(case: Case, batch: Batch) -> Iterator[Problem]:
    training, data = case.spec.training, case.data
    if case.epochs <= MOST_EPOCHS or training.early_stopping > 0:
        return
    path = "training.max_steps" if training.max_steps > 0 else "training.epochs"
    usual = 3.0 if batch.rows < SMALL_SET else 2.0
    by_epochs = (Edit("training.max_steps", 0), Edit("training.epochs", usual))
    fixes = [Fix(f"Take {usual:g} epochs", by_epochs if training.max_steps > 0 else by_epochs[1:])]
    if data is not None and data.validation.rows > 0:
        edits = (Edit("training.early_stopping", USUAL_PATIENCE),)
        fixes.append(Fix("Stop when the validation loss no longer falls", edits))
    yield warning(
        path,
        f"Every row is seen about {case.epochs:,.0f} times; by then it is known by heart rather than understood.",
        "Take fewer epochs, or stop early by the validation loss.",
        *fixes,
    )


def _never_reached(case: Case, batch: Batch) -> Iterator[Problem]:
    """With a fixed number of steps the spec's own rules say the same."""
    training = case.spec.training
    if training.max_steps > 0:
        return
    held = case.data.validation.rows if case.data is not None else 0
    watched = (("training.evaluate_every", "evaluation", held), ("training.sample_every", "sample", 1))
    for path, words, happens in watched:
        every = case.spec.get(path)
        if every > batch.steps and happens:
            yield Problem(
                Severity.INFO,
                path,
                f"The run ends after {batch.steps:,} steps, before the first {words} at step {every:,}.",
                "Lower it if you want one during the training.",
                (Fix("Let it be chosen", (Edit(path, 0),)),),
            )


def _evaluations(case: Case, batch: Batch) -> int:
    """Evaluations during the training; one at the start and one at the end come on top."""
    every = case.decision.choices.evaluate_every.value
    return batch.steps // every if every > 0 else 0


def _patience(case: Case, batch: Batch) -> Iterator[Problem]:
    patience, count = case.spec.training.early_stopping, _evaluations(case, batch)
    if patience <= 0 or not count or patience <= count:
        return
    fewer = max(1, min(USUAL_PATIENCE, count // 2))
    yield warning(
        "training.early_stopping",
        f"The run stops early after {patience:,} evaluations without progress, but has only {count:,} in all.",
        "Wait for fewer evaluations, or evaluate more often.",
        Fix(f"Wait for {fewer}", (Edit("training.early_stopping", fewer),)),
    )


def _costly_evaluation(case: Case, batch: Batch) -> Iterator[Problem]:
    """A forward pass is half the work of a training step with adapters and a third of full fine-tuning's."""
    data, duration = case.data, case.duration
    if data is None or data.validation.rows == 0 or duration is None or duration.seconds < SHORT_WAIT:
        return
    once = data.validation.tokens * (1 / 3 if case.full else 1 / 2)
    trained = batch.steps * batch.tokens_per_step
    count = _evaluations(case, batch)
    if trained <= 0 or once * (count + 2) <= trained:
        return
    fixes = []
    allowed = math.floor(trained / once) - 2
    if allowed >= 0 and count > 0:
        rarer = batch.steps // (allowed + 1) + 1
        title = "Evaluate only at the start and at the end" if allowed == 0 else f"Evaluate every {rarer:,} steps"
        fixes.append(Fix(title, (Edit("training.evaluate_every", min(rarer, batch.steps + 1)),)))
    yield warning(
        "training.evaluate_every",
        f"{count + 2:,} evaluations of {data.validation.rows:,} rows take more work than the training itself.",
        "Evaluate less often." if fixes else "Measure fewer validation rows.",
        *fixes,
    )


def _rare_checkpoints(case: Case) -> Iterator[Problem]:
    duration, minutes = case.duration, case.spec.training.checkpoint_minutes
    if duration is None:
        return
    between = minutes * SECONDS_PER_MINUTE if minutes > 0 else duration.seconds
    if min(between, duration.seconds) <= MOST_LOST_SECONDS:
        return
    lost = format_duration(min(between, duration.seconds))
    often = Fix("Save every 10 minutes", (Edit("training.checkpoint_minutes", USUAL_MINUTES),))
    yield warning(
        "training.checkpoint_minutes",
        f"The state of the run is saved so rarely that a crash or a power cut could cost about {lost} of work.",
        "Save more often; it takes seconds for adapters.",
        *(() if _saving_share(case, USUAL_MINUTES) > SAVING_SHARE else (often,)),
    )


def _saving_share(case: Case, minutes: float) -> float:
    """The part of the time that writing saved states takes, at the speed of a plain SSD."""
    if case.disk is None or minutes <= 0:
        return 0.0
    seconds = case.disk.checkpoint_bytes / WRITTEN_PER_SECOND
    return seconds / (seconds + minutes * SECONDS_PER_MINUTE)


def _costly_checkpoints(case: Case) -> Iterator[Problem]:
    disk, duration, minutes = case.disk, case.duration, case.spec.training.checkpoint_minutes
    share = _saving_share(case, minutes)
    if disk is None or duration is None or share <= SAVING_SHARE or duration.seconds < minutes * SECONDS_PER_MINUTE:
        return
    seconds = disk.checkpoint_bytes / WRITTEN_PER_SECOND
    calm = min(60.0, float(math.ceil(seconds * (1 / CALM_SAVING_SHARE - 1) / SECONDS_PER_MINUTE)))
    fixes = (Fix(f"Save every {calm:g} minutes", (Edit("training.checkpoint_minutes", calm),)),)
    yield warning(
        "training.checkpoint_minutes",
        f"Every saved state takes {format_bytes(disk.checkpoint_bytes)}, so saving every {minutes:g} minutes takes "
        f"about {share * 100:.0f} % of the time.",
        "Save less often.",
        *(fixes if _saving_share(case, calm) <= SAVING_SHARE else ()),
    )
