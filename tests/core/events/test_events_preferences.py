"""What steps and evaluations say of pairs of answers, in files old and new, and what a person reads of it."""

import json
import math

from core.events.codec import decode_event, encode_event
from core.events.health import health
from core.events.run_state import RunState, fold
from core.events.types import Evaluated, Event, Step


def step(number: int, **more: float) -> Event:
    return Event(number, float(number), 0, Step(number, 0.1, 0.6, 1e-5, 1.0, 100, 50, 1.0, 1000, **more))  # type: ignore[arg-type]


def state(preferred: float, margin: float, steps: int = 60) -> RunState:
    return fold(step(number, preferred=preferred, margin=margin) for number in range(1, steps + 1))


def test_they_come_back_from_a_file() -> None:
    body = Evaluated(4, 0.5, 90, 1.0, best=True, preferred=0.75, margin=0.3)
    for event in (step(3, preferred=0.75, margin=-0.2), step(3), Event(9, 1.0, 0, body)):
        assert decode_event(encode_event(event)) == event


def test_a_file_from_before_knows_nothing_of_them() -> None:
    record = json.loads(encode_event(step(3)))
    del record["preferred"], record["margin"]
    found = decode_event(json.dumps(record)).body
    assert isinstance(found, Step)
    assert (found.preferred, found.margin) == (None, None)
    then = fold([Event(3, 3.0, 0, found)])
    assert (then.preferred, then.margin) == (None, None)
    assert math.isnan(then.history.last("margin"))


def test_the_newest_step_counts() -> None:
    found = fold([step(1, preferred=0.5, margin=0.0), step(2, preferred=0.75, margin=0.4)])
    assert (found.preferred, found.margin) == (0.75, 0.4)
    assert list(found.history.column("preferred")) == [0.5, 0.75]


def codes(found: RunState) -> set[str]:
    return {note.code for note in health(found)}


def test_what_is_preferred_beyond_doubt_or_by_chance_is_said() -> None:
    assert "preferred_beyond_doubt" in codes(state(1.0, 7.0))
    assert "preferred_by_chance" in codes(state(0.51, 0.01))
    for fine in (state(1.0, 3.0), state(0.7, 0.3), state(0.5, 0.4), state(1.0, 7.0, steps=20)):
        assert not codes(fine) & {"preferred_beyond_doubt", "preferred_by_chance"}
    assert not codes(fold(step(number) for number in range(1, 61))) & {"preferred_beyond_doubt", "preferred_by_chance"}
