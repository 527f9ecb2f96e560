"""What is looked for in every row by itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from core.data import flaws, turn_order
from core.data.many_texts import ManyTexts
from core.data.mojibake import suspect_mojibake
from core.data.sides import sides_of
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


OF_BOTH_ANSWERS = frozenset(("mistaken_encoding", "lost_letters", *TURN_CHECKS))
"""What is looked for in both answers of a pair, as the repairs do; the rest is a matter of the better one."""


def find_flaws_of_pairs(samples: Sequence[Sample]) -> Iterator[tuple[str, int, str]]:
    """What is wrong with rows, as `find_flaws` says it, and with the worse answers of pairs; each row once for each."""
    seen = set()
    for name, row, excerpt in find_flaws(samples):
        seen.add((name, row))
        yield name, row, excerpt
    pairs = [row for row, sample in enumerate(samples) if sample.rejected]
    for name, place, excerpt in find_flaws([sides_of(samples[row])[1] for row in pairs]) if pairs else ():
        if name in OF_BOTH_ANSWERS and (name, pairs[place]) not in seen:
            yield name, pairs[place], excerpt


def find_flaws(samples: Sequence[Sample]) -> Iterator[tuple[str, int, str]]:
    """What is wrong with rows: the finding, the number of the row, and the words in question; rows ascend for each.

    Rows are looked at one by one only where a search of all of their texts at once raises a suspicion.
    """
    for name, suspects in _suspects(samples):
        check = CHECKS.get(name) or TURN_CHECKS[name]
        for row in suspects:
            excerpt = check(samples[row])
            if excerpt is not None:
                yield name, row, excerpt


def _suspects(samples: Sequence[Sample]) -> Iterator[tuple[str, Iterable[int]]]:
    """For each check the rows in which it may find something, ascending."""
    texts = ManyTexts(["\n".join(flaws.all_texts(sample)) for sample in samples])
    yield "mistaken_encoding", sorted(suspect_mojibake(texts))
    yield "lost_letters", sorted(flaws.suspect_damage(texts))
    yield "placeholders", sorted(flaws.suspect_placeholders(texts))
    yield "loops", range(len(samples))
    openings = [flaws.answer_openings(sample) for sample in samples]
    owners = [row for row, answers in enumerate(openings) for _ in answers]
    refusals = flaws.suspect_refusals(ManyTexts([opening for answers in openings for opening in answers]))
    yield "refusals", sorted({owners[answer] for answer in refusals})
    turns = [row for row, sample in enumerate(samples) if sample.messages and not turn_order.is_in_order(sample)]
    yield from ((name, turns) for name in TURN_CHECKS)
