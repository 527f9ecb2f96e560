"""The headers tell the same as the loaded model: transformers and peft are the oracle."""

import json

import pytest

from core.facts.model_files import read_model

pytestmark = pytest.mark.torch

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 64}
NO_GROUPS = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
STATE = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
HYBRID = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8, **STATE}
CASES = {
    "llama": SIZES,
    "llama tied": {**SIZES, "tie_word_embeddings": True, "attention_bias": True},
    "mistral": SIZES,
    "qwen2": SIZES,
    "qwen3": {**SIZES, "head_dim": 16},
    "gemma": {**SIZES, "head_dim": 8},
    "gemma2": {**SIZES, "head_dim": 16},
    "gemma3_text": {**SIZES, "head_dim": 16},
    "phi3": SIZES,
    "smollm3": SIZES,
    "gpt2": GPT,
    "opt": {**NO_GROUPS, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "opt projected": {**NO_GROUPS, "ffn_dim": 64, "word_embed_proj_dim": 16},
    "gpt_neox": NO_GROUPS,
    "phi": SIZES,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64},
    "gptj": {**GPT, "rotary_dim": 8},
    "starcoder2": SIZES,
    "olmo2": SIZES,
    "cohere": SIZES,
    "qwen3_moe": {**SIZES, **MOE},
    "qwen3_5_text": {**SIZES, **HYBRID},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64, "state_size": 8},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def make(case, folder):
    """A saved random model and itself, loaded again from there."""
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = transformers.CONFIG_MAPPING[case.split()[0]](**CASES[case])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return load(folder)


def load(folder):
    import transformers

    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model


def modules(model):
    """Every linear module but the head: inputs, outputs, bias, Conv1D."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, module in model.named_modules():
        if module is model.get_output_embeddings() or ".vision_tower." in name:
            continue
        if isinstance(module, Conv1D):
            found[name] = (*module.weight.shape, True, True)
        elif isinstance(module, torch.nn.Linear):
            found[name] = (module.in_features, module.out_features, module.bias is not None, False)
    return found


def linears(facts):
    return {
        linear.name: (linear.in_features, linear.out_features, linear.bias, linear.conv1d)
        for linear in facts.linears
        if linear.role != "head"
    }


def agree(facts, model):
    head = model.get_output_embeddings()
    assert linears(facts) == modules(model)
    assert facts.parameters == model.num_parameters()
    assert facts.tied_embeddings == (head.weight is model.get_input_embeddings().weight)
    assert [linear.name for linear in facts.linears if linear.role == "head"] == [
        name for name, module in model.named_modules() if module is head
    ]
    assert facts.architecture == type(model).__name__
    config = model.config.get_text_config()
    for name, attribute in (
        ("num_layers", "num_hidden_layers"),
        ("hidden_size", "hidden_size"),
        ("vocab_size", "vocab_size"),
        ("num_heads", "num_attention_heads"),
        ("num_kv_heads", "num_key_value_heads"),
        ("context_length", "max_position_embeddings"),
        ("head_dim", "head_dim"),
        ("sliding_window", "sliding_window"),
    ):
        expected = getattr(config, attribute, None)
        if expected is not None:
            assert getattr(facts, name) == expected, name


@pytest.mark.parametrize("case", CASES)
def test_headers_tell_what_the_model_is(case, tmp_path):
    model = make(case, tmp_path)
    facts = read_model(tmp_path)
    agree(facts, model)
    assert facts.dtype == "F32"
    assert not [text for text in facts.assumptions if "tokenizer" not in text and "experts" not in text]
    assert facts.state_leaks == (case in ("mamba", "qwen3_5_text"))


# peft 0.21 still asks for a property that transformers 5.23 has renamed.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("case", ["llama", "phi3", "gpt2", "opt", "gpt_neox", "falcon"])
def test_peft_finds_the_names(case, tmp_path):
    from peft import LoraConfig, get_peft_model

    model = make(case, tmp_path)
    names = sorted(linears(read_model(tmp_path)))
    wrapped = get_peft_model(model, LoraConfig(target_modules=names, r=2, fan_in_fan_out=case == "gpt2"))
    assert sorted(wrapped.targeted_module_names) == names


def rename(folder, rule):
    """Rewrites the weight file with other tensor names."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file({rule(name): tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("case", "prefix"),
    [("llama tied", "model."), ("gpt2", "transformer."), ("opt", "model."), ("bloom", "transformer.")],
)
def test_checkpoints_of_the_bare_model(case, prefix, tmp_path):
    make(case, tmp_path)
    whole = read_model(tmp_path)
    rename(tmp_path, lambda name: name.removeprefix(prefix))
    bare = read_model(tmp_path)
    agree(bare, load(tmp_path))
    assert bare.linears == whole.linears


@pytest.mark.parametrize(
    "rule",
    [
        lambda name: name,
        lambda name: name.replace("model.language_model.", "language_model.model.").replace(
            "model.vision_tower.", "vision_tower."
        ),
    ],
)
def test_a_model_that_also_sees(rule, tmp_path):
    import transformers
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config={**SIZES, "head_dim": 8}, vision_config={**vision, "image_size": 28, "patch_size": 14}
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    rename(tmp_path, rule)
    agree(read_model(tmp_path), load(tmp_path))


def test_shards_count_like_one_file(tmp_path):
    model = make("llama", tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    one, many = read_model(tmp_path / "one"), read_model(tmp_path / "many")
    assert len(many.weight_files) > 2
    assert many.linears == one.linears
    assert (many.parameters, many.fingerprint) == (one.parameters, one.fingerprint)


GGUF = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3_text": "gemma3"}
GGUF |= {"phi3": "phi3", "gpt2": "gpt2", "starcoder2": "starcoder2", "qwen3_moe": "qwen3moe"}


@pytest.mark.parametrize("case", GGUF)
def test_gguf_names_are_those_that_transformers_maps(case, tmp_path, build):
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    model = make(case, tmp_path)
    folder = read_model(tmp_path)
    architecture = GGUF[case]
    table = get_tensor_name_map(next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture), 2)
    shapes = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and folder.tied_embeddings:
            continue
        stem, _, last = name.rpartition(".")
        shape = tuple(tensor.shape)
        if stem.endswith("experts"):  # fused once loaded, apart in the file
            gate_up = last == "gate_up_proj"
            for part in ("gate", "up") if gate_up else ("down",):
                rows = (shape[0], shape[1] // 2, shape[2]) if gate_up else shape
                shapes[f"blk.{stem.split('.')[2]}.ffn_{part}_exps.weight"] = rows
            continue
        if name in {f"{linear.name}.weight" for linear in folder.linears if linear.conv1d}:
            shape = shape[::-1]
        shapes[f"{table.get_name(stem)}.{last}"] = shape
    key = {
        "block_count": 2,
        "embedding_length": folder.hidden_size,
        "feed_forward_length": folder.intermediate_size,
        "attention.head_count": folder.num_heads,
        "attention.head_count_kv": folder.num_kv_heads,
        "attention.key_length": folder.head_dim,
        "context_length": folder.context_length,
        "vocab_size": folder.vocab_size,
        **({"attention.sliding_window": folder.sliding_window} if folder.sliding_window else {}),
    }
    metadata = {"general.architecture": architecture} | {f"{architecture}.{name}": value for name, value in key.items()}
    file = tmp_path / "m.gguf"
    file.write_bytes(build.gguf(metadata, shapes))
    facts = read_model(file)
    assert facts.linears == folder.linears
    for name in ("parameters", "embedding_parameters", "linear_parameters", "architecture", "family", "head_dim"):
        assert getattr(facts, name) == getattr(folder, name), name
    for name in ("tied_embeddings", "num_kv_heads", "sliding_window", "intermediate_size", "context_length"):
        assert getattr(facts, name) == getattr(folder, name), name


def test_a_wrong_config_is_no_match_for_the_weights(tmp_path):
    from core.errors import UserError

    make("llama", tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="says num_hidden_layers = 3, but the weights hold 2"):
        read_model(tmp_path)
