"""Too little room on the disk, for the run itself or for what is made of it afterwards."""

from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, error, warning
from core.plan.disk import needed_with
from core.plan.problems.case import Case
from core.units import format_bytes


def disk_problems(case: Case) -> Iterator[Problem]:
    """The run, and then a merged model, against what is free where the run goes."""
    disk, training = case.disk, case.spec.training
    if disk is None:
        return
    missing = disk.run_bytes - disk.free_bytes
    if missing > 0:
        one = Fix("Keep one checkpoint", (Edit("training.keep_checkpoints", 1),))
        helps = training.keep_checkpoints > 1 and needed_with(disk, training.keep_checkpoints, 1) <= disk.free_bytes
        message = (
            f"The run needs about {format_bytes(disk.run_bytes)} on disk for its checkpoints and its result, but "
            f"{format_bytes(disk.free_bytes)} are free where it goes."
        )
        yield error("output.folder", message, _advice(missing, helps=helps), *((one,) if helps else ()))
    elif missing + disk.merged_bytes > 0:
        yield warning(
            "output.folder",
            f"The run fits on the disk, but a merged model of {format_bytes(disk.merged_bytes)} beside it would not: "
            f"{format_bytes(disk.free_bytes)} are free.",
            f"Free {format_bytes(missing + disk.merged_bytes)} before you export a merged model, or export it to "
            "another disk.",
        )


def _advice(missing: int, *, helps: bool) -> str:
    if helps:
        return f"Free {format_bytes(missing)}, choose a folder on another disk, or keep fewer checkpoints."
    return f"Free {format_bytes(missing)}, or choose a folder on another disk."
