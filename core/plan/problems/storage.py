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
    if disk.run_bytes > disk.free_bytes:
        one = Fix("Keep one checkpoint", (Edit("training.keep_checkpoints", 1),))
        helps = training.keep_checkpoints > 1 and needed_with(disk, training.keep_checkpoints, 1) <= disk.free_bytes
        yield error(
            "output.folder",
            f"The run needs about {format_bytes(disk.run_bytes)} on disk for its checkpoints and its result, but "
            f"{format_bytes(disk.free_bytes)} are free where it goes.",
            "Free some space, choose another folder, or keep fewer checkpoints.",
            *((one,) if helps else ()),
        )
    elif disk.run_bytes + disk.merged_bytes > disk.free_bytes:
        yield warning(
            "output.folder",
            f"The run fits on the disk, but a merged model of {format_bytes(disk.merged_bytes)} beside it would not: "
            f"{format_bytes(disk.free_bytes)} are free.",
            "Free some space before you export a merged model, or export it to another disk.",
        )
