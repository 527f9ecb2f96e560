"""A GGUF file as a folder that can be trained: de-quantized weights, tokenizer, template, generation settings.

Source: transformers' own GGUF reader does the work; this only makes the result an ordinary model and never half of one.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core.engine.bootstrap import quiet_libraries, torch_dtype
from core.engine.context import JobContext
from core.errors import FailureKind, JobError
from core.events.types import Completed, Stopped
from core.paths import staged_folder, write_json

MANIFEST = "lowrank-model.json"
_READ_SHARE = 0.8  # unpacking takes about four times as long as writing
_WATCH_SECONDS = 0.2


class ImportStoppedError(Exception):
    """Somebody wanted the import to end; nothing of it stays."""


def import_gguf(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``import_gguf``: turns ``source`` into the model folder ``target``.

    Args:
        context: the job's side of the protocol.
        arguments: ``source`` and ``target`` paths, ``name`` for people, ``dtype`` (bf16, fp16 or fp32), and optionally
            ``licence`` (its short name) and ``licence_file`` (copied as LICENSE).
    """
    began = time.monotonic()
    source, target = Path(arguments["source"]), Path(arguments["target"])
    quiet_libraries()
    try:
        with context.phase("import", f"Reading {source.name}"), _counted_tensors(context):
            model, tokenizer = _read(source)
        with context.phase("save", f"Writing {target.name}"), staged_folder(target) as staging:
            dtype = torch_dtype(arguments.get("dtype", "bf16"))
            model.to(dtype)
            model.config.dtype = dtype
            model.config.name_or_path = ""
            with _counted_bytes(context, staging, sum(p.numel() for p in model.parameters()) * dtype.itemsize):
                model.save_pretrained(staging)
            tokenizer.save_pretrained(staging)
            _write_companions(source, staging, arguments)
    except ImportStoppedError:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    context.progress("import", 1.0, 1.0, "parts")
    seconds = time.monotonic() - began
    context.emit(Completed(0, seconds, f"Imported {source.name}.", {"path": str(target)}))


def _write_companions(source: Path, staging: Path, arguments: dict[str, Any]) -> None:
    licence_file = arguments.get("licence_file")
    if licence_file:
        (staging / "LICENSE").write_bytes(Path(licence_file).read_bytes())
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "name": arguments.get("name") or source.stem,
        "licence": arguments.get("licence", ""),
        "source": source.name,
        "sha256": digest,
    }
    write_json(staging / MANIFEST, manifest)


@contextmanager
def _counted_tensors(context: JobContext) -> Iterator[None]:
    """Reports each tensor that transformers unpacks, by standing in for the progress bar around its loop."""
    from transformers import modeling_gguf_pytorch_utils as reader

    def counted(tensors: Sequence[Any], **_: object) -> Iterator[Any]:
        for index, tensor in enumerate(tensors):
            if context.interrupted:
                raise ImportStoppedError
            context.progress("import", _READ_SHARE * index / max(len(tensors), 1), 1.0, "parts")
            yield tensor

    before = reader.tqdm
    reader.tqdm = counted
    try:
        yield
    finally:
        reader.tqdm = before
    if context.interrupted:
        raise ImportStoppedError


@contextmanager
def _counted_bytes(context: JobContext, folder: Path, expected: int) -> Iterator[None]:
    """Reports how much of the weights has been written, by looking at the folder now and then."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
            share = min(written / max(expected, 1), 1.0)
            context.progress("import", _READ_SHARE + (1.0 - _READ_SHARE) * share * 0.95, 1.0, "parts")

    watcher = threading.Thread(target=watch, name="import-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _read(source: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(source.parent), source.name
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise JobError(
            FailureKind.MODEL_LOAD,
            f"{source.name} could not be read: {str(error).strip().splitlines()[0] if str(error) else error!r}",
            "Use the model's original safetensors folder, or a GGUF of a common family (Llama, Qwen, Mistral, Gemma).",
        ) from error
    _forget_quantization(model)
    return model, tokenizer


def _forget_quantization(model: Any) -> None:
    """The weights are plain numbers now; transformers would still refuse to save them as “quantized with gguf”."""
    model.is_quantized = False
    for holder, names in ((model, ("hf_quantizer", "quantization_method")), (model.config, ("quantization_config",))):
        for name in names:
            if hasattr(holder, name):
                delattr(holder, name)
