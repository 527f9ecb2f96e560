"""The peak of one setting by component: what is there all the time, and the highest moment of a step on top of it."""

from dataclasses import dataclass
from functools import cached_property

from core.facts.types import DeviceKind, ModelFacts
from core.plan.memory.experience import NO_EXPERIENCE, Experience
from core.plan.memory.layers import Trained
from core.plan.memory.outside import context_bytes, library_bytes, slack_bytes
from core.plan.memory.passes import Highest, PassMemory, Size
from core.plan.memory.statics import (
    GATHERED_LAYERS,
    base_bytes,
    gradient_bytes,
    master_bytes,
    optimizer_bytes,
    rounded,
    shared_base_bytes,
    update_bytes,
)
from core.plan.memory.step import Setting, StepMemory
from core.plan.types import MemoryPart

_WEIGHT_DETAILS = {
    "none": "in the compute format",
    "nf4": "blocks in 4 bits, embeddings and head in the compute format",
    "int8": "blocks in 8 bits, embeddings and head in the compute format",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What memory depends on beside the model, the trained parameters and the size of a pass.

    Attributes:
        number: the compute format: "bf16", "fp16" or "fp32".
        kernel: what attention runs as: "varlen" for one call for all rows, else row by row "flash", "sdpa" (PyTorch's
            choice), "efficient" (its choice where flash cannot run) or "eager".
        longest: tokens of the longest row.
        rows: most rows that share a pass: those of a step.
        supervised: most positions of a pass that can carry loss.
        several: whether a step can take more than one pass, so that gradients are there from the start.
        capability: compute capability of the GPU.
        experience: what earlier runs on the same device measured.
        sharers: how many processes share one unquantized base; 1 where each has its own.
    """

    kind: DeviceKind
    quantization: str
    number: str
    kernel: str
    longest: int
    optimizer: str
    double_quant: bool = True
    rows: int = 1
    supervised: int = 2**62
    several: bool = True
    capability: tuple[int, int] = (8, 0)
    experience: Experience = NO_EXPERIENCE
    sharers: int = 1

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one number in the compute format."""
        return 4 if self.number == "fp32" else 2

    def worst(self, tokens: int) -> Size:
        """The pass of so many tokens that needs most: rows as long as they get, and as many as there can be.

        Long rows cost most where scores are written out, many rows where every row is padded; both at once is more
        than any real pass, by little where flash attention runs. The longest row is taken to come last but one, where
        its backward pass meets most of what is kept and what is left.
        """
        tokens = max(1, tokens)
        longest = min(tokens, max(1, self.longest))
        full, rest = divmod(tokens, longest)
        after = min(1, tokens - longest)
        return Size(
            tokens=tokens,
            kept=max(1, min(tokens, self.supervised)),
            documents=max(full + (rest > 0), min(self.rows, tokens)),
            longest=longest,
            pairs=full * longest**2 + rest**2,
            first=not self.several,
            after=after,
            after_pairs=after,
        )


class Footprint:
    """A setup's memory as a function of the pass."""

    def __init__(self, setup: Setup, trained: Trained, model: ModelFacts) -> None:
        self.setup = setup
        self.model = model
        self.layers = model.num_layers
        self.first = trained.first
        size = setup.dtype_bytes
        if setup.sharers > 1:
            self.base = shared_base_bytes(size, model, setup.sharers)
        else:
            self.base = base_bytes(setup.quantization, size, model, double_quant=setup.double_quant)
        self.masters = master_bytes(trained, size)
        self.gradients = gradient_bytes(trained)
        self.optimizer = optimizer_bytes(setup.optimizer, trained, setup.kind)
        self.update = update_bytes(setup.optimizer, trained)
        self.context = context_bytes(setup.kind, setup.capability, setup.quantization)
        self.libraries = library_bytes(setup.kind, setup.capability)
        fused = setup.kind == "cpu" or setup.sharers == 1
        setting = Setting(setup.quantization, setup.number, setup.kernel, setup.double_quant, setup.kind, fused)
        self._step = StepMemory(setting, trained, model, self.gradients)
        self._passes: dict[int, tuple[Size, PassMemory, int]] = {}

    @cached_property
    def static(self) -> int:
        """Bytes that are there between two steps."""
        return self.base + self.masters + self.optimizer + self.libraries

    def allocated(self, size: Size, checkpointed: int) -> int:
        """Peak bytes of all tensors in a step whose largest pass has this size, without cuBLAS's own."""
        most = self._step.of(size).highest(min(max(0, checkpointed), self.layers))
        return self.static - self.libraries + max(most.total + self._inputs(size), self.gradients + self.update)

    def peak(self, tokens: int, checkpointed: int) -> int:
        """Peak bytes of the process with the worst pass of ``tokens`` tokens, the first layers being recomputed.

        Recomputing more layers never needs more: where it would by a hair (the last layer recomputed holds its input
        as well), the larger of the two counts for both.
        """
        size, most, inputs = self._enveloped(tokens, checkpointed)
        moving = max(most.total - most.gradients + inputs, self.update)
        static = self.static + self.gradients
        moving += self._taught_tensors(static, moving)
        slack = self._slack(static, moving, most, size)
        return static + moving + slack + self.context + self._taught_outside(static, moving, slack)

    def parts(self, tokens: int, checkpointed: int) -> tuple[MemoryPart, ...]:
        """The components of `peak`, which they sum to."""
        size, most, inputs = self._enveloped(tokens, checkpointed)
        moving = max(most.total - most.gradients + inputs, self.update)
        static = self.static + self.gradients
        moving += self._taught_tensors(static, moving)
        workspace = min(moving, max(0, most.total - most.gradients - most.kept))
        slack = self._slack(static, moving, most, size)
        taught = self._taught_outside(static, moving, slack)
        context = self.context + min(0, slack + taught)
        return (
            *self.lasting(self.gradients),
            MemoryPart(
                "activations",
                "Activations",
                moving - workspace,
                f"{tokens:,} tokens, {checkpointed} layers recomputed",
            ),
            MemoryPart("workspace", "Workspace", workspace, "the loss head or the backward pass of one layer"),
            *self.outside(context, max(0, slack + taught), self._slack_detail()),
        )

    def lasting(self, gradients: int) -> tuple[MemoryPart, ...]:
        """The components that stay through a pass, with ``gradients`` bytes of those."""
        paged = self.setup.optimizer.startswith("paged") and self.setup.kind == "cuda"
        parts = (
            MemoryPart("weights", "Base weights", self.base, self._weight_detail()),
            MemoryPart("trained", "Trained weights", self.masters, "copies in the compute format and in 32 bits"),
            MemoryPart("gradients", "Gradients", gradients, "in 32 bits"),
            MemoryPart(
                "optimizer", "Optimizer states", self.optimizer, "moved to RAM when the GPU is full" if paged else ""
            ),
            MemoryPart("libraries", "Matrix products", self.libraries, "what cuBLAS works with"),
        )
        return tuple(part for part in parts if part.bytes or part.name not in ("gradients", "libraries"))

    def _weight_detail(self) -> str:
        if self.setup.sharers == 1:
            return _WEIGHT_DETAILS[self.setup.quantization]
        return f"the layers shared by {self.setup.sharers} processes, up to {GATHERED_LAYERS} of them gathered"

    def outside(self, context: int, slack: int, slack_detail: str = "") -> tuple[MemoryPart, MemoryPart]:
        """The components beside the tensors."""
        title = "CUDA context" if self.setup.kind == "cuda" else "Program and libraries"
        return (
            MemoryPart("context", title, context, ""),
            MemoryPart("slack", "Allocator slack", slack, slack_detail),
        )

    def without_gradients(self, size: Size) -> int:
        """Bytes on top of what is there between steps, in a pass that learns nothing."""
        return self._step.without_gradients(size) + self._inputs(size)

    def _taught_tensors(self, static: int, moving: int) -> int:
        """What earlier runs add to the tensors on a GPU, where those alone are measured; never below what stays."""
        if self.setup.kind != "cuda":
            return 0
        return max(-moving, round(self.setup.experience.shift * (static + moving)))

    def _taught_outside(self, static: int, moving: int, slack: int) -> int:
        """What earlier runs add to the process on the processor, whose measured peak is all of its resident memory."""
        if self.setup.kind == "cuda":
            return 0
        counted = static + moving + slack + self.context
        return max(-slack - self.context, round(self.setup.experience.shift * counted))

    def _slack(self, static: int, moving: int, most: Highest, size: Size) -> int:
        if self.setup.kind == "cpu":
            moving = most.moving + self._inputs(size)
        return slack_bytes(self.setup.kind, static, moving)

    def _slack_detail(self) -> str:
        taught = self.setup.kind == "cpu" and self.setup.experience.runs > 0
        return "corrected by what earlier runs on this device took" if taught else ""

    def _enveloped(self, tokens: int, checkpointed: int) -> tuple[Size, Highest, int]:
        """The worst pass of so many tokens, its highest point, and the bytes of its inputs."""
        known = self._passes.get(tokens)
        if known is None:
            size = self.setup.worst(tokens)
            known = self._passes[tokens] = (size, self._step.of(size), self._inputs(size))
        size, one, inputs = known
        own, all_of_them = one.highest(min(max(0, checkpointed), self.layers)), one.highest(self.layers)
        return size, own if own.total >= all_of_them.total else all_of_them, inputs

    def _inputs(self, size: Size) -> int:
        """Ids, positions, targets and the rotary tables of a pass, and a few single numbers."""
        rotary = self.model.head_dim * self.setup.dtype_bytes
        return (
            2 * rounded(8 * size.tokens) + rounded(8 * size.kept) + 2 * rounded(rotary * size.tokens) + 3 * rounded(4)
        )


def footprint(setup: Setup, trained: Trained, model: ModelFacts) -> Footprint:
    """The memory of one setup, ready to be asked for any pass size and any number of checkpointed layers."""
    return Footprint(setup, trained, model)
