"""A chat template that is being written, tried on a row: what comes of it, or what is wrong and in which line."""

from dataclasses import dataclass
from types import TracebackType

from core.data.jinja_limits import at_most
from core.data.templates import builtin_templates, choose_template
from core.data.token_preview import TokenPreview, preview_documents
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.errors import Problem, UserError, error
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from core.spec.template_choice import AUTO, is_template_text

TRIAL_SECONDS = 2.0
LONGEST = 200_000
"""More text than any template has; what is longer was pasted by mistake."""
EXAMPLE = Sample(
    "example",
    (
        Message("system", "You are a helpful assistant."),
        Message("user", "What is the capital of France?"),
        Message("assistant", "Paris."),
        Message("user", "And of Italy?"),
        Message("assistant", "Rome."),
    ),
)
"""What a template is tried on while there are no rows."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        preview: the row as tokens; None where the template could not write it.
        rejected: of a preference pair, the row with its rejected answer.
        problem: why not.
        line: the line of the template where that was noticed, counted from 1; 0 where nobody knows.
        is_valid: it is a template, even if this row cannot be written by it.
    """

    preview: TokenPreview | None
    problem: Problem | None = None
    line: int = 0
    is_valid: bool = True
    rejected: TokenPreview | None = None


def try_template(text: str, sample: Sample, model: ModelFacts, tokenizer: Tokenizer, spec: DataSpec) -> Trial:
    """Writes a row by a template, within `TRIAL_SECONDS` and the limits of the sandbox, whatever the template is.

    Args:
        text: the template.
        sample: the row; `EXAMPLE` where there is none.
        model: the base model.
        tokenizer: its tokenizer.
        spec: the section ``data`` of the spec: what is trained, and the longest row.
    """
    if len(text) > LONGEST:
        message = f"The template has {len(text):,} characters, and {LONGEST:,} are the most."
        return Trial(None, error("data.template", message, "Make it shorter."), is_valid=False)
    if not is_template_text(text):
        message = "The text writes nothing of the conversation: it has neither {{ … }} nor {% … %}."
        advice = "Begin with a built-in template, and change it."
        return Trial(None, error("data.template", message, advice), is_valid=False)
    with at_most(TRIAL_SECONDS):
        try:
            template = choose_template(text, model, tokenizer)
        except UserError as failure:
            return Trial(None, failure.problems[0], line_of(failure), is_valid=False)
        try:
            found = preview_documents(sample, tokenizer, template, spec)
            return Trial(found[0], rejected=found[1] if len(found) > 1 else None)
        except UserError as failure:
            # What the row's problem was made of may be gone; writing the row alone says where it happened.
            line = line_of(failure) or _line_of_rendering(text, sample, model, tokenizer)
            return Trial(None, failure.problems[0], line)


def choice_of(text: str, model: ModelFacts, tokenizer: Tokenizer) -> str:
    """The shortest value of ``data.template`` that stands for a text: a name where it is nothing but a known one."""
    for name in ((AUTO,) if model.template else ()) + tuple(builtin_templates()):
        try:
            if choose_template(name, model, tokenizer).source == text:
                return name
        except UserError:  # the model's own may be broken; that is what the user mends here
            continue
    return text


def line_of(failure: BaseException | None) -> int:
    """The line of a template at which it failed; 0 where that is not known."""
    import jinja2

    while failure is not None:
        if isinstance(failure, jinja2.TemplateSyntaxError):
            return failure.lineno
        line = _line_in(failure.__traceback__)
        if line:
            return line
        failure = failure.__cause__
    return 0


def _line_in(traceback: TracebackType | None) -> int:
    """The last line of a template in a traceback: of its own, not of the Python that Jinja makes of it."""
    line = 0
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def _line_of_rendering(text: str, sample: Sample, model: ModelFacts, tokenizer: Tokenizer) -> int:
    try:
        choose_template(text, model, tokenizer).render(sample.messages, tools=sample.tools)
    except UserError as failure:
        return line_of(failure)
    return 0
