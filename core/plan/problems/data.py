"""Rows that are cut, too few or too short for the settings, and templates that do not fit them."""

import math
from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.facts.types import DataFacts
from core.plan.problems.case import Case
from core.plan.problems.model import is_chat_model
from core.plan.search import CPU_PASS_OVERHEAD, CUDA_PASS_OVERHEAD, was_cut_lower
from core.plan.usual import FEW_ROWS, usual_batch
from core.spec.template_choice import AUTO, template_name, without_tools
from core.units import format_share

LENGTH_STEP = 128
MANY_CUT_ROWS = 0.01
"""The share of rows from which cutting is a warning; a rare long row that is cut does no harm."""
CHAT_SHAPES = frozenset(("messages", "sharegpt", "alpaca", "prompt_completion", "question_answer"))
TURN_SHAPES = frozenset(("messages", "sharegpt"))
FEW_VALIDATION_ROWS = 10
"""The mean over n rows wavers by the spread of a row over √n: below ten rows by more than a third of it."""
MOST_HELD_BACK = 0.2
WASTEFUL_PASSES = 1.5


def data_problems(case: Case) -> Iterator[Problem]:
    """Everything that the rows themselves call for."""
    data = case.data
    if data is None:
        return
    yield from _truncation(case, data)
    yield from _template(case, data)
    yield from _few_rows(case, data)
    yield from _validation(case, data)
    yield from _unpacked(case, data)


def _truncation(case: Case, data: DataFacts) -> Iterator[Problem]:
    sides = (data.train, data.validation)
    cut, lost = sum(side.truncated_rows for side in sides), sum(side.lost_tokens for side in sides)
    limit = case.spec.data.max_length
    if not cut or all(was_cut_lower(case.spec, side) for side in sides if side.truncated_rows):
        return
    rows, tokens = sum(side.rows for side in sides), sum(side.tokens for side in sides)
    # Where nobody counted: at most one row lost all but one token of each of the others.
    whole = max(side.longest_uncut for side in sides) or min(2 * limit, limit + max(1, lost - (cut - 1)))
    wanted = math.ceil(whole / LENGTH_STEP) * LENGTH_STEP
    context = case.model.context_length if case.model else 0
    if context:
        wanted = min(wanted, context)
    raised = Fix(f"Allow {wanted:,} tokens", (Edit("data.max_length", wanted),))
    fixes = (raised,) if wanted > limit and case.still_fits(*raised.edits) else ()
    pairs = case.spec.data.train_on == "preferences"
    words = _pair_advice if pairs else _row_advice
    share = format_share(lost / (lost + tokens))
    if pairs:
        verb = "An answer of 1 pair is" if cut == 1 else f"An answer of {cut:,} of {rows:,} pairs is"
        message = (
            f"{verb} longer than {limit:,} tokens with its prompt and cut at the end; {share} of all tokens are lost."
        )
    else:
        answers = ", the ends of answers among them" if case.spec.data.train_on != "all" else ""
        verb = "1 row is" if cut == 1 else f"{cut:,} of {rows:,} rows are"
        message = f"{verb} longer than {limit:,} tokens and cut at the end; {share} of all tokens are lost{answers}."
    yield Problem(
        Severity.WARNING if cut >= MANY_CUT_ROWS * rows else Severity.INFO,
        "data.max_length",
        message,
        words(whole, wanted, can_raise=bool(fixes), too_long=wanted <= limit),
        fixes,
    )


def _row_advice(whole: int, wanted: int, *, can_raise: bool, too_long: bool) -> str:
    """What to do about rows that are cut, of which the longest has ``whole`` tokens."""
    if can_raise:
        return f"The longest row has {whole:,} tokens: allow longer rows, or split them in the file."
    if too_long:
        return f"The longest row has {whole:,} tokens, more than the model reads: split such rows in the file."
    return f"The longest row has {whole:,} tokens, and rows of {wanted:,} do not fit into memory: split them."


def _pair_advice(whole: int, wanted: int, *, can_raise: bool, too_long: bool) -> str:
    """The same of pairs of answers; those cannot be split, for both answer the whole of what is said before them."""
    if can_raise:
        return (
            f"The longest answer has {whole:,} tokens with its prompt: allow longer ones, or shorten them in the file."
        )
    if too_long:
        return (
            f"The longest answer has {whole:,} tokens with its prompt, more than the model reads: shorten such pairs."
        )
    return (
        f"The longest answer has {whole:,} tokens with its prompt, and a limit of {wanted:,} does not fit into memory: "
        "shorten such pairs."
    )


def _template(case: Case, data: DataFacts) -> Iterator[Problem]:
    model, asked = case.model, case.spec.data.template
    own = Fix("Use the model's own", (Edit("data.template", "auto"),))
    untold = without_tools(asked) == AUTO and without_tools(data.template_name) not in ("", "model", "none")
    if data.shape in CHAT_SHAPES and untold and (model is None or not model.template):
        yield warning(
            "data.template",
            f"The rows are conversations, but the base model has no chat template; the built-in “{data.template_name}” "
            "is used.",
            "Keep it, or choose the template that the model was trained with; the tuned model needs the same one.",
            Fix(f"Use “{data.template_name}”", (Edit("data.template", data.template_name),)),
        )
    if model is None or not is_chat_model(model):
        return
    if asked == "none" and data.shape in TURN_SHAPES:
        yield warning(
            "data.template",
            "The base model was tuned for chat and has a chat template, but the turns of the rows are joined without "
            "one.",
            "Use the model's own template, so that the turns look as the model knows them.",
            own,
        )
    elif without_tools(asked) not in (AUTO, "none") and data.shape in CHAT_SHAPES:
        yield Problem(
            Severity.INFO,
            "data.template",
            f"The base model was tuned for chat with its own template, and “{template_name(asked)}” is used instead, "
            "so some of that tuning is lost.",
            "Use the model's own template unless programs that will run the result need another one.",
            (own,),
        )
    if data.shape == "text":
        yield Problem(
            Severity.INFO,
            "model.base",
            "The base model was tuned to answer, and the rows are running text, so it may answer worse afterwards.",
            "Take the base version of the model for running text where there is one, or keep the run short.",
        )


def _few_rows(case: Case, data: DataFacts) -> Iterator[Problem]:
    rows = data.train.rows
    if rows == 0:
        yield error(
            "data.train",
            "There is no row left to train on.",
            "Check the files, the row format and how many rows are held back for validation.",
        )
    elif rows < FEW_ROWS:
        words = "There is only 1 row" if rows == 1 else f"There are only {rows} rows"
        yield warning(
            "data.train",
            f"{words} to learn from: the model will soon know them by heart (overfitting).",
            f"Add rows, {FEW_ROWS} at the very least, or keep the run to one or two epochs.",
        )
    batch = case.spec.training.effective_batch
    if 0 < rows < batch:
        fewer = usual_batch("chat", rows)
        yield warning(
            "training.effective_batch",
            f"A step is to learn from {batch:,} rows, but there are only {rows:,}: every epoch is a single step.",
            "Take fewer rows a step, so that the model is changed more often.",
            Fix(f"Take {fewer} rows a step", (Edit("training.effective_batch", fewer),)),
        )


def _validation(case: Case, data: DataFacts) -> Iterator[Problem]:
    spec, held = case.spec, data.validation.rows
    stopping = spec.training.early_stopping
    # Without files or a share the spec's own rules already say that nothing is validated.
    expected = bool(spec.data.validation) or spec.data.validation_share > 0
    if stopping > 0 and held == 0 and expected:
        yield warning(
            "training.early_stopping",
            "Stopping early needs a validation loss, and there are 0 validation rows.",
            "Hold back more rows, or name validation files with rows in them.",
            Fix("Never stop early", (Edit("training.early_stopping", 0),)),
        )
    if not 0 < held < FEW_VALIDATION_ROWS or data.train.rows < FEW_ROWS:
        return
    share = math.ceil(100 * FEW_VALIDATION_ROWS / (held + data.train.rows)) / 100
    by_share = not spec.data.validation and spec.data.validation_share < share <= MOST_HELD_BACK
    more = Fix(f"Hold back {share * 100:.0f} %", (Edit("data.validation_share", share),))
    never = Fix("Never stop early", (Edit("training.early_stopping", 0),))
    words = "1 row is" if held == 1 else f"{held} rows are"
    if stopping > 0:
        yield warning(
            "training.early_stopping",
            f"Only {words} measured for the validation loss, so chance decides when the run stops early.",
            "Hold back more rows, or do not stop early.",
            *((more, never) if by_share else (never,)),
        )
    else:
        yield Problem(
            Severity.INFO,
            "data.validation" if spec.data.validation else "data.validation_share",
            f"Only {words} measured for the validation loss, so it wavers and says little.",
            "Hold back more rows if the set allows it." if by_share else "Name more rows if there are any.",
            (more,) if by_share else (),
        )


def _unpacked(case: Case, data: DataFacts) -> Iterator[Problem]:
    """One short row a pass: a pass costs as much as its tokens and some more (`core.plan.search`)."""
    model, rows = case.model, data.train
    if case.spec.data.packing != "off" or rows.rows == 0 or (model is not None and model.state_leaks):
        return
    ground, choices = case.decision.ground, case.decision.choices
    overhead = CUDA_PASS_OVERHEAD if ground.kind == "cuda" else CPU_PASS_OVERHEAD
    mean = max(1.0, rows.tokens / rows.rows)
    shared = min(max(choices.micro_batch_tokens.value, mean), mean * max(1, case.spec.training.effective_batch))
    times = (1 + overhead / mean) / (1 + overhead / shared)
    packed = Edit("data.packing", "auto")
    if times < WASTEFUL_PASSES or not case.still_fits(packed):
        return
    yield warning(
        "data.packing",
        f"Rows of {mean:,.0f} tokens on average go through the model one by one, which leaves the hardware idle: about "
        f"{times:.1f} times as long as with packing.",
        "Let rows share a pass; they do not see each other.",
        Fix("Pack rows", (packed,)),
    )
