"""The tensors that a configuration leads to, family by family: what a model's headers will say once they are here.

The lists name every parameter of the class that transformers 5.23 builds from the same configuration; tests build that
class for each model of the catalogue and compare. One line is a tensor: its name (“.weight” is left out; a leading “=”
means a parameter without it), its sizes, and “+” if a bias of the first size goes with it, “+flag” if that depends on a
setting. “?flag” at the end keeps the whole line only where the setting is on, “!flag” only where it is off.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from core.facts.model_config import ModelConfig
from core.facts.tensors import Tensor

_SPLIT = """
self_attn.q_proj Q H +attention_bias
self_attn.k_proj K H +attention_bias
self_attn.v_proj K H +attention_bias
self_attn.o_proj H Q +output_bias
"""
_DENSE = _SPLIT.replace("o_proj H Q +output_bias", "dense H Q +").replace("+attention_bias", "+")
_GATED = """
mlp.gate_proj I H +mlp_bias
mlp.up_proj I H +mlp_bias
mlp.down_proj H I +mlp_bias
"""
_UP_DOWN = "mlp.up_proj I H +mlp_bias\nmlp.down_proj H I +mlp_bias\n"
_GATE_UP = "mlp.gate_up_proj II H\nmlp.down_proj H I\n"
_EXPERTS = "mlp.gate E H\n=mlp.experts.gate_up_proj E MM H\n=mlp.experts.down_proj E H M\n"
_NORMS = "input_layernorm H\npost_attention_layernorm H\n"
_BIASED_NORMS = "input_layernorm H +\npost_attention_layernorm H +\n"
_OUTER_NORMS = "post_attention_layernorm H\npost_feedforward_layernorm H\n"
_FOUR_NORMS = _NORMS + "pre_feedforward_layernorm H\npost_feedforward_layernorm H\n"
_HEAD_NORMS = "self_attn.q_norm D\nself_attn.k_norm D\n"
_WIDE_NORMS = "self_attn.q_norm Q\nself_attn.k_norm K\n"
_OUTSIDE = "embed_tokens V H\nnorm H\n"
_AFFINE = "?layer_norm_elementwise_affine"
_VISION = """
vision_tower.embeddings.patch_embedding VH C S S +
vision_tower.embeddings.position_embedding VP VH
vision_tower.post_layernorm VH +
=multi_modal_projector.mm_input_projection_weight VH H
multi_modal_projector.mm_soft_emb_norm VH
"""
_VISION_BLOCK = """
layer_norm1 VH +
self_attn.k_proj VH VH +
self_attn.v_proj VH VH +
self_attn.q_proj VH VH +
self_attn.out_proj VH VH +
layer_norm2 VH +
mlp.fc1 VI VH +
mlp.fc2 VH VI +
"""


def _one_setting(lines: str, name: str) -> str:
    """The lines of a family that has one setting for the biases of all of them."""
    for other in ("attention_bias", "output_bias", "mlp_bias"):
        lines = lines.replace(f"+{other}", f"+{name}")
    return lines


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a family's tensors are called.

    Attributes:
        block: lines of one block.
        outside: lines beside the blocks, the head left out.
        flags: settings that are not false when the config says nothing.
        head_bias: the head has one.
    """

    block: str
    outside: str = _OUTSIDE
    flags: tuple[str, ...] = ()
    head_bias: bool = False


BLUEPRINTS: Mapping[str, Blueprint] = {
    **dict.fromkeys(
        ("llama", "mistral", "ministral3", "smollm3", "granite", "helium"),
        Blueprint(_SPLIT + _GATED + _NORMS),
    ),
    "ernie4_5": Blueprint(_one_setting(_SPLIT + _GATED, "use_bias") + _NORMS),
    "qwen2": Blueprint(_SPLIT.replace("+attention_bias", "+") + _GATED + _NORMS),
    "qwen3": Blueprint(_SPLIT + _HEAD_NORMS + _GATED + _NORMS),
    "qwen3_moe": Blueprint(_SPLIT + _HEAD_NORMS + _EXPERTS + _NORMS),
    "mixtral": Blueprint(_SPLIT + _EXPERTS + _NORMS),
    "olmoe": Blueprint(_SPLIT + _WIDE_NORMS + _EXPERTS + _NORMS),
    "seed_oss": Blueprint(
        _SPLIT.replace("output_bias", "attention_out_bias") + _GATED + _NORMS, flags=("attention_bias",)
    ),
    "arcee": Blueprint(_SPLIT + _UP_DOWN + _NORMS),
    "nemotron": Blueprint(_SPLIT + _UP_DOWN + _BIASED_NORMS, "embed_tokens V H\nnorm H +"),
    "olmo": Blueprint(_SPLIT + _GATED, "embed_tokens V H"),
    "olmo2": Blueprint(_SPLIT + _WIDE_NORMS + _GATED + _OUTER_NORMS),
    "olmo3": Blueprint(_SPLIT + _WIDE_NORMS + _GATED + _OUTER_NORMS),
    "exaone4": Blueprint(_SPLIT + _HEAD_NORMS + _GATED + _OUTER_NORMS),
    "cohere": Blueprint(
        _SPLIT
        + _GATED
        + "input_layernorm H\nself_attn.q_norm heads D ?use_qk_norm\nself_attn.k_norm kv_heads D ?use_qk_norm"
    ),
    "cohere2": Blueprint(_SPLIT + _GATED + "input_layernorm H"),
    "phi3": Blueprint("self_attn.qkv_proj QKV H\nself_attn.o_proj H Q\n" + _GATE_UP + _NORMS),
    "glm": Blueprint(_SPLIT + _GATE_UP + _NORMS, flags=("attention_bias",)),
    "glm4": Blueprint(
        _SPLIT + _GATE_UP + _NORMS + "post_self_attn_layernorm H\npost_mlp_layernorm H", flags=("attention_bias",)
    ),
    "apertus": Blueprint(
        _SPLIT
        + _UP_DOWN
        + "=mlp.act_fn.alpha_p 1\n=mlp.act_fn.alpha_n 1\n"
        + _HEAD_NORMS
        + "attention_layernorm H\nfeedforward_layernorm H"
    ),
    "hunyuan_v1_dense": Blueprint(
        _SPLIT + _GATED + _NORMS + "self_attn.query_layernorm D\nself_attn.key_layernorm D",
    ),
    "starcoder2": Blueprint(
        _one_setting(_SPLIT, "use_bias") + "mlp.c_fc I H +use_bias\nmlp.c_proj H I +use_bias\n" + _BIASED_NORMS,
        "embed_tokens V H\nnorm H +",
        flags=("use_bias",),
    ),
    "stablelm": Blueprint(
        _SPLIT.replace("attention_bias", "use_qkv_bias")
        + _GATED
        + "input_layernorm H +\npost_attention_layernorm H + !use_parallel_residual\n"
        + "self_attn.q_layernorm.norms.{head} D ?qk_layernorm\nself_attn.k_layernorm.norms.{kv_head} D ?qk_layernorm",
        "embed_tokens V H\nnorm H +",
    ),
    "gemma": Blueprint(_SPLIT + _GATED + _NORMS),
    "gemma2": Blueprint(_SPLIT + _GATED + _FOUR_NORMS),
    "gemma3_text": Blueprint(_SPLIT + _HEAD_NORMS + _GATED + _FOUR_NORMS),
    "gemma3": Blueprint(_SPLIT + _HEAD_NORMS + _GATED + _FOUR_NORMS),
    "gpt2": Blueprint(
        "ln_1 H +\nattn.c_attn H QKV +1\nattn.c_proj Q H +1\nln_2 H +\nmlp.c_fc H I +1\nmlp.c_proj I H +1",
        "wte V H\nwpe P H\nln_f H +",
    ),
    "gpt_neox": Blueprint(
        _BIASED_NORMS
        + "attention.query_key_value QKV H +attention_bias\nattention.dense H Q +attention_bias\n"
        + "mlp.dense_h_to_4h I H +\nmlp.dense_4h_to_h H I +",
        "embed_in V H\nfinal_layer_norm H +",
        flags=("attention_bias",),
    ),
    "phi": Blueprint(
        _DENSE
        + "mlp.fc1 I H +\nmlp.fc2 H I +\ninput_layernorm H +\n"
        + "self_attn.q_layernorm D + ?qk_layernorm\nself_attn.k_layernorm D + ?qk_layernorm",
        "embed_tokens V H\nfinal_layernorm H +",
        head_bias=True,
    ),
    "falcon": Blueprint(
        "self_attention.query_key_value QKV H +bias\nself_attention.dense H Q +bias\n"
        "mlp.dense_h_to_4h I H +bias\nmlp.dense_4h_to_h H I +bias\n"
        "input_layernorm H + !two_norms\nln_attn H + ?two_norms\nln_mlp H + ?two_norms\n"
        "post_attention_layernorm H + !parallel_attn",
        "word_embeddings V H\nln_f H +",
        flags=("parallel_attn",),
    ),
    "bloom": Blueprint(
        _BIASED_NORMS
        + "self_attention.query_key_value QKV H +\nself_attention.dense H Q +\n"
        + "mlp.dense_h_to_4h I H +\nmlp.dense_4h_to_h H I +",
        "word_embeddings V H\nword_embeddings_layernorm H +\nln_f H +",
    ),
    "opt": Blueprint(
        _one_setting(_SPLIT.replace("o_proj", "out_proj"), "enable_bias")
        + "fc1 I H +enable_bias\nfc2 H I +enable_bias\n"
        + f"self_attn_layer_norm H + {_AFFINE}\nfinal_layer_norm H + {_AFFINE}",
        "embed_tokens V W\nembed_positions P2 H\nproject_in H W ?projected\nproject_out W H ?projected\n"
        "final_layer_norm H + ?last_norm",
        flags=("enable_bias", "layer_norm_elementwise_affine", "do_layer_norm_before"),
    ),
}


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    sizes: tuple[str, ...]
    bias: str  # "": none, "+": always, else the setting it depends on
    bias_size: int  # which of the sizes it has
    when: str  # "" always, "?flag" or "!flag"


def tensors_of(
    config: ModelConfig, raw: Mapping[str, Any], blocks: int, dtype: str, element_bytes: int
) -> tuple[Tensor, ...]:
    """The tensors of the model that a configuration describes, by the names of the loaded class.

    Args:
        config: the settings as numbers; its family must be one of `BLUEPRINTS`.
        raw: the same settings as config.json has them; without a vision_config the text part is listed alone.
        blocks: how many of its blocks are listed; they are all alike.
        dtype: the format the weights are stored in, in safetensors' words.
        element_bytes: bytes of one number in that format.
    """
    blueprint = BLUEPRINTS[config.model_type]
    nested, vision = raw.get("text_config"), raw.get("vision_config")
    settings = nested if isinstance(nested, Mapping) else raw
    sizes = _sizes(config) | (_vision_sizes(vision) if vision else {})
    flags = _flags(config, blueprint, settings)
    root = config.family.root
    shapes: list[tuple[str, tuple[int, ...]]] = []
    shapes += _expanded(blueprint.outside, f"{root}.", sizes, flags)
    one = _expanded(blueprint.block, "", sizes, flags)
    for number in range(blocks):
        prefix = f"{config.family.blocks}.{number}."
        shapes += [(prefix + name, shape) for name, shape in one]
    if vision:
        shapes += _vision(vision, sizes)
    if not (config.family.tied if config.tied is None else config.tied):
        shapes.append((f"{config.family.head}.weight", (sizes["V"], sizes["W"])))
    if blueprint.head_bias:
        shapes.append((f"{config.family.head}.bias", (sizes["V"],)))
    tensors = []
    for name, shape in shapes:
        elements = 1
        for size in shape:
            elements *= size
        tensors.append(Tensor(name, shape, dtype, elements * element_bytes))
    return tuple(tensors)


# Families whose classes have no biases in attention or MLP, whatever the config says, and those whose output projection
# has none even where the other three have one (``bias=`` in their modeling files of transformers 5.23).
_NO_ATTENTION_BIAS = frozenset(("mistral", "ministral3", "mixtral", "phi3", "exaone4", "qwen2"))
_PLAIN_OUTPUT = frozenset(("helium", "glm", "glm4", "stablelm"))
_MLP_BIAS = frozenset(("llama", "smollm3", "granite", "helium", "seed_oss", "arcee", "nemotron"))


def _flags(config: ModelConfig, blueprint: Blueprint, settings: Mapping[str, Any]) -> set[str]:
    """The settings that are on, and what follows from several of them."""
    flags = {name for name, value in settings.items() if value is True}
    flags |= {name for name in blueprint.flags if settings.get(name) is None}
    if config.model_type in _NO_ATTENTION_BIAS:
        flags.discard("attention_bias")
    if config.model_type not in _MLP_BIAS:
        flags.discard("mlp_bias")
    if "attention_bias" in flags and config.model_type not in _PLAIN_OUTPUT:
        flags.add("output_bias")
    if config.embedding_size != config.hidden_size:
        flags.add("projected")
    if {"do_layer_norm_before", "layer_norm_elementwise_affine"} <= flags and "_remove_final_layer_norm" not in flags:
        flags.add("last_norm")
    # Falcon's newer build has two norms before its parallel halves unless the config says one.
    newer = "new_decoder_architecture" in flags and settings.get("num_ln_in_parallel_attn") is None
    if "parallel_attn" in flags and (newer or settings.get("num_ln_in_parallel_attn") == 2):
        flags.add("two_norms")
    return flags


def _sizes(config: ModelConfig) -> dict[str, int]:
    hidden = config.hidden_size
    head = config.head_dim or hidden // config.num_heads
    queries, keys = config.num_heads * head, config.num_kv_heads * head
    inner = config.intermediate_size or 4 * hidden
    expert = config.expert_size or config.intermediate_size
    positions = config.context_length
    return {
        "1": 1,
        "V": config.vocab_size,
        "H": hidden,
        "W": config.embedding_size,
        "P": positions,
        "P2": positions + 2,
        "D": head,
        "Q": queries,
        "K": keys,
        "QKV": queries + 2 * keys,
        "I": inner,
        "II": 2 * inner,
        "E": config.experts,
        "M": expert,
        "MM": 2 * expert,
        "heads": config.num_heads,
        "kv_heads": config.num_kv_heads,
    }


def _vision_sizes(vision: Mapping[str, Any]) -> dict[str, int]:
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    return {
        "VH": vision["hidden_size"],
        "VI": vision["intermediate_size"],
        "VP": patches,
        "C": 3,
        "S": vision["patch_size"],
    }


def _vision(vision: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterable[tuple[str, tuple[int, ...]]]:
    yield from _expanded(_VISION, "model.", sizes, set())
    for number in range(vision["num_hidden_layers"]):
        yield from _expanded(_VISION_BLOCK, f"model.vision_tower.encoder.layers.{number}.", sizes, set())


def _expanded(lines: str, prefix: str, sizes: Mapping[str, int], flags: set[str]) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []
    for line in _parsed(lines):
        if line.when and (line.when[1:] in flags) != (line.when[0] == "?"):
            continue
        shape = tuple(sizes[size] for size in line.sizes)
        for name in _numbered(line.name, sizes):
            plain = name.startswith("=")
            found.append((prefix + (name[1:] if plain else f"{name}.weight"), shape))
            if line.bias == "+" or line.bias in flags:
                found.append((f"{prefix}{name}.bias", (shape[line.bias_size],)))
    return found


def _numbered(name: str, sizes: Mapping[str, int]) -> Iterable[str]:
    """A name once, or once for each attention head where it holds a place for the head's number."""
    for place, count in (("{head}", "heads"), ("{kv_head}", "kv_heads")):
        if place in name:
            return [name.replace(place, str(number)) for number in range(sizes[count])]
    return (name,)


@cache
def _parsed(lines: str) -> tuple[_Line, ...]:
    found = []
    for text in filter(None, lines.split("\n")):
        name, *words = text.split()
        when = words.pop() if words[-1][0] in "?!" else ""
        bias = words.pop() if words[-1][0] == "+" else ""
        size = 1 if bias == "+1" else 0
        found.append(_Line(name, tuple(words), bias if bias in ("", "+") else "+" if size else bias[1:], size, when))
    return tuple(found)
