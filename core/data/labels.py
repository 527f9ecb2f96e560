"""From a sample to tokens with loss marks: the one function that the engine trains with and the token view shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.data.spans import Span, SpanError, find_answers, render_sample, trained_turns
from core.data.templates import NONE, ChatTemplate
from core.data.tokenizer import Offsets, Tokenizer
from core.data.types import Encoded, Message, Sample
from core.errors import Problem, UserError, error
from core.spec.sections import TrainOn


def encode_sample(
    sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> Encoded:
    """One document as tokens, and which of them carry loss.

    A conversation is written by the template once, as a whole, and tokenised once; so its tokens are exactly those
    that the model sees later. A token is trained if it begins inside an answer, or reaches into one with more than
    white space (where "… " and "yes" become the one token " yes", the answer must not vanish). The end-of-turn token
    belongs to the answer, white space behind it does not, and neither does the generation prompt in front. Running
    text, and a prompt and completion without a template, get the tokenizer's own beginning and the end token.

    Args:
        sample: the row.
        tokenizer: the model's tokenizer.
        template: what writes conversations; with the one called “none”, prompt and completion are joined as they are.
        train_on: "completions"; "last" for the last answer of a conversation alone; or "all" for everything but the
            first token and what the row exempts.
        max_length: tokens beyond this are cut off at the end.

    Raises:
        UserError: the template cannot write the conversation, or hides where its answers are.
    """
    (found,) = encode_samples([sample], tokenizer, template, train_on, max_length)
    if isinstance(found, Problem):
        raise UserError(found)
    return found


def encode_samples(
    samples: Sequence[Sample], tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> list[Encoded | Problem]:
    """`encode_sample` for many at once, which is much faster; a sample that fails gives its problem instead."""
    drafts = [_draft(sample, template, train_on) for sample in samples]
    rows = _tokenised(drafts, tokenizer)
    return [
        draft if isinstance(draft, Problem) else _finish(draft, *rows[id(draft)], max_length=max_length)
        for draft in drafts
    ]


@dataclass(frozen=True, slots=True)
class Written:
    """A document as tokens beside its text.

    Attributes:
        text: what was tokenised.
        offsets: for each token the characters of ``text`` that it stands for; an empty span for a token that was added.
    """

    text: str
    encoded: Encoded
    offsets: Offsets


def write_sample(
    sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> Written:
    """`encode_sample`, and the text that the tokens stand for.

    Raises:
        UserError: as `encode_sample`.
    """
    draft = _draft(sample, template, train_on)
    if isinstance(draft, Problem):
        raise UserError(draft)
    ids, offsets = _tokenised([draft], tokenizer)[id(draft)]
    return Written(draft.text, _finish(draft, ids, offsets, max_length=max_length), offsets[:max_length])


def _tokenised(drafts: "Sequence[_Draft | Problem]", tokenizer: Tokenizer) -> dict[int, tuple[list[int], Offsets]]:
    """Ids and offsets of each draft, by its identity."""
    written = [draft for draft in drafts if isinstance(draft, _Draft)]
    rows: dict[int, tuple[list[int], Offsets]] = {}
    for running in (False, True):
        group = [draft for draft in written if draft.running is running]
        texts = [draft.text for draft in group]
        encoded = tokenizer.encode_running(texts) if running else tokenizer.encode_batch(texts)
        rows.update((id(draft), row) for draft, row in zip(group, encoded, strict=True))
    return rows


@dataclass(frozen=True, slots=True)
class _Draft:
    """A text on its way to tokens.

    Attributes:
        spans: the characters that carry loss, ascending.
        running: the tokenizer frames the text itself, because no template did.
    """

    place: str
    text: str
    spans: tuple[Span, ...]
    running: bool


def _draft(sample: Sample, template: ChatTemplate, train_on: TrainOn) -> _Draft | Problem:
    try:
        draft = _write(sample, template, train_on)
        draft.text.encode("utf-8")
    except UserError as failure:
        first = failure.problems[0]
        return error(sample.place, first.message, first.advice)
    except SpanError as failure:
        message = f"{str(failure)[:1].upper()}{str(failure)[1:]}."
        advice = "Choose another chat template, train on everything, or keep one answer in a row."
        return error(sample.place, message, advice)
    except UnicodeEncodeError:
        message = "The row holds half of a character pair (a lone surrogate), which is no text."
        return error(sample.place, message, "Mend or remove the row.")
    return draft


def _write(sample: Sample, template: ChatTemplate, train_on: TrainOn) -> _Draft:
    messages = conversation(sample, template)
    if messages:
        return _write_conversation(sample, messages, template, train_on)
    text = sample.prompt + sample.completion
    start = len(sample.prompt) if train_on != "all" else 0
    # The end token is added behind the text, and it is trained as well.
    return _Draft(sample.place, text, ((start, len(text) + 1),), running=True)


def conversation(sample: Sample, template: ChatTemplate) -> tuple[Message, ...]:
    """The messages that the template writes for a sample; none for text that no template touches."""
    if sample.messages or not sample.prompt or template.name == NONE:
        return sample.messages
    return Message("user", sample.prompt), Message("assistant", sample.completion)


def _write_conversation(
    sample: Sample, messages: Sequence[Message], template: ChatTemplate, train_on: TrainOn
) -> _Draft:
    _check_tools(sample, messages, template)
    text = render_sample(template, messages, sample)
    marks = trained_turns(messages, train_on)
    if train_on == "all" and all(marks):
        return _Draft(sample.place, text, ((0, len(text)),), running=False)
    spans = find_answers(template, messages, sample, text)
    trained = [mark for mark, message in zip(marks, messages, strict=True) if message.role == "assistant"]
    if train_on == "all":
        kept = _around([span for span, keep in zip(spans, trained, strict=True) if not keep], len(text))
    else:
        kept = tuple(span for span, keep in zip(spans, trained, strict=True) if keep)
    return _Draft(sample.place, text, kept, running=False)


def _check_tools(sample: Sample, messages: Sequence[Message], template: ChatTemplate) -> None:
    """Refuses a template that would silently leave tools out."""
    wanted = [name for name, used in _tool_needs(sample, messages) if used and name not in template.source]
    if wanted:
        words = {"tool_calls": "calls of tools", "tools": "descriptions of tools"}
        message = f"The row has {words[wanted[0]]}, and the chat template “{template.name}” leaves them out."
        raise UserError(
            error(sample.place, message, "Choose a template that knows tools, or remove them from the row.")
        )


def _tool_needs(sample: Sample, messages: Sequence[Message]) -> tuple[tuple[str, bool], ...]:
    return ("tool_calls", any("tool_calls" in message.extra for message in messages)), ("tools", bool(sample.tools))


def _around(holes: Sequence[Span], length: int) -> tuple[Span, ...]:
    edges = [0, *(edge for hole in holes for edge in hole), length]
    return tuple((start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop)


def _finish(draft: _Draft, ids: Sequence[int], offsets: Offsets, *, max_length: int) -> Encoded:
    trained = _marks(draft, offsets[:max_length])
    if trained:
        # There is nothing before the first token from which it could be predicted.
        trained[0] = False
    return Encoded(tuple(ids[:max_length]), tuple(trained), draft.place, max(0, len(ids) - max_length))


def _marks(draft: _Draft, offsets: Offsets) -> list[bool]:
    """For each token whether it belongs to a span; both lists ascend, so one walk over them is enough."""
    marks: list[bool] = []
    spans = draft.spans
    number = 0
    for start, stop in offsets:
        while number < len(spans) and spans[number][1] <= start:
            number += 1
        if number == len(spans):
            break
        first = spans[number][0]
        marks.append(start >= first or (stop > first and bool(draft.text[first:stop].strip())))
    marks.extend([False] * (len(offsets) - len(marks)))
    return marks
