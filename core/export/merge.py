"""Merges an adapter into its base, file by file and tensor by tensor: no model is built, little memory is needed.

For every target module W' = W + scaling * B * A is computed in float32 and stored in W's own format. All other tensors
are copied byte for byte. A target folder is whole or absent.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.tokenizer import TOKENIZER_FILE, Tokenizer
from core.errors import ExitCode, Problem, UserError, error
from core.export.adapter import Manifest, read_manifest
from core.export.card import merged_card, training_part
from core.export.companions import CONFIG, companion_files, copy_companions, has_chat_template, write_config
from core.export.curve import PICTURE_FILE
from core.export.deltas import content, one_thread
from core.export.matching import Matched, Written, match
from core.export.memory import memory_problems, merge_memory
from core.export.peft_adapter import PeftAdapter, read_peft_adapter
from core.export.spec_file import SPEC_FILE
from core.export.target_folder import folder_problems
from core.export.tensor_files import lay_out, read_model_tensors, size_of, write_files
from core.facts.json_files import read_json_object
from core.facts.model_files import read_model
from core.paths import staged_folder
from core.runs.room import room_advice, room_for
from core.units import GIB, format_bytes

MAX_SHARD_BYTES = 5 * GIB
_QUANTIZED = {"nf4": "4 bits (NF4)", "int8": "8 bits"}

OnProgress = Callable[[int, int], None]
Cancelled = Callable[[], bool]


class MergeCancelledError(Exception):
    """The merge was asked to stop and did; nothing of it is left on the disk."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge made.

    Attributes:
        tensors: number of tensors in the merged model.
        merged_modules: names of the modules with a low-rank change, as the adapter calls them.
        replaced: names of the tensors that the adapter holds in full.
        bytes: size of the weight files.
        dtype: the format of most weights, in safetensors' words.
        untied: input and output embeddings were one matrix in the base and are two now.
        notes: what somebody who uses it should know, in sentences.
    """

    target: Path
    tensors: int
    merged_modules: tuple[str, ...]
    replaced: tuple[str, ...]
    files: tuple[str, ...]
    bytes: int
    dtype: str
    untied: bool
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def modules(self) -> int:
        """How many modules have a low-rank change."""
        return len(self.merged_modules)


@dataclass(frozen=True, slots=True)
class _Work:
    """Everything that is known before the first byte is written."""

    base: Path
    adapter: PeftAdapter
    config: dict[str, object]
    matched: Matched
    layout: dict[str, tuple[Written, ...]]
    companions: dict[str, Path]

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.matched.tensors)

    @property
    def needed_bytes(self) -> int:
        return size_of(self.layout) + sum(path.stat().st_size for path in self.companions.values())


def merge_adapter(
    base: Path,
    adapter: Path,
    target: Path,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled | None = None,
) -> MergeReport:
    """Writes base and adapter as one plain model that transformers loads, in the base's own precision.

    Args:
        base: folder of the base model, safetensors in 16 or 32 bits.
        adapter: folder of a LoRA, rsLoRA or DoRA adapter in PEFT's format.
        target: a folder that does not exist yet or is empty.
        max_shard_bytes: largest size of one weight file, unless one tensor alone is larger.
        on_progress: called with bytes written and bytes in all.
        cancelled: asked between pieces of work; when it says True the merge stops.

    Raises:
        UserError: base, adapter and target do not fit together or the disk is too small; every reason at once.
        MergeCancelledError: ``cancelled`` said so.
        OSError: reading or writing failed, such as on a disk that filled up meanwhile.
    """
    started = time.monotonic()
    work = _prepare(base, adapter, target, max_shard_bytes)
    _check_space(target, work.needed_bytes)
    short = memory_problems(merge_memory(work.matched.tensors))
    if short:
        raise UserError(*short, exit_code=ExitCode.DOES_NOT_FIT)
    with staged_folder(target) as folder:
        write_config(work.config, folder, untied=work.matched.untied)
        copy_companions(base, folder, adapter)
        _copy_records(adapter, folder)
        (folder / "README.md").write_text(_card(work), encoding="utf-8")
        with one_thread():
            write_files(folder, work.layout, _Meter(work.weight_bytes, on_progress, cancelled).content)
        size = sum((folder / name).stat().st_size for name in work.layout)
    formats: Counter[str] = Counter()
    for tensor in work.matched.tensors:
        formats[tensor.dtype] += tensor.bytes
    return MergeReport(
        target=target,
        tensors=len(work.matched.tensors),
        merged_modules=tuple(change.module for change in work.adapter.modules),
        replaced=tuple(work.adapter.replacements),
        files=tuple(work.layout),
        bytes=size,
        dtype=formats.most_common(1)[0][0],
        untied=work.matched.untied,
        seconds=time.monotonic() - started,
        notes=_notes(work),
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What an export takes, in bytes.

    Attributes:
        disk: of what is written.
        memory: at its peak, the process with it.
        beside: of what lies beside it on the disk while it is made.
    """

    disk: int
    memory: int
    beside: int = 0


def merge_needs(base: Path, adapter: Path) -> Needs:
    """What a merge of the two will take, on the disk to within its model card; reads headers, never weights.

    Raises:
        UserError: base and adapter cannot be read or do not fit together; every reason at once.
    """
    work = _prepare(base, adapter, None, MAX_SHARD_BYTES)
    return Needs(work.needed_bytes, merge_memory(work.matched.tensors))


class _Meter:
    """Passes the bytes of tensors on, counts them, and stops when asked."""

    def __init__(self, total: int, on_progress: OnProgress | None, cancelled: Cancelled | None) -> None:
        self._total = total
        self._done = 0
        self._on_progress = on_progress
        self._cancelled = cancelled

    def content(self, tensor: Written) -> Iterator[Any]:
        for piece in content(tensor):
            if self._cancelled is not None and self._cancelled():
                raise MergeCancelledError("the merge was cancelled")
            yield piece
            self._done += len(piece)
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)


def _prepare(base: Path, adapter: Path, target: Path | None, max_shard_bytes: int) -> _Work:
    problems = folder_problems(target) if target is not None else []
    found: PeftAdapter | None = None
    config: dict[str, object] = {}
    try:
        found = read_peft_adapter(adapter)
    except UserError as failure:
        problems += failure.problems
    try:
        config = read_base_config(base)
        tensors = read_model_tensors(base)
    except UserError as failure:
        raise UserError(*problems, *failure.problems) from failure
    matched: Matched | None = None
    if found is not None:
        try:
            matched = match(found, base, tensors, config)
        except UserError as failure:
            problems += failure.problems
        problems += fingerprint_problems(base, adapter)
    if found is None or matched is None or problems:
        raise UserError(*problems)
    layout = lay_out(matched.tensors, max(1, max_shard_bytes))
    return _Work(base, found, config, matched, layout, companion_files(base, adapter))


def read_base_config(base: Path) -> dict[str, object]:
    """The config.json of a base model that weights can be merged into.

    Raises:
        UserError: there is none, or its weights are quantized.
    """
    if base.is_file():
        message = "The base model is a single file; adapters are merged into a folder of safetensors weights."
        raise UserError(error(str(base), message, "Import the model first, then merge into the imported folder."))
    if not base.is_dir():
        raise UserError(error(str(base), "There is no such base model folder.", "Give the folder of the base model."))
    if not (base / CONFIG).is_file():
        message = f"The folder is no model: it has no {CONFIG}."
        raise UserError(error(str(base), message, "Choose the folder of a whole model."))
    config = read_json_object(base / CONFIG)
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "") if isinstance(quantization, dict) else ""
        words = f" ({method})" if method else ""
        message = f"The base model's files are already quantized{words}; merging into them would lose precision."
        advice = "Choose the same model in 16 or 32 bits as the base."
        raise UserError(error(str(base / CONFIG), message, advice))
    return config


def fingerprint_problems(base: Path, adapter: Path, tokenizer: Tokenizer | None = None) -> list[Problem]:
    """Whether an adapter says that it was trained on another base model, or with another tokenizer than lies there.

    ``tokenizer`` is the base's own, for those who have read it already.
    """
    manifest = read_manifest(adapter)
    if manifest is None or not manifest.base_fingerprint:
        return []
    if read_model(base).fingerprint != manifest.base_fingerprint:
        message = f"This is not the base model that the adapter was trained on, which was “{manifest.base_name}”."
        return [error(str(base), message, "Choose that model as the base; on another one the answers are wrong.")]
    return _tokenizer_problems(base, adapter, manifest, tokenizer)


def _tokenizer_problems(base: Path, adapter: Path, manifest: Manifest, tokenizer: Tokenizer | None) -> list[Problem]:
    if not manifest.tokenizer_fingerprint or (adapter / TOKENIZER_FILE).is_file():
        return []
    try:
        if (tokenizer or Tokenizer.load(base)).fingerprint == manifest.tokenizer_fingerprint:
            return []
    except UserError as failure:
        return list(failure.problems)
    message = "The tokenizer beside the base model is not the one of the training: texts would become other tokens."
    advice = f"Put the tokenizer files of “{manifest.base_name}” back as they were; the adapter itself is unharmed."
    return [error(str(base / TOKENIZER_FILE), message, advice)]


def _check_space(target: Path, needed: int) -> None:
    room = room_for(needed, target)
    if room.missing:
        message = f"The merged model takes {format_bytes(needed)}, and only {format_bytes(room.free)} are free here."
        raise UserError(error(str(room.place), message, room_advice(room)), exit_code=ExitCode.DOES_NOT_FIT)


def _card(work: _Work) -> str:
    manifest = read_manifest(work.adapter.folder)
    name = manifest.base_path if manifest else work.base.name
    licence = manifest.licence if manifest else ""
    card = work.adapter.folder / "README.md"
    return merged_card(
        base=name,
        licence=licence,
        adapter=work.adapter.folder.name,
        modules=len(work.adapter.modules),
        replaced=tuple(work.adapter.replacements),
        untied=work.matched.untied,
        chat=has_chat_template(work.companions),
        quantized=_quantized(manifest),
        training=training_part(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else "",
    )


def _notes(work: _Work) -> tuple[str, ...]:
    held = _quantized(read_manifest(work.adapter.folder))
    if not held:
        return ()
    return (f"The adapter was trained on the base in {held}, and merged into the base's original weights.",)


def _quantized(manifest: Manifest | None) -> str:
    """How the base was held in the training; empty for in its own precision, or where nothing says."""
    return _QUANTIZED.get(manifest.quantization, "") if manifest is not None else ""


def _copy_records(adapter: Path, folder: Path) -> None:
    """Takes along what the adapter's card points to: the settings of the training and the picture of its losses."""
    for name in (SPEC_FILE, PICTURE_FILE):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, folder / name)
