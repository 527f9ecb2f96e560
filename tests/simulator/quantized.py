"""Base weights in 4 and 8 bits on the meta device, laid out as bitsandbytes 0.50.2 lays them out."""

import math
from typing import Any

import torch

from core.engine.loading import _quantization_config

NF4_BLOCK = 64  # bitsandbytes/nn/modules.py: Params4bit's default
ABSMAX_BLOCK = 256  # bitsandbytes/functional.py: quantize_4bit quantizes the scales in blocks of 256


def quantize(model: Any, quantization: str, double_quant: bool, dtype: torch.dtype) -> None:
    """Replaces linear layers as transformers does when it loads a model, and gives them quantized weights.

    Source: transformers/quantizers/quantizer_bnb_{4,8}bit.py, which decide what stays as it is.
    """
    from transformers.quantizers.auto import AutoHfQuantizer

    config = _quantization_config(quantization, double_quant, dtype)
    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map={"": "meta"}, keep_in_fp32_modules=[])
    for module in model.modules():
        kind = type(module).__name__
        if kind == "Linear4bit":
            _fill_nf4(module, double_quant, dtype)
        elif kind == "Linear8bitLt":
            _fill_int8(module)
        else:
            continue
        if module.bias is not None:
            module.bias = torch.nn.Parameter(torch.empty(module.out_features, dtype=dtype), requires_grad=False)
    quantizer.postprocess_model(model)


def _fill_nf4(module: Any, double_quant: bool, dtype: torch.dtype) -> None:
    """``quantize_4bit`` in bitsandbytes/functional.py: packed bytes, absmax a block, and one code book a weight."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    count = module.in_features * module.out_features
    blocks = math.ceil(count / NF4_BLOCK)
    shared = {
        "shape": torch.Size((module.out_features, module.in_features)),
        "code": torch.empty(16, dtype=torch.float32),
        "blocksize": NF4_BLOCK,
        "quant_type": "nf4",
        "dtype": dtype,
    }
    if double_quant:
        outer = QuantState(
            absmax=torch.empty(math.ceil(blocks / ABSMAX_BLOCK), dtype=torch.float32),
            code=torch.empty(256, dtype=torch.float32),
            blocksize=ABSMAX_BLOCK,
            dtype=torch.float32,
        )
        offset = torch.empty((), dtype=torch.float32)
        state = QuantState(absmax=torch.empty(blocks, dtype=torch.uint8), offset=offset, state2=outer, **shared)
    else:
        state = QuantState(absmax=torch.empty(blocks, dtype=torch.float32), **shared)
    module.weight = Params4bit(
        torch.empty(((count + 1) // 2, 1), dtype=torch.uint8),
        requires_grad=False,
        quant_state=state,
        blocksize=NF4_BLOCK,
        compress_statistics=double_quant,
        quant_type="nf4",
        quant_storage=torch.uint8,
        module=module,
        bnb_quantized=True,
    )
    module.quant_state = state
    module.support_avx512bf16_for_cpu = False  # core.engine.loading turns it off too


def _fill_int8(module: Any) -> None:
    """``Int8Params._quantize`` in bitsandbytes/nn/modules.py: one byte a weight and one scale a row."""
    from bitsandbytes.nn import Int8Params

    values = torch.empty(module.out_features, module.in_features, dtype=torch.int8)
    scales = torch.empty(module.out_features, dtype=torch.float32)
    module.weight = Int8Params(values, requires_grad=False, has_fp16_weights=False, CB=values, SCB=scales)


def state_tensors(model: Any) -> list[tuple[str, torch.Tensor]]:
    """The scales and code books, which are no parameters, with the names of their modules."""
    from bitsandbytes.nn import Linear8bitLt

    found: list[tuple[str, torch.Tensor | None]] = []
    for name, module in model.named_modules():
        state = getattr(module, "quant_state", None)
        if state is not None:
            found += [(name, part) for part in (state.absmax, state.code, state.offset)]
            if state.nested:
                found += [(name, state.state2.absmax), (name, state.state2.code)]
        if isinstance(module, Linear8bitLt):
            found += [(name, part) for part in (module.weight.SCB, module.state.SCB, module.state.CB)]
    return [(name, part) for name, part in found if part is not None]
