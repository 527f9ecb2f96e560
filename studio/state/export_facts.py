"""What is known of exports, read in the background: those that a run can give, and those that were made."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import Problem, UserError, error
from core.export.verification.records import Check, Verdict, verdict_of
from core.runs.layout import RunFolder

if TYPE_CHECKING:
    from core.export.result import ExportOffer, ExportOptions, ExportPlan

ExportKind = Literal["adapter", "merged", "gguf", "gguf_adapter", "ollama", "lm_studio", "hub"]


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """A precision of a GGUF file.

    Attributes:
        title: as llama.cpp's users call it; `words` say what it is good for.
        bytes: of the file; 0 where it cannot be told.
        reason: why it cannot be written here; empty where it can.
    """

    name: str
    title: str
    words: str
    bytes: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the exports that the chosen run can give.

    Attributes:
        offers: each kind, and why a run cannot give it.
        sizes: bytes that each possible kind takes.
        plan: the chosen kind, at the chosen place; None where the run cannot give it.
        precisions: those of the chosen kind; none for kinds that have none to choose.
        has_token: there is a token for the hub.
    """

    run: Path
    offers: "tuple[ExportOffer, ...]"
    sizes: Mapping[ExportKind, int]
    plan: "ExportPlan | None"
    precisions: tuple[PrecisionChoice, ...] = ()
    has_token: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that is done.

    Attributes:
        path: what was written: a folder or a file.
        bytes: of all its files; `seconds`: how long it took; `ended`: Unix time.
        code: how to load it in Python, or how to give it to the program that it is for; may be empty.
        is_command: `code` is for a terminal.
        run: the run's folder.
        verification: the report on it; None where it was not checked.
        url: its page on the hub; empty for anything else.
    """

    run: Path
    kind: ExportKind
    path: Path
    bytes: int
    seconds: float
    ended: float
    code: str
    is_command: bool = False
    verification: "CheckReport | None" = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the verification of an export found.

    Attributes:
        problem: why there are no checks; empty where there are.
        notes: what could not be compared, in sentences.
        read_by: the program that opened it.
    """

    checks: tuple[Check, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()
    read_by: str = ""

    @property
    def verdict(self) -> Verdict:
        """What it comes to; "not_compared" also where the checks could not be made."""
        return "not_compared" if self.problem else verdict_of(self.checks)


def outlook(run: Path, kind: ExportKind, target: str, options: "ExportOptions") -> Outlook:
    """Finds out what a run can give and what the choice takes; reads headers, and may take a second."""
    from core.export.result import export_kinds, plan_export
    from core.hub.token import token_text

    folder = RunFolder(run)
    offers = export_kinds(folder)
    place = Path(target.strip()) if target.strip() else None
    plans = {
        offer.kind: plan_export(folder, offer.kind, place if offer.kind == kind else None, options)
        for offer in offers
        if offer.possible
    }
    sizes = {name: plan.bytes_needed for name, plan in plans.items()}
    plan = plans.get(kind)
    return Outlook(run, offers, sizes, plan, _precisions(plan), has_token=bool(token_text()))


def _precisions(plan: "ExportPlan | None") -> tuple[PrecisionChoice, ...]:
    from core.export.gguf import available_precisions
    from core.export.objections import ADAPTER_PRECISIONS
    from core.export.sizes import gguf_adapter_size, gguf_size

    if plan is None or not plan.precision or plan.source is None:
        return ()
    choices = []
    for item in available_precisions():
        name, size = item.precision.name, 0
        if plan.kind == "gguf_adapter" and name not in ADAPTER_PRECISIONS:
            continue
        try:
            if plan.kind == "gguf_adapter":
                size = gguf_adapter_size(plan.source, name)
            else:
                size = gguf_size(plan.base or plan.source, plan.source, name)
        except UserError:
            size = 0  # the plan has said why
        choices.append(PrecisionChoice(name, item.precision.title, item.precision.words, size, item.reason))
    return tuple(choices)


def described(run: Path, plan: "ExportPlan", seconds: float, verification: CheckReport | None, url: str) -> Exported:
    """An export that is done, with its size and what to do with it."""
    from core.export.sizes import bytes_in

    size = bytes_in(plan.target)
    command = _command(run.name, plan)
    try:
        code = command or _code(plan)
    except (UserError, OSError):
        code = ""  # the export is whole all the same
    return Exported(
        run, plan.kind, plan.target, size, seconds, time.time(), code, bool(command), verification, url
    )  # fmt: skip


def _code(plan: "ExportPlan") -> str:
    from studio.state.usage import usage_code

    return usage_code(plan.target, plan.base if plan.writes == "adapter" else None)


def _command(name: str, plan: "ExportPlan") -> str:
    """What a terminal is told in order to use it; empty where that is not how it is used."""
    where = plan.target
    if plan.kind == "ollama":
        return f'ollama create {_tag(name)} -f "{where / "Modelfile"}"\nollama run {_tag(name)}'
    if plan.kind == "gguf":
        return f'llama-cli --model "{where}" --conversation'
    if plan.kind == "gguf_adapter":
        return f'llama-cli --model "BASE.gguf" --lora "{where}" --conversation'
    return ""


def _tag(name: str) -> str:
    """The name as Ollama takes it."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name)
    return kept.lower().strip("._-") or "model"


def tidy(target: Path, kept: Path) -> None:
    """Removes what an export that came to nothing may have left: a half-written folder, and folders made for it."""
    for half in target.parent.glob(f".{target.name}.*.part*"):
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)
    for folder in (target, *target.parents):
        if folder == kept or not folder.is_relative_to(kept):
            return
        try:
            folder.rmdir()  # goes only when it is empty
        except OSError:
            continue


def problems_of(failure: Exception) -> tuple[Problem, ...]:
    """A refusal as problems; anything that is none is an error of ours and goes on its way."""
    if isinstance(failure, UserError):
        return failure.problems
    if isinstance(failure, OSError):
        words = f"The disk refused: {failure.strerror or failure}."
        return (error(str(failure.filename or ""), words, "Check the folder and its disk, then try again."),)
    raise failure
