"""A LoRA as a GGUF file of its own, which llama.cpp puts on the base model's GGUF file when it loads it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Problem, UserError, error
from core.export.adapter import public_name, read_manifest
from core.export.deltas import read_wide
from core.export.gguf.families import Family, family_of, family_problems
from core.export.gguf.layout import Placed, place_tensors
from core.export.gguf.precisions import find_precision
from core.export.gguf.staging import staged_file, target_problems
from core.export.gguf.tensor_bytes import in_pairs
from core.export.gguf.write import GgufReport
from core.export.matching import match
from core.export.merge import MergeCancelledError, fingerprint_problems, read_base_config
from core.export.peft_adapter import PeftAdapter, read_peft_adapter
from core.export.tensor_files import read_model_tensors

if TYPE_CHECKING:
    import numpy as np

_PRECISIONS = ("f16", "f32")


def write_gguf_adapter(
    base: Path,
    adapter: Path,
    target: Path,
    *,
    precision: str = "f16",
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> GgufReport:
    """Writes an adapter as a GGUF file.

    llama.cpp scales every change by one alpha divided by the rank. Where the adapter's own scaling is another one
    (rsLoRA, patterns of rank and alpha), the difference is multiplied into B.

    Args:
        base: folder of the base model, whose shapes decide where the rows of q and k go.
        adapter: folder of a LoRA or rsLoRA adapter in PEFT's format.
        target: the file; it must not exist.
        precision: "f16" or "f32".
        on_progress: called with tensors written and tensors in all.
        cancelled: asked between tensors; when it says True the export stops.

    Raises:
        UserError: the adapter cannot be said as a GGUF file, or does not belong to the base; every reason at once.
        MergeCancelledError: ``cancelled`` said so; nothing is left behind.
        OSError: reading or writing failed.
    """
    import gguf

    started = time.monotonic()
    problems = list(target_problems(target))
    if precision not in _PRECISIONS:
        message = f"An adapter is written in F16 or F32, not in “{precision}”."
        problems.append(error("precision", message, "Leave the precision out: adapters are small."))
    try:
        found, placed, family = _prepare(base, adapter)
    except UserError as failure:
        raise UserError(*problems, *failure.problems) from failure
    if problems:
        raise UserError(*problems)
    alpha = _common_alpha(found)
    writer = gguf.GGUFWriter(None, family.arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_name(target.stem)
    writer.add_file_type(find_precision(precision).file_type)
    manifest = read_manifest(adapter)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, manifest.base_name if manifest is not None else public_name(str(base)))
    for number, (name, numbers) in enumerate(_factors(placed, alpha, precision), 1):
        if cancelled is not None and cancelled():
            raise MergeCancelledError("the export was cancelled")
        writer.add_tensor(name, numbers)
        if on_progress is not None:
            on_progress(number, 2 * len(placed))
    with staged_file(target) as staging:
        try:
            writer.write_header_to_file(staging)
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return GgufReport(target, target.stat().st_size, 2 * len(placed), precision, time.monotonic() - started)


def gguf_adapter_problems(base: Path, adapter: Path) -> tuple[Problem, ...]:
    """Why an adapter cannot be written as a GGUF file; empty where it can. Reads headers, never weights."""
    try:
        _prepare(base, adapter)
    except UserError as failure:
        return failure.problems
    return ()


def placed_changes(base: Path, adapter: Path) -> tuple[Placed, ...]:
    """The weights that an adapter changes, as the base's GGUF file has them.

    Raises:
        UserError: the adapter cannot be said as a GGUF file, or does not belong to the base; every reason at once.
    """
    return _prepare(base, adapter)[1]


def _prepare(base: Path, adapter: Path) -> tuple[PeftAdapter, tuple[Placed, ...], Family]:
    config = read_base_config(base)
    family = family_of(config)
    problems = list(family_problems(config, base))
    found = read_peft_adapter(adapter)
    if found.replacements:
        names = ", ".join(sorted(found.replacements)[:2])
        message = f"The adapter holds weights that were trained in full ({names}), which a LoRA file cannot."
        problems.append(error(str(adapter), message, "Export the whole model as GGUF."))
    if any(change.magnitude is not None for change in found.modules):
        message = "This is a DoRA adapter, and llama.cpp knows LoRA alone."
        problems.append(error(str(adapter), message, "Export the whole model as GGUF."))
    problems += fingerprint_problems(base, adapter)
    if family is None or problems:
        raise UserError(*problems)
    matched = match(found, base, read_model_tensors(base), config)
    changed = tuple(tensor for tensor in matched.tensors if tensor.change is not None)
    placed = place_tensors(changed, family, config, find_precision("f32"), base, tied=False)
    return found, tuple(tensor for tensor in placed if tensor.source is not None), family


def _common_alpha(adapter: PeftAdapter) -> float:
    """The alpha that most modules have, in the way llama.cpp counts: scaling times rank."""
    return Counter(change.scaling * change.a.shape[0] for change in adapter.modules).most_common(1)[0][0]


def _factors(placed: tuple[Placed, ...], alpha: float, precision: str) -> "Iterator[tuple[str, np.ndarray[Any, Any]]]":
    import numpy as np

    kind = np.dtype(np.float16 if precision == "f16" else np.float32)
    for tensor in placed:
        assert tensor.source is not None
        change = tensor.source.change
        assert change is not None
        a, b = read_wide(change.a), read_wide(change.b)
        if tensor.heads:
            b = in_pairs(b, tensor.heads)
        factor = change.scaling * change.a.shape[0] / alpha
        if factor != 1:
            b = b * factor
        for part, matrix in (("a", a), ("b", b)):
            numbers = np.ascontiguousarray(matrix.numpy()).astype(kind)
            if not np.isfinite(numbers).all():
                message = f"“{change.module}” has numbers that are none, or too large for {precision.upper()}."
                raise UserError(error(str(change.a.path), message, "Export it in F32, or an earlier saved state."))
            yield f"{tensor.name}.lora_{part}", numbers
