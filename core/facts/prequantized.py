"""Weights that were quantized before they were saved: what they are called, and the shapes they have once unpacked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.facts.tensors import Tensor

_BNB_STATE = ".quant_state.bitsandbytes__"
_EXTRAS = (
    *(".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB", ".weight_format"),  # bitsandbytes
    *(".qzeros", ".scales", ".g_idx"),  # GPTQ and AWQ
    *(".weight_scale_inv", ".weight_scale", ".input_scale", ".activation_scale", ".weight_shape"),  # FP8 and others
)
_MAX_STATE_BYTES = 4096
_WORD = 32  # GPTQ and AWQ pack several weights into one 32-bit number


def quantization_name(config: Mapping[str, Any]) -> str:
    """What people call the quantization that config.json declares, such as "bitsandbytes 4-bit"; empty for none."""
    settings = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(settings, Mapping):
        return ""
    method = str(settings.get("quant_method") or "").lower().replace("_", "-")
    if method.startswith("bitsandbytes") or settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return f"bitsandbytes {8 if settings.get('load_in_8bit') else 4}-bit"
    bits = settings.get("bits", settings.get("w_bit"))
    return f"{method or 'unknown'} {bits}-bit" if isinstance(bits, int) and bits > 0 else method or "unknown"


def unpacked(tensors: tuple[Tensor, ...], config: Mapping[str, Any], folder: Path) -> tuple[Tensor, ...]:
    """The weights as the loaded model has them: plain names and shapes, without scales and tables.

    Bytes stay those on disk. Formats that are not known keep the shapes that the file gives them.

    Raises:
        UserError: the description that bitsandbytes stores beside a weight is broken.
    """
    settings = config.get("quantization_config") or {}
    method = quantization_name(config).partition(" ")[0]
    if not method:
        return tensors
    bits = settings.get("bits", settings.get("w_bit")) if isinstance(settings, Mapping) else None
    states = {t.name.partition(_BNB_STATE)[0]: t for t in tensors if _BNB_STATE in t.name}
    plain = []
    for tensor in tensors:
        if _BNB_STATE in tensor.name or tensor.name.endswith(_EXTRAS):
            continue
        name, shape = tensor.name, tensor.shape
        if name in states:
            shape = _stored_shape(states[name], folder)
        elif name.endswith(".qweight") and len(shape) == 2 and isinstance(bits, int) and 1 <= bits <= 8:
            name = name.removesuffix("qweight") + "weight"
            rows, columns = shape
            shape = (columns * _WORD // bits, rows) if method == "awq" else (columns, rows * _WORD // bits)
        plain.append(Tensor(name, shape, tensor.dtype, tensor.bytes, tensor.file, tensor.offset))
    return tuple(plain)


def _stored_shape(state: Tensor, folder: Path) -> tuple[int, ...]:
    path = folder / state.file
    try:
        with path.open("rb") as file:
            file.seek(state.offset)
            blob = file.read(min(state.bytes, _MAX_STATE_BYTES))
        shape = json.loads(blob)["shape"]
        if all(isinstance(size, int) and 0 < size < 2**40 for size in shape):
            return tuple(shape)
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as failure:
        cause: Exception | None = failure
    else:
        cause = None
    raise UserError(
        error(
            str(path),
            f"The description of the 4-bit weight, “{state.name[:200]}”, is broken.",
            "Download the model again, or take the version of it that is not quantized.",
        )
    ) from cause
