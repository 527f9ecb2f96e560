"""An adapter that a run is to go on from, as far as its settings and the shapes of its tensors tell. Loads nothing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError, error
from core.facts.json_files import read_json_object
from core.facts.safetensors_header import read_header
from core.facts.tensors import Tensor

_PATH = "adapter.start_from"
_CONFIG, _WEIGHTS, _MANIFEST = "adapter_config.json", "adapter_model.safetensors", "lowrank.json"
_FACTOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
_MAGNITUDE = re.compile(r"base_model\.model\..+\.lora_magnitude_vector(?:\.weight)?")
# Starts that leave the base as it is, in PEFT's words; the others have taken a part out of its weights.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
_BEYOND = ("lora_bias", "alpha_pattern", "layer_replication", "trainable_token_indices", "target_parameters")


@dataclass(frozen=True, slots=True)
class StartAdapter:
    """What an adapter's files say.

    Attributes:
        method: "lora", "rslora" or "dora".
        ranks: full name of each module with an adapter -> its rank.
        shapes: the same -> features in and out.
        whole: what was trained in full (``modules_to_save``).
        base: path or name of the base model that it was trained on.
        base_fingerprint: `core.facts.types.ModelFacts.fingerprint` of that; empty where nobody wrote it down.
    """

    folder: Path
    method: str
    rank: int
    alpha: float
    ranks: Mapping[str, int]
    shapes: Mapping[str, tuple[int, int]]
    whole: tuple[str, ...]
    base: str
    base_fingerprint: str


def read_start_adapter(folder: Path) -> StartAdapter:
    """Reads what an adapter's folder says.

    Raises:
        UserError: it is no adapter, or of a kind that cannot be trained further here.
    """
    weights = folder / _WEIGHTS
    missing = next((name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()), "")
    if missing:
        raise _refused(f"{folder} is not an adapter: it has no {missing}.")
    config = read_json_object(folder / _CONFIG)
    tensors = read_header(weights)
    reason = _unlike_ours(config)
    if reason:
        raise _refused(f"The adapter in {folder} cannot be trained further: {reason}.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float):
        raise _refused(f"The adapter in {folder} has no readable rank and alpha.")
    ranks, shapes = _shapes(tensors)
    whole = config.get("modules_to_save")
    manifest = read_json_object(folder / _MANIFEST) if (folder / _MANIFEST).is_file() else {}
    return StartAdapter(
        folder=folder,
        method="dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora",
        rank=rank,
        alpha=float(alpha),
        ranks=ranks,
        shapes=shapes,
        whole=tuple(str(name) for name in whole) if isinstance(whole, list) else (),
        base=str(config.get("base_model_name_or_path") or ""),
        base_fingerprint=str(manifest.get("base_fingerprint") or ""),
    )


def _unlike_ours(config: Mapping[str, object]) -> str:
    """Why it is not an adapter such as a run here makes, or nothing."""
    if config.get("peft_type") != "LORA":
        return f"it is of the kind {config.get('peft_type')}, not LoRA"
    if config.get("use_dora") and config.get("use_rslora"):
        return "it is both DoRA and rsLoRA"
    if config.get("bias", "none") != "none":
        return "it trains the base model's biases"
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        return f"it began as “{config['init_lora_weights']}”, a part of the base model's weights"
    used = next((name for name in _BEYOND if config.get(name)), "")
    return f"it uses {used}" if used else ""


def _shapes(tensors: Iterable[Tensor]) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    lower: dict[str, tuple[int, ...]] = {}
    upper: dict[str, tuple[int, ...]] = {}
    for tensor in tensors:
        found = _FACTOR.fullmatch(tensor.name)
        if found and len(tensor.shape) == 2:
            (lower if found["part"] == "A" else upper)[found["module"]] = tensor.shape
        elif ".lora_" in tensor.name and not _MAGNITUDE.fullmatch(tensor.name):
            raise _refused(f"The adapter has a tensor of an unknown kind, {tensor.name}.")
    whole = sorted(lower.keys() & upper.keys())
    if len(whole) < len(lower.keys() | upper.keys()):
        raise _refused("The adapter's file is not whole: a module has only one of A and B.")
    return {name: lower[name][0] for name in whole}, {name: (lower[name][1], upper[name][0]) for name in whole}


def _refused(message: str) -> UserError:
    return UserError(error(_PATH, message, "Name another adapter or run, or begin without one."))
