"""Opens an export afresh and compares it with what was trained."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError, error
from core.export.gguf.families import foreign_problems
from core.export.gguf.reading import open_gguf
from core.export.gguf.runtime import LlamaModel, find_runtime
from core.export.memory import free_memory
from core.export.tensor_files import read_model_tensors
from core.export.verification.answers import Said, ask, ask_further, compare_answers, loaded, prompt_ids
from core.export.verification.changes import compare_changes, compare_factors, folder_weights, gguf_weights
from core.export.verification.limits import limits_of
from core.export.verification.records import Check, Verification, checked, write_verification
from core.export.verification.texts import (
    Texts,
    adapter_texts,
    compare_texts,
    folder_texts,
    gguf_texts,
    trained_texts,
)
from core.facts.json_files import read_json_object
from core.facts.model_files import read_model
from core.units import format_bytes

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader

_GGUF_KINDS = ("gguf", "gguf_adapter", "ollama", "lm_studio")
KINDS = ("adapter", "merged", *_GGUF_KINDS)
OnStep = Callable[[str, int, int], None]

_STEPS = 4
_SPARE = 1.25


class VerificationCancelledError(Exception):
    """The verification was asked to stop and did."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is compared with what.

    Attributes:
        file: what is opened: a folder, or a GGUF file.
        read: the same as the gguf library reads it, which takes seconds; None for folders.
    """

    kind: str
    file: Path
    base: Path
    adapter: Path | None
    trained: Texts
    read: "GGUFReader | None"


def verify(
    export: Path,
    kind: str,
    base: Path,
    adapter: Path | None,
    *,
    on_step: OnStep | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Verification:
    """Compares an export with what was trained, and keeps the report with it.

    Args:
        export: a folder or file that an export has written.
        kind: the kind of export.
        base: folder of the base model, or of a result that is a whole model.
        adapter: folder of the adapter that was exported; None for a whole model.
        on_step: told what is done now, how much of it all is done, and how much there is.
        cancelled: asked between two models.

    Raises:
        UserError: there is no such export, or the base or the adapter cannot be read.
        VerificationCancelledError: ``cancelled`` said so.
    """
    started = time.monotonic()
    tell = on_step or (lambda _words, _done, _total: None)

    def step(words: str, done: int) -> None:
        if cancelled is not None and cancelled():
            raise VerificationCancelledError("the verification was cancelled")
        tell(words, done, _STEPS)

    step("Comparing template and tokens", 0)
    file = _file_of(export, kind)
    read_model_tensors(base)  # what is wrong with the base is no fault of the export
    texts = trained_texts(base, adapter)
    try:
        read = open_gguf(file) if kind in _GGUF_KINDS else None
    except UserError as failure:
        return _kept(Verification(kind, "", "", (_not_opened(failure),)), export, started)
    case = _Case(kind, file, base, adapter, texts, read)
    checks = list(_text_checks(case))
    notes: list[str] = []
    if adapter is not None and kind != "adapter":
        step("Comparing the weights", 1)
        found, untold = _changes(case, adapter)
        checks += (found,) if found is not None else ()
        notes += untold
    dtype, memory_note = _compute_dtype(base)
    notes += memory_note
    if dtype is None:
        return _kept(Verification(kind, _precision(case), "", tuple(checks), tuple(notes)), export, started)
    ids = prompt_ids(base, _template_choice(adapter))
    step("Asking the trained model", 2)
    with loaded(base, adapter, dtype) as model:
        trained = ask_further(model, ids)
    step("Asking the export", 3)
    precision, read_by = "", ""
    try:
        precision = _precision(case)
        read_by, answers, said = _asked(case, trained, dtype)
    except _unreadable() as failure:
        checks.append(_not_opened(failure))
    else:
        notes += said
        checks += compare_answers(trained, answers, limits_of(precision)) if answers is not None else ()
    tell("Done", _STEPS, _STEPS)
    return _kept(Verification(kind, precision, read_by, tuple(checks), tuple(notes)), export, started)


def _kept(found: Verification, export: Path, started: float) -> Verification:
    found = found.lasting(time.monotonic() - started)
    write_verification(found, export)
    return found


def _not_opened(failure: Exception) -> Check:
    return checked("opens", f"The export cannot be opened: {_reason(failure)}", passed=False)


def _reason(failure: Exception) -> str:
    return failure.problems[0].message if isinstance(failure, UserError) else str(failure)


def _file_of(export: Path, kind: str) -> Path:
    if kind not in KINDS:
        raise UserError(
            error("kind", f"Exports of the kind “{kind}” are not verified.", f"Choose of {', '.join(KINDS)}.")
        )
    if not export.exists():
        raise UserError(error(str(export), "There is no such export.", "Give the folder or file that was written."))
    if kind in ("adapter", "merged"):
        return export
    if export.is_file():
        return export
    found = sorted(export.rglob("*.gguf"))
    if not found:
        raise UserError(error(str(export), "There is no GGUF file in the folder.", "Export it again."))
    return found[0]


def _unreadable() -> tuple[type[Exception], ...]:
    """What the libraries raise of files that are damaged or do not fit together."""
    from safetensors import SafetensorError

    return UserError, OSError, ValueError, LookupError, RuntimeError, SafetensorError


def _text_checks(case: _Case) -> tuple[Check, ...]:
    if case.kind == "gguf_adapter":
        return ()  # it holds no texts: the base's file has them
    try:
        found = _texts(case)
    except _unreadable() as failure:
        return (checked("tokenizer", f"The export's tokens cannot be read: {_reason(failure)}", passed=False),)
    return tuple(compare_texts(case.trained, found))


def _texts(case: _Case) -> Texts:
    if case.read is not None:
        return gguf_texts(case.read)
    return adapter_texts(case.file, case.trained) if case.kind == "adapter" else folder_texts(case.file)


def _changes(case: _Case, adapter: Path) -> tuple[Check | None, tuple[str, ...]]:
    if case.read is not None and any(foreign_problems(read_json_object(case.base / "config.json"), case.base)):
        return None, ("Its weights were not compared one by one: llama.cpp's own converter has named and turned them.",)
    try:
        if case.kind == "gguf_adapter":
            assert case.read is not None
            return compare_factors(case.base, adapter, case.read), ()
        weights = folder_weights(case.file) if case.read is None else gguf_weights(case.read, case.base)
        return compare_changes(case.base, adapter, weights)
    except _unreadable() as failure:
        return checked("changes", f"The export's weights cannot be read: {_reason(failure)}", passed=False), ()


def _template_choice(adapter: Path | None) -> str:
    beside = adapter / "chat_template.jinja" if adapter is not None else None
    return str(beside) if beside is not None and beside.is_file() else "auto"


def _compute_dtype(base: Path) -> "tuple[torch.dtype | None, list[str]]":
    """float32 where one model of it fits into memory, and nothing where 16 bits do not fit; the note says why."""
    import torch

    parameters = read_model(base).parameters
    free = free_memory()
    if parameters * 2 * _SPARE > free:
        note = (
            f"The models were not asked, because {format_bytes(round(parameters * 2 * _SPARE))} for one in 16 bits are "
            f"not free; {format_bytes(free)} are."
        )
        return None, [note]
    if parameters * 4 * _SPARE <= free:
        return torch.float32, []
    note = (
        f"The models were asked in 16 bits, one after the other, because {format_bytes(parameters * 4)} for one in 32 "
        "bits are not free; rounding is larger then."
    )
    return torch.bfloat16, [note]


def _precision(case: _Case) -> str:
    if case.kind == "adapter":
        return "f32"
    if case.kind == "merged":
        from collections import Counter

        sizes: Counter[str] = Counter()
        for tensor in read_model_tensors(case.file).values():
            sizes[tensor.dtype] += tensor.bytes
        return sizes.most_common(1)[0][0].lower()
    from core.export.gguf.precisions import ALL

    assert case.read is not None
    field = case.read.fields.get("general.file_type")
    number = int(field.contents()) if field is not None else -1
    return next((item.name for item in ALL if item.file_type == number), "f16")


def _asked(case: _Case, trained: Said, dtype: Any) -> tuple[str, Said | None, list[str]]:
    """Who opened the export, what it says, and notes; nothing is said where nobody can open it."""
    if case.kind == "adapter":
        with loaded(case.base, case.file, dtype) as model:
            return "transformers and peft", ask(model, trained.ids), []
    if case.kind == "merged":
        with loaded(case.file, None, dtype) as model:
            return "transformers", ask(model, trained.ids), []
    library = find_runtime()
    if library is None:
        return _asked_without_llama(case, trained, dtype)
    longest = max(len(some) for some in trained.ids) + 8
    if case.kind == "gguf_adapter":
        return _asked_with_adapter(case, trained, library, longest)
    with LlamaModel(library, case.file, context=longest) as llama:
        return "llama.cpp", Said(trained.ids, tuple(llama.logits(some) for some in trained.ids)), []


def _asked_with_adapter(case: _Case, trained: Said, library: Path, longest: int) -> tuple[str, Said | None, list[str]]:
    """The adapter on the base's GGUF file, which is written beside it for this alone."""
    import tempfile

    from core.export.gguf.write import write_gguf

    with tempfile.TemporaryDirectory(prefix=".verify-", dir=case.file.parent) as place:
        base = write_gguf(case.base, None, Path(place) / "base.gguf", "f16")
        with LlamaModel(library, base.path, context=longest) as llama:
            llama.add_adapter(case.file)
            return "llama.cpp", Said(trained.ids, tuple(llama.logits(some) for some in trained.ids)), []


def _asked_without_llama(case: _Case, trained: Said, dtype: Any) -> tuple[str, Said | None, list[str]]:
    missing = "There is no llama.cpp on this computer to ask the file in; LOWRANK_LLAMA_CPP can name one."
    if case.kind == "gguf_adapter":
        return "the gguf library", None, [missing]
    import warnings

    from transformers import AutoModelForCausalLM

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = AutoModelForCausalLM.from_pretrained(case.file.parent, gguf_file=case.file.name, dtype=dtype).eval()
    except (ValueError, KeyError, NotImplementedError, OSError) as failure:
        return "the gguf library", None, [f"{missing} transformers cannot read it either: {failure}."]
    return "transformers", ask(model, trained.ids), [missing]
