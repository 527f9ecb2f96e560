"""Handing a run's result on: what it can be exported as, whether the place will do, and the copy itself.

A merge is an engine job: `ExportPlan.arguments` are what `core.runs.store.create_job` wants for it. Everything else is
a copy, made here.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

from core.errors import ExitCode, Problem, UserError, error
from core.export.merge import merge_bytes
from core.export.peft_adapter import CONFIG_FILE
from core.paths import existing_parent, home, staged_folder
from core.runs.layout import RunFolder
from core.runs.results import require_result, result_base
from core.runs.room import Room, room_advice, room_for
from core.units import MIB, format_bytes

T = TypeVar("T")
ExportKind = Literal["adapter", "merged"]
KINDS: tuple[ExportKind, ...] = get_args(ExportKind)

KIND = "kind"
TARGET = "target"
"""The paths of problems that another kind or another target would mend."""

_CHUNK = 4 * MIB
_MOST_NAMES = 1000


class ExportCancelledError(Exception):
    """The export was asked to stop and did; nothing of it is left on the disk."""


@dataclass(frozen=True, slots=True)
class ExportOffer:
    """One kind of export and whether a run can give it; ``reason`` says why not."""

    kind: ExportKind
    possible: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """An export that is about to be made.

    Attributes:
        source: the run's result; None where there is none.
        base: the model that an adapter is merged into; None when the result is copied as it is.
        bytes_needed: what it will take on the disk; 0 while that cannot be told.
        free_bytes: what is free at the target.
        problems: everything that stands against it, the most important first.
        exit_code: what the first of them means for the command line.
    """

    kind: ExportKind
    target: Path
    source: Path | None
    base: Path | None
    bytes_needed: int
    free_bytes: int
    problems: tuple[Problem, ...] = ()
    exit_code: ExitCode = ExitCode.DONE

    @property
    def can_start(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems

    @property
    def is_merge(self) -> bool:
        """Whether it is an engine's work and not a copy."""
        return self.base is not None

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments of the engine job ``merge``."""
        assert self.is_merge, "only a merge is an engine job"
        return {"base": str(self.base), "adapter": str(self.source), "target": str(self.target)}

    def require(self) -> None:
        """Checks that it can start.

        Raises:
            UserError: with all that stands against it.
        """
        if self.problems:
            raise UserError(*self.problems, exit_code=self.exit_code)


def export_kinds(folder: RunFolder) -> tuple[ExportOffer, ...]:
    """Which exports a run can give, and why it cannot give the others; looks at a few files only."""
    try:
        result = require_result(folder)
    except UserError as failure:
        return tuple(ExportOffer(kind, possible=False, reason=failure.problems[0].message) for kind in KINDS)
    if not _is_adapter(result):
        message = "The run trained every weight, so its result is a whole model and no adapter."
        return ExportOffer("adapter", possible=False, reason=message), ExportOffer("merged", possible=True)
    try:
        result_base(folder)
    except UserError as failure:
        merged = ExportOffer("merged", possible=False, reason=failure.problems[0].message)
    else:
        merged = ExportOffer("merged", possible=True)
    return ExportOffer("adapter", possible=True), merged


def default_target(folder: RunFolder, kind: ExportKind) -> Path:
    """Where an export goes when nobody says otherwise."""
    return home() / "exports" / folder.path.name / kind


def unused_target(target: Path) -> Path:
    """``target``, or the same with a number behind it where something lies there already."""
    for number in range(1, _MOST_NAMES):
        candidate = target if number == 1 else target.with_name(f"{target.name}-{number}")
        if not _is_taken(candidate):
            return candidate
    return target


def plan_export(folder: RunFolder, kind: ExportKind, target: Path) -> ExportPlan:
    """What an export will take, and everything that stands against it. Reads headers, never weights.

    Args:
        folder: the run.
        kind: "adapter", or "merged" for one whole model; a fully tuned model is whole already.
        target: a folder that does not exist yet or is empty.
    """
    target = target.expanduser().absolute()
    found = _Findings()
    source = found.tried(lambda: require_result(folder))
    found.add(ExitCode.BAD_SPEC, *target_problems(target, folder))
    base: Path | None = None
    needed = 0
    if source is not None and kind == "adapter" and not _is_adapter(source):
        message = f"The run “{folder.path.name}” trained every weight, so its result is a whole model and no adapter."
        found.add(ExitCode.BAD_SPEC, error(KIND, message, "Export the whole model: kind “merged”."))
    elif source is not None and kind == "merged" and _is_adapter(source):
        base = found.tried(lambda: result_base(folder))
        if base is not None:
            needed = found.tried(lambda: merge_bytes(base, source)) or 0
            if target.is_relative_to(base.absolute()):
                message = "The target lies inside the base model's folder, which stays as it is."
                found.add(ExitCode.BAD_SPEC, error(TARGET, message, "Choose another folder."))
    elif source is not None:
        needed = bytes_in(source)
    room = room_for(needed, target)
    if needed and room.missing:
        found.add(ExitCode.DOES_NOT_FIT, _no_room(room, target))
    return ExportPlan(kind, target, source, base, needed, room.free, tuple(found.problems), found.exit_code)


def _no_room(room: Room, target: Path) -> Problem:
    needed, free = format_bytes(room.needed), format_bytes(room.free)
    message = f"The export takes {needed}, and {free} are free at {target.parent}."
    return error(TARGET, message, room_advice(room))


class _Findings:
    """Problems as they are found; the first one decides the exit code."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.exit_code = ExitCode.DONE

    def add(self, code: ExitCode, *problems: Problem) -> None:
        if problems and not self.problems:
            self.exit_code = code
        self.problems += problems

    def tried(self, work: Callable[[], T]) -> T | None:
        """What ``work`` gives; None if it refuses, which is noted."""
        try:
            return work()
        except UserError as refusal:
            self.add(refusal.exit_code, *refusal.problems)
            return None


def target_problems(target: Path, run: RunFolder | None = None) -> Iterator[Problem]:
    """What speaks against writing an export into ``target``: taken, inside the run itself, or not to be written."""
    advice = "Choose another folder."
    if _is_taken(target):
        full = " and is not empty" if target.is_dir() else ""
        yield error(TARGET, f"{target} already exists{full}; nothing is overwritten.", advice)
        return
    if run is not None and target.resolve().is_relative_to(run.path.resolve()):
        message = "The target lies inside the run's own folder, which goes away with the run."
        yield error(TARGET, message, advice)
        return
    parent = existing_parent(target.parent)
    above = next((path for path in target.parents if path.exists()), parent)
    if not above.is_dir():
        yield error(TARGET, f"{above} is a file, so there can be no folder below it.", advice)
    elif not os.access(parent, os.W_OK | os.X_OK):
        advice = "Choose another folder, or change its permissions."
        yield error(TARGET, f"You have no permission to write into {parent}.", advice)


def _is_taken(target: Path) -> bool:
    return os.path.lexists(target) and (not target.is_dir() or any(target.iterdir()))


def copy_result(
    plan: ExportPlan,
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> int:
    """Copies the run's result to the target, which is whole or absent; returns its bytes.

    Args:
        plan: one that can start and is no merge.
        on_progress: told the bytes copied so far, and all of them.
        cancelled: asked between pieces; when it says True the copy stops.

    Raises:
        UserError: something stands against the export, or the disk refuses; nothing is left behind.
        ExportCancelledError: ``cancelled`` said so; nothing is left behind.
    """
    plan.require()
    assert plan.source is not None
    assert not plan.is_merge, "a merge is an engine job"
    total = bytes_in(plan.source)
    room = room_for(total, plan.target)  # time may have passed since it was planned
    if room.missing:
        raise UserError(_no_room(room, plan.target), exit_code=ExitCode.DOES_NOT_FIT)
    try:
        with staged_folder(plan.target) as staging:
            done = 0
            for size in _copied(plan.source, staging):
                done += size
                if cancelled is not None and cancelled():
                    raise ExportCancelledError("the export was cancelled")
                if on_progress is not None:
                    on_progress(done, total)
    except OSError as failure:
        message = f"The result could not be copied: {failure.strerror or failure}."
        advice = "Check that the folder may be written to and that its disk is not full; nothing was left behind."
        raise UserError(error(str(plan.target), message, advice), exit_code=ExitCode.FAILED) from failure
    return total


def _copied(source: Path, target: Path) -> Iterator[int]:
    """Copies a folder's content piece by piece and tells the size of each."""
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
            continue
        with path.open("rb") as reader, copy.open("wb") as writer:
            while piece := reader.read(_CHUNK):
                writer.write(piece)
                yield len(piece)
        shutil.copystat(path, copy)


def bytes_in(folder: Path) -> int:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_adapter(result: Path) -> bool:
    return (result / CONFIG_FILE).is_file()
