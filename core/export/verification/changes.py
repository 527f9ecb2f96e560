"""Whether every module's change has arrived in an export, and as strongly as it was trained.

The change D = scaling * B * A of each module is laid over the difference of the exported weight and the base's. The
factor <W' - W, D> / <D, D> is 1 where all of it arrived, 0 where a module was left out, 2 where the scaling was
doubled.

Rounding takes some of it away: a change smaller than half a step of the format leaves the base's number as it was. So
the factor is compared with that of W + D rounded in the same way, and where that cannot be done here (K-quants, whose
steps are not the base's), with 1 to within the rounding error divided by the length of D.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.export.deltas import read_wide, torch_dtype, wide_blocks
from core.export.matching import Written, match
from core.export.peft_adapter import read_peft_adapter
from core.export.tensor_files import read_model_tensors
from core.export.verification.records import Check, checked
from core.facts.json_files import read_json_object

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader

    from core.export.gguf.layout import Placed

_LEAST = 0.02
_SIGMAS = 6.0
_KEPT = 0.9
_ROUNDED_HERE = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
_TELLING = 0.5
"""Where rounding alone may move the factor by more, nothing is said of the module."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """How much of a module's change is in the export: ``factor``, which should be ``expected`` to within ``doubt``."""

    module: str
    factor: float
    expected: float
    doubt: float

    @property
    def is_right(self) -> bool:
        """Whether it is there as it should be, as far as rounding lets one see."""
        return abs(self.factor - self.expected) <= self.doubt


@dataclass(frozen=True, slots=True)
class Exported:
    """A weight of an export, in the order of the model's own.

    Attributes:
        rounded: rounds other numbers in the same way; None where that cannot be done here.
    """

    weight: "torch.Tensor"
    rounded: "Callable[[torch.Tensor], torch.Tensor] | None"


ReadWeight = Callable[[Written], Exported | None]
"""The export's weight for a tensor of the merged model; None where it has none."""


def compare_changes(base: Path, adapter: Path, read: ReadWeight) -> tuple[Check | None, tuple[str, ...]]:
    """The check on all low-rank changes, and what could not be told; no check where nothing could.

    Args:
        base: folder of the base model.
        adapter: folder of the adapter.
        read: gives the export's weight.

    Raises:
        UserError: base and adapter do not fit together.
    """
    config = read_json_object(base / "config.json")
    matched = match(read_peft_adapter(adapter), base, read_model_tensors(base), config)
    found: list[Arrived] = []
    missing: list[str] = []
    for tensor in matched.tensors:
        if tensor.change is None:
            continue
        exported = read(tensor)
        if exported is None:
            missing.append(tensor.name)
        else:
            found.append(_arrived(tensor, exported))
    telling = [one for one in found if one.doubt <= _TELLING]
    wrong = [one for one in telling if not one.is_right]
    notes = []
    if len(telling) < len(found):
        notes.append(
            f"In {len(found) - len(telling)} of {len(found)} modules the change is smaller than the rounding of the "
            "export, so it cannot be told whether it arrived."
        )
    if missing:
        words = f"{len(missing)} changed weights are not in the export, such as {missing[0]}."
        return checked("changes", words, passed=False), tuple(notes)
    if not wrong:
        kept = sum(one.expected for one in telling) / len(telling) if telling else 1.0
        if kept < _KEPT:
            notes.append(
                f"Of the adapter's change {kept:.0%} is left after rounding: much of it is smaller than a step of the "
                "base's own precision. Used as an adapter, or exported as GGUF in F32, it keeps all."
            )
    return _told(telling) if telling else None, tuple(notes)


def _arrived(tensor: Written, exported: Exported) -> Arrived:
    import torch

    change = tensor.change
    assert change is not None
    plain = read_wide(tensor.source)
    if change.magnitude is None:
        delta = change.scaling * (read_wide(change.b) @ read_wide(change.a))
        delta = delta.T if tensor.transposed else delta
    else:
        delta = torch.cat(list(wide_blocks(tensor))) - plain
    power = _product(delta, delta)
    if power == 0:
        return Arrived(change.module, 1.0, 1.0, 0.0)
    rest = exported.weight - plain
    factor = _product(rest, delta) / power
    if exported.rounded is not None:
        expected = exported.rounded(plain + delta) - plain
        return Arrived(change.module, factor, _product(expected, delta) / power, _LEAST)
    rounding = float((rest - factor * delta).std())
    return Arrived(change.module, factor, 1.0, _LEAST + _SIGMAS * rounding / math.sqrt(power))


def compare_factors(base: Path, adapter: Path, file: "GGUFReader") -> Check:
    """The check on an adapter as a GGUF file: each module's change, as llama.cpp computes it of the file.

    Args:
        base: folder of the base model.
        adapter: folder of the adapter.
        file: the adapter as a GGUF file.

    Raises:
        UserError: base and adapter do not fit together.
    """
    from core.export.gguf.lora import placed_changes

    alpha_field = file.fields.get("adapter.lora.alpha")
    alpha = float(alpha_field.contents()) if alpha_field is not None else 0.0
    held = {tensor.name: tensor for tensor in file.tensors}
    found, missing = [], []
    for placed in placed_changes(base, adapter):
        parts = [held.get(f"{placed.name}.lora_{part}") for part in "ab"]
        assert placed.source is not None
        if any(part is None for part in parts):
            missing.append(placed.source.name)
        else:
            found.append(_factors_arrived(placed, parts, alpha))
    if missing:
        words = f"{len(missing)} changed weights are not in the export, such as {missing[0]}."
        return checked("changes", words, passed=False)
    return _told(found)


def _factors_arrived(placed: "Placed", parts: Sequence[Any], alpha: float) -> Arrived:
    import gguf
    import numpy as np
    import torch

    from core.export.gguf.tensor_bytes import in_halves

    assert placed.source is not None
    change = placed.source.change
    assert change is not None
    a, b = (torch.from_numpy(np.array(gguf.dequantize(part.data, part.tensor_type), np.float32)) for part in parts)
    wanted_a, wanted_b = read_wide(change.a), read_wide(change.b)
    if (a.shape, b.shape) != (wanted_a.shape, wanted_b.shape):
        return Arrived(change.module, 0.0, 1.0, _LEAST)
    b = in_halves(b, placed.heads) if placed.heads else b
    power = change.scaling * _overlap(wanted_a, wanted_b, wanted_a, wanted_b)
    if power == 0:
        return Arrived(change.module, 1.0, 1.0, 0.0)
    kept = [
        numbers.half().float() if parts[0].tensor_type.name == "F16" else numbers for numbers in (wanted_a, wanted_b)
    ]
    scale = alpha / a.shape[0]
    expected = change.scaling * _overlap(kept[0], kept[1], wanted_a, wanted_b) / power
    return Arrived(change.module, scale * _overlap(a, b, wanted_a, wanted_b) / power, expected, _LEAST)


def _overlap(a: "torch.Tensor", b: "torch.Tensor", other_a: "torch.Tensor", other_b: "torch.Tensor") -> float:
    """<B A, B' A'>, by way of the small products."""
    return float(((b.T @ other_b).double() * (a @ other_a.T).double()).sum())


def _told(found: list[Arrived]) -> Check:
    """What the factors of all modules come to."""
    wrong = [one for one in found if not one.is_right]
    if wrong:
        worst = max(wrong, key=lambda one: abs(one.factor - one.expected))
        words = (
            f"The changes of {len(wrong)} of {len(found)} modules are not there as trained; worst is {worst.module}."
        )
        return checked("changes", words, passed=False, measured=f"{worst.factor:.0%} instead of {worst.expected:.0%}")
    off = max((abs(one.factor - one.expected) for one in found), default=0.0)
    words = f"The changes of {len(found)} modules are in the weights, as strong as they were trained."
    return checked("changes", words, passed=True, measured=f"off by {off:.1%}")


def _product(one: "torch.Tensor", other: "torch.Tensor") -> float:
    """The sum of products, row by row in float32 and over the rows in float64."""
    return float((one * other).sum(-1).double().sum())


def folder_weights(folder: Path) -> ReadWeight:
    """Reads the weights of an exported safetensors folder."""
    stored = read_model_tensors(folder)

    def read(tensor: Written) -> Exported | None:
        found = stored.get(tensor.name)
        if found is None or found.shape != tensor.shape:
            return None
        weight = read_wide(found)
        dtype = torch_dtype(found.dtype)
        return Exported(weight, lambda numbers: numbers.to(dtype).float())

    return read


def gguf_weights(file: "GGUFReader", base: Path) -> ReadWeight:
    """Reads the weights of a GGUF file, put back into the order of the model's own."""
    import gguf
    import numpy as np
    import torch

    from core.export.gguf.families import family_of
    from core.export.gguf.layout import place_tensors
    from core.export.gguf.precisions import find_precision
    from core.export.gguf.tensor_bytes import in_halves

    config = read_json_object(base / "config.json")
    family = family_of(config)
    held = {tensor.name: tensor for tensor in file.tensors}

    def read(tensor: Written) -> Exported | None:
        assert family is not None
        placed = place_tensors((tensor,), family, config, find_precision("f32"), base, tied=False)[0]
        found = held.get(placed.name)
        if found is None and placed.name == "output.weight":
            found = held.get("token_embd.weight")
        if found is None:
            return None
        numbers = torch.from_numpy(np.array(gguf.dequantize(found.data, found.tensor_type), np.float32))
        if numbers.numel() != math.prod(tensor.shape):
            return None
        numbers = numbers.reshape(placed.shape)
        if placed.heads:
            numbers = in_halves(numbers, placed.heads)
        kind = found.tensor_type
        turned = placed.transposed

        def rounded(weight: "torch.Tensor") -> "torch.Tensor":
            rows = (weight.T if turned else weight).contiguous().numpy()
            again = torch.from_numpy(gguf.dequantize(gguf.quantize(rows, kind), kind)).reshape(rows.shape)
            return again.T if turned else again

        return Exported(numbers.T if turned else numbers, rounded if kind.name in _ROUNDED_HERE else None)

    return read
