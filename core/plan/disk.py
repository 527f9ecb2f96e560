"""What a run and its exports take on disk."""

from core.facts.types import ModelFacts
from core.plan.gguf_sizes import gguf_sizes
from core.plan.memory import state_bytes
from core.plan.parameters import embedding_elements, touches_tie
from core.plan.types import Disk, Parameters, Target
from core.spec.run_spec import RunSpec
from core.units import MIB

# Random state, manifest, event log and samples: small, but never nothing.
CHECKPOINT_EXTRAS = MIB
RUN_EXTRAS = 8 * MIB
# Tokenizer, templates and settings that lie beside merged or tuned weights.
COMPANIONS = 8 * MIB

WRITTEN_PER_SECOND = 500e6
"""Bytes that a plain SSD (SATA, 6 Gbit/s) takes in a second."""

_STORED_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}


def disk_of(
    spec: RunSpec, model: ModelFacts, targets: tuple[Target, ...], parameters: Parameters, optimizer: str, free: int
) -> Disk:
    """Sizes of one checkpoint, the adapter, a merged model, a GGUF file of each type, and of the run at its fullest.

    A checkpoint holds the 32-bit masters and the optimizer's states. One more than asked lies on disk for a moment:
    the oldest goes when the newest is whole. The adapter is written from the masters, modules trained in full among
    them; a full fine-tuning writes the whole model in the base's own precision, as a merge does. A merge makes two
    matrices of tied embeddings where the adapter changes one of them. A base model that is not here yet comes on top.
    """
    trained = parameters.trainable
    checkpoint = 4 * trained + state_bytes(optimizer.removeprefix("paged_"), trained, "cpu") + CHECKPOINT_EXTRAS
    full = spec.adapter.method == "full"
    untied = not full and touches_tie(spec.adapter, targets, model)
    extra = embedding_elements(model) if untied else 0
    merged = (model.parameters + extra) * stored_bytes(model) + COMPANIONS
    adapter = merged if full else 4 * trained
    kept = max(1, spec.training.keep_checkpoints) + 1
    return Disk(
        checkpoint_bytes=checkpoint,
        adapter_bytes=adapter,
        merged_bytes=merged,
        run_bytes=kept * checkpoint + adapter + RUN_EXTRAS,
        free_bytes=free,
        gguf_bytes=gguf_sizes(model, untied=untied),
        download_bytes=0 if model.here else model.bytes_on_disk,
    )


def stored_bytes(model: ModelFacts) -> int:
    """Bytes of one weight in the base model's files; 2 where quantized files are written out."""
    return _STORED_BYTES.get(model.dtype.upper(), 2)


def needed_with(disk: Disk, kept: int, fewer: int) -> int:
    """What the run takes when it keeps ``fewer`` checkpoints instead of ``kept``."""
    return disk.run_bytes - max(0, kept - fewer) * disk.checkpoint_bytes
