"""Whose turn it is in a conversation: what is out of order, and what can be put in order without losing a word."""

from collections.abc import Sequence
from dataclasses import replace

from core.data.templates import WEIGHT
from core.data.types import Message, Sample

BETWEEN = "\n\n"
"""What stands between two turns that became one."""


def is_in_order(sample: Sample) -> bool:
    """Whether a conversation is questions with their answers, perhaps behind a system text, and words alone.

    So are nearly all, and nothing else here finds anything in such a one.
    """
    expected = "user"
    for place, message in enumerate(sample.messages):
        if message.extra:
            return False
        if message.role == expected:
            expected = "assistant" if expected == "user" else "user"
        elif place or message.role != "system":
            return False
    return expected == "user" and len(sample.messages) > 1


def has_repeated_speaker(sample: Sample) -> bool:
    """Whether somebody speaks twice in a row where both turns can be one."""
    return any(_belong_together(one, other) for one, other in zip(sample.messages, sample.messages[1:], strict=False))


def merge_turns(sample: Sample) -> Sample:
    """The row with such turns joined; no word is lost, and what carries loss is the same. A sound row as it is."""
    if not has_repeated_speaker(sample):
        return sample
    merged: list[Message] = []
    for message in sample.messages:
        if merged and _belong_together(merged[-1], message):
            content = BETWEEN.join((merged[-1].content, message.content))
            merged[-1] = replace(merged[-1], content=content)
        else:
            merged.append(message)
    return replace(sample, messages=tuple(merged))


def _belong_together(one: Message, other: Message) -> bool:
    """Tool results stay apart, and so do turns with calls, names, reasoning or another weight."""
    if one.role != other.role or one.role == "tool":
        return False
    return not one.extra.keys() - {WEIGHT} and one.extra == other.extra


def has_open_end(sample: Sample) -> bool:
    """Whether a conversation goes on behind its last answer, so that the end of it is learned by nobody."""
    last = _last_answer(sample.messages)
    return 0 <= last < len(sample.messages) - 1


def trim_turns(sample: Sample) -> Sample:
    """The row without the turns behind the last answer; a row without an answer as it is."""
    return (
        replace(sample, messages=sample.messages[: _last_answer(sample.messages) + 1])
        if has_open_end(sample)
        else sample
    )


def _last_answer(messages: Sequence[Message]) -> int:
    return next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "assistant"), -1)


def begins_with_answer(sample: Sample) -> bool:
    """Whether the first who speaks, system texts aside, is the one who should answer."""
    spoken = next((message.role for message in sample.messages if message.role != "system"), "")
    return spoken in ("assistant", "tool")


def find_disorder(sample: Sample) -> str | None:
    """What else is out of order, as a few words; None where nothing is.

    A system text that does not come first; a result of a tool that nobody called; calls whose results never come though
    the conversation goes on.
    """
    called = False
    before = ""
    for message in sample.messages:
        role = message.role
        if role == "system" and before not in ("", "system"):
            return "a system text within the conversation"
        if role == "tool" and not called:
            return "a tool's result without a call"
        if called and before == "assistant" and role != "tool":
            return "a tool's call without a result"
        called = role == "tool" or "tool_calls" in message.extra
        before = role
    return None
