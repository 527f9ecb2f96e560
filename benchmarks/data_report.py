"""What reading a data set costs beside the tokenizer alone: `python -m benchmarks.data_report`.

In one run and on the same cores: the tokenizers library on the texts that the chat template writes, in batches of
thousands and with nothing done with the result; the data as a run loads it; the same once more, from what was kept on
disk; and the report about the whole set. Each is a process of its own, and all go in turns for as many rounds as asked,
so that whatever else the computer does meets each of them.

A ratio is the library's time over the whole program's, so 100 % means that all else costs nothing. By the clock it says
what a user waits; by the processors' time it also holds on a busy machine.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.data_open import peak_bytes

T = TypeVar("T")
GB = 10**9
TARGET = 0.8
RAW_ROWS = 4096
"""Texts in one call of the library; more of them make it no faster."""

PARTS = ("library", "load", "load again", "report")


def sentences() -> list[str]:
    """English sentences that come with Python: the help on its topics."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+", text) if 20 < len(part.strip()) < 400]


def make_file(path: Path, size: int) -> None:
    """Chats of one turn to four, of sentences drawn anew for each; the same on every computer with this Python."""
    source = random.Random(2)
    known = sentences()
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            turns = []
            for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
                turns.append({"role": "user", "content": " ".join(source.choices(known, k=source.randint(1, 3)))})
                turns.append({"role": "assistant", "content": " ".join(source.choices(known, k=source.randint(1, 9)))})
            line = json.dumps({"messages": turns}) + "\n"
            file.write(line)
            written += len(line)


def texts_of(path: Path, model: Path) -> Iterator[list[str]]:
    """The rows as their template writes them, some thousands at a time."""
    from core.data.drafts import Draft, make_drafts
    from core.data.formats import detect, read_rows
    from core.data.samples import to_sample
    from core.data.shapes import recognise
    from core.data.templates import choose_template
    from core.data.tokenizer import Tokenizer
    from core.data.types import Row, Sample
    from core.facts.base_model import read_base_model

    facts = read_base_model(str(model), "")
    template = choose_template("auto", facts, Tokenizer.load(model))
    shape = None
    samples: list[Sample] = []
    for row in read_rows(detect(path)):
        assert isinstance(row, Row)
        shape = shape or recognise([row], "auto", {})
        sample = to_sample(row, shape)
        assert isinstance(sample, Sample)
        samples.append(sample)
        if len(samples) == RAW_ROWS:
            yield [draft.text for draft in make_drafts(samples, template, "all") if isinstance(draft, Draft)]
            samples = []
    yield [draft.text for draft in make_drafts(samples, template, "all") if isinstance(draft, Draft)]


def timed(work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What work returns, and how long it took by the clock and of the processors' time."""
    began, used = time.perf_counter(), time.process_time()
    found = work()
    return found, {"seconds": time.perf_counter() - began, "processor": time.process_time() - used}


def library(path: Path, model: Path) -> dict[str, float]:
    """The library alone: only its calls are timed."""
    import tokenizers

    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    cutter = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    total: Counter[str] = Counter()
    for texts in texts_of(path, model):
        found, took = timed(partial(cutter.encode_batch, texts, add_special_tokens=False))
        total.update({**took, "rows": len(texts), "tokens": sum(map(len, found))})
    return dict(total)


def load(path: Path, model: Path) -> dict[str, float]:
    """The data as a run loads it."""
    from core.data.dataset import load_dataset
    from core.facts.base_model import read_base_model
    from core.spec.sections import DataSpec

    facts = read_base_model(str(model), "")
    found, took = timed(lambda: load_dataset(DataSpec(train=(str(path),), max_length=10**6), 1, facts))
    sides = (found.facts.train, found.facts.validation)
    return {**took, "rows": sum(side.rows for side in sides), "tokens": sum(side.tokens for side in sides)}


def report(path: Path, model: Path) -> dict[str, float]:
    """What the Data page says about the whole set."""
    from core.data.report.making import make_report
    from core.facts.base_model import read_base_model
    from core.spec.sections import DataSpec

    facts = read_base_model(str(model), "")
    found, took = timed(lambda: make_report(DataSpec(train=(str(path),), max_length=10**6), 1, facts))
    return {**took, "rows": found.rows, "tokens": found.tokens}


def ask(part: str, path: Path, model: Path, home: Path) -> dict[str, float]:
    """One part in a process of its own; what it keeps on disk goes to ``home``."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.data_report",
        "--part",
        part,
        "--file",
        str(path),
        "--model",
        str(model),
    ]
    env = {**os.environ, "LOWRANK_HOME": str(home)}
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env).stdout)
    return found


def one_round(path: Path, model: Path, scratch: Path, parts: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Each part once; only the second load finds anything on disk."""
    with tempfile.TemporaryDirectory(dir=scratch) as first, tempfile.TemporaryDirectory(dir=scratch) as second:
        homes = {"load": first, "load again": first}
        return {part: ask(part, path, model, Path(homes.get(part, second))) for part in parts}


def show(rounds: list[dict[str, dict[str, float]]], size: int) -> float:
    """Prints all parts, and returns the worst ratio by the clock of those that tokenise."""
    sums = {
        part: {name: sum(found[part][name] for found in rounds) for name in ("seconds", "processor", "tokens")}
        for part in rounds[0]
    }
    library = sums["library"]
    worst = 1.0
    for part, total in sums.items():
        clock, processor = (library[name] / total[name] for name in ("seconds", "processor"))
        memory = max(found[part]["bytes"] for found in rounds) / 1e6
        print(
            f"{part:11} {total['seconds'] / len(rounds):8.1f} s {total['tokens'] / total['seconds']:11,.0f} tokens/s "
            f"{size * len(rounds) / 1e6 / total['seconds']:6.1f} MB/s {100 * clock:5.0f} % of the library by the clock "
            f"and {100 * processor:5.0f} % by the processors {memory:6.0f} MB"
        )
        if part not in ("library", "load again"):
            worst = min(worst, clock)
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_report")
    parser.add_argument("--gigabytes", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a model's folder; the starter model if left out")
    parser.add_argument("--scratch", type=Path, help="where files are made; the system's own place if left out")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        work = {"library": library, "load": load, "load again": load, "report": report}[asked.part]
        print(json.dumps({**work(asked.file, asked.model), "bytes": peak_bytes()}))
        return 0
    from core.paths import models_dir

    model = asked.model or models_dir() / "starter"
    with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
        path = Path(folder) / "rows.jsonl"
        make_file(path, round(asked.gigabytes * GB))
        rounds = []
        for number in range(asked.rounds):
            rounds.append(one_round(path, model, Path(folder), tuple(asked.parts)))
            if asked.rounds > 1:
                print(f"round {number + 1} of {asked.rounds} is done", file=sys.stderr)
        size = path.stat().st_size
        cores = len(os.sched_getaffinity(0))
        print(f"{size / GB:.2f} GB, {rounds[0]['library']['rows']:.0f} rows, {cores} cores")
        return 0 if show(rounds, size) >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
