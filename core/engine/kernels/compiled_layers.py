"""Decoder layers compiled by PyTorch, one at a time, so that what lies between their products is fused.

All layers of a kind share one compiled form, and so do passes of all lengths: the length is a symbol to the compiler.
Attention is left out of what it sees. It asks for the bounds of the documents, which are other numbers in every pass,
and the compiler would make everything anew for each of them (20 seconds a pass on a processor); and it is one kernel
already, with nothing to fuse.

Only passes that learn go through the compiled form: a layer whose input needs no gradient (the first one, as a rule)
would need another form than the rest, and so would evaluations and sampling.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from core import paths
from core.engine import attention
from core.engine.kernels.fused_layers import fuse_layers, release_layers

NAME = "compiled"
MOST_FORMS = 16
"""Compiled forms of one piece of code: kinds of layers times recomputed or not. Beyond it PyTorch would go on without
compiling and tell nobody."""
MOST_COMPILERS = 4
"""Processes that compile kernels side by side; each takes some hundred megabytes, and torch wants one for each core."""
MOST_GRAPHS = 24
"""Pieces compiled after the trial; more of them mean that something is compiled again and again."""


class CompiledLayers:
    """The layers of a model, compiled while it is on.

    Attributes:
        name: what it is called.
    """

    name = NAME

    def __init__(self, base: nn.Module, kernel: str, backend: str = "inductor") -> None:
        """Changes nothing yet.

        Args:
            base: a causal language model with its adapters.
            kernel: the attention that it was loaded with, see `core.engine.attention.register`.
            backend: what compiles; ``aot_eager`` goes the same way without a compiler.
        """
        self._base = base
        self._kernel = kernel
        self._backend = backend
        self._at_first = 0
        self._released = False
        self._compiled: dict[type[nn.Module], Callable[..., Any]] = {}

    def obstacle(self) -> str:
        """Why it cannot be tried here, as a sentence; empty when it can."""
        layers = _layers(self._base)
        if not layers:
            return "The layers of this model cannot be told apart."
        if any("forward" in layer.__dict__ for layer in layers):
            return "The layers of this model compute in a way of their own already."
        if any(parameter.is_cuda for parameter in self._base.parameters()) and find_spec("triton") is None:
            return "PyTorch's compiler needs the package triton for this GPU, and it is not installed."
        return ""

    def on(self) -> None:
        """Has the layers compute in compiled form; each compiles when it is first called."""
        from torch._dynamo import config as tracing
        from torch._inductor import config as compiling

        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(paths.home() / "compiled"))
        tracing.recompile_limit = MOST_FORMS
        compiling.compile_threads = min(compiling.compile_threads or 1, MOST_COMPILERS)
        compiling.fallback_random = True  # dropout draws what it would draw in plain layers
        attention.register(self._kernel, hidden_from_compiler=True)
        self._released = release_layers(self._base) > 0  # the compiler fuses what it can see, and sees PEFT's own
        compiled = self._compiled
        for layer in _layers(self._base):
            kind = type(layer)
            if kind not in compiled:
                compiled[kind] = torch.compile(_without_recomputing(kind), dynamic=True, backend=self._backend)
            layer.forward = partial(_forward, layer, compiled[kind])

    def off(self) -> None:
        """Has the layers compute as they are."""
        for layer in _layers(self._base):
            layer.__dict__.pop("forward", None)
        attention.register(self._kernel)
        if self._released:
            fuse_layers(self._base)
        _dismiss_compilers()

    def settle(self) -> None:
        """Takes what is compiled by now for all that should be."""
        self._at_first = _graphs()
        _dismiss_compilers()

    def complaint(self) -> str:
        """Why it should be given up, as a sentence; empty while all is well."""
        more = _graphs() - self._at_first
        return f"The compiler had to compile {more} pieces anew after the start." if more > MOST_GRAPHS else ""


def _dismiss_compilers() -> None:
    """Ends the processes that compiled kernels; they come back when there is something to compile."""
    if "torch._inductor.async_compile" in sys.modules:
        from torch._inductor.async_compile import shutdown_compile_workers

        shutdown_compile_workers()


def _forward(layer: Any, compiled: Callable[..., Any], *inputs: Any, **others: Any) -> Any:
    """A layer's forward pass: `compiled` where something is learned, and recomputed where the layer should be."""
    hidden = inputs[0] if inputs else others.get("hidden_states")
    kind = type(layer)
    learns = torch.is_grad_enabled() and isinstance(hidden, torch.Tensor) and hidden.requires_grad
    if not learns or not layer.training:
        return kind.forward(layer, *inputs, **others)
    if layer.gradient_checkpointing and kind.forward is not _without_recomputing(kind):
        # transformers recomputes inside of what it calls a layer's forward pass, which is replaced here
        return layer._gradient_checkpointing_func(partial(compiled, layer, **others), *inputs)  # noqa: SLF001
    return compiled(layer, *inputs, **others)


def _without_recomputing(kind: type[nn.Module]) -> Callable[..., Any]:
    """The forward pass of a kind of layer below what transformers wraps around it (`GradientCheckpointingLayer`)."""
    plain: Callable[..., Any] = getattr(kind.forward, "__wrapped__", kind.forward)
    return plain


def _layers(base: nn.Module) -> list[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]


def _graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
