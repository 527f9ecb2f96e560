"""The base model in memory: its own precision, 4 or 8 bits, with attention by document; safetensors only."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.engine import attention
from core.engine.bootstrap import keep_freed_memory, return_freed_memory, torch_dtype
from core.errors import FailureKind, JobError


def load_base(
    folder: Path,
    *,
    device: torch.device,
    compute_dtype: str,
    quantization: str = "none",
    double_quant: bool = True,
    kernel: str = "flash",
    trust_remote_code: bool = False,
    in_files: bool = False,
) -> nn.Module:
    """Loads a causal language model from a local folder.

    Args:
        folder: has config.json and safetensors files; nothing is fetched.
        device: where the weights go.
        compute_dtype: ``bf16``, ``fp16`` or ``fp32``.
        quantization: ``none``, ``nf4`` (blocks of 64, as in QLoRA) or ``int8`` (LLM.int8).
        double_quant: whether NF4's scale factors are quantized as well.
        kernel: which attention, see `core.engine.attention.register`.
        trust_remote_code: whether Python files in the folder may run; the user's explicit consent.
        in_files: whether the weights stay in RAM, mapped from their files, for somebody who moves them to the device
            piece by piece.

    Raises:
        JobError: the files cannot be loaded, with what to do.
    """
    from transformers import AutoModelForCausalLM

    dtype = torch_dtype(compute_dtype)
    if device.type == "cpu":
        return_freed_memory()
    try:
        model = _attending(
            kernel,
            partial(
                AutoModelForCausalLM.from_pretrained,
                folder,
                dtype=dtype,
                device_map={"": "cpu" if in_files else str(device)},
                quantization_config=_quantization_config(quantization, double_quant, dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
            ),
        )
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise JobError(
            FailureKind.MODEL_LOAD,
            f"The base model in {folder} could not be loaded: {_first_line(error)}",
            "Check that the folder is complete; “lowrank models” lists what can be loaded, engine.log has the detail.",
        ) from error
    model.config.use_cache = False
    _keep_gradients_on_cpu(model)
    _look_for_no_padding(model)
    if device.type == "cpu" and quantization != "none":
        _let_go_of_files(model)
    if device.type == "cpu":
        keep_freed_memory()
    loaded: nn.Module = model
    return loaded


def _attending(kernel: str, load: Callable[..., Any]) -> Any:
    """A model with our attention where it asks for it, else with its own.

    transformers makes masks for what it knows by name. A model of an older kind that takes its attention from elsewhere
    (Bloom, CodeGen, MPT) would get no mask under our name, and look ahead; some (GPT-J, Falcon) know theirs only.
    """
    name = attention.register(kernel)
    try:
        model = load(attn_implementation=name)
    except KeyError as unknown:
        if unknown.args != (name,):
            raise
        return load()
    if not _asks(model):
        for module in model.modules():
            config: Any = getattr(module, "config", None)
            if getattr(config, "_attn_implementation", None) == name:
                config._attn_implementation = "eager"  # noqa: SLF001 (what the masks are made for; nothing else reads it)
    return model


@torch.no_grad()
def _asks(model: Any) -> bool:
    """Whether a model calls the attention that it was loaded with: it says so, or it is tried on two tokens."""
    if getattr(model, "_supports_attention_backend", False):
        return True
    before = attention.calls()
    try:
        model(input_ids=torch.zeros((1, 2), dtype=torch.long, device=model.device), use_cache=False)
    except (AttributeError, TypeError, ValueError):  # the mask that is not there
        return False
    return attention.calls() > before


def _quantization_config(quantization: str, double_quant: bool, dtype: torch.dtype) -> Any:
    if quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def _keep_gradients_on_cpu(model: Any) -> None:
    """Stops bitsandbytes from repacking 4-bit weights for inference on AVX512-BF16 processors.

    After one forward pass in eval mode it would use a kernel without a gradient for good, also in training: the layers
    below would silently stop learning (bitsandbytes 0.50, `Linear4bit.forward`).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _look_for_no_padding(model: nn.Module) -> None:
    """Spares GPT-2 the look at a pass's first and last tokens, for which the host would wait twice a pass.

    transformers warns there of padding without a mask; passes have no padding.
    """
    for module in model.modules():
        if hasattr(module, "warn_if_padding_and_no_attention_mask"):
            module.__dict__["warn_if_padding_and_no_attention_mask"] = _say_nothing


def _say_nothing(*_: object) -> None:
    return None


def _let_go_of_files(model: nn.Module) -> None:
    """Copies what is not quantized out of the weights' files, which stay mapped and in memory as long as it lies there.

    The starter model in NF4 takes 518 MiB after this and 666 MiB without it.
    """
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.data.clone()


def checkpoint_layers(model: nn.Module, count: int) -> int:
    """Recomputes the activations of the first ``count`` decoder layers in the backward pass; returns how many it found.

    Source: transformers' `GradientCheckpointingLayer` reads a flag on each layer. The library's own switch would turn
    on all of them and, beside that, ask for gradients of the embeddings, which nothing here needs.
    """
    from torch.utils.checkpoint import checkpoint
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers[: max(count, 0)]:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # noqa: SLF001
    return min(max(count, 0), len(layers))


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
