"""The catalogue against transformers' own classes, against published totals, and against what it promises of itself."""

import json
import subprocess
import sys

import pytest

from core.facts import catalogue
from core.facts.architectures import FAMILIES
from core.facts.blueprints import BLUEPRINTS, tensors_of
from core.facts.catalogue import Entry, entries, find_entry
from core.facts.linears import read_layout
from core.facts.model_config import parse_config
from core.facts.model_files import read_model
from core.facts.relatives import smaller_relatives

# Numbers of parameters that the Hugging Face Hub shows for the files of these models (the public “safetensors.total”).
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "HuggingFaceTB/SmolLM3-3B-Base": 3_075_098_624,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "codellama/CodeLlama-7b-hf": 6_738_546_688,
    "codellama/CodeLlama-13b-hf": 13_016_028_160,
    "codellama/CodeLlama-34b-hf": 33_743_970_304,
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Meta-Llama-3-70B": 70_553_706_496,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.3-70B-Instruct": 70_553_706_496,
    "NousResearch/Hermes-3-Llama-3.1-8B": 8_030_261_248,
    "Qwen/Qwen2-0.5B": 494_032_768,
    "Qwen/Qwen2-1.5B": 1_543_714_304,
    "Qwen/Qwen2-7B": 7_615_616_512,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen2.5-Coder-0.5B": 494_032_768,
    "Qwen/Qwen2.5-Coder-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-Coder-3B": 3_085_938_688,
    "Qwen/Qwen2.5-Coder-7B": 7_615_616_512,
    "Qwen/Qwen2.5-Coder-14B": 14_770_033_664,
    "Qwen/Qwen2.5-Coder-32B": 32_763_876_352,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": 7_615_616_512,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": 14_770_033_664,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": 32_763_876_352,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": 8_030_261_248,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": 70_553_706_496,
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": 8_190_735_360,
    "deepseek-ai/deepseek-coder-1.3b-instruct": 1_346_471_936,
    "deepseek-ai/deepseek-coder-6.7b-base": 6_740_512_768,
    "Qwen/Qwen3-0.6B-Base": 596_049_920,
    "Qwen/Qwen3-1.7B-Base": 1_720_574_976,
    "Qwen/Qwen3-4B-Base": 4_022_468_096,
    "Qwen/Qwen3-8B-Base": 8_190_735_360,
    "Qwen/Qwen3-14B-Base": 14_768_307_200,
    "Qwen/Qwen3-4B-Instruct-2507": 4_022_468_096,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B-Base": 30_532_122_624,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "HuggingFaceH4/zephyr-7b-beta": 7_241_732_096,
    "teknium/OpenHermes-2.5-Mistral-7B": 7_241_748_480,
    "mistralai/Mistral-Nemo-Instruct-2407": 12_247_782_400,
    "nvidia/Mistral-NeMo-Minitron-8B-Base": 8_414_105_600,
    "mistralai/Mistral-Small-24B-Instruct-2501": 23_572_403_200,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "upstage/SOLAR-10.7B-v1.0": 10_731_524_096,
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-7b": 8_537_680_896,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-pt": 999_885_952,
    "google/gemma-3-4b-pt": 4_300_079_472,
    "google/gemma-3-12b-pt": 12_187_325_040,
    "google/gemma-3-27b-pt": 27_432_406_640,
    "microsoft/phi-1_5": 1_418_270_720,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/Phi-3-medium-4k-instruct": 13_960_238_080,
    "microsoft/phi-4": 14_659_507_200,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
    "allenai/OLMo-1B-hf": 1_176_764_416,
    "allenai/OLMo-7B-hf": 6_888_095_744,
    "allenai/OLMo-2-0425-1B": 1_484_916_736,
    "allenai/OLMo-2-1124-7B-Instruct": 7_298_617_344,
    "allenai/OLMo-2-1124-13B-Instruct": 13_716_198_400,
    "allenai/OLMo-2-0325-32B": 32_234_279_936,
    "allenai/Olmo-3-1025-7B": 7_298_011_136,
    "allenai/Olmo-3-1125-32B": 32_233_522_176,
    "allenai/OLMoE-1B-7B-0924": 6_919_161_856,
    "ibm-granite/granite-3.1-2b-base": 2_533_525_504,
    "ibm-granite/granite-3.1-2b-instruct": 2_533_531_648,
    "ibm-granite/granite-3.3-2b-base": 2_533_525_504,
    "ibm-granite/granite-3.3-2b-instruct": 2_533_539_840,
    "ibm-granite/granite-3.1-8b-base": 8_170_835_968,
    "ibm-granite/granite-3.1-8b-instruct": 8_170_848_256,
    "ibm-granite/granite-3.3-8b-base": 8_170_835_968,
    "ibm-granite/granite-3.3-8b-instruct": 8_170_864_640,
    "bigcode/starcoder2-3b": 3_030_371_328,
    "bigcode/starcoder2-7b": 7_173_923_840,
    "bigcode/starcoder2-15b": 15_957_889_024,
    "tiiuae/Falcon3-1B-Base": 1_669_408_768,
    "tiiuae/Falcon3-3B-Base": 3_227_655_168,
    "tiiuae/Falcon3-7B-Base": 7_455_550_464,
    "tiiuae/Falcon3-10B-Base": 10_305_653_760,
    "stabilityai/stablelm-2-1_6b": 1_644_515_328,
    "stabilityai/stablelm-2-12b": 12_143_185_920,
    "stabilityai/stablelm-3b-4e1t": 2_795_443_200,
    "CohereLabs/c4ai-command-r7b-12-2024": 8_028_033_024,
    "CohereLabs/c4ai-command-r-v01": 34_980_831_232,
    "01-ai/Yi-1.5-6B": 6_061_035_520,
    "01-ai/Yi-1.5-9B": 8_829_407_232,
    "01-ai/Yi-1.5-34B": 34_388_917_248,
    "zai-org/glm-4-9b-hf": 9_399_951_360,
    "zai-org/GLM-4-9B-0414": 9_400_279_040,
    "zai-org/GLM-4-32B-0414": 32_566_081_536,
    "LGAI-EXAONE/EXAONE-4.0-1.2B": 1_279_391_488,
    "LGAI-EXAONE/EXAONE-4.0-32B": 32_003_216_384,
    "kyutai/helium-1-preview-2b": 2_172_643_840,
    "kyutai/helium-1-2b": 2_023_868_416,
    "swiss-ai/Apertus-8B-2509": 8_053_338_176,
    "baidu/ERNIE-4.5-0.3B-PT": 360_748_032,
    "ByteDance-Seed/Seed-OSS-36B-Base": 36_151_104_512,
    "arcee-ai/AFM-4.5B-Base": 4_619_184_640,
    "arcee-ai/AFM-4.5B": 4_619_189_760,
    "tencent/Hunyuan-0.5B-Instruct": 539_010_048,
    "tencent/Hunyuan-1.8B-Instruct": 1_791_080_448,
    "tencent/Hunyuan-7B-Instruct": 7_504_568_320,
    "h2oai/h2o-danube3-4b-base": 3_961_839_360,
    "bigscience/bloom-560m": 559_214_592,
    "bigscience/bloom-1b1": 1_065_314_304,
    "bigscience/bloom-1b7": 1_722_408_960,
    "bigscience/bloom-3b": 3_002_557_440,
    "bigscience/bloom-7b1": 7_069_016_064,
}
# Totals from the models' papers and cards, where the files hold masks or a second copy of a shared matrix as well.
ELSEWHERE = {
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320,
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "openai-community/gpt2": 124_439_808,
    "openai-community/gpt2-medium": 354_823_168,
    "openai-community/gpt2-large": 774_030_080,
    "openai-community/gpt2-xl": 1_557_611_200,
    "distilbert/distilgpt2": 81_912_576,
    "EleutherAI/pythia-70m": 70_426_624,
    "EleutherAI/pythia-160m": 162_322_944,
    "EleutherAI/pythia-410m": 405_334_016,
    "EleutherAI/pythia-1b": 1_011_781_632,
    "EleutherAI/pythia-1.4b": 1_414_647_808,
    "EleutherAI/pythia-2.8b": 2_775_208_960,
    "EleutherAI/pythia-6.9b": 6_857_302_016,
    "EleutherAI/pythia-12b": 11_846_072_320,
    "EleutherAI/gpt-neox-20b": 20_554_567_680,
    "tiiuae/falcon-7b": 6_921_720_704,
    "facebook/opt-125m": 125_239_296,
    "facebook/opt-350m": 331_196_416,
    "facebook/opt-1.3b": 1_315_758_080,
    "facebook/opt-6.7b": 6_658_473_984,
}


# Models for which only a rounded total was found: 41.3, 4.19 and 2.65 thousand millions.
ROUNDED = {"tiiuae/falcon-40b", "tiiuae/falcon-40b-instruct", "nvidia/Nemotron-Mini-4B-Instruct", "facebook/opt-2.7b"}


def shapes_alone(entry: Entry) -> str:
    """The settings that shapes depend on, as a key: base and instruct versions are built once."""
    return json.dumps({name: entry.config[name] for name in entry.config if name not in ("dtype", _CONTEXT)})


_CONTEXT = "max_position_embeddings"
BUILDS = {
    shapes_alone(entry) if entry.family != "opt" else entry.name: entry for entry in entries()
}  # OPT's positions are parameters


def built(entry: Entry):
    """The class that transformers makes of the entry's configuration, without memory for its weights."""
    import torch
    import transformers

    settings = {name: value for name, value in entry.config.items() if name != "model_type"}
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(entry.family, **settings)
        )


@pytest.mark.torch
@pytest.mark.parametrize("entry", BUILDS.values(), ids=lambda entry: entry.name)
def test_every_parameter_is_the_one_that_transformers_builds(entry, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch
    from transformers.pytorch_utils import Conv1D
    from transformers.utils import logging

    logging.set_verbosity_error()
    model = built(entry)
    config = parse_config(entry.config, entry.name)
    tensors = tensors_of(config, entry.config, config.num_layers, "BF16", 2)
    assert {tensor.name: tensor.shape for tensor in tensors} == {
        name: tuple(parameter.shape) for name, parameter in model.named_parameters()
    }
    facts = entry.facts
    head = model.get_output_embeddings()
    assert facts.parameters == model.num_parameters()
    assert facts.architecture == type(model).__name__
    assert facts.tied_embeddings == (head.weight is model.get_input_embeddings().weight)
    modules = {
        name: (*module.weight.shape, True) if isinstance(module, Conv1D) else (*module.weight.shape[::-1], False)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and ".vision_tower." not in name
    }
    assert {
        linear.name: (linear.in_features, linear.out_features, linear.conv1d) for linear in facts.linears
    } == modules
    assert {linear.name for linear in facts.linears if linear.bias} == {
        name for name in modules if model.get_submodule(name).bias is not None
    }
    text = model.config.get_text_config()
    for ours, theirs in (("num_heads", "num_attention_heads"), ("num_layers", "num_hidden_layers")):
        assert getattr(facts, ours) == getattr(text, theirs)
    assert facts.sliding_window == (getattr(text, "sliding_window", None) or 0)


@pytest.mark.parametrize(("name", "total"), (PUBLISHED | ELSEWHERE).items())
def test_published_totals(name, total):
    entry = find_entry(name)
    assert entry is not None
    assert entry.facts.parameters == total


def test_every_total_is_one_that_was_published():
    """Versions of a model share its sizes, so one of them with a published total is enough."""
    totals = set((PUBLISHED | ELSEWHERE).values())
    assert {entry.name for entry in entries() if entry.facts.parameters not in totals} == ROUNDED


@pytest.mark.parametrize("entry", BUILDS.values(), ids=lambda entry: entry.name)
def test_the_short_way_over_one_block_is_the_long_way_over_all(entry):
    config = parse_config(entry.config, entry.name)
    tensors = tensors_of(config, entry.config, config.num_layers, "BF16", 2)
    whole = read_layout(tensors, config.family, config.num_layers)
    assert entry.facts.linears == whole.linears
    assert entry.facts.num_layers == len(whole.blocks)
    assert entry.facts.parameters == whole.parameters


def test_a_downloaded_model_says_the_same(tmp_path, build):
    """The road from headers and the road from the catalogue meet, on files of zeros with one block of SmolLM2."""
    entry = find_entry("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert entry is not None
    one = Entry("x/y", "X", entry.licence, False, "", {**entry.config, "num_hidden_layers": 1})
    config = parse_config(one.config, one.name)
    tensors = tensors_of(config, one.config, 1, "BF16", 2)
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    read = read_model(build.model(tmp_path / "m", one.config, shapes))
    known = catalogue.facts_of(one)
    same = ("parameters", "embedding_parameters", "linear_parameters", "linears", "tied_embeddings", "architecture")
    for name in (
        *same,
        "num_heads",
        "num_kv_heads",
        "head_dim",
        "context_length",
        "vocab_size",
        "hidden_size",
        "dtype",
    ):
        assert getattr(known, name) == getattr(read, name), name
    assert (read.here, known.here) == (True, False)
    assert known.bytes_on_disk == sum(tensor.bytes for tensor in tensors)


def test_the_list_is_long_and_well_formed():
    listed = entries()
    assert len({entry.title for entry in listed}) >= 100
    assert len({entry.name for entry in listed}) == len(listed) >= 200
    for entry in listed:
        assert entry.name.count("/") == 1, entry.name
        assert entry.title, entry.name
        assert entry.licence, entry.name
        assert entry.family in BLUEPRINTS, entry.name
        assert entry.template in ("", "own", "chatml", "llama3", "gemma", "phi3"), entry.name
        facts = entry.facts
        assert facts.path == entry.name
        assert facts.licence == entry.licence
        assert facts.bytes_on_disk >= 2 * facts.parameters
        assert not [text for text in facts.assumptions if "experts" not in text], entry.name
        assert entry.context == facts.context_length
    assert set(BLUEPRINTS) <= set(FAMILIES)


def test_names_are_found_whatever_their_case():
    assert find_entry(" qwen/qwen2.5-7b ") is find_entry("Qwen/Qwen2.5-7B") is not None
    assert find_entry("Qwen/Qwen2.5-7C") is None
    assert find_entry("") is None


def test_what_two_versions_of_a_model_differ_in():
    base, chat = find_entry("Qwen/Qwen2.5-7B"), find_entry("Qwen/Qwen2.5-7B-Instruct")
    assert base is not None
    assert chat is not None
    assert (base.context, chat.context) == (131_072, 32_768)
    assert base.title == chat.title
    gemma, tuned = find_entry("google/gemma-2-9b"), find_entry("google/gemma-2-9b-it")
    assert gemma is not None
    assert tuned is not None
    assert (gemma.facts.dtype, tuned.facts.dtype) == ("F32", "BF16")
    assert gemma.gated
    assert not base.gated


def test_it_is_quick_and_light():
    """A fresh process: the list in 20 ms, an entry's facts in a few, and no torch behind it."""
    script = (
        "import sys, time, statistics\n"
        "from core.facts import catalogue\n"
        "start = time.process_time(); listed = catalogue.entries(); loaded = time.process_time() - start\n"
        "spans = []\n"
        "for entry in listed:\n"
        "    start = time.process_time(); entry.facts; spans.append(time.process_time() - start)\n"
        "start = time.process_time(); [entry.facts for entry in listed]; again = time.process_time() - start\n"
        "print(loaded, statistics.median(spans), again / len(listed))\n"
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded, median, again = map(float, found.stdout.split())
    assert loaded < 0.02
    assert median < 0.004
    assert again < 0.000_1


def test_facts_are_remembered():
    entry = find_entry("Qwen/Qwen3-8B")
    assert entry is not None
    assert entry.facts is entry.facts


def test_smaller_relatives_are_of_the_same_series() -> None:
    large = find_entry("Qwen/Qwen2.5-14B-Instruct")
    assert large is not None
    found = smaller_relatives(large.facts)
    assert [base.path for base in found[:2]] == ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-3B-Instruct"]
    assert all(base.parameters < large.facts.parameters for base in found)
