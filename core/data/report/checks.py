"""What is looked for in every row by itself."""

from collections.abc import Callable, Mapping

from core.data import flaws, turn_order
from core.data.types import Message, Sample

_MOST_TURNS = 12


def opening(sample: Sample) -> str:
    """The beginning of a row, on one line."""
    texts = (text for text in flaws.all_texts(sample) if text.strip())
    return flaws.one_line(next(texts, "")[:400])


def _repeated_speaker(sample: Sample) -> str | None:
    return _order(sample) if turn_order.has_repeated_speaker(sample) else None


def _begins_with_answer(sample: Sample) -> str | None:
    return _order(sample) if turn_order.begins_with_answer(sample) else None


def _open_end(sample: Sample) -> str | None:
    return flaws.one_line(sample.messages[-1].content[:400]) if turn_order.has_open_end(sample) else None


def _order(sample: Sample) -> str:
    """Who speaks when, and the first words."""
    return f"{' → '.join(map(_role, sample.messages[:_MOST_TURNS]))}: {opening(sample)}"


def _role(message: Message) -> str:
    return message.role


CHECKS: Mapping[str, Callable[[Sample], str | None]] = {
    "mistaken_encoding": flaws.find_mistaken_encoding,
    "lost_letters": flaws.find_lost_letters,
    "placeholders": flaws.find_placeholder,
    "loops": flaws.find_loop,
    "refusals": flaws.find_refusal,
}
"""Finding -> what gives the words in question, for rows of any kind."""

TURN_CHECKS: Mapping[str, Callable[[Sample], str | None]] = {
    "repeated_speaker": _repeated_speaker,
    "begins_with_answer": _begins_with_answer,
    "open_end": _open_end,
    "disorder": turn_order.find_disorder,
}
"""The same for conversations of more than one question and one answer."""
