"""Base and adapter as one GGUF file, merged while it is written: tensor by tensor, some rows at a time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ExitCode, Problem, UserError, error
from core.export.adapter import public_name, read_manifest
from core.export.companions import companion_files
from core.export.gguf.families import Family, Shape, family_of, family_problems
from core.export.gguf.layout import Placed, parameters, place_tensors, rows_of_embeddings, total_bytes
from core.export.gguf.precisions import K_BLOCK_LENGTH, OLDER, Precision, find_precision
from core.export.gguf.preparing import name_for
from core.export.gguf.staging import staged_file, target_problems
from core.export.gguf.tensor_bytes import tensor_bytes
from core.export.gguf.vocabulary import Vocabulary, read_vocabulary
from core.export.matching import as_stored, match
from core.export.memory import gguf_memory, memory_problems
from core.export.merge import MergeCancelledError, Needs, fingerprint_problems, read_base_config
from core.export.peft_adapter import read_peft_adapter
from core.export.tensor_files import read_model_tensors
from core.facts.model_texts import read_licence
from core.runs.room import room_advice, room_for
from core.units import format_bytes

if TYPE_CHECKING:
    from gguf import GGUFWriter

OnProgress = Callable[[int, int], None]
Cancelled = Callable[[], bool]

_UNEVEN_BITS = 8.5
"""At most what llama.cpp falls back to where a K-quant's blocks do not fit (Q8_0)."""
_NAME_BYTES = 64
"""What a token or tensor takes in the header, roughly: its text, its numbers, and its merge."""


@dataclass(frozen=True, slots=True)
class GgufReport:
    """What was written.

    Attributes:
        notes: what somebody who uses the file should know, in sentences.
    """

    path: Path
    bytes: int
    tensors: int
    precision: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that is known before the first byte is written."""

    base: Path
    adapter: Path | None
    config: Mapping[str, Any]
    family: Family
    precision: Precision
    placed: tuple[Placed, ...]
    vocabulary: Vocabulary
    needed_bytes: int


def write_gguf(
    base: Path,
    adapter: Path | None,
    target: Path,
    precision: str,
    *,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled | None = None,
) -> GgufReport:
    """Writes a model as one GGUF file for llama.cpp and the programs built on it.

    The sum of base and adapter is rounded once, from float32 to what the file holds.

    Args:
        base: folder of the base model, safetensors in 16 or 32 bits.
        adapter: folder of a LoRA, rsLoRA or DoRA adapter in PEFT's format; None for the model alone.
        target: the file; it must not exist.
        precision: one of `core.export.gguf.precisions.PRECISIONS`.
        on_progress: called with bytes written and bytes in all.
        cancelled: asked between pieces of work; when it says True the export stops.

    Raises:
        UserError: the parts do not fit together, the family or the tokenizer is not known to llama.cpp, the target is
            taken or the disk too small; every reason at once.
        MergeCancelledError: ``cancelled`` said so; nothing is left behind.
        OSError: reading or writing failed.
    """
    from core.export.gguf.converter import serves, write_by_converter
    from core.export.gguf.quantize import quantize, require_llama

    started = time.monotonic()
    wanted = find_precision(precision)
    problems = list(target_problems(target))
    foreign = False
    with suppress(UserError):  # what is wrong with the base is told below
        foreign = serves(base)
    if wanted.needs_llama or (foreign and wanted.name in OLDER):
        problems += require_llama(wanted)
    if foreign and not problems:
        return write_by_converter(base, adapter, target, wanted, on_progress, cancelled)
    try:
        work = _prepare(base, adapter, wanted)
    except UserError as failure:
        raise UserError(*problems, *failure.problems, exit_code=failure.exit_code) from failure
    if problems:
        raise UserError(*problems)
    _check_room(target, work)
    with staged_file(target) as staging:
        if wanted.needs_llama:
            between = staging.with_name(staging.name + ".f16")
            try:
                _write(work, between, target.stem, on_progress, cancelled)
                quantize(between, staging, wanted, cancelled)
            finally:
                between.unlink(missing_ok=True)
        else:
            _write(work, staging, target.stem, on_progress, cancelled)
    size, seconds = target.stat().st_size, time.monotonic() - started
    return GgufReport(target, size, len(work.placed), wanted.name, seconds, _notes(work))


def estimate_needs(base: Path, precision: str, adapter: Path | None = None) -> Needs:
    """What the file will take, on the disk to within its last per cent; reads headers, never weights.

    Raises:
        UserError: no file can be written for this model.
    """
    from core.export.gguf.converter import converter_needs, serves
    from core.export.gguf.quantize import require_llama

    wanted = find_precision(precision)
    if serves(base):
        problems = require_llama(wanted) if wanted.name in OLDER else []
        if problems:
            raise UserError(*problems)
        return converter_needs(base, adapter, wanted)
    work = _prepare(base, adapter, wanted)
    return Needs(work.needed_bytes, gguf_memory(work.placed))


def estimate_bytes(base: Path, precision: str, adapter: Path | None = None) -> int:
    """What the file will take on the disk; see `estimate_needs`."""
    return estimate_needs(base, precision, adapter).disk


def gguf_problems(base: Path, adapter: Path | None = None) -> tuple[Problem, ...]:
    """Why no GGUF file can be written of a base and an adapter; empty where it can. Reads headers, never weights."""
    try:
        estimate_needs(base, "f16", adapter)
    except UserError as failure:
        return failure.problems
    return ()


def _prepare(base: Path, adapter: Path | None, precision: Precision) -> _Work:
    config = read_base_config(base)
    family = family_of(config)
    problems = list(family_problems(config, base))
    if family is None or problems:
        raise UserError(*problems)
    tensors = read_model_tensors(base)
    has_head = any(name.endswith(("lm_head.weight", "embed_out.weight")) for name in tensors)
    tied = config.get("tie_word_embeddings", family.arch == "gpt2") is True or not has_head
    if adapter is None:
        written = tuple(as_stored(tensors).values())
    else:
        matched = match(read_peft_adapter(adapter), base, tensors, config)
        found = fingerprint_problems(base, adapter)
        if found:
            raise UserError(*found)
        written, tied = matched.tensors, tied and not matched.untied
    placed = place_tensors(written, family, config, precision, base, tied=tied)
    rows = rows_of_embeddings(placed, base)
    vocabulary = read_vocabulary(companion_files(base, adapter), config, rows, base)
    names = sum(len(text.encode()) for text in (*vocabulary.tokens, *vocabulary.merges))
    header = names + 20 * len(vocabulary.tokens) + 8 * len(vocabulary.merges) + _NAME_BYTES * len(placed) + 64 * 1024
    size = total_bytes(placed) + header
    if precision.needs_llama:
        larger = sum(tensor.elements for tensor in placed if _is_uneven(tensor))
        small = sum(tensor.elements for tensor in placed if tensor.kind == "F16") - larger
        size -= round(small * (16 - precision.bits) / 8 + larger * (16 - _UNEVEN_BITS) / 8)
    return _Work(base, adapter, config, family, precision, placed, vocabulary, size)


def _check_room(target: Path, work: _Work) -> None:
    needed = work.needed_bytes
    if work.precision.needs_llama:  # the file in 16 bits lies beside it until llama.cpp is done
        needed += total_bytes(work.placed)
    room = room_for(needed, target.parent)
    short = memory_problems(gguf_memory(work.placed))
    if short:
        raise UserError(*short, exit_code=ExitCode.DOES_NOT_FIT)
    if room.missing:
        message = f"The GGUF file takes {format_bytes(needed)}, and only {format_bytes(room.free)} are free here."
        raise UserError(error(str(room.place), message, room_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)


def _write(work: _Work, path: Path, name: str, on_progress: OnProgress | None, cancelled: Cancelled | None) -> None:
    import gguf

    precision = find_precision("f16") if work.precision.needs_llama else work.precision
    writer = gguf.GGUFWriter(None, work.family.arch)
    _say_general(writer, work, name)
    work.family.describe(writer, Shape(work.config))
    writer.add_file_type(precision.file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    work.vocabulary.write(writer)
    _write_tensors(writer, work.placed, path, on_progress, cancelled)


def _say_general(writer: "GGUFWriter", work: _Work, name: str) -> None:
    import gguf

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name_for(name, strips=work.vocabulary.strips, arch=work.family.arch))
    writer.add_size_label(gguf.size_label(parameters(work.placed), 0, 0, 0))
    manifest = None
    if work.adapter is not None:
        with suppress(UserError):  # the file does not depend on it, and a broken one was told of before
            manifest = read_manifest(work.adapter)
    licence = manifest.licence if manifest is not None and manifest.licence else read_licence(work.base)
    if licence:
        writer.add_license(licence)
    if work.adapter is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, manifest.base_name if manifest is not None else public_name(str(work.base)))
        if manifest is not None and "/" in manifest.base_name:
            writer.add_base_model_repo_url(0, f"https://huggingface.co/{manifest.base_name}")


def _write_tensors(
    writer: "GGUFWriter",
    placed: tuple[Placed, ...],
    path: Path,
    on_progress: OnProgress | None,
    cancelled: Cancelled | None,
) -> None:
    import gguf
    import numpy as np

    for tensor in placed:
        kind = gguf.GGMLQuantizationType[tensor.kind]
        shape = (
            gguf.quant_shape_to_byte_shape(tensor.shape, kind) if tensor.kind not in ("F32", "F16") else tensor.shape
        )
        dtype = {"F32": np.float32, "F16": np.float16}.get(tensor.kind, np.uint8)
        writer.add_tensor_info(tensor.name, shape, np.dtype(dtype), tensor.bytes, raw_dtype=kind)
    writer.write_header_to_file(path)
    try:
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        file, done, total = writer.fout[0], 0, sum(tensor.bytes for tensor in placed)
        writer.write_padding(file, file.tell())
        for tensor in placed:
            written = 0
            for piece in _watched(tensor_bytes(tensor), cancelled):
                written += file.write(piece)
                if on_progress is not None:
                    on_progress(done + written, total)
            if written != tensor.bytes:
                raise ValueError(f"{tensor.name}: {written} bytes where {tensor.bytes} belong")
            writer.write_padding(file, written)
            done += written
    finally:
        writer.close()


def _watched(pieces: Iterator[Any], cancelled: Cancelled | None) -> Iterator[Any]:
    for piece in pieces:
        if cancelled is not None and cancelled():
            raise MergeCancelledError("the export was cancelled")
        yield piece


def _notes(work: _Work) -> tuple[str, ...]:
    found = []
    if not work.vocabulary.template:
        found.append("The model has no chat template, so programs will not know how to begin and end its turns.")
    if work.vocabulary.composes:
        found.append(
            "The tokenizer composes characters (NFC) and llama.cpp does not: an e with an accent behind it, two "
            "characters, becomes other tokens than in training. Nearly all texts are composed already."
        )
    if work.vocabulary.strips and work.family.arch != "phi3":
        found.append(
            "Control tokens take the white space behind them away in training, and llama.cpp knows that of Phi-3 only."
        )
    smaller = sum(tensor.kind == "F16" for tensor in work.placed)
    if smaller and work.precision.title.startswith("Q") and not work.precision.needs_llama:
        found.append(f"{smaller} tensors have rows that are no multiple of 32 long, and are kept in F16.")
    uneven = sum(_is_uneven(tensor) for tensor in work.placed)
    if uneven and work.precision.needs_llama:
        found.append(
            f"{uneven} tensors have rows that are no multiple of {K_BLOCK_LENGTH} long, which {work.precision.title} "
            "wants; llama.cpp keeps them in a larger format."
        )
    return tuple(found)


def _is_uneven(tensor: Placed) -> bool:
    return tensor.kind == "F16" and bool(tensor.shape[-1] % K_BLOCK_LENGTH)
