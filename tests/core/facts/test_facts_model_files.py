import json
import shutil

import pytest

from core.errors import ExitCode, UserError
from core.facts.model_files import read_model
from core.facts.types import ModelFacts
from core.records import from_plain, to_plain


def sentence(path):
    with pytest.raises(UserError) as failure:
        read_model(path)
    assert failure.value.exit_code is ExitCode.BAD_SPEC
    for problem in failure.value.problems:
        assert problem.message.endswith((".", "!"))
        assert problem.advice.endswith((".", "?"))
    return str(failure.value)


def test_a_small_llama(tmp_path, build):
    facts = read_model(build.model(tmp_path / "m"))
    blocks = 2 * (8 * 8 * 2 + 4 * 8 * 2 + 16 * 8 * 3)
    assert facts.parameters == blocks + 2 * 2 * 8 + 8 + 2 * 32 * 8
    assert facts.embedding_parameters == 32 * 8
    assert facts.linear_parameters == blocks + 32 * 8
    assert (facts.hidden_size, facts.intermediate_size, facts.num_layers, facts.vocab_size) == (8, 16, 2, 32)
    assert (facts.num_heads, facts.num_kv_heads, facts.head_dim, facts.context_length) == (2, 1, 4, 64)
    assert (facts.family, facts.architecture, facts.dtype) == ("llama", "LlamaForCausalLM", "BF16")
    assert (facts.tied_embeddings, facts.state_leaks, facts.remote_code, facts.prequantized) == (False,) * 3 + ("",)
    assert facts.weight_files == ("model.safetensors",)
    assert facts.bytes_on_disk == (tmp_path / "m" / "model.safetensors").stat().st_size
    assert facts.assumptions == ()
    names = [linear.name for linear in facts.linears]
    assert names[:7] == [
        f"model.layers.0.{name}"
        for name in (
            *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
            *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        )
    ]
    assert len(names) == 15
    head = facts.linears[-1]
    assert (head.name, head.role, head.layer, head.out_features) == ("lm_head", "head", None, 32)
    assert {linear.role for linear in facts.linears[:4]} == {"attention"}
    assert from_plain(ModelFacts, json.loads(json.dumps(to_plain(facts)))) == facts


def test_layers_are_in_the_order_of_numbers(tmp_path, build):
    config = {**build.llama, "num_hidden_layers": 11}
    facts = read_model(build.model(tmp_path / "m", config, build.llama_shapes(11)))
    layers = [linear.layer for linear in facts.linears if linear.short_name == "q_proj"]
    assert layers == list(range(11))


def test_the_prefix_is_added_where_the_file_has_the_bare_model(tmp_path, build):
    tied = {**build.llama, "tie_word_embeddings": True}
    bare = read_model(build.model(tmp_path / "bare", tied, build.llama_shapes(prefix="", head=False)))
    full = read_model(build.model(tmp_path / "full", tied, build.llama_shapes(head=False)))
    assert bare.linears == full.linears
    assert bare.parameters == full.parameters


def test_old_buffers_are_not_counted(tmp_path, build):
    shapes = {
        **build.llama_shapes(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": (2,),
        "model.layers.0.attn.masked_bias": (),
        "model.layers.0.attn.bias": (1, 1, 4, 4),
        "model.layers.1.mask": ((4,), "BOOL"),
    }
    extended = read_model(build.model(tmp_path / "a", shapes=shapes))
    assert extended.parameters == read_model(build.model(tmp_path / "b")).parameters


def test_a_tied_head_counts_once_and_a_different_one_twice(tmp_path, build):
    config = {**build.llama, "tie_word_embeddings": True}
    same = read_model(build.model(tmp_path / "same", config))
    without = read_model(build.model(tmp_path / "without", config, build.llama_shapes(head=False)))
    other = read_model(build.model(tmp_path / "other", config, contents={"lm_head.weight": bytes(500) + b"\1"}))
    assert same.parameters == without.parameters == other.parameters - 32 * 8
    assert (same.tied_embeddings, without.tied_embeddings, other.tied_embeddings) == (True, True, False)
    assert "“lm_head.weight” in model.safetensors differs from" in other.assumptions[0]
    assert other.linear_parameters == same.linear_parameters + 32 * 8
    assert without.linears == same.linears


def test_a_head_that_would_start_at_random_is_refused(tmp_path, build):
    assert "no output head" in sentence(build.model(tmp_path / "m", shapes=build.llama_shapes(head=False)))


def test_the_fingerprint_follows_the_model_and_not_the_copy(tmp_path, build):
    one = read_model(build.model(tmp_path / "one"))
    copy = read_model(build.model(tmp_path / "two", {**build.llama, "transformers_version": "9", "_name_or_path": "x"}))
    other = read_model(build.model(tmp_path / "three", {**build.llama, "rope_theta": 5.0}))
    assert one.fingerprint == copy.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 64


@pytest.mark.parametrize(
    ("changes", "context"),
    [
        ({}, 64),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, 256),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 4}}, 64),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 64),
        ({"rope_scaling": {"factor": None, "original_max_position_embeddings": 64}}, 64),
        ({"rope_scaling": None, "rope_parameters": {"rope_theta": 1e4}}, 64),
        ({"max_position_embeddings": None, "n_positions": 32}, 32),
        ({"max_position_embeddings": None}, 0),
    ],
)
def test_context_length(tmp_path, build, changes, context):
    assert read_model(build.model(tmp_path / "m", {**build.llama, **changes})).context_length == context


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({"model_type": "mistral"}, 4096),
        ({"model_type": "mistral", "sliding_window": None}, 0),
        ({"model_type": "mistral", "sliding_window": 16}, 16),
        ({"model_type": "olmoid", "sliding_window": 16, "use_sliding_window": False}, 0),
        ({"model_type": "qwenoid", "sliding_window": 16}, 0),
        ({"model_type": "qwenoid", "sliding_window": 16, "use_sliding_window": True}, 16),
        ({"model_type": "mistral", "layer_types": ["full_attention", "full_attention"]}, 0),
        ({"model_type": "llama"}, 0),
    ],
)
def test_sliding_window(tmp_path, build, changes, window):
    assert read_model(build.model(tmp_path / "m", {**build.llama, **changes})).sliding_window == window


def test_heads_come_from_the_shapes_when_the_config_is_silent(tmp_path, build):
    config = {key: value for key, value in build.llama.items() if "heads" not in key} | {"head_dim": 4}
    facts = read_model(build.model(tmp_path / "m", config))
    assert (facts.num_heads, facts.num_kv_heads, facts.head_dim) == (2, 1, 4)
    assert facts.assumptions == ()  # the size of a head and the shapes leave nothing open
    odd = {**config, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    assert any("attention heads" in text for text in read_model(build.model(tmp_path / "o", odd)).assumptions)


def test_an_unknown_family_is_found_by_discovery_and_says_so(tmp_path, build):
    config = {**build.llama, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    facts = read_model(build.model(tmp_path / "m", config))
    known = read_model(build.model(tmp_path / "k"))
    assert facts.linears == known.linears
    assert facts.parameters == known.parameters
    assert facts.architecture == "LlamoidForCausalLM"
    assert "llamoid" in facts.assumptions[0]
    lying = read_model(build.model(tmp_path / "l", {**config, "num_hidden_layers": 7}))
    assert any("says num_hidden_layers = 7" in text and "are believed" in text for text in lying.assumptions)


def test_state_is_recognised_by_family_config_and_tensors(tmp_path, build):
    plain = {**build.llama, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    assert not read_model(build.model(tmp_path / "a", plain)).state_leaks
    hybrid = {**plain, "layer_types": ["linear_attention", "full_attention"]}
    assert read_model(build.model(tmp_path / "b", hybrid)).state_leaks
    shapes = {**build.llama_shapes(), "model.layers.0.mixer.A_log": (4,)}
    assert read_model(build.model(tmp_path / "c", plain, shapes)).state_leaks
    assert read_model(build.model(tmp_path / "d", {**build.llama, "model_type": "bamba"})).state_leaks


def test_experts_are_counted_but_not_offered(tmp_path, build):
    shapes = build.llama_shapes()
    experts = {f"model.layers.{n}.mlp.experts.{e}.up_proj.weight": (16, 8) for n in range(2) for e in range(3)}
    router = {f"model.layers.{n}.mlp.gate.weight": (3, 8) for n in range(2)}
    shapes |= experts | router
    shapes |= {f"model.layers.{n}.self_attn.{which}_norm.weight": (4,) for n in range(2) for which in "qk"}
    facts = read_model(build.model(tmp_path / "m", {**build.llama, "model_type": "qwen3_moe"}, shapes))
    plain = read_model(build.model(tmp_path / "p"))
    assert [linear.name for linear in facts.linears] == [linear.name for linear in plain.linears]
    # A layer outside the experts that is called like one of them is what PEFT would take for one.
    assert {linear.short_name for linear in facts.linears if not linear.adaptable} == {
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    assert facts.parameters == plain.parameters + 6 * 16 * 8 + 2 * 3 * 8 + 2 * 2 * 4
    assert "experts" in facts.notes[0]


def test_layers_that_predict_further_tokens_are_left_out(tmp_path, build):
    config = {**build.llama, "model_type": "deepseek_v3", "num_nextn_predict_layers": 1}
    facts = read_model(build.model(tmp_path / "m", config, build.llama_shapes(3)))
    assert facts.num_layers == 2
    assert facts.parameters == read_model(build.model(tmp_path / "p")).parameters


def test_pictures_are_left_alone(tmp_path, build):
    text = {key: value for key, value in build.llama.items() if key not in ("model_type", "architectures")}
    config = {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": text | {"head_dim": 4},
    }
    shapes = {f"language_model.{name}": shape for name, shape in build.llama_shapes().items()}
    shapes["vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight"] = (8, 8)
    shapes["multi_modal_projector.mm_input_projection_weight"] = (8, 8)
    for layer in range(2):
        block = f"language_model.model.layers.{layer}."
        shapes |= {f"{block}{name}_feedforward_layernorm.weight": (8,) for name in ("pre", "post")}
        shapes |= {f"{block}self_attn.{which}_norm.weight": (4,) for which in "qk"}
    facts = read_model(build.model(tmp_path / "m", config, shapes))
    assert facts.architecture == "Gemma3ForConditionalGeneration"
    assert facts.linears[0].name == "model.language_model.layers.0.self_attn.q_proj"
    assert facts.linears[-1].name == "lm_head"
    assert not any("vision" in linear.name for linear in facts.linears)
    assert facts.parameters == read_model(build.model(tmp_path / "p")).parameters + 2 * 64 + 2 * (2 * 8 + 2 * 4)
    assert facts.num_layers == 2


def test_conv1d_and_fused_parts(tmp_path, build):
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    shapes = {"wte.weight": (32, 8), "wpe.weight": (16, 8), "ln_f.weight": (8,), "h.0.attn.c_attn.weight": (8, 24)}
    shapes["h.0.attn.c_proj.weight"] = (8, 8)
    shapes |= {"h.0.attn.c_attn.bias": (24,), "h.0.mlp.c_fc.weight": (8, 32), "h.0.mlp.c_proj.weight": (32, 8)}
    shapes |= {"h.0.attn.c_proj.bias": (8,), "h.0.mlp.c_fc.bias": (32,), "h.0.mlp.c_proj.bias": (8,)}
    shapes |= {f"{norm}.{kind}": (8,) for norm in ("h.0.ln_1", "h.0.ln_2", "ln_f") for kind in ("weight", "bias")}
    facts = read_model(build.model(tmp_path / "m", config, shapes))
    attention = facts.linears[0]
    assert attention.name == "transformer.h.0.attn.c_attn"
    assert (attention.in_features, attention.out_features, attention.bias, attention.conv1d) == (8, 24, True, True)
    assert attention.fused == ("q", "k", "v")
    assert facts.embedding_parameters == 32 * 8 + 16 * 8
    assert facts.intermediate_size == 32
    assert facts.tied_embeddings


BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True}


def test_weights_quantized_by_bitsandbytes_keep_their_shapes(tmp_path, build):
    state = json.dumps({"quant_type": "nf4", "shape": [8, 8]}).encode()
    shapes, contents = build.llama_shapes(), {}
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        shapes[name] = ((32, 1), "U8")
        shapes[f"{name}.absmax"] = ((1,), "U8")
        shapes[f"{name}.quant_state.bitsandbytes__nf4"] = ((len(state),), "U8")
        contents[f"{name}.quant_state.bitsandbytes__nf4"] = state
    config = {**build.llama, "quantization_config": BNB}
    facts = read_model(build.model(tmp_path / "m", config, shapes, contents=contents))
    plain = read_model(build.model(tmp_path / "p"))
    assert facts.linears == plain.linears
    assert facts.parameters == plain.parameters
    assert facts.prequantized == "bitsandbytes 4-bit"
    contents = dict.fromkeys(contents, b"not json")
    assert "4-bit weight" in sentence(build.model(tmp_path / "b", config, shapes, contents=contents))


@pytest.mark.parametrize(
    ("settings", "packed", "name"),
    [
        ({"quant_method": "gptq", "bits": 4}, (1, 8), "gptq 4-bit"),
        ({"quant_method": "awq", "bits": 4}, (8, 1), "awq 4-bit"),
        ({"quant_method": "fp8"}, None, "fp8"),
    ],
)
def test_other_quantizations(tmp_path, build, settings, packed, name):
    shapes = build.llama_shapes()
    for layer in range(2):
        stem = f"model.layers.{layer}.self_attn.q_proj"
        if packed:
            del shapes[f"{stem}.weight"]
            shapes |= {f"{stem}.qweight": (packed, "I32"), f"{stem}.qzeros": ((1, 1), "I32"), f"{stem}.scales": (1, 8)}
        else:
            shapes |= {f"{stem}.weight": ((8, 8), "F8_E4M3"), f"{stem}.weight_scale_inv": ((1, 1), "F32")}
    facts = read_model(build.model(tmp_path / "m", {**build.llama, "quantization_config": settings}, shapes))
    plain = read_model(build.model(tmp_path / "p"))
    assert facts.prequantized == name
    assert facts.linears == plain.linears
    assert facts.parameters == plain.parameters


def test_template_in_the_order_of_transformers(tmp_path, build):
    folder = build.model(tmp_path / "m")
    assert (read_model(folder).template, read_model(folder).template_origin) == ("", "")
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    for value, template in (("S", "S"), (named, "D"), (named[:1], "T"), ([1], ""), (5, ""), ([], "")):
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
        facts = read_model(folder)
        assert facts.template == template
        assert facts.template_origin == ("tokenizer_config.json" if template else "")
    (folder / "chat_template.jinja").write_text("J")
    assert (read_model(folder).template, read_model(folder).template_origin) == ("J", "chat_template.jinja")
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text('{\n"chat_template": oops')
    assert "line 2" in sentence(folder)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\ntags: [x]\n---\n# Hi", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", "gemma"),
        ('---\nlicense:\n- "mit"\n---\n', "mit"),
        ("---\ntags: []\n---\nlicense: no", ""),
        ("no head", ""),
        ("", ""),
    ],
)
def test_licence_from_the_model_card(tmp_path, build, card, licence):
    folder = build.model(tmp_path / "m")
    (folder / "README.md").write_text(card)
    assert read_model(folder).licence == licence


def test_licence_from_its_own_file(tmp_path, build):
    folder = build.model(tmp_path / "m")
    (folder / "LICENSE").write_text("\n   # MIT License  \n\nCopyright")
    assert read_model(folder).licence == "MIT License"


def test_a_missing_tokenizer_is_noted(tmp_path, build):
    folder = build.model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json" in read_model(folder).notes[0]


def test_code_of_its_own_counts_only_where_transformers_has_no_class(tmp_path, build):
    auto = {"auto_map": {"AutoModelForCausalLM": "modeling.Llamoid"}}
    assert not read_model(build.model(tmp_path / "a", {**build.llama, **auto})).remote_code
    own = {**build.llama, **auto, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    assert read_model(build.model(tmp_path / "b", own)).remote_code


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_wrong_path_suggests_its_neighbour(tmp_path, build):
    build.model(tmp_path / "SmolLM2-135M")
    assert f"Did you mean {tmp_path / 'SmolLM2-135M'}?" in sentence(tmp_path / "SmolLM2-153M")
    assert "no such file" in sentence(tmp_path / "no" / "such")


def test_a_folder_without_config(tmp_path, build):
    assert "no config.json" in sentence(tmp_path)
    build.model(tmp_path / "inner")
    assert f"Did you mean {tmp_path / 'inner'}?" in sentence(tmp_path)


def test_a_folder_with_only_gguf_names_the_file(tmp_path):
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    assert str(tmp_path / "model-q4.gguf") in sentence(tmp_path)


def test_an_adapter_names_its_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    text = sentence(tmp_path)
    assert "LoRA adapter" in text
    assert "org/base" in text
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "LoRA adapter, not a base model." in sentence(tmp_path)


def test_pickles_are_not_opened(tmp_path, build):
    folder = build.model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    text = sentence(folder)
    assert "run any code" in text
    assert "pytorch_model.bin" in text
    (folder / "pytorch_model.bin").unlink()
    assert "no weights" in sentence(folder)


def test_shards_without_an_index(tmp_path, build):
    folder = build.model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert "model.safetensors.index.json" in sentence(folder)


def test_a_single_weight_file_asks_for_its_folder(tmp_path, build):
    folder = build.model(tmp_path / "m")
    assert str(folder) in sentence(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n "a": 1,\n "b" 2\n}', "line 3"),
        ("", "line 1"),
        ('{"model_type": "\\ud800"}', "not valid JSON"),
        ("[1]", "object of settings"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "neither a model_type"),
        ('{"model_type": 5, "architectures": "x"}', "neither a model_type"),
    ],
)
def test_broken_configs(tmp_path, build, text, words):
    folder = build.model(tmp_path / "m")
    (folder / "config.json").write_text(text)
    assert words in sentence(folder)


def test_a_config_that_is_not_text(tmp_path, build):
    folder = build.model(tmp_path / "m")
    (folder / "config.json").write_bytes(b"\xff\xfe{}")
    assert "not UTF-8" in sentence(folder)


def test_every_lie_of_the_config_is_told_at_once(tmp_path, build):
    lies = {"num_hidden_layers": 3, "vocab_size": 33, "hidden_size": 10}
    with pytest.raises(UserError) as failure:
        read_model(build.model(tmp_path / "m", {**build.llama, **lies}))
    messages = [problem.message for problem in failure.value.problems]
    assert "says num_hidden_layers = 3, but the weights hold 2 layers" in messages[0]
    assert "says vocab_size = 33, but “model.embed_tokens.weight” in model.safetensors has 32 rows" in messages[1]
    assert "says hidden_size = 10, but “model.embed_tokens.weight” in model.safetensors has 8 columns" in messages[2]


def test_heads_that_no_attention_can_be_built_from(tmp_path, build):
    text = sentence(build.model(tmp_path / "m", {**build.llama, "hidden_size": 9}))
    assert "hidden_size = 9 and num_attention_heads = 2, but the first is no multiple of the second" in text


def test_matrices_of_another_shape_and_missing_ones_are_named(tmp_path, build):
    wide = build.model(tmp_path / "w", {**build.llama, "intermediate_size": 24})
    assert "By the config “model.layers.0.mlp.gate_proj.weight” has 24 × 8 values" in sentence(wide)
    shapes = build.llama_shapes()
    del shapes["model.layers.1.self_attn.o_proj.weight"]
    assert "lack “model.layers.1.self_attn.o_proj.weight”" in sentence(build.model(tmp_path / "l", shapes=shapes))


def test_a_gap_in_the_layers_is_named(tmp_path, build):
    shapes = {name.replace("layers.1.", "layers.2."): shape for name, shape in build.llama_shapes().items()}
    assert "layer 1 are missing" in sentence(build.model(tmp_path / "m", shapes=shapes))


@pytest.mark.parametrize("value", ["12", -1, 1.5, True, 2**60])
def test_numbers_that_make_no_sense(tmp_path, build, value):
    text = sentence(build.model(tmp_path / "m", {**build.llama, "num_attention_heads": value, "vocab_size": value}))
    assert "num_attention_heads" in text
    assert "vocab_size" in text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "encoder"),
        ({"model_type": "roberta", "architectures": ["RobertaForCausalLM"]}, "encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "encoder and decoder"),
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "ViTForImageClassification"),
        ({"model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"]}, "pictures or sound"),
    ],
)
def test_models_that_do_not_continue_text_are_refused(tmp_path, build, config, words):
    text = sentence(build.model(tmp_path / "m", {**build.llama, "architectures": [], **config}))
    assert words in text
    assert "causal language model" in text


def test_weights_without_blocks_or_embeddings(tmp_path, build):
    config = {"model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    assert "No embeddings" in sentence(build.model(tmp_path / "a", config, {"x.weight": (2, 2)}))
    assert "No blocks" in sentence(build.model(tmp_path / "b", config, {"model.embed_tokens.weight": (2, 2)}))


def test_a_half_downloaded_file(tmp_path, build):
    folder = build.model(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut off" in sentence(folder)


def test_a_shard_that_is_not_there_yet(tmp_path, build):
    folder = build.model(tmp_path / "m")
    shutil.move(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    places = dict.fromkeys(build.llama_shapes(), "model-00001-of-00002.safetensors")
    places["lm_head.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert "model-00002-of-00002.safetensors" in sentence(folder)
