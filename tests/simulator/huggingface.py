"""A step as others take it: transformers' Trainer with PEFT and bitsandbytes, as measured on an A100 by a third party.

Our own engine has no published measurements. But the ledger and the emulated kernels are the same here, so where this
step agrees with what a GPU reported, they are right. Differences to our step, all from the versions of that time:
adapters in float32, autocast, cross-entropy over all logits at once, reentrant checkpointing of all layers, AdamW over
lists of tensors (foreach) with states in the parameters' own format.
"""

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from core.engine import bootstrap
from tests.simulator.kernels import emulated
from tests.simulator.ledger import Peak
from tests.simulator.models import config_of
from tests.simulator.quantized import quantize

LEARNING_RATE = 2e-5
RANK = 16
SDPA = "scaled_dot_product_attention"


@dataclass(frozen=True, slots=True)
class HuggingFaceCase:
    """One published run.

    Attributes:
        full: all weights are trained; otherwise adapters of rank 16 on the four attention projections.
        quantized: the base is NF4 with double quantization, and the forward pass runs under autocast.
        upcast: what is turned into float32 after loading: "nothing", "norms" (TRL's `peft_module_casting_to_bf16`), or
            "all" that is not quantized (PEFT's `prepare_model_for_kbit_training`).
        number: "bf16" or "fp16".
        dropout: of the adapters.
        rope_positions: transformers before 4.42 kept tables of cosines and sines in every layer, for so many positions.
        repeats_heads: keys and values are repeated for all heads before attention, as ``MistralFlashAttention2`` of
            transformers did then; ``LlamaFlashAttention2`` did not.
        keeps_inputs: ``MatMul4Bit`` kept its input whatever checkpointing said, as bitsandbytes did up to 0.43.1.
        multiplies_as_given: ``Linear4bit`` forgot the number it was told to compute in when its first input was
            float32 or bfloat16, and took that one's, until bitsandbytes' pull request 1623 (May 2025). So after float32
            norms the input was not made narrower: what `keeps_inputs` keeps was twice as wide, but one for all
            projections that share it.
        narrow_adapters: adapters of a base that is not quantized have its number, as before PEFT's pull request
            1706 (May 2024).
    """

    model: str
    batch: int
    length: int
    full: bool = False
    quantized: bool = False
    upcast: Literal["nothing", "norms", "all"] = "nothing"
    number: str = "bf16"
    dropout: float = 0.1
    rope_positions: int = 0
    repeats_heads: bool = False
    keeps_inputs: bool = False
    multiplies_as_given: bool = False
    narrow_adapters: bool = False


def simulate_huggingface(case: HuggingFaceCase) -> Peak:
    """The highest point of the second step of such a run."""
    with emulated("cuda") as ledger, _autocast(case) as region, _older_libraries(case):
        model = _model(case)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, foreach=True)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        tables = _rope_tables(case, model)
        gc.collect()
        ids = torch.zeros((case.batch, case.length), dtype=torch.long)
        labels = torch.zeros((case.batch, case.length), dtype=torch.long)
        ledger.label(list(model.parameters()), "weights")
        ledger.label([list(state.values()) for state in optimizer.state.values()], "optimizer")
        ledger.watch()
        with ledger.during("forward"), region():
            loss = _loss(model, ids, labels)
        loss.backward()
        del loss
        with ledger.during("optimizer"):
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        del tables
        return ledger.peak()


def _model(case: HuggingFaceCase) -> Any:
    from transformers import AutoModelForCausalLM

    bootstrap.quiet_libraries()
    dtype = bootstrap.torch_dtype(case.number)
    config = config_of(case.model)
    # The runs used flash attention, which takes the window as a number; here it would become a mask. It was no shorter
    # than the rows, so it hid nothing.
    config.sliding_window = None
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.config.use_cache = False
    if case.quantized:
        quantize(model, "nf4", True, dtype)
        for module in model.modules():
            if case.multiplies_as_given and hasattr(module, "compute_type_is_set"):
                module.compute_type_is_set = False
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(case.full)
        wanted = case.upcast == "all" or (case.upcast == "norms" and "norm" in name)
        if wanted and parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    if not case.full:
        model.enable_input_require_grads()
        model = _with_adapters(model, case)
    return model.train()


def _with_adapters(model: Any, case: HuggingFaceCase) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=RANK,
        lora_alpha=16,
        lora_dropout=case.dropout,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    attached = get_peft_model(model, config)
    for parameter in attached.parameters():
        if case.narrow_adapters and parameter.requires_grad:
            parameter.data = parameter.data.to(bootstrap.torch_dtype(case.number))
    return attached


def _loss(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``MistralForCausalLM.forward`` of transformers 4.45 with labels; the Trainer keeps nothing but the loss."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    outputs = causal.model(input_ids=ids)
    hidden = outputs[0]
    logits = causal.lm_head(hidden)
    logits = logits.float()
    shifted = logits[..., :-1, :].contiguous()
    wanted = labels[..., 1:].contiguous()
    return functional.cross_entropy(shifted.view(-1, logits.shape[-1]), wanted.view(-1))


def _rope_tables(case: HuggingFaceCase, model: Any) -> list[torch.Tensor]:
    config = model.config
    width = config.hidden_size // config.num_attention_heads
    dtype = bootstrap.torch_dtype(case.number)
    return [
        torch.empty(case.rope_positions, width, dtype=dtype)
        for _ in range(2 * config.num_hidden_layers)
        if case.rope_positions
    ]


@contextmanager
def _autocast(case: HuggingFaceCase) -> Iterator[Any]:
    """CUDA's autocast of matrix products and attention, which the meta device has not.

    Source: aten/src/ATen/autocast_mode.cpp. Inputs are cast where they are used; a trained parameter is cast once, and
    the copy is kept until the region ends. It stays in force in the backward pass, because checkpointing enters it
    again there, though outside of the region, where nothing is kept.
    """
    dtype = bootstrap.torch_dtype(case.number)
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    inside = False

    def cast(tensor: torch.Tensor | None) -> torch.Tensor | None:
        if tensor is None or not tensor.is_floating_point() or tensor.dtype == dtype:
            return tensor
        if inside and tensor.requires_grad and tensor.is_leaf:
            if id(tensor) not in kept:
                kept[id(tensor)] = (tensor.to(dtype), tensor)
            return kept[id(tensor)][0]
        return tensor.to(dtype)

    @contextmanager
    def region() -> Iterator[None]:
        nonlocal inside
        inside = case.quantized
        try:
            yield
        finally:
            inside = False
            kept.clear()

    with ExitStack() as stack:
        if case.quantized:
            for where, name, inputs in ((functional, "linear", 3), (torch, "matmul", 2), (functional, SDPA, 3)):
                stack.enter_context(_casting(where, name, inputs, cast))
            enabled = torch.is_autocast_enabled
            torch.is_autocast_enabled = lambda *_: True  # type: ignore[assignment]
            stack.callback(setattr, torch, "is_autocast_enabled", enabled)
        yield region


@contextmanager
def _older_libraries(case: HuggingFaceCase) -> Iterator[None]:
    """What `repeats_heads`, `keeps_inputs` and `multiplies_as_given` of the case say, in the libraries of today."""
    from bitsandbytes.autograd._functions import MatMul4Bit

    attend, today = functional.scaled_dot_product_attention, MatMul4Bit.forward
    multiply = _multiply_by_linear if case.multiplies_as_given else today

    def repeating(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **options: Any) -> Any:
        times = query.shape[1] // key.shape[1]
        return attend(query, _repeated(key, times), _repeated(value, times), *rest, **options)

    def keeping(context: Any, inputs: torch.Tensor, *rest: Any) -> Any:
        context.kept_by_the_graph = inputs
        return multiply(context, inputs, *rest)

    if case.repeats_heads:
        setattr(functional, SDPA, repeating)
    MatMul4Bit.forward = staticmethod(keeping if case.keeps_inputs else multiply)
    try:
        yield
    finally:
        setattr(functional, SDPA, attend)
        MatMul4Bit.forward = staticmethod(today)


def _multiply_by_linear(
    context: Any, inputs: torch.Tensor, packed: torch.Tensor, _out: None, bias: torch.Tensor | None, quant_state: Any
) -> torch.Tensor:
    """``MatMul4Bit.forward`` before bitsandbytes had ``gemm_4bit``: the weight in the input's number, then ``linear``.

    Under autocast that ``linear`` returns autocast's number, whatever the input's is.
    """
    from bitsandbytes.functional import dequantize_4bit

    context.is_empty = False
    context.state, context.tensors = quant_state, (None, packed)
    return functional.linear(inputs, dequantize_4bit(packed, quant_state).to(inputs.dtype), bias)


def _repeated(heads: torch.Tensor, times: int) -> torch.Tensor:
    """``repeat_kv`` of transformers: heads side by side, in new memory."""
    batch, count, length, width = heads.shape
    return heads[:, :, None].expand(batch, count, times, length, width).reshape(batch, count * times, length, width)


@contextmanager
def _casting(where: Any, name: str, inputs: int, cast: Any) -> Iterator[None]:
    original = getattr(where, name)

    def casting(*args: Any, **kwargs: Any) -> Any:
        return original(*(cast(one) for one in args[:inputs]), *args[inputs:], **kwargs)

    setattr(where, name, casting)
    try:
        yield
    finally:
        setattr(where, name, original)
