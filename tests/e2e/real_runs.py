"""Real runs for tests: the same path that the command line takes, from a spec to an outcome."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine.context import JobContext
from core.events.run_state import RunState, fold
from core.events.tail import EventTail
from core.events.types import Body, Evaluated, Event, Step
from core.paths import resource
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.prepare import prepare
from core.runs.store import create_run
from core.runs.supervisor import Supervisor
from core.spec.run_spec import RunSpec

DICTIONARY = resource("data", "devils-dictionary.jsonl")
HELD_BACK = resource("data", "devils-dictionary-held-back.jsonl")
SHORT = 230
"""Characters of a row that is shorter than most: what is trained on it takes half as long."""

PLAIN: Mapping[str, Any] = {
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "model.quantization": "none",
    "model.compute_dtype": "fp32",
    "data.max_length": 128,
    "data.validation_share": 0.0,
    "adapter.rank": 8,
    "adapter.alpha": 16.0,
    "training.effective_batch": 4,
    "training.max_steps": 6,
    "training.learning_rate": 1e-3,
    "training.checkpoint_minutes": 0.0,
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended."""

    folder: RunFolder
    outcome: Outcome | None
    events: list[Event]

    @property
    def state(self) -> RunState:
        return fold(self.events)

    @property
    def losses(self) -> list[float]:
        """The loss of every step, the last word on each step winning (a resumed run repeats some)."""
        found = {event.body.step: event.body.loss for event in self.events if isinstance(event.body, Step)}
        return [found[step] for step in sorted(found)]

    @property
    def validation(self) -> list[float]:
        return [event.body.loss for event in self.events if isinstance(event.body, Evaluated)]

    def of(self, kind: type) -> list[Any]:
        return [event.body for event in self.events if isinstance(event.body, kind)]


def make_spec(model: Path, rows: Path = DICTIONARY, **settings: Any) -> RunSpec:
    """A small run on the CPU; keyword names have two underscores for the dot."""
    spec = RunSpec().replace("model.base", str(model)).replace("data.train", (str(rows),))
    for path, value in {**PLAIN, **{key.replace("__", "."): value for key, value in settings.items()}}.items():
        spec = spec.replace(path, value)
    return spec


def create(spec: RunSpec) -> RunFolder:
    prepared = prepare(spec)
    blocking = [problem for problem in prepared.plan.problems if problem.severity == "error"]
    assert not blocking, "\n".join(map(str, blocking))
    return create_run(prepared.spec, prepared.facts, prepared.plan)


def execute(folder: RunFolder, on_event: Callable[[Supervisor, Event], None] | None = None) -> Finished:
    """Starts the engine process on a run folder and waits for its end."""
    supervisor = Supervisor(folder)
    supervisor.start()
    outcome = supervisor.wait(on_event=(lambda event: on_event(supervisor, event)) if on_event else None)
    return Finished(folder, outcome, EventTail(folder.events()).read())


def run(model: Path, rows: Path = DICTIONARY, **settings: Any) -> Finished:
    """Spec to outcome; fails with the engine's own words when the run does."""
    finished = execute(create(make_spec(model, rows, **settings)))
    log = (
        finished.folder.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        if finished.folder.log.exists()
        else ""
    )
    assert finished.outcome.kind == "completed", f"{finished.outcome}\n{log}"
    return finished


def run_inside(model: Path, rows: Path = DICTIONARY, **settings: Any) -> Finished:
    """`run` without a process of its own: for tests of numbers, where starting one would take most of the time."""
    return execute_inside(create(make_spec(model, rows, **settings)))


def execute_inside(folder: RunFolder, on_event: Callable[[Body], None] | None = None) -> Finished:
    """`execute` without a process of its own; a request that ``on_event`` places is obeyed at that very event."""
    run_folder(folder, on_event)
    return Finished(folder, None, EventTail(folder.events()).read())


class _Told(JobContext):
    """A job that tells of each event when it is written."""

    def __init__(self, folder: RunFolder, on_event: Callable[[Body], None]) -> None:
        super().__init__(folder)
        self._on_event = on_event

    def emit(self, body: Body) -> None:
        super().emit(body)
        self._on_event(body)


def run_folder(folder: RunFolder, on_event: Callable[[Body], None] | None = None) -> None:
    """The engine's work on a run folder, in this process."""
    from core.engine.training import train

    context = _Told(folder, on_event) if on_event else JobContext(folder)
    try:
        train(context)
    finally:
        context.close()


def write_rows(path: Path, count: int, start: int = 0, longest: int = SHORT) -> Path:
    """The first rows of the sample set that have so many characters at most, as a file of their own."""
    lines = [line for line in DICTIONARY.read_text(encoding="utf-8").splitlines() if len(line) <= longest]
    lines = lines[start : start + count]
    assert len(lines) == count
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def prompts(count: int) -> list[str]:
    """User turns of the held-back rows."""
    rows = [json.loads(line) for line in HELD_BACK.read_text(encoding="utf-8").splitlines()[:count]]
    return [row["messages"][0]["content"] for row in rows]
