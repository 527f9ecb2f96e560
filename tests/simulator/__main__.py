"""Prints one case: static bytes, and what was live at the peak.

::

    .venv/bin/python -m tests.simulator --model llama-3-8b --set checkpointed=32 --passes 1024,1024

In a test::

    from tests.simulator.cases import Case
    from tests.simulator.run import simulate

    simulated = simulate(Case("llama-3-8b", checkpointed=32, passes=((2048,), (2048,))))
    simulated.peak_bytes, simulated.static, simulated.facts
    print(simulated.report())

How it works, in the order to read it: `cases` says what is simulated. `run` builds the engine's own parts on PyTorch's
meta device, whose tensors have shapes but no content, and takes the engine's own step (`core.engine.step`) there.
`ledger` sees every operation of that, adds what new storages take and subtracts it when they are freed: the lifetimes
are those of Python and autograd, not of a model of them. `kernels`, `sdpa`, `quantized` supply what a device does and
the meta device does not: scratch space of kernels, choices between kernels, packed weights; each names its source.
`depth` continues a few layers to any number of them. Three proofs: `test_simulator` takes small steps with content and
finds the same bytes; `test_simulator_published` meets what an A100 reported of other people's runs (`huggingface`); and
`tests.core.plan.test_memory_against_simulator` holds the planner's closed form against it.
"""

import argparse
import time
from dataclasses import fields, replace
from typing import Any

from core.spec.sections import AdapterSpec
from tests.simulator.cases import Case
from tests.simulator.run import simulate


def main() -> None:
    """Reads a case from the command line and prints it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description="Prints one case.")
    parser.add_argument("--model", default="llama-3-8b")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of Case")
    parser.add_argument("--adapter", action="append", default=[], metavar="FIELD=VALUE", help="a field of AdapterSpec")
    parser.add_argument("--passes", default="1024", help="document lengths: a+b for one pass, commas between passes")
    given = parser.parse_args()
    passes = tuple(tuple(int(length) for length in one.split("+")) for one in given.passes.split(","))
    case = Case(given.model, adapter=_with(AdapterSpec(), given.adapter), passes=passes)
    began = time.perf_counter()
    simulated = simulate(_with(case, given.set))
    print(simulated.report())  # noqa: T201
    print(f"{simulated.operations:,} operations in {time.perf_counter() - began:.1f} s")  # noqa: T201


def _with(record: Any, settings: list[str]) -> Any:
    known = {one.name for one in fields(record)}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise SystemExit(f"There is no field “{name}”; there are {', '.join(sorted(known))}.")
        record = replace(record, **{name: _value(text)})
    return record


def _value(text: str) -> Any:
    if "," in text:
        return tuple(part for part in text.split(",") if part)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


if __name__ == "__main__":
    main()
