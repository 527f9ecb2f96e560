"""What the names of a model's tensors do not say: one row for each family, and the words that all families share.

Discovery (`core.facts.linears`) works without this table; a row adds the class that transformers loads, the place of
the blocks in it, and what would go wrong unseen. Checked against transformers 5.23 by the parity tests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.facts.types import Role


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Family:
    """What is known about a ``model_type``.

    Attributes:
        architecture: the class that transformers loads for text generation; empty for an unknown family.
        blocks: path of the list of blocks inside that class.
        head: name of the output projection.
        tied: whether head and embeddings share one matrix when the config says nothing.
        conv1d: linear layers are stored as (in, out).
        state_leaks: state runs along a row, so packed rows would see each other.
        towers: parts of the files that are loaded as well but never adapted; text-only classes leave them out.
        head_dim: size of an attention head when the config says nothing; 0 divides the hidden size.
        window: sliding window when the config says nothing.
        dropout: what the model drops in training, of scores and of what a layer adds, when the config says nothing.
    """

    architecture: str = ""
    blocks: str = "model.layers"
    head: str = "lm_head"
    tied: bool = False
    conv1d: bool = False
    state_leaks: bool = False
    towers: bool = False
    head_dim: int = 0
    window: int = 0
    dropout: float = 0.0

    @property
    def root(self) -> str:
        """Path of the module that holds the blocks, the embeddings and the last norm."""
        return self.blocks.rpartition(".")[0]


_GPT = "transformer.h"
_NESTED = "model.language_model.layers"
_BACKBONE = "backbone.layers"

FAMILIES: Mapping[str, Family] = {
    # Llama and those built like it
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", window=4096),
    "ministral3": Family("Ministral3ForCausalLM"),
    "qwen2": Family("Qwen2ForCausalLM"),
    "qwen3": Family("Qwen3ForCausalLM", head_dim=128),
    "smollm3": Family("SmolLM3ForCausalLM", tied=True),
    "phi3": Family("Phi3ForCausalLM"),
    "granite": Family("GraniteForCausalLM"),
    "olmo": Family("OlmoForCausalLM"),
    "olmo2": Family("Olmo2ForCausalLM"),
    "olmo3": Family("Olmo3ForCausalLM", window=4096),
    "cohere": Family("CohereForCausalLM", tied=True),
    "cohere2": Family("Cohere2ForCausalLM", tied=True, window=4096),
    "stablelm": Family("StableLmForCausalLM"),
    "starcoder2": Family("Starcoder2ForCausalLM", tied=True),
    "nemotron": Family("NemotronForCausalLM"),
    "glm": Family("GlmForCausalLM", head_dim=128),
    "glm4": Family("Glm4ForCausalLM", head_dim=128),
    "helium": Family("HeliumForCausalLM", head_dim=128),
    "exaone4": Family("Exaone4ForCausalLM", window=4096),
    "ernie4_5": Family("Ernie4_5ForCausalLM", tied=True, head_dim=128),
    "seed_oss": Family("SeedOssForCausalLM", head_dim=128),
    "arcee": Family("ArceeForCausalLM"),
    "apertus": Family("ApertusForCausalLM"),
    "hunyuan_v1_dense": Family("HunYuanDenseV1ForCausalLM"),
    # Gemma
    "gemma": Family("GemmaForCausalLM", tied=True, head_dim=256),
    "gemma2": Family("Gemma2ForCausalLM", tied=True, head_dim=256, window=4096),
    "gemma3_text": Family("Gemma3ForCausalLM", tied=True, head_dim=256, window=4096),
    "gemma3": Family("Gemma3ForConditionalGeneration", _NESTED, tied=True, towers=True, head_dim=256, window=4096),
    # GPT and its time
    "gpt2": Family("GPT2LMHeadModel", _GPT, tied=True, conv1d=True, dropout=0.1),
    "gpt_bigcode": Family("GPTBigCodeForCausalLM", _GPT, tied=True, dropout=0.1),
    "gpt_neo": Family("GPTNeoForCausalLM", _GPT, tied=True),
    "gptj": Family("GPTJForCausalLM", _GPT),
    "codegen": Family("CodeGenForCausalLM", _GPT),
    "gpt_neox": Family("GPTNeoXForCausalLM", "gpt_neox.layers"),
    "opt": Family("OPTForCausalLM", "model.decoder.layers", tied=True),
    "phi": Family("PhiForCausalLM"),
    "bloom": Family("BloomForCausalLM", _GPT, tied=True),
    "falcon": Family("FalconForCausalLM", _GPT, tied=True),
    "mpt": Family("MptForCausalLM", "transformer.blocks", tied=True),
    # Mixtures of experts: attention and shared parts get adapters, experts do not
    "mixtral": Family("MixtralForCausalLM"),
    "qwen2_moe": Family("Qwen2MoeForCausalLM"),
    "qwen3_moe": Family("Qwen3MoeForCausalLM"),
    "olmoe": Family("OlmoeForCausalLM"),
    "gpt_oss": Family("GptOssForCausalLM", head_dim=64, window=128),
    "deepseek_v2": Family("DeepseekV2ForCausalLM"),
    "deepseek_v3": Family("DeepseekV3ForCausalLM"),
    "granitemoe": Family("GraniteMoeForCausalLM"),
    "phimoe": Family("PhimoeForCausalLM"),
    # State along the row
    "mamba": Family("MambaForCausalLM", _BACKBONE, tied=True, state_leaks=True),
    "mamba2": Family("Mamba2ForCausalLM", _BACKBONE, state_leaks=True),
    "falcon_mamba": Family("FalconMambaForCausalLM", _BACKBONE, tied=True, state_leaks=True),
    "rwkv": Family("RwkvForCausalLM", "rwkv.blocks", "head", state_leaks=True),
    "qwen3_next": Family("Qwen3NextForCausalLM", state_leaks=True, head_dim=256),
    "qwen3_5_text": Family("Qwen3_5ForCausalLM", state_leaks=True, head_dim=256),
    "qwen3_5": Family("Qwen3_5ForCausalLM", state_leaks=True, head_dim=256),
    "falcon_h1": Family("FalconH1ForCausalLM", state_leaks=True),
    "bamba": Family("BambaForCausalLM", state_leaks=True),
    "jamba": Family("JambaForCausalLM", state_leaks=True),
    "nemotron_h": Family("NemotronHForCausalLM", state_leaks=True),
    "granitemoehybrid": Family("GraniteMoeHybridForCausalLM", state_leaks=True),
    "lfm2": Family("Lfm2ForCausalLM", tied=True, state_leaks=True),
    "recurrent_gemma": Family("RecurrentGemmaForCausalLM", tied=True, state_leaks=True),
}
UNKNOWN = Family(blocks="")

# Families that transformers has itself: files beside them that want to run are not needed.
NATIVE = frozenset(FAMILIES) | _words(
    "afmoe aria_text bailing_hybrid bitnet blt cohere2_moe cwm dbrx deepseek_v4 diffllama doge dots1 emu3 ernie4_5_moe "
    "exaone_moe flex_olmo gemma3n gemma3n_text gemma4 gemma4_text glm4_moe glm4_moe_lite gpt_neox_japanese "
    "hunyuan_v1_moe hy_v3 jais2 jetmoe kimi_linear lfm2_moe llama4 llama4_text longcat_flash minicpm3 minimax "
    "minimax_m2 ministral modernbert-decoder nanochat olmo_hybrid persimmon phi4_multimodal qwen3_5_moe "
    "qwen3_5_moe_text vaultgemma xglm xlstm youtu zamba zamba2"
)

FUSED: Mapping[str, tuple[str, ...]] = {
    "qkv_proj": ("q", "k", "v"),
    "c_attn": ("q", "k", "v"),
    "query_key_value": ("q", "k", "v"),
    "Wqkv": ("q", "k", "v"),
    "gate_up_proj": ("gate", "up"),
}

HEADS = _words("lm_head embed_out output_projection head")
EMBEDDINGS = _words("embed_tokens wte word_embeddings embed_in embeddings tok_embeddings tokens_embed")
POSITIONS = _words("wpe embed_positions position_embeddings positions_embed")
TOWERS = _words(
    "vision_tower vision_model visual image_tower audio_tower audio_model vision_embed_tokens multi_modal_projector "
    "embed_vision embed_audio speech_tower connector mm_projector"
)
# Linear layers that PEFT 0.21 does not adapt, by model_type. It refuses out_proj where a fused kernel reads the weight
# past the adapter (tuners_utils, _check_lora_target_modules_mamba); and where transformers 5 fused experts that were
# linear layers before, it takes every layer of such a name for experts (utils/transformers_weight_conversion).
_MAMBA = _words("falcon_h1 falcon_mamba mamba mamba2 nemotron_h")
_FUSED_EXPERTS = _words(
    "afmoe cohere2_moe deepseek_v2 deepseek_v3 dots1 ernie4_5_moe exaone_moe flex_olmo glm4_moe glm4_moe_lite "
    "hunyuan_v1_moe longcat_flash olmoe qwen3_moe qwen3_next"
)
_MIXTRALS = _words("minimax minimax_m2 mixtral")

# Layers that predict further tokens while pre-training; transformers does not load them.
NOT_LOADED = frozenset(("mtp",))

_ENCODERS = re.compile(
    r"bert(?!-decoder)|electra|ernie($|_m)|xlm|longformer|big_bird|canine|esm|luke|mpnet|nystromformer|reformer",
    re.IGNORECASE,
)
_ATTENTION = re.compile(r"attn|attention|mlstm_layer")
_MLP = re.compile(r"mlp|ffn|feed_forward|shared_expert|moe")
_ATTENTION_NAMES = _words("q_proj k_proj v_proj o_proj qkv_proj")
_MLP_NAMES = _words("fc1 fc2 fc_in fc_out up_proj down_proj gate_proj gate_up_proj")


def family_of(model_type: str) -> Family:
    """The row for a ``model_type``; `UNKNOWN` where there is none."""
    return FAMILIES.get(model_type, UNKNOWN)


def not_adaptable(model_type: str) -> frozenset[str]:
    """The last parts of names of linear layers that can get no adapter in models of this type."""
    if model_type in _MAMBA:
        return _words("out_proj")
    if model_type in _FUSED_EXPERTS:
        return _words("gate gate_proj up_proj down_proj")
    return _words("gate w1 w2 w3") if model_type in _MIXTRALS else frozenset()


def role_of(parts: tuple[str, ...]) -> Role:
    """The part a linear layer plays, from the names between its block and itself, its own name last."""
    path = ".".join(parts[:-1])
    if _ATTENTION.search(path):
        return "attention"
    if _MLP.search(path):
        return "mlp"
    if parts[-1] in _ATTENTION_NAMES:
        return "attention"
    return "mlp" if parts[-1] in _MLP_NAMES else "other"


def refusal(model_type: str, architecture: str, *, encoder_decoder: bool) -> str:
    """Why such a model cannot be tuned here, as the end of a sentence; empty for causal language models.

    Args:
        model_type: of config.json.
        architecture: the first of config.json's ``architectures``; empty where it has none.
        encoder_decoder: what config.json says in ``is_encoder_decoder``.
    """
    if encoder_decoder:
        return "it translates one text into another (encoder and decoder) instead of continuing a text"
    if model_type in FAMILIES:
        return ""
    if _ENCODERS.search(model_type):
        return "it reads text (an encoder) but does not continue it"
    if not architecture or architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return ""
    if re.search(r"ConditionalGeneration|Vision2Seq|ImageTextToText", architecture):
        return "it reads pictures or sound, or translates text, and this application tunes models that continue text"
    if model_type in NATIVE:
        return ""
    return f"its class {architecture} does not continue text"
