"""What config.json says, under all the names that families use for the same thing, as numbers that can be trusted."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.facts.architectures import Family, family_of, refusal
from core.facts.config_reader import MAX_NUMBER, ConfigReader, is_measure
from core.facts.json_files import read_json_object
from core.facts.tensors import Tensor

# The largest of each in use are about 200 layers, 1,000 heads, 260,000 tokens and a hidden size of 20,000.
_MAX_LAYERS = 10_000
_MAX_HEADS = 65_536
_MAX_WIDTH = 2**24
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_ACTIVE_EXPERTS = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts")
_RESIDUAL_DROPOUT = ("resid_pdrop", "residual_dropout", "resid_dropout", "hidden_dropout")
_ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop", "attn_dropout")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads")
_CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "context_length",
)
# Numbers that no size depends on, but every value: names -> the largest that makes sense.
_MEASURES = {
    ("rope_theta", "rotary_emb_base"): 1e15,
    ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"): 1.0,
    ("partial_rotary_factor", "rotary_pct"): 1.0,
}
# Families whose classes obey “multi_query”, one head of keys and values for all.
_MULTI_QUERY = frozenset(("falcon", "gpt_bigcode"))
_ROPES = ("rope_scaling", "rope_parameters")
# Settings that differ between copies of one model.
_VOLATILE = frozenset(("transformers_version", "_name_or_path", "use_cache", "dtype", "torch_dtype", "auto_map"))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The settings of config.json (or of a GGUF file's metadata) that facts need; 0 and None mean that it is silent.

    Attributes:
        path: the file they come from, for complaints.
        embedding_size: columns of the embeddings; the hidden size unless the config says otherwise.
        tied: what it says about head and embeddings.
        extra_layers: stored layers that are not loaded (they predict further tokens while pre-training).
        keys: what the file calls the settings it states, such as "num_hidden_layers" -> "text_config.num_layers".
    """

    path: str
    model_type: str
    architecture: str
    family: Family
    hidden_size: int
    embedding_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    tied: bool | None
    sliding_window: int
    experts: int
    active_experts: int
    expert_size: int
    residual_dropout: float
    attention_dropout: float
    stateful: bool
    extra_layers: int = 0
    remote_code: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """What the file calls a setting that it states."""
        return self.keys.get(name, name)


def read_config(path: Path) -> tuple[ModelConfig, Mapping[str, Any]]:
    """The settings of a config.json, and its raw content.

    Raises:
        UserError: the file is broken, its numbers make no sense, or the model is no causal language model.
    """
    raw = read_json_object(path)
    return parse_config(raw, str(path)), raw


def parse_config(raw: Mapping[str, Any], path: str) -> ModelConfig:
    """`read_config` for content that was read already.

    Raises:
        UserError: numbers make no sense, or the model is no causal language model.
    """
    model_type = _text(raw, "model_type")
    names = raw.get("architectures")
    architecture = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if not model_type and not architecture:
        raise UserError(
            error(
                path,
                "The config names neither a model_type nor an architecture, so nobody can tell how to load the model.",
                "Take config.json from the model's source again.",
            )
        )
    reason = refusal(model_type, architecture, encoder_decoder=raw.get("is_encoder_decoder") is True)
    if reason:
        raise UserError(
            error(
                path,
                f"This is a {model_type or architecture} model, which cannot be tuned here: {reason}.",
                "Choose a causal language model, such as Llama, Qwen, Mistral, Gemma or SmolLM.",
            )
        )
    reader = ConfigReader(raw, path)
    config = _numbers(reader, raw, model_type, architecture)
    if reader.problems:
        raise UserError(*reader.problems)
    return config


def fingerprint(raw: Mapping[str, Any], tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the settings and the names, shapes and formats of the tensors, whatever files they lie in."""
    settings = {key: value for key, value in raw.items() if key not in _VOLATILE}
    shapes = sorted((tensor.name, tensor.shape, tensor.dtype) for tensor in tensors)
    blob = json.dumps([settings, shapes], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(blob.encode("utf-8", "surrogatepass")).hexdigest()


def _numbers(reader: ConfigReader, raw: Mapping[str, Any], model_type: str, architecture: str) -> ModelConfig:
    family = family_of(model_type)
    values = reader.values
    hidden = reader.count(*_HIDDEN, least=1, most=_MAX_WIDTH)
    heads = reader.count(*_HEADS, least=1, most=_MAX_HEADS)
    kv_heads = reader.count(*_KV_HEADS, least=1, most=_MAX_HEADS) or heads
    shares = model_type in _MULTI_QUERY or not family.architecture
    if shares and values.get("multi_query") is True and not values.get("new_decoder_architecture"):
        kv_heads = 1
    head_dim = reader.count("head_dim", "attention_head_dim", "kv_channels", least=1, most=_MAX_WIDTH)
    if family.architecture:
        _check_heads(reader, hidden if not head_dim and not family.head_dim else 0, heads, kv_heads)
    for names, largest in _MEASURES.items():
        reader.measure(largest, *names)
    layers = reader.count(*_LAYERS, least=1, most=_MAX_LAYERS)
    _check_layer_types(reader, layers)
    experts, active = _experts(reader)
    return ModelConfig(
        path=reader.path,
        model_type=model_type,
        architecture=family.architecture or architecture,
        family=family,
        hidden_size=hidden,
        embedding_size=reader.count("word_embed_proj_dim", least=1, most=_MAX_WIDTH) or hidden,
        intermediate_size=_inner_size(reader),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim or family.head_dim,
        vocab_size=reader.count("vocab_size", least=1, most=2**31),
        context_length=_context(reader),
        tied=_tied(reader, raw),
        sliding_window=_window(reader, family),
        experts=experts,
        active_experts=active,
        expert_size=_expert_size(reader),
        residual_dropout=reader.share(family.dropout, *_RESIDUAL_DROPOUT),
        attention_dropout=reader.share(family.dropout, *_ATTENTION_DROPOUT),
        stateful=_is_stateful(values),
        extra_layers=reader.count("num_nextn_predict_layers", most=_MAX_LAYERS),
        remote_code=isinstance(raw.get("auto_map"), Mapping) and bool(raw["auto_map"]),
        keys=reader.keys,
    )


def _inner_size(reader: ConfigReader) -> int:
    """Width of the MLP; where a file has both, the classes that know “ffn_dim” (OPT, XGLM) go by that."""
    names = ("intermediate_size", "n_inner", "ffn_hidden_size", "d_ff")
    return reader.count("ffn_dim", least=1, most=_MAX_WIDTH) or reader.count(*names, least=1, most=_MAX_WIDTH)


def _check_layer_types(reader: ConfigReader, layers: int) -> None:
    """One kind for each layer, as transformers demands (``PreTrainedConfig.validate_layer_type``)."""
    kinds = reader.values.get("layer_types")
    if isinstance(kinds, list) and layers and len(kinds) != layers:
        reader.refuse(
            f"The config says {reader.keys[_LAYERS[0]]} = {layers:,}, but its {reader.key('layer_types')} lists "
            f"{len(kinds):,}."
        )


def _experts(reader: ConfigReader) -> tuple[int, int]:
    """How many experts a layer has, and how many of them a token goes through."""
    experts = reader.count(*_EXPERTS, most=_MAX_HEADS)
    active = reader.count(*_ACTIVE_EXPERTS, most=_MAX_HEADS)
    if experts and active > experts:
        reader.refuse(
            f"The config says {reader.keys[_ACTIVE_EXPERTS[0]]} = {active:,}, but there are "
            f"{reader.keys[_EXPERTS[0]]} = {experts:,}."
        )
    return experts, active


def _check_heads(reader: ConfigReader, hidden: int, heads: int, kv_heads: int) -> None:
    """Refuses sizes that no attention can be built from; ``hidden`` is 0 where heads have a size of their own."""
    keys = reader.keys
    if hidden and heads and hidden % heads:
        reader.refuse(
            f"The config says {keys[_HIDDEN[0]]} = {hidden:,} and {keys[_HEADS[0]]} = {heads:,}, but the first is no "
            "multiple of the second."
        )
    if heads and kv_heads and heads % kv_heads and _KV_HEADS[0] in keys:
        reader.refuse(
            f"The config says {keys[_HEADS[0]]} = {heads:,} and {keys[_KV_HEADS[0]]} = {kv_heads:,}, but the first is "
            "no multiple of the second."
        )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _tied(reader: ConfigReader, raw: Mapping[str, Any]) -> bool | None:
    for source in (raw, reader.values):
        value = source.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
        if value is not None:
            reader.refuse(f"The config says tie_word_embeddings = {str(value)[:40]}, which is neither true nor false.")
            return None
    return None


def _context(reader: ConfigReader) -> int:
    """The longest row the positions allow, stretched as far as the config's rope settings say.

    Most configs state the stretched length already; those with YaRN often state the original one and a factor.
    """
    length = reader.count(*_CONTEXT, least=1)
    for name in _ROPES:
        rope = reader.values.get(name)
        if rope is None:
            continue
        if not isinstance(rope, Mapping):
            reader.refuse(f"The config says {reader.key(name)} = {str(rope)[:40]}, which is no table of settings.")
            continue
        original, factor = rope.get("original_max_position_embeddings"), rope.get("factor")
        wrong = _wrong_rope(rope)
        if wrong:
            reader.refuse(
                f"The config says {reader.key(name)}.{wrong} = {str(rope[wrong])[:40]}, which is not a sensible number."
            )
        elif original and factor and "llama3" not in (rope.get("rope_type"), rope.get("type")):
            length = max(length, int(original * factor))  # Llama 3's factor stretches low frequencies only
    return length


def _wrong_rope(rope: Mapping[str, Any]) -> str:
    """The setting of a table on rotary positions that makes no sense; empty where all do."""
    original = rope.get("original_max_position_embeddings")
    if original is not None and not (isinstance(original, int) and is_measure(original, MAX_NUMBER)):
        return "original_max_position_embeddings"
    limits = (("factor", 1e6), ("rope_theta", 1e15), ("partial_rotary_factor", 1.0))
    return next((key for key, most in limits if rope.get(key) is not None and not is_measure(rope[key], most)), "")


def _expert_size(reader: ConfigReader) -> int:
    """The inner width of an expert: its own, or that of the layer."""
    if not reader.count(*_EXPERTS, most=_MAX_HEADS):
        return 0
    own = reader.count("moe_intermediate_size", least=1, most=_MAX_WIDTH)
    return own or reader.count("intermediate_size", least=1, most=_MAX_WIDTH)


def _window(reader: ConfigReader, family: Family) -> int:
    values = reader.values
    kinds = values.get("layer_types")
    # Qwen keeps a window in its configs that is off unless another setting turns it on.
    if not values.get("use_sliding_window", not str(values.get("model_type")).startswith("qwen")):
        return 0
    if isinstance(kinds, list) and kinds and not any("sliding" in str(kind) for kind in kinds):
        return 0
    if "sliding_window" not in values:
        return family.window
    return reader.count("sliding_window")


def _is_stateful(values: Mapping[str, Any]) -> bool:
    kinds = values.get("layer_types")
    listed = kinds if isinstance(kinds, list) else ()
    return any(str(kind) in ("linear_attention", "mamba", "conv", "recurrent", "hybrid") for kind in listed)
