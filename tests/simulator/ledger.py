"""Counts what a device would have allocated, while PyTorch runs on tensors without content."""

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

ROUNDING = {"cuda": 512, "cpu": 1}  # c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize; the CPU's takes what is asked
aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Held:
    """One allocation: its size, what made it, and what it is."""

    bytes: int
    label: str
    shape: tuple[int, ...]
    dtype: str
    op: str


@dataclass(slots=True)
class Peak:
    """The highest point since `Ledger.watch`: bytes, the operation that reached it, and what was live there."""

    bytes: int = 0
    scratch: int = 0
    op: str = ""
    moment: str = ""
    live: tuple[Held, ...] = ()

    def by_label(self) -> dict[str, int]:
        """Bytes live at the peak, by label."""
        sums: Counter[str] = Counter()
        for held in self.live:
            sums[held.label] += held.bytes
        if self.scratch:
            sums["scratch of a kernel"] += self.scratch
        return dict(sums)

    def table(self, rows: int = 40) -> str:
        """What was live at the peak, largest first, for people."""
        groups: dict[tuple[str, str, tuple[int, ...], str], list[int]] = {}
        for held in self.live:
            groups.setdefault((held.label, held.op, held.shape, held.dtype), []).append(held.bytes)
        lines = [f"peak {self.bytes:,} bytes in {self.moment} at {self.op}, of them {self.scratch:,} inside the kernel"]
        ordered = sorted(groups.items(), key=lambda item: -sum(item[1]))
        for (label, op, shape, dtype), sizes in ordered[:rows]:
            lines.append(f"{sum(sizes):16,}  {len(sizes):5} x {sizes[0]:14,}  {label:22} {dtype:9} {shape!s:24} {op}")
        rest = ordered[rows:]
        if rest:
            lines.append(f"{sum(sum(sizes) for _, sizes in rest):16,}  in {len(rest)} other groups")
        return "\n".join(lines)


Segment = tuple[str | int, ...]
Scratch = Callable[[tuple[Any, ...], dict[str, Any]], int]
Answer = Callable[..., Any]


@dataclass(slots=True)
class _Event:
    key: int
    held: Held | None  # None: freed


@dataclass(slots=True)
class _Watch:
    start: dict[int, Held] = field(default_factory=dict)
    events: list[_Event] = field(default_factory=list)
    peak: Peak = field(default_factory=Peak)
    peak_event: int = 0


class Ledger(TorchDispatchMode):
    """Live bytes of all storages on the meta device, rounded as the device's allocator rounds.

    Attributes:
        live: bytes allocated now.
        moment: what is being done, for the report; the ledger itself finds out whether gradients are on their way.
        segment: the part of the step that is running, such as the backward pass of one layer.
        highest: the highest point of each segment since `watch`.
        entered: what was live when each segment began.
        device: the kind of device whose tensors are counted; "cpu" counts a step that is really taken.
    """

    def __init__(
        self,
        kind: str,
        scratch: dict[Any, Scratch] | None = None,
        answers: dict[Any, Answer] | None = None,
        device: str = "meta",
    ) -> None:
        super().__init__()
        self.device = device
        self.live = 0
        self.moment = "build"
        self.segment: Segment = ()
        self.highest: dict[Segment, int] = {}
        self.entered: dict[Segment, int] = {}
        self.operations = 0
        self._round = ROUNDING[kind]
        self._held: dict[int, Held] = {}
        self._scratch = scratch or {}
        self._answers = answers or {}
        self._watch = _Watch()
        self._exclusive: tuple[int, int, int] | None = None
        self._probing = False

    def watch(self) -> None:
        """Forgets the peak so far and starts to look for a new one."""
        self._watch = _Watch(dict(self._held), [], Peak(self.live), 0)
        self.highest = {}
        self.entered = {}

    def see(self, tensors: Any) -> None:
        """Counts tensors made from lists, which on the meta device come into being without an operation."""
        for tensor in tree_iter(tensors):
            if isinstance(tensor, torch.Tensor):
                self._record(tensor, "made from a list")

    def enter(self, segment: Segment) -> None:
        """Begins another part of the step."""
        self.segment = segment
        self.entered.setdefault(segment, self.live)
        self._touch(0, "")

    def peak(self) -> Peak:
        """The highest point since `watch`."""
        live = dict(self._watch.start)
        for event in self._watch.events[: self._watch.peak_event]:
            if event.held is None:
                live.pop(event.key, None)
            else:
                live[event.key] = event.held
        peak = self._watch.peak
        return Peak(peak.bytes, peak.scratch, peak.op, peak.moment, tuple(live.values()))

    def label(self, tensors: Any, label: str) -> int:
        """Names allocations that are there for good; returns their bytes. What has a name already keeps it."""
        total = 0
        for tensor in tree_iter(tensors):
            if not isinstance(tensor, torch.Tensor) or tensor.device.type != self.device:
                continue
            key = tensor.untyped_storage()._cdata
            held = self._held.get(key)
            if held is not None and held.label in _MOMENTS:
                self._held[key] = Held(held.bytes, label, tuple(tensor.shape), _short(tensor.dtype), held.op)
                total += held.bytes
        return total

    def total(self, label: str) -> int:
        """Bytes that carry a label now."""
        return sum(held.bytes for held in self._held.values() if held.label == label)

    @contextmanager
    def during(self, moment: str) -> Iterator[None]:
        """Names what is being done."""
        before, self.moment = self.moment, moment
        try:
            yield
        finally:
            self.moment = before

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operations += 1
        if func is aten._to_copy.default and args[0].is_meta and _target(kwargs) == "cpu":
            # The step's one wait for the device: what it reads decides only whether the step is applied.
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device="cpu")
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return 1
        if func is aten.add.Tensor and self._accumulates_in_place(args):
            args[0].add_(args[1])
            return args[0]
        result = self._answers.get(func, func)(*args, **kwargs)
        name = str(func)
        if isinstance(result, torch.Tensor):
            self._record(result, name)
        else:
            for part in tree_iter(result):
                if isinstance(part, torch.Tensor):
                    self._record(part, name)
        extra = self._scratch.get(func)
        if extra is not None:
            self._touch(extra(args, kwargs), name)
        return result

    def _record(self, tensor: torch.Tensor, op: str) -> None:
        if tensor.device.type != self.device:
            return
        storage = tensor.untyped_storage()
        size, key = storage.nbytes(), storage._cdata
        if key in self._held or size == 0:
            return
        size = -(-size // self._round) * self._round
        held = Held(size, self._now(), tuple(tensor.shape), _short(tensor.dtype), op)
        self._held[key] = held
        self._watch.events.append(_Event(key, held))
        self.live += size
        weakref.finalize(storage, self._free, key)
        self._touch(0, op)

    def _touch(self, scratch: int, op: str) -> None:
        watch = self._watch
        if self.live + scratch > self.highest.get(self.segment, 0):
            self.highest[self.segment] = self.live + scratch
        if self.live + scratch > watch.peak.bytes:
            watch.peak = Peak(self.live + scratch, scratch, op, self._now())
            watch.peak_event = len(watch.events)

    def _free(self, key: int) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.live -= held.bytes
            self._watch.events.append(_Event(key, None))

    def _now(self) -> str:
        return "backward" if torch._C._current_graph_task_id() != -1 else self.moment

    def _accumulates_in_place(self, args: tuple[Any, ...]) -> bool:
        """Whether this addition is autograd's own sum of two gradients, which a device makes in the first of them.

        Under any dispatch mode autograd adds into a new tensor (``can_accumulate_inplace`` in
        torch/csrc/autograd/input_buffer.cpp refuses tensors that look like subclasses); without one it reuses the
        first gradient if nobody else holds it. Nobody else holds it when the counts of references are those of
        `_probe`, where that is known.
        """
        if torch.is_grad_enabled() or torch._C._current_graph_task_id() == -1 or not isinstance(args[1], torch.Tensor):
            return False
        first, second = args[0], args[1]
        counts = (
            sys.getrefcount(first),
            first._use_count(),
            torch._C._storage_Use_Count(first.untyped_storage()._cdata),
        )
        if self._probing:
            self._exclusive = counts
            return False
        if self._exclusive is None:
            raise AssertionError("call probe() first")
        dense = first.numel() == first.untyped_storage().nbytes() // first.element_size()
        return (
            counts == self._exclusive and dense and first.dtype == second.dtype and first.shape == second.shape
            and first.device.type == self.device
        )  # fmt: skip

    def probe(self) -> None:
        """Learns what reference counts a gradient has that nobody else holds; call it once, inside the mode."""
        self._probing = True
        leaf = torch.zeros(2, 2, device=self.device, requires_grad=True)
        middle = leaf * 2
        (middle.sin() + middle.cos()).sum().backward()
        self._probing = False
        assert self._exclusive is not None


_MOMENTS = frozenset(("build", "forward", "backward", "optimizer", "evaluation", "sampling"))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _target(kwargs: dict[str, Any]) -> str:
    device = kwargs.get("device")
    return "" if device is None else torch.device(device).type
