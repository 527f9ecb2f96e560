"""Where the answers stand in a rendered conversation: found by rendering, never by guessing from token patterns."""

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from core.data.templates import WEIGHT, ChatTemplate, Writing, shared_length
from core.data.types import Message, Sample
from core.errors import UserError
from core.spec.sections import TrainOn

RENDERED_AT = datetime(2024, 7, 26, 12)  # noqa: DTZ001 (templates want a wall clock)
"""The date that templates see when they write training rows. With today's date a run that resumes after midnight
would train on other tokens than it began with; the day itself is the one that Llama 3 falls back to."""

Span = tuple[int, int]

_BOUNDARY = re.compile(r".*[\s>\]:]", re.DOTALL)


class SpanError(Exception):
    """The template writes a conversation in a way that hides where its answers are; the message says so."""


def write_turns(template: ChatTemplate, messages: Sequence[Message], sample: Sample) -> Writing:
    """A conversation of ``sample`` as training sees it: always on the same day."""
    return template.write(messages, tools=sample.tools, now=RENDERED_AT)


def find_answers(
    template: ChatTemplate,
    messages: Sequence[Message],
    sample: Sample,
    written: Writing,
    wanted: Sequence[bool] | None = None,
) -> tuple[Span, ...]:
    """The part of the text that each assistant message of ``messages`` became.

    A part begins after the generation prompt and ends with the end of the turn; white space behind that is left out.
    Four ways, each for the templates on which the one before fails:

    1. the difference between the conversation up to an answer and with it;
    2. the template's own ``{% generation %}`` marks;
    3. from the generation prompt to the next end of turn, where earlier answers are written shorter than the last;
    4. invisible marks around the contents, looked up in the rendered text.

    Args:
        template: what rendered the text.
        messages: the whole conversation.
        sample: where it comes from; gives the tools.
        written: ``messages`` as the template writes them.
        wanted: for each assistant message whether it is looked for; None for all.

    Returns:
        One span of characters for each wanted assistant message, in order.

    Raises:
        SpanError: none of the ways leads to the wanted answers.
    """
    places = [index for index, message in enumerate(messages) if message.role == "assistant"]
    answers = [index for index, want in zip(places, wanted or [True] * len(places), strict=True) if want]
    if not answers:
        return ()
    text = written.text
    part = partial(_beginning, template, messages, sample, written)
    starts: dict[int, int] = {}
    spans: dict[int, Span] = {}
    for index in answers:
        start = _start_of(part, index, text)
        if start is None:
            continue
        starts[index] = start
        last = index + 1 == len(messages)
        after = text if last else part(index + 1, prompt=False)
        if after is not None and len(after) > start and text.startswith(after):
            spans[index] = _without_tail(text, (start, len(after)), template.turn_end)
    if len(spans) < len(answers) and template.marks_answers:
        marked = dict(zip(places, _marked_spans(template, messages, sample, text), strict=False))
        if len(marked) == len(places):
            return tuple(_without_tail(text, marked[index], template.turn_end) for index in answers)
    if len(spans) < len(answers):
        _add_by_turn_end(template.inner_end, messages, text, starts, spans)
    if len(spans) < len(answers):
        _add_by_content(template, messages, sample, text, spans)
    return _in_order([spans.get(index) for index in answers])


def _try_render(template: ChatTemplate, messages: Sequence[Message], sample: Sample, *, prompt: bool) -> str | None:
    """A part of the conversation, or None where the template refuses the part though it wrote the whole."""
    try:
        return template.render(messages, tools=sample.tools, add_generation_prompt=prompt, now=RENDERED_AT)
    except UserError:
        return None


def _beginning(
    template: ChatTemplate, messages: Sequence[Message], sample: Sample, written: Writing, turns: int, *, prompt: bool
) -> str | None:
    known = written.beginning(turns, add_generation_prompt=prompt)
    return known if known is not None else _try_render(template, messages[:turns], sample, prompt=prompt)


def _start_of(part: Callable[..., str | None], turn: int, text: str) -> int | None:
    """Where an answer begins in ``text``; None where the template writes the turns before it otherwise.

    That is behind the generation prompt, or behind as much of it as the text has: many templates let the model begin
    with a thought, and write answers that have none without it.
    """
    prompt = part(turn, prompt=True)
    if prompt is None:
        return None
    if text.startswith(prompt):
        return len(prompt)
    bare = part(turn, prompt=False)
    if bare is None or not text.startswith(bare) or not prompt.startswith(bare):
        return None
    shared = text[: len(bare) + shared_length(text[len(bare) :], prompt[len(bare) :])]
    whole = _BOUNDARY.match(shared, len(bare))  # never half of a tag that only begins as the prompt's does
    return whole.end() if whole else None


def _without_tail(text: str, span: Span, turn_end: str) -> Span:
    """The span without the white space behind the end of the turn; white space that is itself the end stays."""
    start, stop = span
    kept = text[start:stop].rstrip()
    if turn_end.strip() and kept.endswith(turn_end.strip()):
        return start, start + len(kept)
    return span


def _marked_spans(template: ChatTemplate, messages: Sequence[Message], sample: Sample, text: str) -> list[Span]:
    """What stands between the template's own marks, in characters of the unmarked text."""
    opening, closing = unused_characters(text, 2)
    try:
        marked = template.render(messages, tools=sample.tools, now=RENDERED_AT, marks=(opening, closing))
    except UserError:
        return []
    return [span for _, span in _read_marks(marked, text, opening, closing)]


def _read_marks(marked: str, text: str, openings: str, closing: str) -> list[tuple[str, Span]]:
    """Which mark opens each marked part, and where it stands in the text; nothing if the marks changed the text."""
    spans: list[tuple[str, Span]] = []
    pieces: list[str] = []
    plain, position, opened = 0, 0, ("", 0)
    for index, character in enumerate(marked):
        if character != closing and character not in openings:
            continue
        pieces.append(marked[position:index])
        plain += index - position
        position = index + 1
        if character == closing:
            spans.append((opened[0], (opened[1], plain)))
        else:
            opened = character, plain
    pieces.append(marked[position:])
    return spans if "".join(pieces) == text else []


def _add_by_turn_end(
    turn_end: str, messages: Sequence[Message], text: str, starts: dict[int, int], spans: dict[int, Span]
) -> None:
    """Closes answers whose start is known at the next end of turn, if that comes before the next answer.

    What is closed there has to be the answer: some templates leave earlier answers out, and the next end of a turn is
    that of a question then.
    """
    end = turn_end.strip()
    if not end:
        return
    for index, start in starts.items():
        if index in spans:
            continue
        found = text.find(end, start)
        following = [later for place, later in starts.items() if place > index]
        said = messages[index].content.rpartition("</think>")[2].strip()
        if found >= 0 and said in text[start:found] and (not following or found + len(end) <= following[0]):
            spans[index] = (start, found + len(end))


def _add_by_content(
    template: ChatTemplate, messages: Sequence[Message], sample: Sample, text: str, spans: dict[int, Span]
) -> None:
    """Looks for the contents themselves, by rendering with an invisible mark of its own before each."""
    wanted = [index for index, message in enumerate(messages) if message.role == "assistant" and message.content]
    marks = unused_characters(text, len(wanted) + 1)
    if len(marks) <= len(wanted):
        return
    owners = dict(zip(marks, wanted, strict=False))
    for trim in (False, True):
        altered = list(messages)
        for mark, index in owners.items():
            altered[index] = _with_marks(messages[index], mark, marks[-1], trim=trim)
        marked = _try_render(template, altered, sample, prompt=False)
        found = _read_marks(marked, text, "".join(owners), marks[-1]) if marked is not None else []
        if {mark for mark, _ in found} != owners.keys() or len(found) != len(owners):
            continue
        for mark, (start, stop) in found:
            # The content of a turn that calls tools is not all of its answer.
            if owners[mark] not in spans and "tool_calls" not in messages[owners[mark]].extra:
                behind = text[stop:].startswith(template.turn_end)
                spans[owners[mark]] = (start, stop + len(template.turn_end) if behind else stop)
        return


def _with_marks(message: Message, opening: str, closing: str, *, trim: bool) -> Message:
    """The message with its answer between marks; reasoning in front of it stays outside, where templates drop it."""
    reasoning, tag, answer = message.content.rpartition("</think>")
    inner = answer.strip() if trim else answer
    return Message(message.role, f"{reasoning}{tag}{opening}{inner}{closing}", message.extra)


def _in_order(spans: Sequence[Span | None]) -> tuple[Span, ...]:
    found = [span for span in spans if span is not None]
    if len(found) < len(spans):
        raise SpanError("the chat template rewrites earlier turns, so it cannot be told where the answers are")
    if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(found)):
        raise SpanError("the chat template mixes the answers, so it cannot be told where each one is")
    return tuple(found)


def unused_characters(text: str, count: int) -> list[str]:
    """Private-use characters that do not occur in ``text``."""
    present = set(text)
    return [chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in present][:count]


def trained_turns(messages: Sequence[Message], train_on: TrainOn) -> tuple[bool, ...]:
    """Which turns carry loss.

    Only answers ever do, unless everything is trained; and never an answer that its row exempts. The “last” answer is
    the last one that is not exempt.
    """
    exempt = [message.role == "assistant" and message.extra.get(WEIGHT, 1) == 0 for message in messages]
    if train_on == "all":
        return tuple(not skip for skip in exempt)
    answers = [
        place
        for place, (message, skip) in enumerate(zip(messages, exempt, strict=True))
        if message.role == "assistant" and not skip
    ]
    kept = frozenset(answers[-1:] if train_on == "last" else answers)
    return tuple(place in kept for place in range(len(messages)))
