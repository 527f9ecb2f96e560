"""The adapter folder: PEFT's own two files, a model card, and ``lowrank.json``, which says what it was made from."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Problem, UserError, error
from core.export.peft_adapter import CONFIG_FILE, WEIGHTS_FILE, read_adapter_config
from core.facts.json_files import read_json_object
from core.facts.locate import find_model
from core.paths import models_dir, staged_folder, write_json
from core.records import RecordError, from_plain, to_plain

if TYPE_CHECKING:
    import torch

MANIFEST_FILE = "lowrank.json"
TEMPLATE_FILE = "chat_template.jinja"
MANIFEST_FORMAT = 1

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_CACHED = re.compile(r"/models--([^/]+)/snapshots/")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter was made from.

    Attributes:
        base_path: the base model as a path or name on the machine that trained.
        base_fingerprint: `core.facts.types.ModelFacts.fingerprint` of it.
        data_fingerprint: `core.facts.types.DataFacts.fingerprint` of the training data.
        step, steps: how many optimizer steps were taken, and how many were planned.
        best_loss: the lowest validation loss; None where nothing was measured.
        template: source text of the chat template that was trained with; empty for none.
        spec: the run's spec as plain data (`core.spec.codec.to_mapping`).
        versions: of this program and the libraries that trained.
        licence: the base model's licence, as its card names it.
        revision: the hub revision of the base, where there is one.
        quantization: how the base was held in the training: "none", "nf4" or "int8"; empty where nothing says.
        tokenizer_fingerprint: `core.data.tokenizer.Tokenizer.fingerprint` of the training; empty where nothing says.
    """

    base_path: str
    base_fingerprint: str
    data_fingerprint: str = ""
    step: int = 0
    steps: int = 0
    best_loss: float | None = None
    template: str = ""
    spec: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    revision: str = ""
    quantization: str = ""
    tokenizer_fingerprint: str = ""
    format: int = MANIFEST_FORMAT

    @property
    def base_name(self) -> str:
        """What to call the base on any machine."""
        return public_name(self.base_path)


def last_name(path: str) -> str:
    """The last part of a path or hub name, whichever system wrote it."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def public_name(base: str) -> str:
    """What to call a base model in public: its hub name, or the last part of its path."""
    cached = _CACHED.search(base.replace("\\", "/"))
    if cached:
        return cached[1].replace("--", "/", 1)
    return base if _HUB_NAME.fullmatch(base) else last_name(base)


def write_adapter(
    folder: Path,
    *,
    tensors: Mapping[str, "torch.Tensor"],
    config: Mapping[str, object],
    card: str,
    manifest: Mapping[str, object] | Manifest,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Writes an adapter that plain PEFT loads; the folder is whole or absent.

    Args:
        folder: must not exist yet, or be empty.
        tensors: under the names of PEFT's adapter file (``base_model.model.….lora_A.weight``), on any device.
        config: what goes into adapter_config.json.
        card: the model card (`core.export.card.model_card`).
        manifest: the fields of `Manifest`, and more if there is more to say. Its template also becomes a file of
            its own, so that whatever is made of the adapter speaks as it was trained to.
        beside: writes further files into the folder before it is whole.

    Raises:
        FileExistsError: the folder is not empty.
        RecordError: the manifest lacks a field or has one of the wrong type.
        ValueError: there are no tensors.
        OSError, SafetensorError: the disk is full or the folder cannot be written; nothing is left behind then.
    """
    from safetensors.torch import save_file

    if not tensors:
        raise ValueError("an adapter without tensors was about to be saved")
    said = {"format": MANIFEST_FORMAT, **to_plain(manifest)}
    template = from_plain(Manifest, said, path=MANIFEST_FILE).template
    with staged_folder(folder) as staging:
        save_file(_separate(tensors), staging / WEIGHTS_FILE, metadata={"format": "pt"})
        write_json(staging / CONFIG_FILE, to_plain(config))
        write_json(staging / MANIFEST_FILE, said)
        (staging / "README.md").write_text(card, encoding="utf-8")
        if template:
            (staging / TEMPLATE_FILE).write_text(template, encoding="utf-8")
        if beside is not None:
            beside(staging)


def _separate(tensors: Mapping[str, "torch.Tensor"]) -> "dict[str, torch.Tensor]":
    """The tensors on the CPU, each with memory of its own: safetensors refuses views of a common buffer."""
    separate: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        owned = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
        shared = any(plain.data_ptr() == other.data_ptr() for other in separate.values())
        separate[name] = plain if owned and not shared else plain.clone()
    return separate


def read_manifest(folder: Path) -> Manifest | None:
    """What the adapter in ``folder`` says it was made from; None for adapters of other programs.

    Raises:
        UserError: there is a lowrank.json that cannot be read, or that a newer version wrote.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    data = read_json_object(path)
    written = data.get("format", MANIFEST_FORMAT)
    if isinstance(written, int) and written > MANIFEST_FORMAT:
        message = f"The adapter was saved by a newer version of this program (format {written})."
        raise UserError(error(str(path), message, "Update Lowrank Studio, then try again."))
    try:
        return from_plain(Manifest, data, path=MANIFEST_FILE)
    except RecordError as failure:
        advice = "Restore the file, or delete it to use the adapter without checks of its base."
        raise UserError(error(str(path), f"The adapter's origins cannot be read: {failure}.", advice)) from failure


def find_base(adapter: Path) -> Path:
    """The folder of the base model that ``adapter`` was trained on: where it was, or a model of that name here.

    Raises:
        UserError: the adapter names no base, or the base is nowhere to be found.
    """
    manifest = read_manifest(adapter)
    config = read_adapter_config(adapter)
    recorded = [
        (manifest.base_path, manifest.revision) if manifest else ("", ""),
        (str(config.get("base_model_name_or_path") or ""), str(config.get("revision") or "")),
    ]
    named = [(base, revision) for base, revision in dict.fromkeys(recorded) if base]
    if not named:
        message = "The adapter does not say which base model it was trained on."
        raise UserError(error(str(adapter / CONFIG_FILE), message, "Choose the base model yourself."))
    reasons: list[Problem] = []
    for base, revision in named:
        for place in (base, str(models_dir() / last_name(base))):
            try:
                return find_model(place, revision)
            except UserError as failure:
                reasons += failure.problems
    base = named[0][0]
    message = f"The base model “{last_name(base)}” that this adapter was trained on is no longer at {base}."
    raise UserError(error(str(adapter), message, "Choose the folder where the base model lies now.")) from UserError(
        *reasons
    )
