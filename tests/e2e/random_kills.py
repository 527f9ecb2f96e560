"""Kills engines at random moments until their runs are done, and holds what comes out against an uninterrupted run.

``python -m tests.e2e.random_kills 100 --seed 1`` prints how many kills hit what, and fails at the first bit that
differs. Several kills hit each run; about a third are aimed at the writing of saved states and results.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from core.events.run_state import fold
from core.events.tail import EventTail
from core.events.types import Completed, Event, Notice, PhaseFinished, PhaseStarted, Started, Step
from core.paths import HOME_VARIABLE, models_dir
from core.runs.layout import RunFolder
from core.runs.process_record import read_process
from core.runs.saved_states import damage, list_checkpoints, read_manifest
from core.runs.supervisor import Supervisor
from tests.e2e.real_runs import Finished, create, make_spec, run_inside, write_rows

STEPS = 24
SETTINGS = {
    "training__max_steps": STEPS,
    "training__evaluate_every": 5,
    "training__checkpoint_minutes": 0.0001,  # 6 ms: a state after every step
    "training__learning_rate": 2e-3,
    "data__validation_share": 0.1,
    "data__max_length": 64,
    "adapter__dropout": 0.1,
    "adapter__rank": 2,
    "adapter__alpha": 4.0,
}
_LAST_DELAY = 0.3
_MOST_STEPS = 4
_PATIENCE = 120.0


@dataclass
class Tally:
    """What the kills hit."""

    kills: int = 0
    runs: int = 0
    hits: Counter[str] = field(default_factory=Counter)


def kill_often(model: Path, rows: Path, whole: Finished, count: int, chance: random.Random, tally: Tally) -> None:
    """Takes one run through up to ``count`` kills to its end, and compares it with ``whole``."""
    folder = create(make_spec(model, rows, **SETTINGS))
    kills = 0
    while True:
        supervisor = Supervisor(folder)
        supervisor.start()
        hit = _kill(folder, chance) if kills < count else ""
        outcome = supervisor.wait()
        if hit:
            assert outcome.kind in ("crashed", "completed"), outcome
        else:
            assert outcome.kind == "completed", f"{outcome}\n{outcome.detail}"
        if outcome.kind == "completed":
            break
        kills += 1
        tally.hits[hit] += 1
        tally.hits["half-written folders left"] += bool(_partial(folder))
        damaged = [path for path in list_checkpoints(folder.checkpoints) if damage(path)]
        tally.hits["damaged states"] += len(damaged)
    tally.kills += kills
    tally.runs += 1
    compare(Finished(folder, outcome, EventTail(folder.events()).read()), whole)


def _kill(folder: RunFolder, chance: random.Random) -> str:
    """Kills the engine at a random moment; returns what it was doing, or nothing if it was done before."""
    aim = chance.choices(("any", "save", "start"), (0.5, 0.38, 0.12))[0]
    tail = EventTail(folder.events())
    first = record.first_seq if (record := read_process(folder)) else 0
    saves = chance.randint(1, 5)
    steps = chance.randint(0, _MOST_STEPS)
    doing, due, deadline = "starting", None, time.monotonic() + _PATIENCE
    if aim == "start":
        due = time.monotonic() + chance.uniform(0.0, 4.0)
    while time.monotonic() < deadline:
        for event in _new(tail, first):
            body = event.body
            if isinstance(body, Completed):
                return ""
            doing = _doing(body, doing)
            if aim == "any" and isinstance(body, Started | Step):
                steps -= 1
            if aim == "any" and steps < 0 and due is None:
                due = time.monotonic() + chance.uniform(0.0, _LAST_DELAY)
            if aim == "save" and isinstance(body, PhaseStarted) and body.phase == "save":
                saves -= 1
                if saves == 0:
                    due = time.monotonic() + chance.uniform(0.0, 0.02)
        if due is not None and time.monotonic() >= due:
            record = read_process(folder)
            assert record is not None
            os.kill(record.pid, signal.SIGKILL)
            for event in _new(tail, first):
                doing = _doing(event.body, doing)
            return doing
        time.sleep(0.001)
    raise TimeoutError(f"the engine of {folder.path} never came to a moment for a kill; aimed at {aim}")


def _new(tail: EventTail, first: int) -> list[Event]:
    return [event for event in tail.read() if event.seq >= first]


def _doing(body: object, before: str) -> str:
    if isinstance(body, PhaseStarted):
        return f"in “{body.phase}”"
    if isinstance(body, Started | Step | PhaseFinished):
        return "in a step" if before != "starting" or isinstance(body, Started) else before
    return before


def _partial(folder: RunFolder) -> list[Path]:
    return [path for path in folder.path.rglob(".*") if path.suffix in (".part", ".old", ".tmp")]


def compare(run: Finished, whole: Finished) -> None:
    """Every number and every file of the result that is not a time is the same, to the bit."""
    assert run.losses == whole.losses, "a training loss differs"
    assert len(run.losses) == STEPS
    ours, theirs = (fold(item.events) for item in (run, whole))
    assert [(e.step, e.loss, e.best) for e in ours.evaluations] == [
        (e.step, e.loss, e.best) for e in theirs.evaluations
    ], "a validation loss differs"
    assert not [notice for notice in run.of(Notice) if notice.code == "damaged_checkpoint"], "a state was damaged"
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (run.folder.adapter / name).read_bytes() == (whole.folder.adapter / name).read_bytes(), name
    last, right = (list_checkpoints(item.folder.checkpoints)[-1] for item in (run, whole))
    assert last.name == right.name
    for name in ("masters", "optimizer", "random"):
        file = f"{name}.safetensors"
        assert (last / file).read_bytes() == (right / file).read_bytes(), file
    mine, its = (read_manifest(path).counters for path in (last, right))
    for name in ("step", "tokens", "supervised_tokens", "best_loss", "best_step", "evaluations_since_best"):
        assert getattr(mine, name) == getattr(its, name), name
    assert not _partial(run.folder), "something half-written was left behind"


def small_model(starter: Path, folder: Path, layers: int = 2) -> Path:
    """The starter model cut after its first layers."""
    from tests.short_models import load, save

    model = load(starter)
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = layers
    return save(model, starter, folder)


def kill_all(model: Path, rows: Path, kills: int, seed: int, *, each: int = 10, say: bool = False) -> Tally:
    """``kills`` kills over as many runs as they take, ``each`` at the most in one."""
    chance, tally = random.Random(seed), Tally()
    whole = run_inside(model, rows, **SETTINGS)
    while tally.kills < kills:
        kill_often(model, rows, whole, min(each, kills - tally.kills), chance, tally)
        if say:
            print(f"{tally.kills} kills, {tally.runs} runs: {dict(tally.hits)}", flush=True)  # noqa: T201
    return tally


def main() -> int:
    """Makes a small model and kills engines on it; returns 0 when all runs ended as the uninterrupted one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    starter = models_dir() / "starter"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="random-kills-") as folder:
        os.environ[HOME_VARIABLE] = folder
        model = small_model(starter, Path(folder) / "small")
        rows = write_rows(Path(folder) / "rows.jsonl", 40)
        tally = kill_all(model, rows, options.kills, options.seed, say=True)
    seconds = time.monotonic() - began
    print(f"{tally.kills} kills, {tally.runs} runs, all bit-identical to the uninterrupted one; {seconds:.0f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
