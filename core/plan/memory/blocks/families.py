"""Which block, and which last norm, describes which family."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from core.facts.types import ModelFacts
from core.plan.memory.blocks import cohere, gpt, llama, norms, other, phi
from core.plan.memory.blocks.parts import Layer
from core.plan.memory.ledger import Tensor

Block = Callable[[Layer, Tensor], Tensor]

_BLOCKS: Mapping[str, tuple[Block, Block]] = {
    "llama": (llama.llama, Layer.rms_norm),
    "granite": (llama.granite, Layer.rms_norm),
    "qwen3": (llama.qwen3, Layer.rms_norm),
    "mixtral": (llama.mixtral, Layer.rms_norm),
    "qwen3_moe": (llama.qwen3_moe, Layer.rms_norm),
    "gemma": (llama.gemma, norms.gemma_norm),
    "gemma2": (llama.gemma2, norms.gemma_norm),
    "gemma3": (llama.gemma3, norms.gemma_norm),
    "olmo": (llama.olmo, norms.bare_norm),
    "olmo2": (llama.olmo2, norms.olmo_norm),
    "phi3": (phi.phi3, Layer.rms_norm),
    "phi": (phi.phi, norms.layer_norm),
    "gpt2": (gpt.gpt2, norms.layer_norm),
    "gpt_neox": (gpt.gpt_neox, norms.layer_norm),
    "starcoder2": (gpt.starcoder2, norms.layer_norm),
    "cohere": (cohere.cohere, norms.cohere_norm),
    "other": (other.other, Layer.rms_norm),
}
_NONE: frozenset[str] = frozenset()
_LLAMA = frozenset(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
_MATRICES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("mixtral", "qwen3_moe"), frozenset(("q_proj", "k_proj", "v_proj", "o_proj"))),
    **dict.fromkeys(("llama", "granite", "qwen3", "gemma", "gemma2", "gemma3", "olmo", "olmo2", "cohere"), _LLAMA),
    "phi3": frozenset(("qkv_proj", "o_proj", "gate_up_proj", "down_proj")),
    "phi": frozenset(("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")),
    "gpt2": frozenset(("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")),
    "gpt_neox": frozenset(("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")),
    "starcoder2": frozenset(("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj")),
}
_FAMILIES: Mapping[str, str] = {
    **{family: family for family in _BLOCKS if family != "other"},
    "cohere2": "cohere",
    "ernie4_5": "llama",
    "exaone4": "olmo2",
    "gemma3_text": "gemma3",
    "helium": "llama",
    "hunyuan_v1_dense": "qwen3",
    "ministral3": "llama",
    "olmo3": "olmo2",
    "mistral": "llama",
    "qwen2": "llama",
    "smollm3": "llama",
}


def block_of(name: str) -> Block:
    """The block of that name."""
    return _BLOCKS[name][0]


def norm_of(name: str) -> Block:
    """The norm after the last layer."""
    return _BLOCKS[name][1]


def block_name(model: ModelFacts, matrices: AbstractSet[str] | None = None) -> str:
    """The block that describes a model's layers; "other" where there is none, or where ``matrices`` lack one of its."""
    name = _FAMILIES.get(model.family, "other")
    return "other" if matrices is not None and not _MATRICES.get(name, _NONE) <= matrices else name


def is_described(model: ModelFacts) -> bool:
    """Whether the family's own block is known."""
    return model.family in _FAMILIES
