"""A sample written out by its chat template: the text that becomes tokens, and which of its characters carry loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.data.spans import Span, SpanError, find_answers, trained_turns, write_turns
from core.data.templates import (
    NONE,
    PLAIN,
    SETTING,
    ChatTemplate,
    EndlessTemplateError,
    Writing,
    plain_template,
    with_tools,
)
from core.data.types import Message, Sample
from core.errors import Edit, Fix, Problem, UserError, error
from core.spec.sections import TrainOn
from core.spec.template_choice import TOOLS

TRAIN_ON = "data.train_on"

_MOST_ENDLESS = 3
"""On so many of the rows given at once a template may take too long, which costs most of a second for each; on more of
them it is not the rows that are to blame."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text on its way to tokens.

    Attributes:
        place: where the row came from.
        spans: the characters that carry loss, ascending.
        running: the tokenizer frames the text itself, because no template did.
    """

    place: str
    text: str
    spans: tuple[Span, ...]
    running: bool


def make_drafts(samples: Iterable[Sample], template: ChatTemplate, train_on: TrainOn) -> list[Draft | Problem]:
    """Each sample as a draft, or why it cannot be written, with the ways out that were found to work.

    Raises:
        UserError: the template takes too long, and not on a row or two.
    """
    known: dict[str, tuple[Fix, ...]] = {}
    found: list[Draft | Problem] = []
    endless = 0
    for sample in samples:
        try:
            found.append(_draft(sample, template, train_on, known))
        except EndlessTemplateError as failure:
            endless += 1
            if endless > _MOST_ENDLESS:
                raise UserError(_endless(template, failure.problems[0])) from failure
            found.append(error(sample.place, failure.problems[0].message, failure.problems[0].advice))
    return found


def _endless(template: ChatTemplate, problem: Problem) -> Problem:
    message = f"{problem.message} So it was with {_MOST_ENDLESS + 1} rows, and no more were tried."
    fixes = [Fix(f"Use “{PLAIN}”", (Edit(SETTING, PLAIN),))] if template.name != PLAIN else []
    return error(SETTING, message, "Mend the template, or choose another one.", *fixes)


def conversation(sample: Sample, template: ChatTemplate) -> tuple[Message, ...]:
    """The messages that the template writes for a sample; none for text that no template touches."""
    if sample.messages or not sample.prompt or template.name == NONE:
        return sample.messages
    return Message("user", sample.prompt), Message("assistant", sample.completion)


def _draft(
    sample: Sample, template: ChatTemplate, train_on: TrainOn, known: dict[str, tuple[Fix, ...]]
) -> Draft | Problem:
    try:
        draft = _write(sample, template, train_on)
        if not draft.text.isascii():
            draft.text.encode("utf-8")
    except EndlessTemplateError:
        raise
    except UserError as failure:
        message, advice = failure.problems[0].message, failure.problems[0].advice
    except SpanError as failure:
        message = f"{str(failure)[:1].upper()}{str(failure)[1:]}."
        advice = "Choose another chat template, train on everything, or keep one answer in a row."
    except UnicodeEncodeError:
        message = "The row holds half of a character pair (a lone surrogate), which is no text."
        return error(sample.place, message, "Mend or remove the row.")
    else:
        return draft
    # Rows that fail in the same way have the same ways out; trying them takes as long as writing the row.
    if message not in known:
        known[message] = tuple(_ways_out(sample, template, train_on))
    return error(sample.place, message, advice, *known[message])


def _ways_out(sample: Sample, template: ChatTemplate, train_on: TrainOn) -> list[Fix]:
    """Settings with which the row can be written; each has been tried."""
    found: list[Fix] = []
    uses_tools = _uses_tools(sample)
    has_system_text = any(message.role == "system" for message in sample.messages)
    if (uses_tools or has_system_text) and not template.name.endswith(TOOLS):
        title = "Write tools as text" if uses_tools else "Write the system text into the first question"
        as_text = with_tools(template)
        if _works(sample, as_text, train_on):
            found.append(Fix(title, (Edit(SETTING, as_text.choice),)))
    if train_on == "completions" and len(sample.messages) > 2 and _works(sample, template, "last"):
        found.append(Fix("Train the last answer of each conversation", (Edit(TRAIN_ON, "last"),)))
    if not found:
        plain = plain_template(template)
        plain = with_tools(plain) if uses_tools else plain
        if plain.name != template.name and _works(sample, plain, train_on):
            title = f"Use “{PLAIN}” with tools as text" if uses_tools else f"Use “{PLAIN}”"
            found.append(Fix(title, (Edit(SETTING, plain.choice),)))
    return found


def _works(sample: Sample, template: ChatTemplate, train_on: TrainOn) -> bool:
    try:
        _write(sample, template, train_on)
    except (UserError, SpanError):
        return False
    return True


def _write(sample: Sample, template: ChatTemplate, train_on: TrainOn) -> Draft:
    messages = conversation(sample, template)
    if messages:
        return _write_conversation(sample, messages, template, train_on)
    text = sample.prompt + sample.completion
    start = len(sample.prompt) if train_on != "all" else 0
    # The end token is added behind the text, and it is trained as well.
    return Draft(sample.place, text, ((start, len(text) + 1),), running=True)


def _write_conversation(
    sample: Sample, messages: Sequence[Message], template: ChatTemplate, train_on: TrainOn
) -> Draft:
    _check_tools(sample, messages, template)
    messages, written = _rendered(sample, messages, template)
    text = written.text
    marks = trained_turns(messages, train_on)
    if train_on == "all" and all(marks):
        return Draft(sample.place, text, ((0, len(text)),), running=False)
    trained = [mark for mark, message in zip(marks, messages, strict=True) if message.role == "assistant"]
    wanted = [mark != (train_on == "all") for mark in trained]  # holes in everything, or what is trained itself
    spans = find_answers(template, messages, sample, written, wanted)
    kept = _around(spans, len(text)) if train_on == "all" else spans
    return Draft(sample.place, text, kept, running=False)


def _rendered(sample: Sample, messages: Sequence[Message], template: ChatTemplate) -> tuple[Sequence[Message], Writing]:
    """The conversation as text, and the messages with which the template could write it.

    Calls of tools often come without a content, by which most templates tell them from answers. Those of Qwen 3 and
    others fail on it, in transformers too; they get an empty one.
    """
    try:
        return messages, write_turns(template, messages, sample)
    except UserError:
        filled = [_with_content(message) for message in messages]
        if filled == list(messages):
            raise
        return filled, write_turns(template, filled, sample)


def _with_content(message: Message) -> Message:
    if message.extra.get("content", "") is not None:
        return message
    return replace(message, extra={name: item for name, item in message.extra.items() if name != "content"})


def _check_tools(sample: Sample, messages: Sequence[Message], template: ChatTemplate) -> None:
    """Refuses a template that would silently leave tools out."""
    if not sample.tools and not any(message.extra for message in messages):
        return
    wanted = [name for name, used in _tool_needs(sample, messages) if used and name not in template.source]
    if wanted:
        words = {"tool_calls": "calls of tools", "tools": "descriptions of tools"}
        message = f"The row has {words[wanted[0]]}, and the chat template “{template.name}” leaves them out."
        advice = "Choose a template that knows tools, let them be written as text, or remove them from the row."
        raise UserError(error(sample.place, message, advice))


def _uses_tools(sample: Sample) -> bool:
    return any(used for _, used in _tool_needs(sample, sample.messages))


def _tool_needs(sample: Sample, messages: Sequence[Message]) -> tuple[tuple[str, bool], ...]:
    return ("tool_calls", any("tool_calls" in message.extra for message in messages)), ("tools", bool(sample.tools))


def _around(holes: Sequence[Span], length: int) -> tuple[Span, ...]:
    edges = [0, *(edge for hole in holes for edge in hole), length]
    return tuple((start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop)
