"""Handing a run's result on: what it can be exported as, and what an export takes and what stands against it.

Whatever is more than a copy is an engine job: `ExportPlan.arguments` are what `core.runs.store.create_job` wants for
it. Copies are made by `core.export.copying`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from core.errors import ExitCode, Problem, UserError, error
from core.export.gguf import find_precision, gguf_adapter_problems, gguf_problems
from core.export.memory import gguf_adapter_memory, memory_problems
from core.export.merge import Needs
from core.export.objections import KIND, PRECISION, Findings, hub_problems, kind_problems, precision_problems
from core.export.peft_adapter import WEIGHTS_FILE
from core.export.places import TARGET, default_target, target_in, target_problems, unused_place
from core.export.sizes import bytes_in, gguf_adapter_size, gguf_needs, gguf_size, is_adapter, merged_needs, no_room
from core.runs.layout import RunFolder
from core.runs.results import require_result, result_base
from core.runs.room import room_for

ExportKind = Literal["adapter", "merged", "gguf", "gguf_adapter", "ollama", "lm_studio", "hub"]
KINDS: tuple[ExportKind, ...] = get_args(ExportKind)
HubContent = Literal["adapter", "merged"]

GGUF_KINDS: tuple[ExportKind, ...] = ("gguf", "ollama", "lm_studio")
"""Kinds that hold base and adapter as one GGUF file."""

PRECISE_KINDS: tuple[ExportKind, ...] = (*GGUF_KINDS, "gguf_adapter")
"""Kinds that have a precision to choose."""

_DEFAULT_PRECISIONS: dict[ExportKind, str] = {"gguf_adapter": "f16"}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What there is to choose besides kind and place.

    Attributes:
        precision: of a GGUF file; empty for the usual one of the kind.
        repo: name of the repository on the hub, ``owner/name``.
        is_private: a repository that is made for it can be seen by its owner only.
        content: what goes to the hub.
    """

    precision: str = ""
    repo: str = ""
    is_private: bool = True
    content: HubContent = "adapter"

    def precision_of(self, kind: ExportKind) -> str:
        """The precision that a kind is written in; empty for kinds that have none."""
        if kind not in PRECISE_KINDS:
            return ""
        return self.precision.lower() or _DEFAULT_PRECISIONS.get(kind, "q8_0")


USUAL = ExportOptions()


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
        place: the folder or file that was chosen; `target` is what is written, which may lie in it.
        source: the run's result; None where there is none.
        base: the model that the adapter belongs to; None where nothing needs it or a whole model was trained.
        is_job: it is an engine's work and not a copy.
        bytes_needed: what it will take on the disk; 0 while that cannot be told.
        free_bytes: what is free at the target.
        problems: everything that stands against it, the most important first.
        exit_code: what the first of them means for the command line.
    """

    kind: ExportKind
    place: Path
    target: Path
    options: ExportOptions
    source: Path | None
    base: Path | None
    is_job: bool
    bytes_needed: int
    free_bytes: int
    problems: tuple[Problem, ...] = ()
    exit_code: ExitCode = ExitCode.DONE

    @property
    def can_start(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems

    @property
    def writes(self) -> ExportKind:
        """What kind of thing lies at the target afterwards: the hub gets a folder of another kind."""
        return self.options.content if self.kind == "hub" else self.kind

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments of the engine job ``export``."""
        assert self.is_job, "a copy is no engine job"
        return {"kind": self.writes, **self._models(), "target": str(self.target), "precision": self.precision}

    @property
    def upload_arguments(self) -> dict[str, object]:
        """The arguments of the engine job ``export`` that takes the target to the hub afterwards."""
        assert self.kind == "hub"
        return {
            "kind": "hub", "target": str(self.target), "repo": self.options.repo, "private": self.options.is_private,
        }  # fmt: skip

    @property
    def verify_arguments(self) -> dict[str, object] | None:
        """The arguments of the engine job ``verify``; None where there is no base model to compare with."""
        if self.base is None and self.source is not None and is_adapter(self.source):
            return None
        return {"export": str(self.target), "kind": self.writes, **self._models()}

    @property
    def precision(self) -> str:
        """The precision that it is written in; empty for kinds that have none."""
        return self.options.precision_of(self.kind)

    def _models(self) -> dict[str, object]:
        """Base and adapter; a result that is a whole model is a base without one."""
        assert self.source is not None
        if not is_adapter(self.source):
            return {"base": str(self.source), "adapter": ""}
        return {"base": str(self.base), "adapter": str(self.source)}

    def require(self) -> None:
        """Checks that it can start.

        Raises:
            UserError: with all that stands against it.
        """
        if self.problems:
            raise UserError(*self.problems, exit_code=self.exit_code)


def export_kinds(folder: RunFolder) -> tuple[ExportOffer, ...]:
    """Which exports a run can give, and why it cannot give the others; reads headers, never weights."""
    try:
        result = require_result(folder)
    except UserError as failure:
        return tuple(ExportOffer(kind, possible=False, reason=failure.problems[0].message) for kind in KINDS)
    base, reason = None, ""
    try:
        base = result_base(folder) if is_adapter(result) else result
    except UserError as failure:
        reason = failure.problems[0].message
    whole = not is_adapter(result)
    no_adapter = "The run trained every weight, so its result is a whole model and no adapter." if whole else ""
    reasons: dict[ExportKind, str] = {"adapter": no_adapter, "merged": reason, "hub": ""}
    found = gguf_problems(base, None if whole else result) if base is not None else ()
    gguf = found[0].message if found else reason
    alone = gguf_adapter_problems(base, result) if base is not None and not whole else ()
    reasons |= dict.fromkeys(GGUF_KINDS, gguf)
    reasons["gguf_adapter"] = no_adapter or (alone[0].message if alone else reason)
    return tuple(ExportOffer(kind, possible=not reasons[kind], reason=reasons[kind]) for kind in KINDS)


def plan_export(
    folder: RunFolder,
    kind: ExportKind,
    place: Path | None = None,
    options: ExportOptions = USUAL,
    *,
    source: Path | None = None,
) -> ExportPlan:
    """What an export will take, and everything that stands against it. Reads headers, never weights.

    Args:
        folder: the run.
        kind: what to make of it; a fully tuned model is whole already, so its merge is a copy.
        place: a folder that does not exist yet or is empty, a .gguf file or a folder for it, or LM Studio's folder of
            models; None for the usual place, under another name where something lies there.
        options: what else there is to choose.
        source: an adapter that takes the place of the run's own, such as one combined of several.
    """
    precision = options.precision_of(kind)
    if place is None:
        place = unused_place(default_target(folder, kind), folder, kind, precision)
    place = place.expanduser().absolute()
    target = target_in(place, folder, kind, precision)
    found = Findings()
    source = source or found.tried(lambda: require_result(folder))
    found.add(ExitCode.BAD_SPEC, *target_problems(target, folder, kind))
    whole = source is not None and not is_adapter(source)
    if whole and kind == "hub":
        options = replace(options, content="merged")
    writes = options.content if kind == "hub" else kind
    found.add(ExitCode.BAD_SPEC, *kind_problems(folder, writes, whole=whole))
    found.add(ExitCode.BAD_SPEC, *precision_problems(kind, precision))
    if kind == "hub":
        found.add(ExitCode.BAD_SPEC, *hub_problems(options, found))
    base = _base(folder, writes, target, found) if source is not None and not whole else None
    needs = Needs(0, 0)
    if source is not None and not any(problem.path in (KIND, PRECISION) for problem in found.problems):
        needs = _needs(writes, base, source, precision, found)
    needed = needs.disk
    extra = needs.beside + (_extra(kind, base, source, precision) if needed else 0)
    room = room_for(needed + extra, target.parent)
    if needed and room.missing:
        found.add(ExitCode.DOES_NOT_FIT, no_room(room, target))
    found.add(ExitCode.DOES_NOT_FIT, *memory_problems(needs.memory))
    is_job = writes not in ("adapter", "merged") or (writes == "merged" and not whole)
    problems = tuple(found.problems)
    return ExportPlan(
        kind, place, target, options, source, base, is_job, needed, room.free, problems, found.exit_code
    )  # fmt: skip


def _base(folder: RunFolder, writes: ExportKind, target: Path, found: Findings) -> Path | None:
    """The base model; an adapter that is only copied can do without, and then nothing is compared with it."""
    if writes == "adapter":
        try:
            return result_base(folder)
        except UserError:
            return None
    base = found.tried(lambda: result_base(folder))
    if base is not None and target.is_relative_to(base.absolute()):
        message = "The target lies inside the base model's folder, which stays as it is."
        found.add(ExitCode.BAD_SPEC, error(TARGET, message, "Choose another folder."))
    return base


def _needs(writes: ExportKind, base: Path | None, source: Path, precision: str, found: Findings) -> Needs:
    nothing = Needs(0, 0)
    if writes == "adapter" or (writes == "merged" and not is_adapter(source)):
        return Needs(bytes_in(source), 0)
    model = base or source
    if base is None and is_adapter(source):
        return nothing  # that it is missing has been said
    if writes == "merged":
        return found.tried(lambda: merged_needs(model, source)) or nothing
    if writes == "gguf_adapter":
        refusal = gguf_adapter_problems(model, source)
        found.add(ExitCode.BAD_SPEC, *refusal)
        size = gguf_adapter_size(source, precision)
        return nothing if refusal else Needs(size, gguf_adapter_memory((source / WEIGHTS_FILE).stat().st_size))
    return found.tried(lambda: gguf_needs(model, source, precision)) or nothing


def _extra(kind: ExportKind, base: Path | None, source: Path | None, precision: str) -> int:
    """What lies beside it while it is made: llama.cpp quantizes a file of 16 bits."""
    if kind not in GGUF_KINDS or source is None:
        return 0
    model = base or source
    needs = gguf_needs(model, source, precision)
    return 0 if needs.beside or not find_precision(precision).needs_llama else gguf_size(model, source, "f16")
