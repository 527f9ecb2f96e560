"""Deep models from shallow ones: layers are alike, so every moment of a step is affine in how many there are.

The layers fall into two runs, recomputed ones and plain ones. Each run is simulated with a few layers and with one
more (or with one period more, where kinds of layers alternate); the first two and the last layers of a run keep their
places, and every one of their moments is continued in a straight line. Layers between them lie on that line too, so
the highest moment of the deep model is one of those. Depths that are small enough are simulated as they are.
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
    small = (_shortened(runs[0], period), _shortened(runs[1], period))
    if small == runs:
        return simulate(case)
    base = _with_runs(case, small)
    heights, static = _places(base, small, period), base.static
    highest, whole = dict(heights), dict(static)
    for run, length in enumerate(runs):
        if length == small[run]:
            continue
        longer = (small[0] + period, small[1]) if run == 0 else (small[0], small[1] + period)
        more = _with_runs(case, longer)
        times = (length - small[run]) // period
        for place, size in _places(more, longer, period).items():
            highest[place] += times * (size - heights[place])
        for part, size in more.static.items():
            whole[part] += times * (size - static[part])
    top = max(highest, key=lambda place: highest[place])
    peak = replace(base.peak, bytes=highest[top], moment=" ".join(str(word) for word in top))
    return Simulated(case, peak, whole, facts_at_depth(config), base.operations, highest)


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


def _with_runs(case: Case, runs: tuple[int, int]) -> Simulated:
    return simulate(replace(case, layers=sum(runs), checkpointed=runs[0]))


def _places(simulated: Simulated, runs: tuple[int, int], period: int) -> dict[Place, int]:
    """Heights by place: layers counted from the start and from the end of their run, whatever the run's length."""
    found: dict[Place, int] = {}
    for segment, size in simulated.highest.items():
        for place in _places_of(segment, runs, period):
            found[place] = max(found.get(place, 0), size)
    return found


def _places_of(segment: Segment, runs: tuple[int, int], period: int) -> Iterator[Place]:
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
