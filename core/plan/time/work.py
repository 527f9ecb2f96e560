"""What training makes a device do, part by part: operations, bytes moved, weights unpacked and kernels started.

Counted for the engine's own step on decoder layers as transformers writes them in PyTorch: large products exactly, from
the shapes of the linear layers; element-wise kernels by the bytes that they read and write, one kernel after another
(norms through fp32, rotary embedding, gated activation, residuals, and PEFT's kernels around each adapter).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.plan.time.load import Load
from core.plan.time.stack import Stack, Trained

# Bytes that element-wise kernels move for a token in 16 bits, forward and backward, by the width that they scale with.
ADAPTER_OUT, ADAPTER_OUT_BACK = 12, 8  # an adapted layer's outputs: product, scaling, sum
ADAPTER_IN, ADAPTER_IN_BACK = 2, 10  # its inputs
DROPOUT_IN, DROPOUT_IN_BACK = 7, 9  # mask and scaled copy, and the gradient through them
DORA_OUT, DORA_OUT_BACK = 16, 16  # magnitudes on the base's output and on the adapter's
# The loss head on each logit: product, fp32 copy, log-sum-exp, softmax, difference, 16-bit copy.
LOGIT = 36
# DoRA makes each weight's norm anew in every pass: product, sum and norm, for each element of the weight.
REBUILT = 14
# What a pass adds to the gradients, for each trained parameter: 16-bit gradient and 32-bit sum, out and in.
ACCUMULATE = 12
# The update, for each trained parameter: the optimizer's states, the gradient's norm and clipping, the 16-bit copy.
# Adafactor and Muon write out each of their operations; a weight, a gradient and a state in 32 bits are 20 bytes.
UPDATE: Mapping[str, int] = {
    "adamw": 46, "adamw_8bit": 34, "lion": 38, "lion_8bit": 32, "adafactor": 98, "muon": 120,
}  # fmt: skip
# Kernels that Adafactor and Muon start for each tensor, in the unit of an adapter's forward and backward pass.
TENSOR_KERNELS: Mapping[str, float] = {"adafactor": 1.0, "muon": 1.0}
TURNS = 5
"""Iterations with which Muon makes a step orthogonal (torch.optim.Muon): two thin products and a square each."""
# Scores that are written out, for each pair of positions and head: product, scaling, mask, softmax in fp32, cast.
SCORE, SCORE_BACK = 24, 36
# Operations of attention's backward pass over those of its forward pass: five products instead of two.
ATTENTION_BACK = 2.5
# The part of a layer's kernels that starts in the forward pass.
FORWARD_KERNELS = 0.4


@dataclass(frozen=True, slots=True)
class Work:
    """What something costs, in units that a device's rates turn into seconds.

    Attributes:
        products: operations of large matrix products.
        narrow: operations of the adapters' products, one side of which is only the rank wide.
        attention: operations of attention within rows.
        traffic: bytes that element-wise kernels move.
        weights: bytes of weights that products read, once for each use in a pass.
        unpacked: elements of 4- or 8-bit weights that are unpacked, once for each use in a pass.
        layers: decoder layers whose kernels are started, forward and backward counting as one.
        modules: adapters whose kernels are started, in the same unit.
        calls: calls of the attention kernel for one row of one layer, forward and backward counting as one.
    """

    products: float = 0.0
    narrow: float = 0.0
    attention: float = 0.0
    traffic: float = 0.0
    weights: float = 0.0
    unpacked: float = 0.0
    layers: float = 0.0
    modules: float = 0.0
    calls: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(
            self.products + other.products,
            self.narrow + other.narrow,
            self.attention + other.attention,
            self.traffic + other.traffic,
            self.weights + other.weights,
            self.unpacked + other.unpacked,
            self.layers + other.layers,
            self.modules + other.modules,
            self.calls + other.calls,
        )


@dataclass(frozen=True, slots=True)
class Manner:
    """How the work is done.

    Attributes:
        width: bytes of a number in the compute dtype, in which products read their weights.
        stored_width: bytes of a weight as it lies in memory.
        unpacked: weights are unpacked before each use.
        fused: single tokens are multiplied with the stored weights directly.
        varlen: attention takes all rows of a pass in one call.
        scores: attention scores are written out.
        optimizer: the rule of the update.
        tensors: trained ones, which some rules take one by one.
        turning: operations of one of Muon's iterations over all matrices.
    """

    width: int
    stored_width: float
    unpacked: bool
    varlen: bool
    scores: bool
    fused: bool = False
    optimizer: str = "adamw"
    tensors: int = 0
    turning: float = 0.0


def step_work(stack: Stack, trained: Trained, manner: Manner, load: Load, checkpointed: int) -> Work:
    """An average optimizer step: its passes forward and backward, what is computed again, the loss, and the update."""
    again = max(0, min(checkpointed, stack.layers) - trained.first)
    work = _forward(stack, trained, manner, load, 0, stack.layers)
    if again:
        work += _forward(stack, trained, manner, load, trained.first, trained.first + again)
    work += _backward(stack, trained, manner, load)
    work += loss_work(stack, manner, load, full=trained.full)
    work += _update_work(trained, manner)
    return work + Work(traffic=trained.parameters * ACCUMULATE * load.passes)


def _update_work(trained: Trained, manner: Manner) -> Work:
    """Moving the weights by their gradients."""
    optimizer = manner.optimizer.removeprefix("paged_")
    return Work(
        products=TURNS * manner.turning if optimizer == "muon" else 0.0,
        traffic=trained.parameters * UPDATE[optimizer],
        modules=TENSOR_KERNELS.get(optimizer, 0.0) * manner.tensors,
    )


def evaluation_work(stack: Stack, trained: Trained, manner: Manner, load: Load) -> Work:
    """One measurement of the loss: forward only, but the loss head prepares gradients all the same."""
    return _forward(stack, trained, manner, load, 0, stack.layers) + loss_work(stack, manner, load, full=False)


def decoding_work(stack: Stack, trained: Trained, manner: Manner) -> Work:
    """One more token of an answer: every weight is read for it, as it is stored where a kernel can do that."""
    load = Load(tokens=1, supervised=0, passes=1, rows=1, squares=0, blocks=0)
    work = _forward(stack, trained, manner, load, 0, stack.layers)
    if manner.fused:
        work = replace(work, weights=manner.stored_width * stack.up_to[stack.layers], unpacked=0)
    return work + Work(products=2 * stack.head, weights=manner.width * stack.head)


def loss_work(stack: Stack, manner: Manner, load: Load, *, full: bool) -> Work:
    """The vocabulary projection and the cross-entropy, at supervised positions only."""
    return Work(
        products=(6 if full else 4) * load.supervised * stack.head,
        traffic=load.supervised * stack.vocabulary * LOGIT,
        weights=2 * load.passes * manner.width * stack.head,
    )


def _forward(stack: Stack, trained: Trained, manner: Manner, load: Load, start: int, stop: int) -> Work:
    """Layers ``start`` to ``stop`` forward."""
    layers = stop - start
    elements = stack.up_to[stop] - stack.up_to[start]
    adapted = trained.share_of_layers(start, stop)
    scale = manner.width / 2
    outputs = ADAPTER_OUT + (DORA_OUT if trained.rebuilt else 0)
    inputs = ADAPTER_IN + (DROPOUT_IN if trained.dropout else 0)
    traffic = scale * (layers * stack.plain + adapted * (outputs * trained.outputs + inputs * trained.inputs))
    scores = layers * stack.heads * 2 * load.squares
    return Work(
        products=2 * load.tokens * elements + load.passes * adapted * trained.rebuilding,
        narrow=load.tokens * adapted * trained.narrow,
        attention=layers * stack.query * (4 * load.squares if manner.scores else 2 * load.blocks),
        traffic=load.tokens * traffic
        + load.passes * adapted * trained.rebuilt * REBUILT
        + (scores * SCORE / 2 if manner.scores else 0),
        weights=load.passes * manner.width * elements,
        unpacked=load.passes * elements if manner.unpacked else 0,
        layers=FORWARD_KERNELS * load.passes * layers,
        modules=FORWARD_KERNELS * load.passes * adapted * trained.modules,
        calls=0 if manner.varlen else FORWARD_KERNELS * load.rows * layers,
    )


def _backward(stack: Stack, trained: Trained, manner: Manner, load: Load) -> Work:
    """All layers that gradients reach, from the last one down to the first that is trained."""
    layers = stack.layers - trained.first
    elements = stack.up_to[stack.layers] - stack.up_to[trained.first]
    if layers and not trained.full:
        elements -= stack.inlets[trained.first]  # nobody asks for the gradient of the first layer's own input
    scale = manner.width / 2
    outputs = ADAPTER_OUT_BACK + (DORA_OUT_BACK if trained.rebuilt else 0)
    inputs = ADAPTER_IN_BACK + (DROPOUT_IN_BACK if trained.dropout else 0)
    traffic = scale * (layers * stack.plain_back + outputs * trained.outputs + inputs * trained.inputs)
    scores = layers * stack.heads * 2 * load.squares
    squares = 4 * load.squares if manner.scores else 2 * load.blocks
    return Work(
        products=2 * load.tokens * elements * (2 if trained.full else 1),
        narrow=2 * load.tokens * trained.narrow,
        attention=ATTENTION_BACK * layers * stack.query * squares,
        traffic=load.tokens * traffic + (scores * SCORE_BACK / 2 if manner.scores else 0),
        weights=load.passes * manner.width * elements,
        unpacked=load.passes * elements if manner.unpacked else 0,
        layers=(1 - FORWARD_KERNELS) * load.passes * layers,
        modules=(1 - FORWARD_KERNELS) * load.passes * trained.modules,
        calls=0 if manner.varlen else (1 - FORWARD_KERNELS) * load.rows * layers,
    )
