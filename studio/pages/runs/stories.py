"""What the list and the comparison want to know of a run beyond its summary; read in background threads."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from core.errors import Problem, UserError, error
from core.events.run_state import RunState, fold
from core.events.tail import EventTail
from core.runs.layout import RunFolder
from core.runs.store import load_spec
from core.spec.run_spec import RunSpec
from studio.workers.task import Report

SPARK_POINTS = 60


@dataclass(frozen=True, slots=True)
class Spark:
    """A loss curve in few points, and what it was made from: the log's size and time of change."""

    stamp: tuple[int, int]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A run as the comparison shows it: what was asked for, and all that happened."""

    name: str
    spec: RunSpec
    state: RunState


def has_saved_state(folder: RunFolder) -> bool:
    """Whether there is a checkpoint to go on from; the engine passes over damaged ones."""
    try:
        return any(folder.checkpoints.iterdir())
    except OSError:  # no folder of checkpoints
        return False


def stamp_of(folder: RunFolder) -> tuple[int, int]:
    """Size and time of change of a run's event log; zeros where there is none."""
    try:
        found = folder.events().stat()
    except OSError:  # no log, no curve
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def read_sparks(folders: tuple[RunFolder, ...], known: dict[Path, Spark], report: Report) -> dict[Path, Spark]:
    """The sparks of all folders whose log has changed since they were made."""
    fresh = {}
    for folder in folders:
        report.check()
        stamp = stamp_of(folder)
        before = known.get(folder.path)
        if before is None or before.stamp != stamp:
            fresh[folder.path] = Spark(stamp, _thinned(_losses(folder)))
    return fresh


def read_stories(folders: tuple[RunFolder, ...], report: Report) -> tuple[tuple[Story, ...], tuple[Problem, ...]]:
    """The stories of several runs, and the problems of those that cannot be read."""
    stories: list[Story] = []
    problems: list[Problem] = []
    for folder in folders:
        report.check()
        try:
            stories.append(Story(folder.path.name, load_spec(folder), _state(folder)))
        except UserError as failure:
            problems += failure.problems
        except OSError as failure:
            message = f"The run’s log cannot be read: {failure.strerror or failure}."
            problems.append(error(str(folder.events()), message, "Check the folder and its disk."))
    return tuple(stories), tuple(problems)


def _state(folder: RunFolder) -> RunState:
    return fold(EventTail(folder.events()).read())


def _losses(folder: RunFolder) -> list[float]:
    try:
        return list(_state(folder).history.column("loss"))
    except OSError:  # a log that cannot be read has no curve; its run is listed as damaged
        return []


def _thinned(values: list[float]) -> tuple[float, ...]:
    """The means of so many stretches of a curve; what is not a number counts for nothing."""
    numbers = [value for value in values if value == value]
    if len(numbers) <= SPARK_POINTS:
        return tuple(numbers)
    edges = [index * len(numbers) // SPARK_POINTS for index in range(SPARK_POINTS + 1)]
    return tuple(sum(numbers[low:high]) / (high - low) for low, high in itertools.pairwise(edges) if high > low)
