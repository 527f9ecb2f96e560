"""Layers counted without their adapters first come to what adding up every event one after another comes to."""

from itertools import accumulate

import pytest

from core.plan.memory.blocks.structure import Structure
from core.plan.memory.counted import Counted, Moments
from core.plan.memory.kinds import adapter_widths, layers_of
from core.plan.memory.passes import Size
from core.plan.memory.step import rows_of
from core.plan.memory.trace import ADAPTER, Trace, traced
from core.plan.memory.widths import model_widths
from tests.core.plan.invented_facts import MODELS, llama

TINY = llama(64, 160, 4, 4, 2, 300)
LABELS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES = (
    Size(tokens=1, kept=1, documents=1, longest=1, pairs=1),
    Size(tokens=1100, kept=1100, documents=4, longest=700, pairs=650_000, after=1, after_pairs=1),
    Size(tokens=300, kept=10, documents=1, longest=300, pairs=90_000, first=True),
)


def added_up(trace: Trace, rows: dict[str, int], widths: dict[str, int], adapters: dict[str, int]) -> Moments:
    """The moments from the events alone, one after another."""

    def width(place: int) -> int:
        return adapters[trace.own_widths[trace.own.index(place)]] if place in trace.own else trace.widths(widths)[place]

    count = len(trace.bytes)
    table = [-(-row * width(place) * trace.bytes[place] // 512) * 512 for place, row in enumerate(trace.rows(rows))]
    events = trace.events([*range(count), *(~place for place in reversed(range(count)))])
    running = list(accumulate(table[event] if event >= 0 else -table[~event] for event in events))
    freed = next((place for place, event in enumerate(events) if event < 0), len(events))
    assert freed > 0
    forward = max(running[: max(place for place, _ in trace.forward_spots) + 1])
    later = running[trace.kept :]
    learned = [*(widths[name] for name in trace.learned), *(adapters[name] for name in trace.own_learned)]
    return Moments(
        running[trace.kept - 1],
        forward,
        max(later) if trace.end > trace.kept else 0,
        running[trace.end - 1] - running[-1],
        trace.keeps_input,
        sum(-(-4 * width // 512) * 512 for width in learned),
    )


@pytest.mark.parametrize("mode", ["plain", "checkpointed", "dead"])
@pytest.mark.parametrize(
    "form",
    [
        Structure("llama", adapted=frozenset(LABELS)),
        Structure("llama", adapted=frozenset(LABELS), quantization="nf4", dropout=True, learns_input=False),
        Structure(
            "llama", adapted=frozenset(("q_proj", "down_proj")), dora=True, kernel="eager", before=True, after=True
        ),
        Structure("llama", adapted=frozenset(("v_proj",)), learned=frozenset(("up_proj",)), number="fp32"),
        Structure("llama", full=True),
        Structure("llama"),
    ],
)
@pytest.mark.parametrize("model", [TINY, MODELS["8b"]])
def test_every_rank_comes_to_the_same(form: Structure, mode: str, model) -> None:
    kind = layers_of(model).kinds[0]
    trace = traced(form, mode)
    assert not any(name.startswith(ADAPTER) for name in trace.learned)
    for size in SIZES:
        rows = rows_of(size, model, by_rows=False) | {"decoded": 1, "rebuilt": 1}
        widths = {**model_widths(model), **kind.widths}
        counted = Counted(trace, rows, widths)
        for rank in (1, 7, 64, 1024, 100_000):
            adapters: dict[str, int] = {}
            for number, label in enumerate(sorted(form.adapted)):
                adapters |= adapter_widths(label, kind.linears[label], rank + 5 * number)
            assert counted.moments(adapters) == added_up(trace, rows, widths, adapters), (size, rank)
