"""Which form of the layers a run takes, tried on its own rows; and what happens when it does not hold."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from core.data.order import step_rows
from core.engine.failures import is_out_of_memory
from core.engine.kernels.compiled_layers import CompiledLayers
from core.engine.kernels.liger_layers import LigerLayers
from core.engine.layer_forms import Form, Layers, Taken, Tried, take, time_passes, try_form, why
from core.engine.passes import Pass, make_passes
from core.engine.session import Session
from core.engine.shortage import give_back
from core.events.types import Notice
from core.plan.kernels import WORTH_COMPILING
from core.units import format_duration

MOST_PASSES = 3
"""Passes of the trial; they are of different lengths as a rule, so that what depends on the length shows."""
WORTH = 1.02
"""How many times as fast as plain layers a form has to be."""
_TITLES = {"compiled": "Compiled layers", "liger": "Liger's fused kernels"}


def choose_layers(session: Session) -> None:
    """Has the layers compute in the planned form, or in the fastest one where the plan leaves it to the run."""
    planned = session.order.plan.choices.kernels.value
    if planned == "plain":
        return
    open_choice = planned == "measured"
    forms = [form for form in _forms(session) if open_choice or form.name == planned]
    if open_choice and session.group is None and all(form.obstacle() for form in forms):
        _, message = _best([Tried(form, form.obstacle()) for form in forms], 0.0)
        session.context.emit(Notice("info", "layer_form", message))
        return
    with session.context.phase("adapt", "Trying faster layers on the first rows"):
        passes = _first_passes(session)
        session.model.train()
        plain = _plain(session, passes, timed=open_choice)
        seconds = plain.seconds if plain is not None else 0.0
        if plain is None:
            taken, message = None, "Plain layers ran out of memory on the first rows, so none were tried beside them."
        else:
            tried = [_tried(session, form, passes, plain, timed=open_choice) for form in forms]
            taken, message = _best(tried, seconds) if open_choice else _only(tried[0])
        if taken is not None:
            taken.form.on()
            taken.form.settle()
            session.layers = Layers(taken.form, seconds / taken.seconds if taken.seconds else 0.0)
    as_asked = taken is not None or open_choice
    session.context.emit(Notice("info" if as_asked else "warning", "layer_form", message))


def _plain(session: Session, passes: Sequence[Pass], *, timed: bool) -> Taken | None:
    """What plain layers make of the passes, in how many seconds of all processes; None where the memory runs out.

    The step that follows gets by with less memory, and says so.
    """
    taken, seconds = None, 0.0
    try:
        taken = take(session, passes)
        seconds = time_passes(session, passes) if timed else taken.seconds
    except (RuntimeError, MemoryError) as failure:
        if not is_out_of_memory(failure):
            raise
        taken = None
    if taken is None:
        give_back(session)
    if session.group is not None:
        (short,) = session.group.any_of((taken is None,))
        taken = None if short else taken
    return None if taken is None else replace(taken, seconds=_summed(session, seconds))


def fall_back(session: Session, failure: BaseException | None = None) -> bool:
    """Goes on with plain layers where the form in use has failed or complains; returns whether it does so now.

    Args:
        session: whose layers.
        failure: what a pass has raised; nothing between two steps.
    """
    form = session.layers.form
    if form is None or (failure is not None and is_out_of_memory(failure)):
        return False
    reason = form.complaint() if failure is None else why(failure)
    if not reason:
        return False
    form.off()
    session.layers = Layers()
    again = " The step is taken again with them." if failure is not None else ""
    message = f"{_TITLES[form.name]} are given up for plain ones: {reason}{again} Nothing of what is learned changes."
    session.context.emit(Notice("warning", "layer_form", message))
    return True


def _forms(session: Session) -> list[Form]:
    """Every form; where the run may choose and is too short for a compiler, those that are ready at once."""
    base, plan = session.head.model, session.order.plan
    at_once: list[Form] = [LigerLayers(base)]
    lasts = plan.duration.seconds if plan.duration is not None else 0.0
    if plan.choices.kernels.value == "measured" and lasts < WORTH_COMPILING:
        return at_once
    return [CompiledLayers(base, plan.choices.attention.value), *at_once]


def _first_passes(session: Session) -> list[Pass]:
    """The first passes of the next step, as far as they are this process's."""
    order, rows = session.order, session.dataset.train
    step = min(session.counters.step, order.batch.steps - 1)
    chosen = step_rows(len(rows), order.batch.effective_batch, order.spec.training.seed, step)
    taken = [rows[index] for index in chosen]
    own = taken if session.group is None else session.group.share(taken)
    made = make_passes(own, session.counters.micro_batch_tokens, session.packing, session.device)
    return list(islice(made, MOST_PASSES))


def _tried(session: Session, form: Form, passes: Sequence[Pass], plain: Taken, *, timed: bool) -> Tried:
    """A form after its trial; of several processes it is taken by all or by none."""
    if session.group is None and session.context.interrupted:  # several have to come to the same step first
        return Tried(form, "Somebody wants the run to end, so it was not tried.")
    tried = try_form(session, form, passes, plain, timed=timed)
    if session.group is None:
        return tried
    (failed,) = session.group.any_of((bool(tried.obstacle),))
    obstacle = tried.obstacle or ("It cannot be used in another process." if failed else "")
    return replace(tried, obstacle=obstacle, seconds=_summed(session, tried.seconds))


def _summed(session: Session, seconds: float) -> float:
    return seconds if session.group is None else session.group.sums([seconds])[0]


def _only(tried: Tried) -> tuple[Tried | None, str]:
    """A form that somebody asked for: taken if it is right."""
    title = _TITLES[tried.form.name]
    if tried.obstacle:
        return None, f"{title} were asked for, but the layers stay plain. {tried.obstacle}"
    return tried, (
        f"{title} are in use. Losses and gradients of the first passes agree with plain layers' to "
        f"{100 * tried.difference:.2g} %; getting ready took {format_duration(tried.preparing)}."
    )


def _best(tried: Sequence[Tried], plain: float) -> tuple[Tried | None, str]:
    """The fastest form that is right, if it is worth it."""
    right = [one for one in tried if not one.obstacle and one.seconds]
    told = " ".join(_told(one, plain) for one in tried)
    best = min(right, key=lambda one: one.seconds, default=None)
    if best is None or plain / best.seconds < WORTH:
        return None, f"The layers stay plain. {told}"
    return best, f"{_TITLES[best.form.name]} are in use. {told}"


def _told(tried: Tried, plain: float) -> str:
    title = _TITLES[tried.form.name]
    if tried.obstacle:
        return f"{title}: {tried.obstacle}"
    return (
        f"{title} took the first passes {plain / tried.seconds:.2f} times as fast as plain layers, with gradients that "
        f"agree to {100 * tried.difference:.2g} %, after {format_duration(tried.preparing)} of getting ready."
    )
