"""A model where LM Studio looks for it: ``PUBLISHER/NAME/NAME-PRECISION.gguf`` below its folder of models.

LM Studio runs the chat template inside the GGUF file, so nothing else is needed.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import Problem, UserError, error
from core.export.target_folder import folder_problems
from core.paths import staged_folder

_NAME = re.compile(r"[\w][\w .+-]*")


@dataclass(frozen=True, slots=True)
class LmStudioReport:
    """What was made for LM Studio.

    Attributes:
        target: the model's folder, ``root/publisher/name``.
        model: the GGUF file in it.
        notes: what somebody who uses it should know, in sentences.
    """

    target: Path
    model: Path
    bytes: int
    precision: str
    seconds: float
    notes: tuple[str, ...] = ()


def name_problems(publisher: str, name: str) -> list[Problem]:
    """Why LM Studio would not find a model that is called so."""
    found = []
    for field, text in (("publisher", publisher), ("name", name)):
        if not _NAME.fullmatch(text) or text.endswith((" ", ".")):
            message = f"“{text}” cannot be the name of a folder that LM Studio lists as {field}."
            found.append(error(field, message, "Use letters, digits, blanks, dots and hyphens, and no slashes."))
    return found


def export_lm_studio(
    base: Path,
    adapter: Path | None,
    root: Path,
    publisher: str,
    name: str,
    precision: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LmStudioReport:
    """Writes a model into LM Studio's layout; the model's folder is whole or absent.

    Args:
        base: folder of the base model, safetensors in 16 or 32 bits.
        adapter: folder of an adapter in PEFT's format; None for the model alone.
        root: LM Studio's folder of models, see `core.export.places.lm_studio_models`.
        publisher: whose model it is.
        name: what it is called.
        precision: one of `core.export.gguf.PRECISIONS`.
        on_progress: called with bytes written and bytes in all.
        cancelled: asked between pieces of work; when it says True the export stops.

    Raises:
        UserError: the target is taken, a name cannot be one, or no GGUF file can be written; every reason at once.
        MergeCancelledError: ``cancelled`` said so; nothing is left behind.
        OSError: reading or writing failed.
    """
    from core.export.gguf import write_gguf

    started = time.monotonic()
    problems = name_problems(publisher, name)
    target = root / publisher / name
    if not problems:
        problems = folder_problems(target)
    if problems:
        raise UserError(*problems)
    with staged_folder(target) as staging:
        file = f"{name}-{precision.upper()}.gguf"
        made = write_gguf(base, adapter, staging / file, precision, on_progress=on_progress, cancelled=cancelled)
    return LmStudioReport(target, target / file, made.bytes, made.precision, time.monotonic() - started, made.notes)
