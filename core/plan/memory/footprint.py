"""Peak memory of our engine in closed form, by component, with an honest band.

The bytes that a decoder layer keeps for its backward pass are counted operation by operation, as PyTorch's autograd
saves them: for a Llama-like layer in bfloat16 with adapters everywhere they are 12h + 8m + 4q + 4k + 4a + 14r a token
(h hidden, m MLP, q and k query and key width, a heads, r rank). The peak is the static part plus the worst moment of
the backward pass: the loss head on top of everything kept, the last layer's backward, or one layer recomputed on top
of the stored inputs below it. What is estimated and not counted is the allocator's slack, the device context and the
scratch space of a layer's backward; the band carries them.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from core.facts.types import DeviceKind, ModelFacts
from core.plan.parameters import head_of, saved_elements
from core.plan.shapes import ATTENTION_INPUT, MLP_INPUT, MLP_OUTPUT, shapes_of
from core.plan.types import Memory, MemoryPart, Target, Verdict
from core.spec.sections import AdapterSpec
from core.units import GIB, MIB, format_bytes

FITS_SHARE = 0.90
# The engine's loss head makes logits of this many bytes at a time, and holds them twice, in fp32.
LOSS_CHUNK_BYTES = 128 * MIB
SMALLEST_CHUNK = 64

NF4_BLOCK = 64
DOUBLE_QUANT_BLOCK = 256
OPTIMIZER_BLOCK = 256

# A CUDA context with cuBLAS and its workspaces: 0.3 to 0.8 GiB by GPU and driver.
CUDA_CONTEXT = GIB // 2 + 32 * MIB
# A Python process with torch, transformers and peft, 0.4 GiB after import, and what their first use adds.
CPU_PROCESS = 7 * GIB // 10
CUDA_SLACK = 0.03
# The C library keeps freed blocks of passes that rarely have the same length twice. Measured with the starter model and
# rows of 80 to 570 tokens: 2.3 GiB at the peak of the first steps and 3.4 GiB after 45, where 1.65 GiB are counted.
CPU_SLACK = 0.9

STATIC_ERROR = 0.02
ACTIVATION_ERROR = 0.20
GUESSED_MODEL_ERROR = 0.35
CONTEXT_ERROR = 0.40

BASIS = (
    "A closed-form estimate: weights, adapters, gradients and optimizer states are counted; activations are counted "
    "for one layer and multiplied; the band covers the device context, the allocator and kernels' scratch space."
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What memory depends on beside the model, the trained parameters and the size of a pass.

    Attributes:
        dtype_bytes: bytes of one number in the compute dtype.
        varlen: one attention call for all rows of a pass; otherwise one for each row and a copy that joins them.
        scores: the kernel writes out attention scores, heads x length x length for each row.
        longest: tokens of the longest row, which bounds those scores.
    """

    kind: DeviceKind
    quantization: str
    dtype_bytes: int
    varlen: bool
    scores: bool
    longest: int
    optimizer: str
    double_quant: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What autograd keeps of one token, layer by layer.

    Attributes:
        elements: numbers kept in the compute dtype, one count for each layer.
        fixed: bytes kept whatever the compute dtype (norms in fp32, dropout masks).
        first: first layer through which gradients flow; layers below keep nothing.
    """

    elements: tuple[int, ...]
    fixed: tuple[int, ...]
    first: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What is trained, as far as memory is concerned; the same for every device and precision.

    Attributes:
        parameters: trained ones.
        largest: elements of the largest weight trained in full, whose gradient is made in the compute dtype first.
        head: "plain" for a frozen projection, "trained" for full fine-tuning, "wrapped" when it has an adapter or a
            trained copy, which makes the engine use the model's own head on all supervised positions at once.
        rebuilt: elements that DoRA builds anew for its widest weight in every pass.
    """

    parameters: int
    largest: int
    kept: Kept
    head: Literal["plain", "trained", "wrapped"] = "plain"
    rebuilt: int = 0

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.head == "trained"


@dataclass(frozen=True, slots=True)
class Footprint:
    """A setup's memory as a function of the pass: static bytes, and rates for each token, layer and token pair."""

    setup: Setup
    base: int
    masters: int
    gradients: int
    optimizer: int
    context: int
    layers: int
    first: int
    kept_above: tuple[int, ...]
    recompute_peak: tuple[int, ...]
    stored_input: int
    stem: int
    backward: int
    scratch: int
    head_row: int
    head_rows: int
    head_fixed: int
    pair_layer: int
    pair_backward: int

    def peak(self, tokens: int, checkpointed: int) -> int:
        """Peak bytes of a pass of ``tokens`` tokens with the first ``checkpointed`` layers recomputed."""
        static = self.base + self.masters + self.gradients + self.optimizer
        activations, workspace = self.moving(tokens, checkpointed)
        return static + activations + workspace + self.slack(static, activations + workspace) + self.context

    def moving(self, tokens: int, checkpointed: int) -> tuple[int, int]:
        """Bytes kept for the backward pass, and the scratch space of the worst moment on top of them."""
        count = min(max(0, checkpointed), self.layers)
        pairs = tokens * min(tokens, self.setup.longest)
        plain_layers = self.layers - max(count, self.first)
        stored = max(0, count - self.first) * self.stored_input * tokens
        kept = self.kept_above[count] * tokens + plain_layers * self.pair_layer * pairs
        stem = self.stem * tokens
        backward = self.backward * tokens + self.scratch + self.pair_backward * pairs
        head = min(self.head_rows, tokens) * self.head_row + self.head_fixed
        worst = stored + kept + max(head, backward if self.first < self.layers else 0)
        if count > self.first:
            recompute = self.recompute_peak[count] * tokens + self.pair_layer * pairs + backward
            worst = max(worst, recompute)
        return stored + kept + stem, worst - stored - kept

    def slack(self, static: int, moving: int) -> int:
        """What the allocator holds beyond what is in use; blocks of changing size leave gaps."""
        return round((static + moving) * CUDA_SLACK) if self.setup.kind == "cuda" else round(moving * CPU_SLACK)

    def parts(self, tokens: int, checkpointed: int) -> tuple[MemoryPart, ...]:
        """The components of `peak`, which they sum to."""
        static = self.base + self.masters + self.gradients + self.optimizer
        activations, workspace = self.moving(tokens, checkpointed)
        cuda = self.setup.kind == "cuda"
        paged = self.setup.optimizer.startswith("paged") and cuda
        sizes = (
            ("weights", "Base weights", self.base, _WEIGHT_DETAILS[self.setup.quantization]),
            ("trained", "Trained weights", self.masters, "copies in the compute format and in 32 bits"),
            ("gradients", "Gradients", self.gradients, "in 32 bits"),
            ("optimizer", "Optimizer states", self.optimizer, "moved to RAM when the GPU is full" if paged else ""),
            ("activations", "Activations", activations, f"{tokens:,} tokens, {checkpointed} layers recomputed"),
            ("workspace", "Workspace", workspace, "the loss head or the backward pass of one layer"),
            ("context", "CUDA context" if cuda else "Program and libraries", self.context, ""),
            ("slack", "Allocator slack", self.slack(static, activations + workspace), ""),
        )
        return tuple(MemoryPart(name, title, size, detail) for name, title, size, detail in sizes)


_WEIGHT_DETAILS = {
    "none": "in the compute format",
    "nf4": "blocks in 4 bits, embeddings and head in the compute format",
    "int8": "blocks in 8 bits, embeddings and head in the compute format",
}


def trained_of(adapter: AdapterSpec, targets: tuple[Target, ...], model: ModelFacts, trainable: int) -> Trained:
    """What ``targets`` and the modules trained in full make autograd keep."""
    kept = _kept_of(adapter, targets, model)
    if adapter.method == "full":
        return Trained(trainable, shapes_of(model).largest_linear, kept, "trained")
    rebuilt = 0
    if adapter.method == "dora":
        sizes = (target.in_features * (2 * target.out_features + target.in_features) for target in targets)
        rebuilt = max(sizes, default=0)
    head = head_of(model)
    names = (*adapter.modules_to_save, *(target.module for target in targets[-1:]))
    wrapped = head is not None and any(head.name == name or head.name.endswith("." + name) for name in names)
    largest = max((saved_elements(name, model) or 0 for name in adapter.modules_to_save), default=0)
    return Trained(trainable, largest, kept, "wrapped" if wrapped else "plain", rebuilt)


def _kept_of(adapter: AdapterSpec, targets: tuple[Target, ...], model: ModelFacts) -> Kept:
    layers, hidden, wide = model.num_layers, model.hidden_size, model.intermediate_size
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    # Attention keeps query, key, value and its output; the MLP its gate, the activated gate and the upward half.
    always = 2 * query + 2 * key + 3 * wide
    # Both norms keep their input in fp32; attention keeps one log-sum for each head in fp32.
    norms = 8 * hidden + 4 * model.num_heads
    if adapter.method == "full":
        # Weight gradients also need the input of every matrix and both normalised norms.
        each = always + 4 * hidden + wide
        return Kept((each,) * layers, (norms,) * layers, 0)
    extra, masks, read = [0] * layers, [0] * layers, [0] * layers
    inputs = shapes_of(model).inputs
    by_name = shapes_of(model).by_name
    dropout, dora = adapter.dropout > 0, adapter.method == "dora"
    first = 0 if _saves_below(adapter, model) else layers
    for target in targets:
        layer = by_name[target.module].layer
        if layer is None or layer >= layers:
            continue
        first = min(first, layer)
        extra[layer] += target.rank + (2 * target.out_features if dora else 0)
        if dropout:
            # Every module drops its own copy of the input and keeps a mask of one byte for each number.
            extra[layer] += target.in_features
            masks[layer] += target.in_features
        else:
            read[layer] |= inputs[target.module]
    for layer, bits in enumerate(read):
        extra[layer] += (hidden if bits & ATTENTION_INPUT else 0) + (hidden if bits & MLP_INPUT else 0)
        extra[layer] += wide if bits & MLP_OUTPUT else 0
    alive = range(first, layers)
    elements = (0,) * first + tuple(always + extra[layer] for layer in alive)
    return Kept(elements, (0,) * first + tuple(norms + masks[layer] for layer in alive), first)


def _saves_below(adapter: AdapterSpec, model: ModelFacts) -> bool:
    """Whether something below the head is trained in full, so that gradients flow through every layer."""
    head = head_of(model)
    short = head.short_name if head else "lm_head"
    return any(name.rpartition(".")[2] != short for name in adapter.modules_to_save)


def footprint(setup: Setup, trained: Trained, model: ModelFacts) -> Footprint:
    """The memory of one setup, ready to be asked for any pass size and any number of checkpointed layers."""
    size, layers, hidden, wide = setup.dtype_bytes, model.num_layers, model.hidden_size, model.intermediate_size
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    # Without varlen the rows' results are joined into a copy; written-out scores repeat keys and values to full width.
    repeated = (0 if setup.varlen else query * size) + (2 * (query - key) * size if setup.scores else 0)
    kept = [
        elements * size + fixed + (repeated if elements else 0)
        for elements, fixed in zip(trained.kept.elements, trained.kept.fixed, strict=True)
    ]
    # bitsandbytes keeps the inputs of its 8-bit products where checkpointing cannot reach them.
    leaked = (2 * hidden + query + wide) * size if setup.quantization == "int8" else 0
    stored_input = hidden * size + leaked
    largest = shapes_of(model).largest_linear
    rebuilt = 0 if setup.quantization == "none" else largest * size + (largest * 4 // NF4_BLOCK)
    heads = model.num_heads if setup.scores else 0
    chunk = max(SMALLEST_CHUNK, LOSS_CHUNK_BYTES // max(1, 4 * model.vocab_size))
    wrapped = trained.head == "wrapped"
    masters, gradients, states = _training_state(setup, trained)
    return Footprint(
        setup=setup,
        base=_base_bytes(setup, model),
        masters=masters,
        gradients=gradients,
        optimizer=states,
        context=CUDA_CONTEXT if setup.kind == "cuda" else CPU_PROCESS,
        layers=layers,
        first=trained.kept.first,
        kept_above=_sums_above(kept),
        recompute_peak=_recompute_peaks(kept, stored_input, trained.kept.first),
        stored_input=stored_input,
        # Embedding output, final norm, the rows that the head reads, their gradient twice, ids and positions.
        stem=hidden * (5 * size + 4) + 64,
        backward=(2 * hidden + (3 if trained.full else 2) * wide) * size,
        scratch=rebuilt + (trained.largest + trained.rebuilt) * size,
        # Chunked: scores and their softmax in fp32. The model's own head: logits, both of them, and a gradient.
        head_row=model.vocab_size * (12 + size if wrapped else 8),
        head_rows=sys.maxsize if wrapped else chunk,
        head_fixed=model.vocab_size * hidden * (8 + size) if trained.head == "trained" else 0,
        pair_layer=heads * (4 + size),
        pair_backward=heads * (8 + 2 * size),
    )


def _sums_above(kept: list[int]) -> tuple[int, ...]:
    """Entry k: bytes a token that the layers from k on keep."""
    sums = [0]
    for bytes_kept in reversed(kept):
        sums.append(sums[-1] + bytes_kept)
    return tuple(reversed(sums))


def _recompute_peaks(kept: list[int], stored_input: int, first: int) -> tuple[int, ...]:
    """Entry k: bytes a token at the worst moment of recomputing one of the first k layers.

    While layer i is recomputed, the inputs of the checkpointed layers below it are stored and its own input is part
    of what it keeps.
    """
    peaks = [0]
    for layer, bytes_kept in enumerate(kept):
        below = max(0, layer - first) * stored_input
        peaks.append(max(peaks[-1], below + bytes_kept if layer >= first else 0))
    return tuple(peaks)


def _base_bytes(setup: Setup, model: ModelFacts) -> int:
    if setup.quantization == "none":
        return model.parameters * setup.dtype_bytes
    shapes = shapes_of(model)
    blocks = shapes.block_parameters
    plain = max(0, model.parameters - blocks) * setup.dtype_bytes
    if setup.quantization == "int8":
        return plain + blocks + 4 * shapes.block_outputs
    scales = blocks // NF4_BLOCK
    scale_bytes = scales + 4 * (scales // DOUBLE_QUANT_BLOCK) if setup.double_quant else 4 * scales
    return plain + blocks // 2 + scale_bytes


def _training_state(setup: Setup, trained: Trained) -> tuple[int, int, int]:
    """Bytes of the trained weights beside the base, of their gradients, and of the optimizer's states."""
    count, size = trained.parameters, setup.dtype_bytes
    master = 4 if size < 4 else 0
    # Full fine-tuning trains the base itself, so its compute copy is already counted as base weights.
    copies = count * master if trained.full else count * (master + size)
    return copies, 4 * count, state_bytes(setup.optimizer, count, setup.kind)


def state_bytes(optimizer: str, parameters: int, kind: DeviceKind) -> int:
    """Bytes of AdamW's two states on the device that trains; paged ones may leave a GPU and count nothing there."""
    if optimizer.startswith("paged") and kind == "cuda":
        return 0
    if optimizer.endswith("8bit"):
        return 2 * parameters + 8 * (parameters // OPTIMIZER_BLOCK)
    return 8 * parameters


def memory_of(
    plan: Footprint, model: ModelFacts, tokens: int, checkpointed: int, *, device: str, limit: int, free: int
) -> Memory:
    """The record of a peak with its band and verdict against ``free`` of ``limit`` bytes."""
    parts = plan.parts(tokens, checkpointed)
    peak = sum(part.bytes for part in parts)
    margin = sum(part.bytes * _error_of(part, model) for part in parts)
    return Memory(
        device=device,
        parts=parts,
        peak_bytes=peak,
        low_bytes=max(0, round(peak - margin)),
        high_bytes=round(peak + margin),
        limit_bytes=limit,
        free_bytes=free,
        verdict=verdict_of(peak, free),
    )


def _error_of(part: MemoryPart, model: ModelFacts) -> float:
    if part.name in ("activations", "workspace"):
        return GUESSED_MODEL_ERROR if model.assumptions else ACTIVATION_ERROR
    if part.name == "slack":
        return 1.0
    return CONTEXT_ERROR if part.name == "context" else STATIC_ERROR


def verdict_of(peak: int, free: int) -> Verdict:
    """Up to 90 % of the free memory fits, up to all of it is tight."""
    if peak <= FITS_SHARE * free:
        return "fits"
    return "tight" if peak <= free else "does_not_fit"


def shortage(memory: Memory) -> str:
    """The missing amount in words."""
    return format_bytes(max(0, memory.peak_bytes - memory.free_bytes))
