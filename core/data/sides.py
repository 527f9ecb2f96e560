"""A preference pair as two ordinary rows, one for each of its answers."""

from dataclasses import replace

from core.data.types import Message, Sample


def sides_of(sample: Sample) -> tuple[Sample, ...]:
    """The row that ends in the better answer and the one that ends in the worse; any other row alone, itself."""
    if not sample.rejected:
        return (sample,)
    return replace(sample, rejected=()), replace(sample, messages=sample.rejected, rejected=())


def answer_place(messages: tuple[Message, ...]) -> int:
    """Where the answer to the last thing that a user says begins."""
    return 1 + max((place for place, turn in enumerate(messages) if turn.role == "user"), default=-1)


def answers_of(sample: Sample) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The better and the worse answer of a preference pair, without what stands before both."""
    return sample.messages[answer_place(sample.messages) :], sample.rejected[answer_place(sample.rejected) :]
