"""Deep models from shallow ones: layers are alike, so every moment of a step is affine in how many there are.

The layers fall into two runs, recomputed ones and plain ones. Of each run only a few are simulated: a first one, one
(or one period, where kinds of layers alternate) like all others, and a last one. What one more layer in the middle
adds to any moment is then known exactly: its static bytes always; what it keeps for its backward pass while that is
still to come; and what its backward pass leaves behind (gradients) afterwards. The first and last layers of a run
keep their places, the layers between them lie on a straight line, so the highest moment of the deep model is one of
those that are there. Runs that are short enough are simulated as they are.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.simulator.cases import Case
from tests.simulator.facts import facts_at_depth
from tests.simulator.ledger import Segment
from tests.simulator.models import config_of
from tests.simulator.run import Simulated, simulate

Place = tuple[str | int, ...]


def simulate_deep(case: Case) -> Simulated:
    """`simulate` for any depth, at the cost of a shallow model; the table is that of the shallow model's peak."""
    config = config_of(case.model, case.layers)
    total = config.num_hidden_layers
    period = _period(config)
    runs = (min(case.checkpointed, total), total - min(case.checkpointed, total))
    short = (_shortened(runs[0], period), _shortened(runs[1], period))
    if short == runs:
        return simulate(case)
    base = simulate(replace(case, layers=sum(short), checkpointed=short[0]))
    added = [_Added(base, number, runs, short, period) for number in (0, 1) if runs[number] > short[number]]
    static = dict(base.static)
    for one in added:
        for part, size in one.static.items():
            static[part] += size
    highest: dict[Place, int] = {}
    for segment, size in base.highest.items():
        for place in _places(segment, short, period):
            highest[place] = size + sum(one.at(place) for one in added)
    top = max(highest, key=lambda place: highest[place])
    peak = replace(base.peak, bytes=highest[top], moment=" ".join(str(word) for word in top))
    return replace(base, case=case, peak=peak, static=static, facts=facts_at_depth(config), highest=highest)


class _Added:
    """The layers that a run lacks: what they add to each moment of the step."""

    def __init__(self, base: Simulated, run: int, runs: tuple[int, int], short: tuple[int, int], period: int) -> None:
        self.run = run
        periods = (runs[run] - short[run]) // period
        first = run * short[0] + 1
        middle = range(first, first + period)
        self.static = {
            part: periods * sum(base.static_by_layer[layer][part] for layer in middle) for part in base.static
        }
        self._whole = sum(self.static.values())
        self._kept: dict[int, int] = {}
        left: dict[int, int] = {}
        entered = base.entered
        for number in {int(segment[1]) for segment in entered if len(segment) > 1}:
            kept = entered["pass", number, "forward", first + period] - entered["pass", number, "forward", first]
            before = entered["pass", number, "backward", first + period - 1]
            after = entered["pass", number, "backward", first - 1]
            self._kept[number] = periods * kept
            left[number] = periods * (kept + after - before)
        last = max(left)
        # A pass after the first finds its gradients there, so what it leaves goes with its graph: LLM.int8 holds inputs
        # as attributes of the graph, and a graph lives until the next pass has its loss.
        self._held = left[last] if last else 0
        self._left = {number: size - self._held for number, size in left.items()}

    def at(self, place: Place) -> int:
        """Bytes that these layers add to the highest point of a place."""
        if not place:  # before the first pass
            return self._whole
        if place == ("optimizer",):
            return self._whole + sum(self._left.values()) + self._held
        number = int(place[1])
        earlier = self._whole + sum(left for other, left in self._left.items() if other < number)
        before = earlier + (self._held if number else 0)
        if place[2] == "start":
            return before
        if place[2] == "head":
            return before + self._kept[number]
        if place[2] == "loss":
            return earlier + self._kept[number]
        run = int(place[3])
        above = run > self.run or (run == self.run and place[4] == "from the end")  # these layers lie below the place
        if place[2] == "forward":
            return before + (self._kept[number] if above else 0)
        return earlier + (self._kept[number] if above else self._left[number] + self._held)


def _period(config: Any) -> int:
    """After how many layers the kinds of layers repeat."""
    kinds = list(zip(*_patterns(config), strict=True))
    for period in range(1, len(kinds)):
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds)):
            return period
    return 1


def _patterns(config: Any) -> Iterator[list[Any]]:
    yield [0] * config.num_hidden_layers
    for name in ("layer_types", "no_rope_layers"):
        found = getattr(config, name, None)
        if found:
            yield list(found)


def _shortened(length: int, period: int) -> int:
    """The shortest run of the same phase that has a first layer, a whole period like all others, and a last one."""
    least = period + 2
    return length if length <= least else least + (length - least) % period


def _places(segment: Segment, runs: tuple[int, int], period: int) -> Iterator[Place]:
    if len(segment) < 4:
        yield segment
        return
    index = int(segment[3])
    run = 0 if index < runs[0] else 1
    at = index - run * runs[0]
    if runs[run] < period + 2:  # a run that is complete
        yield (*segment[:3], run, "number", at)
        return
    if at <= period:
        yield (*segment[:3], run, "from the start", at)
    if runs[run] - 1 - at <= period:
        yield (*segment[:3], run, "from the end", runs[run] - 1 - at)
