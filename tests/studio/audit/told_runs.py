"""Run folders that tell of whole trainings without having trained: events, samples, an outcome, on the true model."""

import os
from collections.abc import Iterable
from pathlib import Path

from core.events.run_state import RunState, fold
from core.events.types import (
    PROTOCOL_VERSION,
    Body,
    CheckpointSaved,
    Completed,
    Evaluated,
    Failed,
    Hello,
    Notice,
    PhaseStarted,
    Sampled,
    Started,
    Step,
    Stopped,
)
from core.events.writer import EventWriter
from core.runs.layout import RunFolder
from core.runs.outcome import outcome_of, write_outcome
from core.runs.queue import Entry, Queue, change_queue
from core.runs.sweep_groups import Group, Member, write_group
from core.spec.demo import demo_spec
from tests.studio.finished_run import finished_run

STEPS = 45
PROMPT = "Define “politeness” as a devil’s dictionary would."
ANSWER = "POLITENESS, n. The most acceptable hypocrisy, and the cheapest. " * 4


def told_runs(starter: Path) -> dict[str, RunFolder]:
    """Three runs by how they ended: "completed" (with pairs), "stopped" (with a state to go on from) and "failed"."""
    spec = demo_spec("starter")
    settings = {"data__train": spec.data.train, "data__validation": spec.data.validation}
    runs = {}
    for kind, name, steps, last in (
        ("stopped", "stopped-in-the-middle", 20, Stopped(20, "stop", resumable=True)),
        ("failed", "too-much-for-this-memory", 3, _out_of_memory()),
        ("completed", "starter-devils-dictionary-with-a-long-name", STEPS, None),
    ):
        run = finished_run(starter, name, **settings)
        end = last or Completed(steps, 300.0, f"Trained {steps} steps.", {"path": str(run.adapter)})
        bodies = [*_story(steps, pairs=kind == "completed"), end]
        with EventWriter(run.events()) as writer:
            for body in bodies:
                writer.emit(body)
        run.log.write_text("loading the base model\n" + "step after step\n" * 40, "utf-8")
        run.outcome.unlink()
        write_outcome(run, outcome_of(end, _state_of(run)))
        runs[kind] = run
    return runs


def queue_told_runs(runs: dict[str, RunFolder]) -> None:
    """A queue in which one run is done, one failed and one waits, and a sweep of all three."""
    entries = (
        Entry(runs["completed"].path, "done", group="ranks", began=1.0, ended=2.0),
        Entry(runs["failed"].path, "failed", "The memory ran out after step 3 of 45. Use shorter rows.", ended=3.0),
        Entry(runs["stopped"].path, "queued", group="ranks", expected_seconds=300.0),
    )
    change_queue(lambda _before: Queue(entries))
    members = [Member(folder.path, {"adapter.rank": 8 * number}) for number, folder in enumerate(runs.values(), 1)]
    write_group(Group("ranks", ("adapter.rank",), tuple(members)))


def _story(steps: int, *, pairs: bool) -> Iterable[Body]:
    yield Hello(PROTOCOL_VERSION, "1", "train", os.getpid(), "3.11", "2.13", "cpu", "a processor of some sort")
    yield PhaseStarted("train", "Training.")
    yield Started(0, STEPS, 846, 80, 4_884_480, 139_400_000, "nf4", "bf16", "sdpa", "chunked", 30, 2048)
    yield Notice("warning", "rows_cut", "14 rows were longer than the limit and have been cut.")
    yield Sampled(0, 0, PROMPT, "Politeness is the practice of being polite. " * 5, 60, 3.0, "base")
    for step in range(1, steps + 1):
        loss = 2.6 + 1.7 / step + 0.1 * (step % 3)
        told = {"preferred": 0.5 + step / 100, "margin": step / 20} if pairs else {}
        yield Step(step, step / 15, loss, 2e-4 * (1 - step / STEPS), 0.8, 1646, 900, 6.4, 2_400_000_000, **told)
        if step % 10 == 0:
            yield Evaluated(step, loss + 0.3, 4000, 4.0, best=True, **told)
            yield Sampled(step, 0, PROMPT, ANSWER, 60, 3.0)
    yield CheckpointSaved(steps, f"checkpoints/step-{steps:08d}", 19_000_000, 0.5, "end")


def _out_of_memory() -> Failed:
    return Failed(
        "out_of_memory",
        "The memory ran out in step 3.",
        "Lower “Tokens a pass”, or load the base model in 4 bits.",
        "Traceback (most recent call last):\n  MemoryError: could not get 3,221,225,472 bytes\n" * 6,
        step=3,
    )


def _state_of(run: RunFolder) -> RunState:
    from core.events.tail import EventTail

    return fold(EventTail(run.events()).read())
