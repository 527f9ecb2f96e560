"""Where a run was extended: “120: 0.0001 linear” means that the learning rate falls anew, from 0.0001, after step 120.

The schedule may be left out, and is the run's own then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from core.spec.sections import Schedule


@dataclass(frozen=True, slots=True)
class Leg:
    """What the learning rate does from an extension on.

    Attributes:
        step: steps that were done before.
        rate: where it begins.
        schedule: how it falls; None as the run's own setting says.
    """

    step: int
    rate: float
    schedule: Schedule | None = None

    def __str__(self) -> str:
        """As ``training.extensions`` has it."""
        return f"{self.step}: {self.rate!r}" + (f" {self.schedule}" if self.schedule else "")


def parse_extension(text: str) -> Leg:
    """What an entry of ``training.extensions`` says.

    Raises:
        ValueError: it says nothing; the message says what is wrong.
    """
    step, _, rest = text.partition(":")
    rate, _, schedule = rest.strip().partition(" ")
    try:
        number, begin = int(step), float(rate)
    except ValueError:
        raise ValueError(f"“{text}” is not a step, a colon and a learning rate, such as “120: 0.0001”") from None
    if number < 1:
        raise ValueError(f"“{text}” is before the first step")
    if not math.isfinite(begin) or not 0 < begin <= 1:
        raise ValueError(f"the learning rate of “{text}” is not above 0 and at most 1")
    known = {name: name for name in get_args(Schedule)}
    if schedule.strip() and schedule.strip() not in known:
        raise ValueError(f"“{text}” names no schedule; there are {', '.join(known)}")
    return Leg(number, begin, known.get(schedule.strip()))


def known_extensions(texts: Sequence[str]) -> tuple[Leg, ...]:
    """All entries that can be read, by rising step."""
    found = {}
    for text in texts:
        try:
            leg = parse_extension(text)
        except ValueError:
            continue  # the spec's rules refuse it, with the reason
        found[leg.step] = leg
    return tuple(found[step] for step in sorted(found))


def with_extension(texts: Sequence[str], leg: Leg) -> tuple[str, ...]:
    """The entries with one more; later ones, and one of the same step, give way to it."""
    return tuple(str(item) for item in (*(known for known in known_extensions(texts) if known.step < leg.step), leg))
