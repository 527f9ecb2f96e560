"""A GPU that is not there: tensors on it know their device, type and shape, and every wait for it is written down.

PyTorch's fake tensors (`torch._subclasses.fake_tensor`) refuse whatever a GPU would: operations on tensors of two
devices, shapes that do not fit, and numbers that nobody has computed. Here the last are made up, and noted: on a GPU
the host would have had to wait for them.
"""

import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from core.units import GIB

GPU = torch.device("cuda", 0)
_aten = torch.ops.aten


class Fakes(FakeTensorMode):
    """Fake tensors where PyTorch's Python part knows of no GPU, even while the engine is told that there is one."""

    @property
    def avoid_device_init(self) -> bool:
        return True


@dataclass
class Watch(TorchDispatchMode):
    """What the host waits for, as (what, the engine's line), how often each operation was called, and the GPUs used."""

    waits: list[tuple[str, str]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    used: list[str] = field(default_factory=list)
    _pinned: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def note(self, what: str) -> None:
        self.waits.append((what, _engine_line()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls[str(func)] += 1
        if func is _aten._local_scalar_dense.default:
            if args[0].is_cuda:
                self.note("reads a number")
            return _made_up(args[0].dtype)
        if func is _aten._pin_memory.default:
            self._pinned.append(args[0].clone())
            return self._pinned[-1]
        result = func(*args, **kwargs)
        if func in (_aten._to_copy.default, _aten.copy_.default):
            source, target = (args[0], result) if func is _aten._to_copy.default else (args[1], args[0])
            self._copied(source, target, waits=not kwargs.get("non_blocking", False))
        return result

    def _copied(self, source: torch.Tensor, target: torch.Tensor, *, waits: bool) -> None:
        if source.is_cuda == target.is_cuda or (source.is_cpu and source.dim() == 0):  # a number goes with the kernel
            return
        pinned = any(source is one for one in self._pinned)
        if waits or (source.is_cpu and not pinned):
            self.note("copies to the GPU" if target.is_cuda else "copies from the GPU")


def _made_up(dtype: torch.dtype) -> bool | float | int:
    if dtype == torch.bool:
        return True
    return 1.0 if dtype.is_floating_point else 1


def _engine_line() -> str:
    """The innermost line of the engine, without its number."""
    for frame in reversed(traceback.extract_stack()):
        folder, found, name = frame.filename.replace("\\", "/").rpartition("core/engine/")
        if found and not folder.endswith("tests/"):
            return f"{name}: {(frame.line or '').partition('  #')[0]}"
    return "elsewhere"


def pretend(watch: Watch) -> None:
    """Has PyTorch's Python part say that there is one GPU, of the Hopper generation."""
    cuda: Any = torch.cuda
    cuda.is_available = cuda.is_initialized = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.set_device = lambda device: watch.used.append(str(device))
    cuda.synchronize = lambda *_: watch.note("waits for all kernels")
    cuda.get_rng_state = lambda *_: torch.get_rng_state()
    cuda.set_rng_state = lambda *_: None
    for name in ("init", "empty_cache", "reset_peak_memory_stats"):
        setattr(cuda, name, lambda *_: None)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        setattr(cuda, name, lambda *_: GIB)
    cuda.mem_get_info = lambda *_: (22 * GIB, 24 * GIB)


def carry_over(fakes: Fakes, model: nn.Module) -> None:
    """Puts fakes of all weights, packed 4-bit ones included, on the GPU; shared ones stay shared."""
    known: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                if id(parameter) not in known:
                    known[id(parameter)] = _carried(fakes, parameter)
                module._parameters[name] = known[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = _on_gpu(fakes, buffer)


def _carried(fakes: Fakes, parameter: nn.Parameter) -> nn.Parameter:
    value = _on_gpu(fakes, parameter.data.as_subclass(torch.Tensor))
    with fakes:
        carried: Any = nn.Parameter(value, requires_grad=parameter.requires_grad)
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        for part in (state, state.state2) if state.nested else (state,):
            for key, tensor in list(vars(part).items()):
                if isinstance(tensor, torch.Tensor):
                    setattr(part, key, _on_gpu(fakes, tensor))
        carried.quant_state, carried.bnb_quantized = state, True
    return carried  # type: ignore[no-any-return]


def _on_gpu(fakes: Fakes, tensor: torch.Tensor) -> torch.Tensor:
    held = fakes.from_tensor(tensor.detach())
    with fakes, torch.no_grad():
        return held.to(GPU)
