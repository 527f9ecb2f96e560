"""What a plan means for each step and the whole run, in plain words."""

from core.plan.types import Batch, Plan
from core.units import format_count
from studio.words import say, tr, tr_count


def step_words(plan: Plan) -> str:
    """How a step is made up: rows, tokens and passes."""
    batch = plan.batch
    if batch is None:
        return tr("Choose training files to see what a step consists of.")
    rows = tr_count(batch.effective_batch, "one row", "{n} rows")
    tokens = _about(batch.tokens_per_step)
    supervised = _about(batch.supervised_per_step)
    budget = f"{plan.choices.micro_batch_tokens.value:,}"
    passes = round(batch.passes_per_step)
    if passes <= 1:
        return tr(
            "{rows} a step: about {tokens} tokens, {supervised} of which carry loss, in about one pass.",
            rows=rows,
            tokens=tokens,
            supervised=supervised,
        )
    if not plan.choices.packing.value:
        return tr(
            "{rows} a step: about {tokens} tokens, {supervised} of which carry loss, as {passes} passes of one row "
            "each.",
            rows=rows,
            tokens=tokens,
            supervised=supervised,
            passes=f"{passes:,}",
        )
    return tr(
        "{rows} a step: about {tokens} tokens, {supervised} of which carry loss, as about {passes} passes of up to "
        "{budget} tokens.",
        rows=rows,
        tokens=tokens,
        supervised=supervised,
        passes=f"{passes:,}",
        budget=budget,
    )


def run_words(plan: Plan) -> str:
    """How long the run is: steps, and how often each row is seen."""
    batch = plan.batch
    if batch is None:
        return ""
    steps = tr_count(batch.steps, "one step", "{n} steps")
    rows = tr_count(batch.rows, "one row", "{n} rows")
    return tr("{steps} over {rows}: each is seen {times}.", steps=steps, rows=rows, times=_times(batch))


def why_words(plan: Plan) -> list[str]:
    """The reasons behind what was chosen automatically."""
    choices = plan.choices
    return [
        say(choice.reason)
        for choice in (
            choices.micro_batch_tokens,
            choices.optimizer,
            choices.checkpointed_layers,
            choices.attention,
            choices.kernels,
        )
        if not choice.by_user and choice.reason and choice.value != "plain"
    ]


def _times(batch: Batch) -> str:
    passes = batch.steps / max(1, batch.steps_per_epoch)
    if abs(passes - 1) < 0.005:
        return tr("once")
    if abs(passes - 2) < 0.005:
        return tr("twice")
    return tr("{n} times", n=f"{passes:.3g}")


def _about(count: float) -> str:
    return f"{round(count):,}" if count < 10_000 else format_count(count)
