"""Sweeps that have been made: which runs belong together, in one file for each; the runs are runs like any other."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core import paths
from core.errors import ExitCode, UserError, error
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.layout import RunFolder
from core.runs.prepare import Prepared
from core.runs.run_room import require_room_to_start
from core.runs.store import create_run, run_name, runs_folder, safe_name
from core.runs.sweep import Point
from core.spec.run_spec import RunSpec
from core.spec.values import to_plain as plain_value


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a sweep: its folder, and the values in which it differs from the others."""

    path: Path
    values: Mapping[str, Any]

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """A sweep that has been made.

    Attributes:
        paths: the settings that differ, as they were named.
        created: Unix time.
    """

    name: str
    paths: tuple[str, ...]
    members: tuple[Member, ...]
    created: float = field(default_factory=time.time)


def group_name(spec: RunSpec, now: time.struct_time) -> str:
    """A name for a sweep of this spec that no other sweep has."""
    wanted = run_name(spec, now)
    wanted = wanted if safe_name(spec.output.name) else f"sweep-{wanted}"
    number, name = 1, wanted
    while group_file(name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


def create_group(name: str, found: Sequence[Point], prepared: Sequence[Prepared]) -> Group:
    """Makes the run folders of a sweep and writes down which they are.

    Raises:
        UserError: the disk has no room for all of them, or a folder cannot be made.
    """
    disks = [one.plan.disk for one in prepared if one.plan.disk is not None]
    if disks:
        together = replace(disks[0], run_bytes=sum(disk.run_bytes for disk in disks))
        require_room_to_start(together, runs_folder(found[0].spec))
    members = []
    for point, one in zip(found, prepared, strict=True):
        members.append(Member(create_run(one.spec, one.facts, one.plan).path, point.values))
    group = Group(name, tuple(found[0].values), tuple(members))
    write_group(group)
    return group


def groups_dir() -> Path:
    """Where the files of the sweeps lie."""
    return paths.home() / "sweeps"


def group_file(name: str) -> Path:
    """The file of one sweep."""
    return groups_dir() / f"{name}.json"


def write_group(group: Group) -> None:
    """Writes a sweep's file.

    Raises:
        UserError: it cannot be written.
    """
    try:
        groups_dir().mkdir(parents=True, exist_ok=True)
        plain = [{"path": str(one.path), "values": _plain(one.values)} for one in group.members]
        write_json(group_file(group.name), {**to_plain(replace(group, members=())), "members": plain})
    except OSError as failure:
        message = f"The sweep cannot be written down: {failure.strerror or failure}."
        advice = "Check that the data folder may be written to and that its disk has space."
        raise UserError(error(str(group_file(group.name)), message, advice), exit_code=ExitCode.FAILED) from failure


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {path: plain_value(value) for path, value in values.items()}


def list_groups() -> tuple[Group, ...]:
    """All sweeps, newest first; files that cannot be read are left out."""
    found = []
    for path in groups_dir().glob("*.json") if groups_dir().is_dir() else ():
        try:
            found.append(_read(path))
        except UserError:
            continue
    return tuple(sorted(found, key=lambda group: (group.created, group.name), reverse=True))


def find_group(name: str) -> Group:
    """The sweep that a person means: its name, the unique beginning of one, or “last” for the newest.

    Raises:
        UserError: there is none, or there are several, or its file is damaged.
    """
    wanted = name.strip()
    if wanted and group_file(wanted).is_file():
        return _read(group_file(wanted))
    groups = list_groups()
    if wanted == "last" and groups:
        return groups[0]
    starting = [group for group in groups if wanted and group.name.lower().startswith(wanted.lower())]
    if len(starting) == 1:
        return starting[0]
    if starting:
        message = f"“{wanted}” begins the names of {len(starting)} sweeps."
        raise UserError(error("", message, "“lowrank sweep list” lists the sweeps there are."))
    raise UserError(error("", f"There is no sweep “{wanted}”.", "“lowrank sweep list” lists the sweeps there are."))


def _read(path: Path) -> Group:
    try:
        return from_plain(Group, json.loads(path.read_text("utf-8")))
    except OSError as failure:
        message = f"The sweep cannot be read: {failure.strerror or failure}."
    except (ValueError, RecursionError, RecordError) as failure:
        message = f"The sweep’s file is damaged: {failure}."
    advice = "Its runs lie in the runs folder as before; delete this file to forget that they belong together."
    raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED)
