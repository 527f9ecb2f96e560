"""What is there for the whole run: weights, masters and copies, gradients, optimizer states."""

from core.facts.types import DeviceKind, ModelFacts
from core.plan.memory.layers import Matrix, Trained
from core.plan.shapes import shapes_of

ALLOCATION = 512
NF4_BLOCK = 64
DOUBLE_QUANT_BLOCK = 256
OPTIMIZER_BLOCK = 256
SMALLEST_8BIT = 4096  # bitsandbytes/optim/optimizer.py, min_8bit_size: smaller tensors keep 32-bit states
SMALLEST_PAGED = 100_000  # the same file, get_state_buffer: smaller tensors are never paged


def rounded(size: int) -> int:
    """Bytes that the allocator gives for ``size``."""
    return -(-size // ALLOCATION) * ALLOCATION


def base_bytes(quantization: str, size: int, model: ModelFacts, *, double_quant: bool) -> int:
    """The base model; embeddings, norms, biases and the head stay in the compute format whatever the quantization."""
    buffers = 2 * ALLOCATION  # the rotary frequencies, twice
    if quantization == "none":
        return rounded(model.parameters * size) + buffers
    shapes = shapes_of(model)
    plain = rounded(max(0, model.parameters - shapes.block_parameters) * size) + buffers
    if quantization == "int8":
        return plain + sum(
            count * (rounded(width * height) + rounded(4 * height)) for (width, height), count in shapes.blocks.items()
        )
    return plain + sum(
        count * nf4_bytes(width * height, double_quant=double_quant) for (width, height), count in shapes.blocks.items()
    )


GATHERED_LAYERS = 3
"""Layers that are whole at once while a base is shared among processes: the one that computes, what it was gathered
into, and what the next one is being gathered into (torch's FSDP2, `foreach_all_gather` and `wait_for_unshard`)."""


def shared_base_bytes(size: int, model: ModelFacts, processes: int) -> int:
    """What one of several processes holds of an unquantized base: its share of the blocks' matrices, and the rest.

    Embeddings and head are whole in each of them; so are norms and biases for this count, which are next to nothing.
    """
    shapes = shapes_of(model)
    apart = rounded(max(0, model.parameters - shapes.block_parameters) * size) + 2 * ALLOCATION
    share = -(-shapes.block_parameters // max(1, processes)) * size
    return apart + rounded(share) + GATHERED_LAYERS * rounded(shapes.largest_block * size)


def nf4_bytes(elements: int, *, double_quant: bool) -> int:
    """One weight in NF4, as bitsandbytes lays it out (functional.py, quantize_4bit).

    Half a byte for each number, the book of 16 codes, and a scale for each block of 64: in fp32, or in 8 bits with a
    second scale for 256 of them, a book of 256 codes and an offset.
    """
    blocks = -(-elements // NF4_BLOCK)
    packed = rounded(-(-elements // 2)) + rounded(16 * 4)
    if not double_quant:
        return packed + rounded(4 * blocks)
    outer = rounded(4 * -(-blocks // DOUBLE_QUANT_BLOCK)) + rounded(256 * 4) + ALLOCATION
    return packed + rounded(blocks) + outer


def master_bytes(trained: Trained, size: int) -> int:
    """fp32 masters, and the adapters' copies in the compute format; a full fine-tuning's copies are the base itself."""
    master = 4 if size < 4 else 0
    total = 0
    for elements, count in trained.tensors:
        total += count * (rounded(elements * master) if master else 0)
        if not trained.full:
            total += count * rounded(elements * size)
    return total


def gradient_bytes(trained: Trained) -> int:
    """All gradients, in fp32."""
    return sum(count * rounded(4 * elements) for elements, count in trained.tensors)


def optimizer_bytes(optimizer: str, trained: Trained, kind: DeviceKind) -> int:
    """The optimizer's states, tensor by tensor."""
    if optimizer in ("adafactor", "muon"):
        return _by_shape(optimizer, trained, kind)
    return sum(count * tensor_state_bytes(optimizer, elements, kind) for elements, count in trained.tensors)


def _by_shape(optimizer: str, trained: Trained, kind: DeviceKind) -> int:
    """Optimizers that treat matrices otherwise than vectors.

    Adafactor keeps sums of rows and columns of a matrix and the length of each tensor, Muon one momentum of a hidden
    matrix and AdamW's states of all else.
    """
    factored = optimizer == "adafactor"
    total = 0
    for matrix in trained.matrices:
        if factored:
            sides = rounded(4 * matrix.stacked * matrix.rows) + rounded(4 * matrix.stacked * matrix.columns)
            total += matrix.number * (sides + ALLOCATION)
        elif matrix.hidden:
            total += matrix.number * rounded(4 * matrix.elements)
        else:
            total += matrix.number * tensor_state_bytes("adamw", matrix.elements, kind)
    for elements, count in trained.vectors:
        each = rounded(4 * elements) + ALLOCATION if factored else tensor_state_bytes("adamw", elements, kind)
        total += count * each
    return total


def update_bytes(optimizer: str, trained: Trained) -> int:
    """What the update itself takes for a moment, beside gradients and states; AdamW's and Lion's work in place.

    transformers' Adafactor makes squares and a step of one tensor after another while it still holds the step before,
    which is as large where hidden layers have neighbours alike; PyTorch's Muon a 32-bit step, and in 16 bits its matrix
    twice and two squares of its shorter side.
    """
    if optimizer == "adafactor":
        sizes = ((3 if matrix.hidden else 2) * rounded(4 * matrix.elements) for matrix in trained.matrices)
        return max(sizes, default=0)
    if optimizer == "muon":
        return max((_turning_bytes(matrix) for matrix in trained.matrices if matrix.hidden), default=0)
    return 0


def _turning_bytes(matrix: Matrix) -> int:
    square = rounded(2 * min(matrix.rows, matrix.columns) ** 2)
    return rounded(4 * matrix.elements) + 2 * rounded(2 * matrix.elements) + 2 * square


def tensor_state_bytes(optimizer: str, elements: int, kind: DeviceKind) -> int:
    """AdamW's or Lion's states of one tensor on the device that trains."""
    if optimizer == "adamw":
        return 2 * rounded(4 * elements) + ALLOCATION  # and the number of steps, a tensor of its own
    states = 1 if optimizer.startswith("lion") else 2
    paged = optimizer.startswith("paged") and kind == "cuda" and elements >= SMALLEST_PAGED
    if optimizer.endswith("8bit") and elements >= SMALLEST_8BIT:
        scales = states * rounded(4 * -(-elements // OPTIMIZER_BLOCK))  # never paged
        return scales + (0 if paged else states * rounded(elements))
    return 0 if paged else states * rounded(4 * elements)


def state_bytes(optimizer: str, parameters: int, kind: DeviceKind) -> int:
    """Bytes of AdamW's two states on the device that trains; paged ones may leave a GPU and count nothing there."""
    if optimizer.startswith("paged") and kind == "cuda":
        return 0
    if optimizer.endswith("8bit"):
        return 2 * parameters + 8 * (parameters // OPTIMIZER_BLOCK)
    return 8 * parameters
