"""Training, top to bottom: build, continue where a saved state left off, train, report, save.

A step learns from `effective_batch` rows, whatever the size of a pass: what its objective sums over them, token losses
or what pairs of answers come to, is divided once (`core.engine.step`).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from core.data.order import seed_number, step_rows
from core.data.prompts import encode_prompt
from core.data.types import EncodedRow
from core.engine import checkpoints, results
from core.engine.context import JobContext
from core.engine.distributed import ShortElsewhere
from core.engine.evaluation import Evaluation, evaluate
from core.engine.layer_choice import choose_layers, fall_back
from core.engine.measuring import FIRST_REPORT, remember_run, report_memory
from core.engine.optimizer import load_optimizer, optimizer_tensors, set_learning_rate
from core.engine.passes import Pass, make_passes
from core.engine.reference import measure_reference
from core.engine.sampling import Sampling, answer
from core.engine.session import Session, build
from core.engine.shortage import give_back, make_do, recompute_as_saved
from core.engine.spread import company
from core.engine.step import Outcome, accumulate, apply
from core.errors import FailureKind, JobError
from core.events.types import CheckpointSaved, Completed, Evaluated, Notice, Sampled, Started, Step, Stopped
from core.paths import write_json
from core.plan.schedule import learning_rate
from core.runs.consent import read_consent
from core.runs.identity import changes
from core.runs.saved_states import checkpoint_path, damage, list_checkpoints, tidy_up

Ending = Literal["stop", "pause", "signal"]

STEPS_BETWEEN_CHECKS = 100
"""How often several processes compare their weights."""
RISKY_SHARE = 0.1
"""A state older than this share of the interval between saved states is saved before an evaluation or samples."""


def train(context: JobContext) -> None:
    """Runs (or continues) the training of a run folder until it is done, stopped or failed."""
    began = time.monotonic()
    session = build(context)
    if not _take_up(session):
        _end_early(session, _obey_requests(session) or "stop")
        return
    _require_same(session)
    choose_layers(session)
    _announce(session)
    session.meter.begin("step")
    if session.counters.step == 0:
        _evaluate(session)
        _sample(session)
    else:
        _evaluate_if_due(session)  # the state may be from just before that
    session.model.train()
    steps = session.order.batch.steps
    while session.counters.step < steps and not _has_enough(session):
        reason = _obey_requests(session)
        if reason is not None:
            _end_early(session, reason)
            return
        budget = session.counters.micro_batch_tokens
        _take_step(session)
        fall_back(session)
        done = session.counters.step
        if done % STEPS_BETWEEN_CHECKS == 0 or done == steps:
            _require_same(session)
        if session.pace.steps == FIRST_REPORT or session.counters.micro_batch_tokens != budget:
            report_memory(session)
        _evaluate_if_due(session)
        if _is_due(done, session.order.spec.training.sample_every) and done < steps:
            _save_if_older(session, RISKY_SHARE, "before sampling")
            _sample(session)
        _save_if_older(session, 1.0, "time")
    _save(session, "end")  # before the last evaluation and samples: they may be interrupted, the learning is done
    _evaluate(session)
    if session.spread:
        _sample(session)  # work of all processes
    if session.group is not None:
        session.group.close()
    if not session.leads:
        return
    if not session.spread:
        _sample(session)
    with context.phase("save", "Writing the finished model"), session.meter.during("saving"):
        chosen = _best_state(session)
        folder = results.write_result(session, chosen)
    remember_run(session, report_memory(session))
    _say_done(session, chosen, folder, time.monotonic() - began)


def _say_done(session: Session, chosen: checkpoints.SavedState | None, folder: Path, seconds: float) -> None:
    counters = session.counters
    result = {
        "path": str(folder),
        "step": chosen.counters.step if chosen is not None else counters.step,
        "best_loss": counters.best_loss,
        "best_step": counters.best_step,
        "skipped": counters.skipped_steps,
    }
    session.context.emit(Completed(counters.step, seconds, f"Trained {counters.step} steps.", result))


def _take_up(session: Session) -> bool:
    """Learns what has to be known of the model as the run began, then continues where a saved state left off.

    Returns:
        Whether all is known; not where somebody wants the run to end first.
    """
    saved = _saved_state(session)  # refuses what does not belong together before minutes of measuring
    context = session.context
    measured = measure_reference(session, lambda: not context.interrupted)
    if saved is not None:
        _continue_from(session, saved)
    return measured


def _best_state(session: Session) -> checkpoints.SavedState | None:
    """The state with the lowest validation loss where the plan makes the result of it; None for the last state."""
    counters = session.counters
    if session.order.plan.choices.result.value != "best" or counters.best_step == counters.step:
        return None
    if counters.best_step == 0:
        message = "No step brought the validation loss below the base model's, so the last state is the result."
        session.context.emit(Notice("warning", "nothing_better", message))
        return None
    path = checkpoint_path(session.context.folder.checkpoints, counters.best_step)
    reason = damage(path)
    if reason is not None:
        message = f"The best state, {path.name}, is damaged ({reason}), so the last state is the result."
        session.context.emit(Notice("warning", "damaged_checkpoint", message))
        return None
    message = f"The result is the state after step {counters.best_step}, whose validation loss is the lowest."
    session.context.emit(Notice("info", "best_state", message))
    return checkpoints.load_checkpoint(path)


def _take_step(session: Session) -> None:
    """One optimizer step and its event; a step that does not fit is taken again in smaller passes."""
    began = time.monotonic()
    order, counters = session.order, session.counters
    dataset, training = session.dataset, order.spec.training
    chosen = step_rows(len(dataset.train), order.batch.effective_batch, training.seed, counters.step)
    rows = [dataset.train[index] for index in chosen]
    rate = learning_rate(order.curve, counters.step)
    set_learning_rate(session.optimizer, rate)
    outcome = _gradients(session, rows)
    apply(session, outcome)
    explained = session.scale.after_step(outcome.finite)
    bad = 0 if outcome.finite or explained else counters.bad_steps + 1
    seconds = time.monotonic() - began
    session.counters = replace(
        session.counters,
        step=counters.step + 1,
        tokens=counters.tokens + outcome.tokens,
        supervised_tokens=counters.supervised_tokens + outcome.supervised,
        bad_steps=bad,
        skipped_steps=counters.skipped_steps + (not outcome.finite),
        seconds=counters.seconds + seconds,
    )
    session.pace.add(seconds, outcome.tokens)
    preferred, margin = outcome.told or (None, None)
    session.context.emit(
        Step(
            step=counters.step + 1,
            epoch=(counters.step + 1) / order.batch.steps_per_epoch,
            loss=outcome.loss,
            learning_rate=rate,
            grad_norm=outcome.grad_norm,
            tokens=outcome.tokens,
            supervised_tokens=outcome.supervised,
            seconds=seconds,
            memory_bytes=session.meter.highest,
            passes=outcome.passes,
            applied=outcome.finite,
            preferred=preferred,
            margin=margin,
        )
    )
    if bad >= training.max_bad_steps:
        raise JobError(
            FailureKind.NON_FINITE,
            f"The loss or the gradients were not finite in {bad} steps in a row.",
            "Lower training.learning_rate, or compute in bf16 or fp32; the last checkpoint is from before.",
        )


def _gradients(session: Session, rows: list[EncodedRow]) -> Outcome:
    """The step's gradients; taken again in smaller passes when the memory runs out."""
    limit = session.order.spec.training.max_grad_norm
    group = session.group
    own = rows if group is None else group.share(rows)
    while True:
        if group is not None:  # chance is a function of step and process, so no saved state has to hold it
            torch.manual_seed(
                seed_number("step", session.order.spec.training.seed, session.counters.step, group.place.rank) >> 65
            )
        passes: Iterable[Pass] = make_passes(own, session.counters.micro_batch_tokens, session.packing, session.device)
        others: list[Pass] = []
        if group is not None and session.spread:
            passes = list(passes)
            others = company(group, len(passes), rows, session.device)
        try:
            return accumulate(session, rows, session.pace.watch(passes), limit, others, objective=session.objective)
        except (RuntimeError, MemoryError) as error:
            if not fall_back(session, error):
                if not make_do(session, error, own, learns=True):
                    raise
                if group is not None and not isinstance(error, ShortElsewhere):
                    group.say_short()
        give_back(session)  # not above: the exception holds the tensors of the pass that failed


def _evaluate_if_due(session: Session) -> None:
    """Measures the validation loss in the middle of a run, if it is time and has not been done."""
    counters = session.counters
    due = _is_due(counters.step, session.order.plan.choices.evaluate_every.value)
    if due and counters.step < session.order.batch.steps and counters.evaluated_step != counters.step:
        _save_if_older(session, RISKY_SHARE, "before evaluation")
        _evaluate(session)


def _evaluate(session: Session) -> None:
    """Measures the validation loss, and saves the state when it is the best so far."""
    rows = session.dataset.validation
    if not rows or session.counters.evaluated_step == session.counters.step:
        return
    context = session.context
    with (
        context.phase("evaluate", f"Measuring the loss on {len(rows)} validation rows"),
        session.meter.during("evaluation"),
    ):
        measured = _measure(session, rows)
    if measured is None:
        return
    counters = session.counters
    best = counters.best_loss is None or measured.loss < counters.best_loss
    since_best = 0 if best else counters.evaluations_since_best + 1
    session.counters = replace(
        counters,
        best_loss=measured.loss if best else counters.best_loss,
        best_step=counters.step if best else counters.best_step,
        evaluations_since_best=since_best,
        evaluated_step=counters.step,
    )
    told = measured.told or (None, None)
    context.emit(Evaluated(counters.step, measured.loss, measured.tokens, measured.seconds, best, *told))
    if best and counters.step > 0 and session.order.spec.training.keep_best:
        _save(session, "best")
    if _has_enough(session):
        message = f"The validation loss has not improved in {since_best} evaluations, so the training ends here."
        context.emit(Notice("info", "early_stop", message))


def _measure(session: Session, rows: Sequence[EncodedRow]) -> Evaluation | None:
    """The validation loss, in smaller passes when the memory runs out; None when somebody wants the run to end."""
    context = session.context

    def on_pass(done: int, total: int) -> bool:
        context.progress("evaluate", done, total, "passes")
        return not context.interrupted

    while True:
        try:
            return evaluate(
                session.head,
                rows,
                budget=session.counters.micro_batch_tokens,
                packing=session.packing,
                device=session.device,
                on_pass=on_pass,
                group=session.group,
                spread=session.spread,
                objective=session.objective,
            )
        except (RuntimeError, MemoryError) as error:
            # Several processes would have to agree, and an evaluation takes less than the steps that went well.
            if session.group is not None or not make_do(session, error, rows, learns=False):
                raise
        give_back(session)


def _has_enough(session: Session) -> bool:
    """Whether early stopping has ended the training."""
    patience = session.order.spec.training.early_stopping
    return 0 < patience <= session.counters.evaluations_since_best


def _sample(session: Session) -> None:
    """Answers the sample prompts with the model as it is now."""
    training, context = session.order.spec.training, session.context
    if not training.sample_prompts or not (session.leads or session.spread):
        return
    step = session.counters.step
    said = []

    def goes_on() -> bool:
        interrupted = context.interrupted
        if session.group is not None and session.spread:
            (interrupted,) = session.group.any_of((interrupted,))
        return not interrupted

    with context.phase("sample", "Answering the sample prompts"), session.meter.during("sampling"):
        for index, prompt in enumerate(training.sample_prompts):
            if not goes_on():
                return
            spoken = answer(
                session.model,
                session.tokenizer,
                encode_prompt(prompt, session.tokenizer, session.template),
                stop_ids=session.template.stop_ids(session.tokenizer),
                sampling=Sampling(max_new_tokens=training.sample_tokens, seed=training.seed),
                device=session.device,
                keep_going=goes_on,
            )
            body = Sampled(step, index, prompt, spoken.text, len(spoken.tokens), spoken.seconds)
            context.emit(replace(body, variant="base") if step == 0 else body)
            said.append({"prompt": prompt, "text": spoken.text})
    if not session.leads:
        return
    context.folder.samples.mkdir(exist_ok=True)
    write_json(context.folder.samples / f"step-{step:08d}.json", {"step": step, "answers": said})


def _save(session: Session, reason: str) -> None:
    """Saves the state of the run; every process holds the same, so the first one's is enough."""
    if not session.leads:
        return
    began = time.monotonic()
    with session.context.phase("save", "Saving the state of the run"), session.meter.during("saving"):
        path, size = checkpoints.save_checkpoint(
            session.context.folder.checkpoints,
            counters=session.counters,
            identity=session.identity,
            masters=dict(session.masters.named()),
            optimizer=optimizer_tensors(session.optimizer),
            scaler=session.scale.state(),
            keep=session.order.spec.training.keep_checkpoints,
            keep_best=session.order.spec.training.keep_best,
        )
    session.saved_at = time.monotonic()
    relative = path.relative_to(session.context.folder.path).as_posix()
    session.context.emit(CheckpointSaved(session.counters.step, relative, size, time.monotonic() - began, reason))


def _save_if_older(session: Session, share: float, reason: str) -> None:
    """Saves the state when the last one is older than a share of the interval asked for; 0 minutes mean never."""
    minutes = session.order.spec.training.checkpoint_minutes
    if minutes and time.monotonic() - session.saved_at >= 60 * minutes * share:
        _save(session, reason)


def _saved_state(session: Session) -> checkpoints.SavedState | None:
    """The newest whole checkpoint, if there is one.

    Raises:
        JobError: it belongs to other data, another base or other settings, and nobody has agreed to that.
    """
    context = session.context
    if session.leads:
        tidy_up(context.folder)
    saved, complaints = checkpoints.load_newest(context.folder.checkpoints)
    for complaint in complaints:
        context.emit(Notice("warning", "damaged_checkpoint", complaint))
    if saved is not None:
        differences = changes(saved.identity, session.identity)
        for message in checkpoints.require_same(differences, read_consent(context.folder)):
            context.emit(Notice("warning", "accepted_change", f"Continuing all the same, as agreed: {message}"))
    return saved


def _continue_from(session: Session, saved: checkpoints.SavedState) -> None:
    """Takes over a saved state."""
    with session.context.phase("resume", f"Continuing after step {saved.counters.step}"):
        session.masters.load(saved.masters)
        load_optimizer(session.optimizer, saved.optimizer, saved.optimizer_numbers)
        session.scale.load(saved.scaler)
        checkpoints.restore_random(saved)
        session.counters = saved.counters
        if saved.counters.step == session.order.curve.start:  # an extension gets all of the patience
            session.counters = replace(saved.counters, evaluations_since_best=0)
        recompute_as_saved(session)


def _announce(session: Session) -> None:
    """Says what is really in use, as observed."""
    order, choices = session.order, session.order.plan.choices
    session.context.emit(
        Started(
            step=session.counters.step,
            steps=order.batch.steps,
            rows=len(session.dataset.train),
            validation_rows=len(session.dataset.validation),
            trainable=session.masters.count,
            total=order.parameters.total,
            quantization=choices.quantization.value,
            compute_dtype=choices.compute_dtype.value,
            attention=session.attention,
            loss_head=session.head.kind,
            checkpointed_layers=max(choices.checkpointed_layers.value, session.counters.recomputed_layers),
            micro_batch_tokens=session.counters.micro_batch_tokens,
            kernels=session.layers.name,
        )
    )


def _obey_requests(session: Session) -> Ending | None:
    """Does what was asked for between two steps; returns why the run has to end, if it has to."""
    asked, signalled = session.context.taken(), session.context.signalled
    if session.group is not None:  # a signal may reach any of the processes, and all have to end in the same step
        said = ("stop" in asked, "pause" in asked, "sample" in asked, signalled)
        stop, pause, sample, signalled = session.group.any_of(said)
    else:
        stop, pause, sample = "stop" in asked, "pause" in asked, "sample" in asked
    if stop:
        return "stop"
    if pause:
        return "pause"
    if signalled:
        return "signal"
    if "save" in asked:
        _save(session, "request")
    if sample:
        _sample(session)
    return None


def _end_early(session: Session, reason: Ending) -> None:
    """Saves everything and says goodbye; what was learned so far can be used and continued."""
    if session.group is not None:
        session.group.close()
    if not session.leads:
        return
    if session.counters.step > 0:
        _save(session, reason)
        if reason != "pause":
            with session.context.phase("save", "Writing the model as it is now"), session.meter.during("saving"):
                results.write_result(session)
            remember_run(session, report_memory(session))
    folder = session.context.folder
    resumable = bool(list_checkpoints(folder.checkpoints)) or folder.reference.exists()
    session.context.emit(Stopped(session.counters.step, reason, resumable))


def _require_same(session: Session) -> None:
    if session.group is not None:
        session.group.require_same(session.masters)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
