"""How large an export will be, from headers alone; for the plan panel and the check before a merge."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from core.export.peft_adapter import WEIGHTS_FILE
from core.export.tensor_files import read_model_tensors, read_tensors
from core.paths import existing_parent


@dataclass(frozen=True, slots=True)
class ExportSizes:
    """Bytes on the disk: the adapter as it is, the merged model's weights, and what is free at the target."""

    adapter_bytes: int
    merged_bytes: int
    free_bytes: int


def predict_sizes(base: Path, adapter: Path, target: Path) -> ExportSizes:
    """Sizes of both exports of one adapter; untied embeddings, which are rare, come on top.

    Raises:
        UserError: base or adapter cannot be read.
    """
    return ExportSizes(
        adapter_bytes=sum(tensor.bytes for tensor in read_tensors(adapter / WEIGHTS_FILE)),
        merged_bytes=sum(tensor.bytes for tensor in read_model_tensors(base).values()),
        free_bytes=shutil.disk_usage(existing_parent(target)).free,
    )
