"""The model card: true, readable, valid front matter, and nothing about the machine's folders."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.events.run_state import RunState, fold
from core.events.types import Evaluated, Event, Hello, Step
from core.export.card import base_name, merged_card, model_card
from core.export.spec_file import spec_text
from core.facts.types import CpuFacts, DataFacts, Facts, FileFacts, GpuFacts, HardwareFacts, LengthFacts, ModelFacts
from core.plan.types import Batch, Choices, Chosen, Curve, Parameters, Plan, Target
from core.spec.codec import read_spec
from core.spec.run_spec import RunSpec

GIB = 1024**3
MODEL = ModelFacts(
    path="/home/me/models/Tiny-Chat",
    family="llama",
    architecture="LlamaForCausalLM",
    parameters=134_515_008,
    embedding_parameters=1,
    linear_parameters=1,
    bytes_on_disk=1,
    dtype="BF16",
    hidden_size=576,
    intermediate_size=1536,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    vocab_size=49152,
    context_length=8192,
    tied_embeddings=True,
    linears=(),
    licence="apache-2.0",
)
LENGTHS = LengthFacts(400, 51_234, 20_001, 300, 90, 210, 3, 44, {})
DATA = DataFacts(
    files=(FileFacts("/home/me/private/definitions.jsonl", "jsonl", 420, 2048, "ab" * 32),),
    shape="prompt_completion",
    shape_reason="columns",
    template_name="model",
    train=LENGTHS,
    validation=dataclasses.replace(LENGTHS, rows=20),
    skipped_rows=2,
    fingerprint="feed",
)
HARDWARE = HardwareFacts(
    CpuFacts("Some CPU", 2, 4), (GpuFacts(0, "RTX 4070", (8, 9), 12 * GIB, 11 * GIB),), 32 * GIB, 20 * GIB, 99, "Linux"
)


def chosen(value: Any) -> Chosen[Any]:
    return Chosen(value, f"because of {value}")


PLAN = Plan(
    choices=Choices(
        device=chosen("cuda:0"),
        quantization=chosen("nf4"),
        compute_dtype=chosen("bf16"),
        attention=chosen("flash"),
        checkpointed_layers=chosen(0),
        micro_batch_tokens=chosen(4096),
        packing=chosen(True),
        optimizer=chosen("adamw"),
        threads=chosen(2),
        evaluate_every=chosen(10),
    ),
    parameters=Parameters(4_884_480, 134_515_008, 139_399_488),
    targets=(Target("model.layers.0.self_attn.q_proj", 16, 576, 576, 18_432),),
    batch=Batch(400, 16, 25, 50, 2000.0, 800.0, 1.0),
    curve=Curve("cosine", 2e-4, 3, 50),
    memory=None,
    disk=None,
    duration=None,
    problems=(),
)
SPEC = (
    RunSpec()
    .replace("model.base", "/home/me/models/Tiny-Chat")
    .replace("data.train", ("/home/me/private/definitions.jsonl",))
    .replace("adapter.rank", 8)
    .replace("output.folder", "/home/me/runs")
    .replace("training.sample_prompts", ("My secret question",))
    .replace("data.template", "/home/me/templates/mine.jinja")
)


def step(number: int, loss: float) -> Step:
    return Step(number, number / 25, loss, 1e-4, 0.5, 2000, 800, 1.5, 6 * GIB)


def state() -> RunState:
    bodies = [
        Hello(1, "0.1.0", "train", 1, "3.11", "2.13", "cuda:0", "NVIDIA RTX 4070"),
        Evaluated(0, 2.5, 800, 1.0),
        step(1, float("nan")),
        step(2, 2.4),
        step(50, 1.2),
        Evaluated(50, 1.3, 800, 1.0),
    ]
    return fold(Event(index, 1000.0 + index * 60, 0, body) for index, body in enumerate(bodies))


def card(spec: RunSpec = SPEC, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "facts": Facts(HARDWARE, MODEL, DATA),
        "plan": PLAN,
        "state": state(),
        "versions": {"lowrank-studio": "0.1.0", "torch": "2.13.0"},
    }
    return model_card(spec=spec, **(arguments | changes))


def front_matter(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    data = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(data, dict)
    return data


def test_the_front_matter_is_what_hubs_read() -> None:
    assert front_matter(card()) == {
        "base_model": "Tiny-Chat",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "tags": ["text-generation", "lora", "lowrank-studio"],
    }
    assert front_matter(card(SPEC.replace("adapter.method", "dora")))["tags"][1:3] == ["lora", "dora"]
    full = front_matter(card(SPEC.replace("adapter.method", "full")))
    assert full["library_name"] == "transformers"
    assert "lora" not in full["tags"]


def test_names_that_yaml_would_misread_stay_text() -> None:
    for name in ("yes: no", "3.14", "#1", "模型 v2", "null", "a\nb"):
        data = front_matter(card(SPEC.replace("model.base", name)))
        assert data["base_model"] == " ".join(name.split())


def test_what_happened_is_told_in_numbers() -> None:
    text = card()
    assert "4,884,480 parameters were trained, 3.50 % of all." in text
    assert "Rank 8, alpha 32, on 1 module (q_proj)." in text
    assert "Trained: 400 rows with 51,234 tokens, of which 20,001 carried loss." in text
    assert "| definitions.jsonl | 420 | 2 KiB | `abababababababab` |" in text
    assert "nothing to learn from: 2 rows." in text
    assert "Cut at the length limit: 3 rows, which lost 44 tokens." in text
    assert "50 of 50 steps taken." in text
    assert "The training loss was 2.4000 at step 2 and 1.2000 at step 50." in text
    assert "| 0 | 2.5000 | 12.18 |  |" in text
    assert "| 50 | 1.3000 | 3.67 | best |" in text
    assert "| Rank | `adapter.rank` | 8 |" in text
    assert "| Base weights | nf4 | because of nf4 |" in text
    assert "Trained on NVIDIA RTX 4070, 32.0 GiB of RAM, Linux. It took 5 min." in text
    assert "The peak of GPU memory was 6.0 GiB." in text
    assert "| torch | 2.13.0 |" in text


def test_nothing_private_is_told() -> None:
    text = card()
    assert "/home" not in text
    assert "secret" not in text
    assert "output.folder" not in text
    assert "| Sample prompts | `training.sample_prompts` | 1 given |" in text
    assert "mine.jinja" in text


def test_unknown_numbers_are_called_unknown() -> None:
    bare = dataclasses.replace(PLAN, parameters=None, batch=None, curve=None, targets=())
    no_model = Facts(HARDWARE)
    text = card(RunSpec(), facts=no_model, plan=bare, state=RunState(), versions={})
    assert 'base_model: "unknown"' in text
    assert "license" not in front_matter(text)
    assert "Nothing is recorded about the training data." in text
    assert "No training loss is recorded. The validation loss was not measured." in text
    assert "How long it took is unknown." in text
    assert "The versions of the libraries are not recorded." in text
    assert "Every setting was at its default." in text
    assert "Trained on RTX 4070" in text
    unlicensed = Facts(HARDWARE, dataclasses.replace(MODEL, licence=""), DATA)
    assert "names no licence" in card(facts=unlicensed)


def test_hostile_names_cannot_break_the_layout() -> None:
    files = (FileFacts("C:\\data\\a|b\n# c.csv", "csv", 1, 1, "0" * 64),)
    text = card(
        SPEC.replace("output.name", "x\n---\ny"),
        facts=Facts(HARDWARE, MODEL, dataclasses.replace(DATA, files=files)),
    )
    assert "\n# x --- y\n" in text
    assert "| a\\|b # c.csv | 1 |" in text


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("org/name-1.5", "org/name-1.5"),
        ("/models/llama/", "llama"),
        ("D:\\models\\phi", "phi"),
        ("/c/hub/models--org--name--x/snapshots/0abc", "org/name--x"),
        ("starter", "starter"),
        ("", "unknown"),
    ],
)
def test_bases_are_called_by_public_names(base: str, name: str) -> None:
    assert base_name(base) == name


def test_a_merged_card_says_what_was_merged() -> None:
    text = merged_card(base="/x/base", licence="mit", adapter="a", modules=14, replaced=("w",), untied=True, chat=False)
    assert front_matter(text)["library_name"] == "transformers"
    assert "14 modules" in text
    assert "1 tensor that the adapter holds in full replaced" in text
    assert "one matrix in the base model and two here" in text
    assert "Once upon a time" in text


@pytest.mark.parametrize("template", ["model", "none", "chatml"])
def test_the_snippet_names_what_exists(template: str) -> None:
    data = dataclasses.replace(DATA, template_name=template)
    code = card(facts=Facts(HARDWARE, MODEL, data)).partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert ("apply_chat_template" in code) is (template != "none")
    assert ("chat_template.jinja" in code) is (template == "chatml")


def test_every_setting_is_told_and_the_files_beside_it_are_named() -> None:
    text = card(picture="loss.png", spec_file="spec.yaml")
    assert "![Loss over the steps of the training](loss.png)" in text
    assert "| `training.seed` | 42 |" in text
    assert "| `adapter.alpha` | 32 |" in text
    assert "output.folder" not in text
    assert "`lowrank run spec.yaml`" in text
    assert "loss.png" not in card()
    for program in ("transformers and peft", "vllm serve", "llama-cli", "ollama create"):
        assert program in text


def test_the_spec_file_is_whole_and_says_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(spec_text(SPEC), encoding="utf-8")
    again = read_spec(path)
    assert "/home" not in path.read_text()
    assert again.data.train == (str(tmp_path / "definitions.jsonl"),)
    assert Path(again.data.template).name == "chat_template.jinja"
    assert again.model.base == "Tiny-Chat"
    assert again.adapter == SPEC.adapter
    assert again.training == SPEC.training
    assert "seed: 42" in path.read_text(), "defaults have to be said, too"
