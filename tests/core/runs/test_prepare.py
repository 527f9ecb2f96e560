"""From a spec to a plan with real files: a small model folder, a few rows, this machine."""

import json
import math
from pathlib import Path

import pytest

from core import paths
from core.errors import Severity, UserError
from core.runs.prepare import prepare
from core.runs.store import create_run, load_facts, load_plan, load_spec
from core.spec.run_spec import RunSpec
from tests.core.data.small_tokenizers import CHATML, write_tokenizer

HIDDEN, VOCABULARY, LAYERS = 64, 400, 2


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        found |= {f"{prefix}.{name}.weight": (HIDDEN,) for name in ("input_layernorm", "post_attention_layernorm")}
        found |= {f"{prefix}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qkvo"}
        found |= {f"{prefix}.mlp.{name}_proj.weight": (128, HIDDEN) for name in ("gate", "up")}
        found[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, 128)
    return found


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tokenizer(tmp_path_factory.mktemp("model"))
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": 128,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": VOCABULARY,
        "max_position_embeddings": 512, "tie_word_embeddings": True, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    header: dict[str, object] = {}
    size = 0
    for name, shape in shapes().items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [size, size + 4 * math.prod(shape)]}
        size += 4 * math.prod(shape)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    return folder


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    rows = [{"instruction": f"Define word {n}.", "output": f"It is the number {n}."} for n in range(100)]
    path = tmp_path / "words.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_a_plan_from_real_files(
    model_folder: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = RunSpec().replace("model.base", str(model_folder)).replace("data.train", ("words.jsonl",))
    spec = spec.replace("data.max_length", 256).replace("hardware.device", "cpu")
    told: list[tuple[str, int, int]] = []
    prepared = prepare(spec, on_progress=lambda *report: told.append(report))
    assert prepared.spec.data.train == (str(data_file),)
    assert prepared.plan.template == CHATML
    assert prepared.plan.can_start, prepared.plan.problems
    assert prepared.facts.model is not None
    assert prepared.facts.data is not None
    assert prepared.facts.data.train.rows + prepared.facts.data.validation.rows == 100
    assert prepared.plan.batch is not None
    assert prepared.plan.batch.steps == 12
    assert told[0][0] == "Looking at this computer"
    assert any(done == total > 0 for _, done, total in told)
    keys = [(problem.path, problem.message) for problem in prepared.plan.problems]
    assert len(keys) == len(set(keys))
    assert not paths.runs_dir().exists()
    # What was prepared is what the engine reads back.
    folder = create_run(prepared.spec, prepared.facts, prepared.plan)
    assert (load_spec(folder), load_facts(folder), load_plan(folder)) == (
        prepared.spec,
        prepared.facts,
        prepared.plan,
    )


def test_a_spec_with_errors_is_refused_with_all_of_them() -> None:
    spec = RunSpec().replace("model.base", "").replace("adapter.rank", 0)
    with pytest.raises(UserError) as refused:
        prepare(spec)
    assert {problem.path for problem in refused.value.problems} >= {"model.base", "data.train", "adapter.rank"}


def test_a_missing_model_does_not_hide_missing_data(tmp_path: Path, data_file: Path) -> None:
    spec = RunSpec().replace("model.base", str(tmp_path / "no-model"))
    spec = spec.replace("data.train", (str(data_file), str(tmp_path / "wrods.jsonl")))
    with pytest.raises(UserError) as refused:
        prepare(spec.replace("data.validation", (str(tmp_path),)))
    places = [problem.path for problem in refused.value.problems]
    assert places[0] == "model.base"
    assert str(tmp_path / "wrods.jsonl") in places
    assert str(tmp_path) in places
    assert len(places) == 3


def test_a_model_of_the_catalogue_is_planned_but_cannot_start(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    name = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
    spec = RunSpec().replace("model.base", name).replace("data.train", (str(data_file), str(tmp_path / "gone.jsonl")))
    prepared = prepare(spec)
    found = prepared.plan
    assert found.parameters is not None
    assert found.parameters.frozen == 1_711_376_384
    assert found.memory is not None
    assert found.memory.peak_bytes > 3_400_000_000
    assert found.batch is None
    assert not found.can_start
    blocking = [problem for problem in found.problems if problem.severity is Severity.ERROR]
    assert blocking[0].path == "model.base"
    assert f"lowrank models --download {name}" in blocking[0].advice
    assert any("gone.jsonl" in problem.path for problem in blocking)
    assert any("tokenizer counts them" in problem.advice for problem in found.problems)


def test_broken_rows_are_refused(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{broken\n')
    with pytest.raises(UserError, match=r"broken\.jsonl:2"):
        prepare(RunSpec().replace("model.base", str(model_folder)).replace("data.train", (str(path),)))
