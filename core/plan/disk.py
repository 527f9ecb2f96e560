"""What a run and its exports take on disk."""

from core.facts.types import ModelFacts
from core.plan.memory import state_bytes
from core.plan.types import Disk, Parameters
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


def disk_of(spec: RunSpec, model: ModelFacts, parameters: Parameters, optimizer: str, free: int) -> Disk:
    """Sizes of one checkpoint, the adapter, a merged model, and of the run at its fullest.

    A checkpoint holds the 32-bit masters and the optimizer's states. One more than asked lies on disk for a moment:
    the oldest goes when the newest is whole. The adapter is written from the masters; a full fine-tuning writes the
    whole model in the base's own precision, as a merge does.
    """
    trained = parameters.trainable
    checkpoint = 4 * trained + state_bytes(optimizer.removeprefix("paged_"), trained, "cpu") + CHECKPOINT_EXTRAS
    full = spec.adapter.method == "full"
    merged = model.parameters * stored_bytes(model) + COMPANIONS
    adapter = merged if full else 4 * trained
    kept = max(1, spec.training.keep_checkpoints) + 1
    run = kept * checkpoint + adapter + RUN_EXTRAS
    return Disk(checkpoint, adapter, merged, run, free)


def stored_bytes(model: ModelFacts) -> int:
    """Bytes of one weight in the base model's files; 2 where quantized files are written out."""
    return _STORED_BYTES.get(model.dtype.upper(), 2)


def needed_with(disk: Disk, kept: int, fewer: int) -> int:
    """What the run takes when it keeps ``fewer`` checkpoints instead of ``kept``."""
    return disk.run_bytes - max(0, kept - fewer) * disk.checkpoint_bytes
