"""Turning a GGUF file into a model that can be trained: what it will take and make, before the engine begins."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from core.errors import ExitCode, UserError, error
from core.facts.model_files import read_model
from core.facts.types import ModelFacts
from core.paths import models_dir
from core.runs.layout import RunFolder
from core.runs.room import home_advice, room_for
from core.runs.store import create_job
from core.units import format_bytes

ImportDtype = Literal["bf16", "fp16", "fp32"]
DTYPES: tuple[ImportDtype, ...] = get_args(ImportDtype)

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_FULL_BYTES, _HALF_BYTES = 4, 2


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """An import that can begin.

    Attributes:
        target: the model folder that it makes.
        needed_bytes: space that the folder takes.
        memory_bytes: main memory that it takes at its height, because all weights are unpacked to 32 bits first.
        facts: what the file says about itself.
    """

    source: Path
    target: Path
    name: str
    dtype: ImportDtype
    needed_bytes: int
    memory_bytes: int
    facts: ModelFacts

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments of the engine job ``import_gguf``."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "name": self.name,
            "dtype": self.dtype,
            "licence": self.facts.licence,
        }


def plan_import(source: Path, name: str = "", dtype: ImportDtype = "bf16") -> ImportPlan:
    """Reads the file's header and checks everything that could stand in the way. Writes nothing.

    Args:
        source: the GGUF file.
        name: what the model will be called; its file's name when empty.
        dtype: number format of the imported weights.

    Raises:
        UserError: there is no such file, it is no model, the name is taken or impossible, or the disk is too full.
            The problems' paths are ``source``, ``name`` or files.
    """
    source = source.expanduser().absolute()
    if not source.is_file():
        raise UserError(error("source", f"There is no file {source}.", "Check the path."))
    if source.suffix.lower() != ".gguf":
        message = f"{source.name} is not a GGUF file."
        raise UserError(error("source", message, "A folder with safetensors files needs no import: use its path."))
    name = name.strip() or suggested_name(source)
    target = _target(name)
    facts = read_model(source)
    width = _FULL_BYTES if dtype == "fp32" else _HALF_BYTES
    plan = ImportPlan(source, target, name, dtype, facts.parameters * width, facts.parameters * _FULL_BYTES, facts)
    _require_space(plan)
    return plan


def suggested_name(source: Path) -> str:
    """The file's name as the name of a model: what cannot stand in one becomes “-”."""
    return re.sub(r"[^\w.+-]+", "-", source.stem).strip("-._+") or source.stem


def create_import(plan: ImportPlan) -> RunFolder:
    """Makes the folder of the engine job.

    Raises:
        UserError: it cannot be made.
    """
    try:
        models_dir().mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UserError(
            error(
                str(models_dir()),
                f"The folder for models cannot be made: {failure.strerror or failure}.",
                "Check its rights, or put the data folder elsewhere with the variable LOWRANK_HOME.",
            ),
            exit_code=ExitCode.FAILED,
        ) from failure
    return create_job("import_gguf", plan.arguments)


def _target(name: str) -> Path:
    if not _NAME.fullmatch(name):
        advice = "Use letters, digits, “.”, “_”, “+” and “-”, beginning with a letter or digit."
        raise UserError(error("name", f"“{name}” cannot be the name of a model.", advice))
    target = models_dir() / name
    if target.exists():
        raise UserError(error("name", f"There is already a model “{name}” in {target}.", "Choose another name."))
    return target


def _require_space(plan: ImportPlan) -> None:
    room = room_for(plan.needed_bytes, plan.target)
    if room.missing:
        message = (
            f"The imported model takes {format_bytes(plan.needed_bytes)}, and {format_bytes(room.free)} are free at "
            f"{plan.target.parent}."
        )
        raise UserError(error(str(plan.target), message, home_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)
