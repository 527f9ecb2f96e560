"""Evaluations as the window reads and starts them: in the background, and in engines of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import Problem
from core.runs.layout import RunFolder
from studio.workers.task import Report

if TYPE_CHECKING:
    from core.runs.chat_cost import LoadingCost
    from core.runs.evaluations import Compared, Evaluation
    from core.runs.supervisor import Supervisor

_MOST_COMPARED = 5


@dataclass(frozen=True, slots=True)
class KnownEvaluations:
    """What was measured of a run, the newest first, and beside it other runs; None where there are no others."""

    own: "tuple[Evaluation, ...]"
    compared: "Compared | None"
    problems: tuple[Problem, ...]


def read_evaluations(folder: RunFolder, others: tuple[RunFolder, ...], report: Report) -> KnownEvaluations:
    """Reads the evaluations of a run, and of the first few others that have any."""
    from core.runs.evaluations import compare_evaluations, list_evaluations

    own, problems = list_evaluations(folder)
    beside = []
    for other in others:
        report.check()
        if other.path != folder.path and list_evaluations(other)[0]:
            beside.append(other)
        if len(beside) == _MOST_COMPARED:
            break
    compared = compare_evaluations((folder, *beside)) if own and beside else None
    return KnownEvaluations(own, compared, problems)


def read_evaluation_cost(folder: RunFolder) -> "LoadingCost":
    """What the copy of the model takes that an evaluation loads; reads files and asks the device.

    Raises:
        UserError: the run cannot be evaluated.
    """
    from core.runs.chat_cost import evaluation_cost

    return evaluation_cost(folder)


def evaluation_job(folder: RunFolder, files: dict[str, str]) -> "Callable[[], Supervisor]":
    """What begins an evaluation, in the thread that follows it; ``files`` are those of `Asked` (`evaluation_rows`).

    The result raises UserError where a file or the run cannot be used.
    """

    def begin() -> "Supervisor":
        from core.runs.evaluation_files import as_given
        from core.runs.evaluation_rows import Asked, check_asked
        from core.runs.store import create_job
        from core.runs.supervisor import Supervisor
        from core.runs.targets import base_of_run, tuned_of_run

        tuned_of_run(folder)
        base_of_run(folder)
        given = {name: as_given(path) for name, path in files.items() if path}
        check_asked(folder, Asked(given.get("data", ""), given.get("answers", ""), given.get("choices", "")))
        return Supervisor(create_job("evaluate", {"run": str(folder.path), **given}))

    return begin
