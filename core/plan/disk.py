"""What a run and its exports take on disk: every tensor to the byte, texts and headers to within a small allowance."""

from core.facts.types import DataFacts, ModelFacts
from core.plan.gguf_sizes import gguf_sizes
from core.plan.memory import Matrix, Trained
from core.plan.parameters import embedding_elements, touches_tie
from core.plan.targets import Targets
from core.plan.types import Disk
from core.spec.rules_adapter import changes_base
from core.spec.run_spec import RunSpec
from core.units import MIB

# Measured on checkpoints and adapters of tiny models: the state of all sources of chance, counters and a manifest; and
# a tensor's line in the header of a safetensors file, whose longest names have some 80 letters.
CHECKPOINT_TEXTS = 64 * 1024
HEADER_LINE = 192
# Event log, samples and engine.log: small, but never nothing.
RUN_EXTRAS = 8 * MIB
REFERENCE_ROW = 16
"""Bytes of the two log-probabilities of a pair, in 64 bits each."""
# What lies beside merged or tuned weights. A tokenizer.json of 49,152 tokens has 72 bytes for each; files that write
# their merges as pairs have nearly twice as many.
COMPANIONS = 4 * MIB
TOKEN_BYTES = 128

# bitsandbytes/optim/optimizer.py, Optimizer2State.init_state: smaller tensors keep 32-bit states; others have a scale
# for every block and a book of 256 codes for each state, which the engine saves with each tensor.
_SMALLEST_8BIT = 4096
_BLOCK = 256
_BOOK = 256 * 4

WRITTEN_PER_SECOND = 500e6
"""Bytes that a plain SSD (SATA, 6 Gbit/s) takes in a second."""

_STORED_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}


def disk_of(
    spec: RunSpec,
    model: ModelFacts,
    targets: Targets,
    trained: Trained,
    optimizer: str,
    free: int,
    data: DataFacts | None = None,
) -> Disk:
    """Sizes of one checkpoint, the adapter, a merged model, a GGUF file of each type, and of the run at its fullest.

    A checkpoint holds the 32-bit masters and the optimizer's states. One more than asked lies on disk for a moment:
    the oldest goes when the newest is whole; and the best one where there are rows to find it by. The adapter is
    written from the masters, modules trained in full among them; a full fine-tuning writes the whole model in the
    base's own precision, as a merge does. A merge makes two matrices of tied embeddings where the adapter changes one
    of them. A base model that is not here yet comes on top.
    """
    full = spec.adapter.method == "full"
    untied = not full and touches_tie(spec.adapter, targets, model)
    weights = _stored_weights(model) + (embedding_elements(model) * stored_bytes(model) if untied else 0)
    beside = COMPANIONS + TOKEN_BYTES * model.vocab_size
    checkpoint = checkpoint_bytes(trained, optimizer)
    adapter = model.parameters * stored_bytes(model) + beside if full else 4 * trained.parameters
    # Adapters that begin as a part of the weights are kept as they began, and leave with that part subtracted.
    begun = 4 * targets.parameters if changes_base(spec.adapter) else 0
    adapter += begun
    if not full and spec.adapter.start_from:  # what it goes on from is kept as well
        begun = 4 * trained.parameters
    if spec.data.train_on == "preferences" and spec.training.preference_loss == "dpo" and data is not None:
        begun += REFERENCE_ROW * (data.train.rows + data.validation.rows)
    kept = max(1, spec.training.keep_checkpoints) + 1 + keeps_best(spec)
    return Disk(
        checkpoint_bytes=checkpoint,
        adapter_bytes=adapter,
        merged_bytes=adapter if full else weights + beside,
        run_bytes=kept * checkpoint + adapter + begun + RUN_EXTRAS,
        free_bytes=free,
        gguf_bytes=gguf_sizes(model, untied=untied),
        download_bytes=0 if model.here else model.bytes_on_disk,
    )


def keeps_best(spec: RunSpec) -> bool:
    """Whether the state with the lowest validation loss stays beside the newest ones."""
    return spec.training.keep_best and bool(spec.data.validation or spec.data.validation_share > 0)


def checkpoint_bytes(trained: Trained, optimizer: str) -> int:
    """One saved state: the masters, and per tensor what the optimizer keeps of it."""
    states, tensors = 0, 0
    matrices = trained.matrices if optimizer in ("adafactor", "muon") else ()
    for matrix in matrices:
        each, pieces = _saved_matrix(optimizer, matrix)
        states += matrix.number * each
        tensors += matrix.number * (1 + pieces)
    for elements, count in trained.vectors if matrices else trained.tensors:
        each, pieces = _saved_states(optimizer, elements)
        states += count * each
        tensors += count * (1 + pieces)
    return 4 * trained.parameters + states + HEADER_LINE * tensors + CHECKPOINT_TEXTS


def _saved_matrix(optimizer: str, matrix: Matrix) -> tuple[int, int]:
    """Bytes and number of the tensors that Adafactor or Muon keeps for a matrix."""
    if optimizer == "adafactor":
        return 4 * matrix.stacked * (matrix.rows + matrix.columns) + 4, 3  # and the length of the matrix
    return (4 * matrix.elements, 1) if matrix.hidden else _saved_states("adamw", matrix.elements)


def _saved_states(optimizer: str, elements: int) -> tuple[int, int]:
    """Bytes and number of the tensors that the optimizer keeps for one that is trained."""
    if optimizer in ("adamw", "muon"):
        return 8 * elements + 4, 3  # PyTorch's own counts its steps in a tensor
    if optimizer == "adafactor":
        return 4 * elements + 4, 2
    states = 1 if optimizer.startswith("lion") else 2
    if optimizer.endswith("8bit") and elements >= _SMALLEST_8BIT:
        return states * (elements + 4 * -(-elements // _BLOCK) + _BOOK), 3 * states
    return 4 * states * elements, states


def _stored_weights(model: ModelFacts) -> int:
    """The weights as a merge writes them: each tensor in the format that the base has it in."""
    if model.prequantized or model.dtype.upper() not in _STORED_BYTES or not model.bytes_on_disk:
        return model.parameters * stored_bytes(model)
    return model.bytes_on_disk


def stored_bytes(model: ModelFacts) -> int:
    """Bytes of one weight in the base model's files; 2 where quantized files are written out."""
    return _STORED_BYTES.get(model.dtype.upper(), 2)


def needed_with(disk: Disk, kept: int, fewer: int) -> int:
    """What the run takes when it keeps ``fewer`` checkpoints instead of ``kept``."""
    return disk.run_bytes - max(0, kept - fewer) * disk.checkpoint_bytes
