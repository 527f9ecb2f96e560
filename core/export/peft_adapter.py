"""An adapter in PEFT's format, read without loading it: which modules it changes, by what, and how strongly."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Problem, UserError, error
from core.export.tensor_files import FLOATS, StoredTensor, read_tensors
from core.facts.json_files import read_json_object

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B)(?:\.default)?\.weight")
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")
_SAVED = re.compile(r"(?P<module>.+?)(?:\.modules_to_save(?:\.default)?)?\.(?P<parameter>[^.]+)")

# Variants whose change of the weights is more, or other, than scaling * B * A.
_UNSUPPORTED = {
    "alora_invocation_tokens": "an activated LoRA that works on some tokens only",
    "arrow_config": "an Arrow router that chooses between adapters for every token",
    "kasa_config": "a KaSA adapter",
    "layer_replication": "an adapter for a model with repeated layers",
    "lora_bias": "an adapter with biases of its own",
    "megatron_config": "an adapter for Megatron's parallel layers",
    "monteclora_config": "a Monte Carlo LoRA",
    "target_parameters": "an adapter on bare parameters (mixture-of-experts weights)",
    "trainable_token_indices": "an adapter with token embeddings of its own",
    "use_bdlora": "a block-diagonal LoRA",
    "use_qalora": "a QALoRA adapter",
}
# Ways to start that leave the base as it is; the others subtract the first B * A from the base's weights.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one linear layer: ``scaling * B * A``, with DoRA's magnitudes where it has them.

    Attributes:
        module: the layer's full name in the model that was trained.
        a: A, (rank, in); b: B, (out, rank).
    """

    module: str
    a: StoredTensor
    b: StoredTensor
    magnitude: StoredTensor | None
    scaling: float

    @property
    def in_features(self) -> int:
        """Width of the layer's input."""
        return self.a.shape[1]

    @property
    def out_features(self) -> int:
        """Width of the layer's output."""
        return self.b.shape[0]


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """What an adapter folder says.

    Attributes:
        modules: the low-rank changes, sorted by module.
        replacements: tensors trained in full (``modules_to_save``), by their name in the model.
        fan_in_fan_out: the config's word on transposed weights; see `core.export.matching`.
        keeps_tie: input and output embeddings were trained as one (``ensure_weight_tying``).
    """

    folder: Path
    modules: tuple[LowRank, ...]
    replacements: Mapping[str, StoredTensor]
    base: str
    fan_in_fan_out: bool
    keeps_tie: bool


@dataclass(frozen=True, slots=True)
class _Strength:
    """Rank and alpha, with their exceptions by module, as PEFT looks them up."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    root: bool

    def rank_of(self, module: str) -> int:
        return self.rank_pattern.get(_pattern_key(self.rank_pattern, module), self.rank)

    def scaling_of(self, module: str) -> float:
        alpha = self.alpha_pattern.get(_pattern_key(self.alpha_pattern, module), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.root else rank)


def _pattern_key(patterns: Mapping[str, float], module: str) -> str:
    # The first pattern that matches the end of the name wins, at a dot (peft.utils.other.get_pattern_key).
    for pattern in patterns:
        if re.match(rf"(.*\.)?({pattern})$", module):
            return pattern
    return module


def read_peft_adapter(folder: Path) -> PeftAdapter:
    """The adapter in ``folder``, checked as far as it can be without its base.

    Raises:
        UserError: files are missing or broken, or the adapter is of a kind that cannot be merged exactly; every
            reason at once.
    """
    config = read_adapter_config(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise _no_weights(folder)
    tensors = read_tensors(weights)
    problems = _refusals(folder, config)
    strength, wrong = _strength(folder, config)
    problems += wrong
    factors, magnitudes, replacements, strange = _sort_keys(weights, tensors)
    problems += strange
    if not factors and not replacements and not problems:
        problems.append(error(str(weights), "The adapter is empty.", "Choose the adapter of a finished run."))
    problems += _check_saved(folder, config, replacements)
    modules = []
    for module in sorted({*factors, *magnitudes}):
        found = _low_rank(module, factors.get(module, {}), magnitudes.get(module), config, strength)
        if isinstance(found, LowRank):
            modules.append(found)
        else:
            problems.append(error(str(weights), found, "Export the adapter again; its parts do not fit together."))
    if problems:
        raise UserError(*problems)
    return PeftAdapter(
        folder=folder,
        modules=tuple(modules),
        replacements=replacements,
        base=str(config.get("base_model_name_or_path") or ""),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
        keeps_tie=bool(config.get("ensure_weight_tying")),
    )


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """What adapter_config.json says.

    Raises:
        UserError: the folder is missing or no adapter, or the file is broken.
    """
    if not folder.is_dir():
        raise UserError(error(str(folder), "There is no such adapter folder.", "Choose the folder of an adapter."))
    if not (folder / CONFIG_FILE).is_file():
        message = f"The folder is no adapter: it has no {CONFIG_FILE}."
        raise UserError(error(str(folder), message, "Choose the folder of a PEFT adapter."))
    return read_json_object(folder / CONFIG_FILE)


def _no_weights(folder: Path) -> UserError:
    if (folder / "adapter_model.bin").is_file():
        message = "The adapter's weights are pickled (adapter_model.bin); such files can run programs when opened."
        return UserError(error(str(folder), message, "Save the adapter as safetensors with PEFT and choose that."))
    message = f"The adapter has no weights: {WEIGHTS_FILE} is missing."
    return UserError(error(str(folder), message, "Export the adapter again, or choose another one."))


def _refusals(folder: Path, config: Mapping[str, object]) -> list[Problem]:
    path = str(folder / CONFIG_FILE)
    kind = config.get("peft_type")
    if kind != "LORA":
        message = f"This is an adapter of the kind “{kind}”; only LoRA, rsLoRA and DoRA can be merged here."
        return [error(path, message, "Use it unmerged, with PEFT.")]
    found = [words for key, words in _UNSUPPORTED.items() if config.get(key)]
    problems = [error(path, f"This is {words}; it cannot be merged.", "Use it unmerged, with PEFT.") for words in found]
    if config.get("bias", "none") != "none":
        message = f"The adapter trains the base's biases (bias is “{config['bias']}”); that cannot be merged here."
        problems.append(error(path, message, "Train with bias “none”, or merge with PEFT."))
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        message = f"The adapter was started with “{start}”, which also changes the base's weights."
        advice = "Convert it to a plain LoRA first (PEFT's path_initial_model_for_weight_conversion)."
        problems.append(error(path, message, advice))
    return problems


def _strength(folder: Path, config: Mapping[str, object]) -> tuple[_Strength, list[Problem]]:
    path = str(folder / CONFIG_FILE)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    wrong = []
    if not _is_number(rank) or not isinstance(rank, int) or rank < 1:
        wrong.append(f"The rank “r” is {rank!r}; it must be a whole number of at least 1.")
    if not _is_number(alpha):
        wrong.append(f"“lora_alpha” is {alpha!r}; it must be a number.")
    for name, patterns in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        if not isinstance(patterns, dict) or not all(_is_number(value) and value > 0 for value in patterns.values()):
            wrong.append(f"“{name}” must map module names to numbers above 0.")
        elif not all(_is_pattern(key) for key in patterns):
            wrong.append(f"“{name}” has a key that is not a regular expression.")
    if wrong:
        advice = "Export the adapter again; its settings are broken."
        return _Strength(1, 1.0, {}, {}, root=False), [error(path, message, advice) for message in wrong]
    assert isinstance(rank, int)
    assert isinstance(alpha, int | float)
    assert isinstance(ranks, dict)
    assert isinstance(alphas, dict)
    return _Strength(rank, float(alpha), ranks, alphas, root=bool(config.get("use_rslora"))), []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


_Factors = dict[str, dict[str, StoredTensor]]


def _sort_keys(
    weights: Path, tensors: tuple[StoredTensor, ...]
) -> tuple[_Factors, dict[str, StoredTensor], dict[str, StoredTensor], list[Problem]]:
    factors: _Factors = {}
    magnitudes: dict[str, StoredTensor] = {}
    replacements: dict[str, StoredTensor] = {}
    embeddings, strange = [], []
    for tensor in tensors:
        key = tensor.name.removeprefix(_PREFIX)
        if factor := _FACTOR.fullmatch(key):
            factors.setdefault(factor["module"], {})[factor["part"]] = tensor
        elif magnitude := _MAGNITUDE.fullmatch(key):
            magnitudes[magnitude["module"]] = tensor
        elif ".base_layer." in key:
            continue  # a copy of the base's own weight, which PEFT adds where the head has an adapter
        elif ".lora_embedding_" in key:
            embeddings.append(key)
        elif ".lora_" in key or "trainable_tokens" in key or tensor.dtype not in FLOATS:
            strange.append(key)
        elif saved := _SAVED.fullmatch(key):
            replacements[f"{saved['module']}.{saved['parameter']}"] = tensor
        else:
            strange.append(key)
    problems = []
    if embeddings:
        message = f"The adapter changes token embeddings by low rank (“{embeddings[0]}”); that cannot be merged here."
        problems.append(error(str(weights), message, "Train the embeddings in full (modules_to_save) instead."))
    if strange:
        message = f"{len(strange)} tensors of the adapter are of an unknown kind, such as “{strange[0]}”."
        problems.append(error(str(weights), message, "Use the adapter unmerged, with the program that made it."))
    return factors, magnitudes, replacements, problems


def _check_saved(folder: Path, config: Mapping[str, object], replacements: Mapping[str, StoredTensor]) -> list[Problem]:
    named = config.get("modules_to_save") or ()
    names = [str(name) for name in named] if isinstance(named, list) else []
    lost = [name for name in names if not any(f".{name}." in f".{key}" for key in replacements)]
    if not lost:
        return []
    message = f"The settings say that “{', '.join(lost)}” was trained in full, but its weights are not in the file."
    return [error(str(folder / WEIGHTS_FILE), message, "Export the adapter again.")]


def _low_rank(
    module: str,
    parts: Mapping[str, StoredTensor],
    magnitude: StoredTensor | None,
    config: Mapping[str, object],
    strength: _Strength,
) -> LowRank | str:
    """The change of one module, or a sentence that says why its parts do not fit together."""
    a, b = parts.get("A"), parts.get("B")
    if a is None or b is None:
        return f"“{module}” has no {'A' if a is None else 'B'} matrix."
    if len(a.shape) != 2 or len(b.shape) != 2:
        return f"“{module}” is not a linear layer (A has the shape {a.shape}); only linear layers can be merged."
    if a.dtype not in FLOATS or b.dtype not in FLOATS:
        return f"“{module}” is stored as {a.dtype} and {b.dtype}; the adapter's own weights must be floating-point."
    rank = strength.rank_of(module)
    if a.shape[0] != rank or b.shape[1] != rank:
        return f"“{module}” has rank {a.shape[0]} in A and {b.shape[1]} in B, but the settings say {rank}."
    if bool(config.get("use_dora")) != (magnitude is not None):
        have = "no magnitudes although the settings say DoRA" if magnitude is None else "magnitudes without DoRA"
        return f"“{module}” has {have}."
    if magnitude is not None and math.prod(magnitude.shape) != b.shape[0]:
        return f"“{module}” has {math.prod(magnitude.shape)} magnitudes for {b.shape[0]} outputs."
    return LowRank(module, a, b, magnitude, strength.scaling_of(module))
