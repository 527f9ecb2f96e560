"""Whom a run lets one ask: base and tuned, with the template of the training, wherever the base lies now."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.facts.types import Facts, ModelFacts
from core.paths import models_dir
from core.plan.types import Plan
from core.runs.layout import RunFolder
from core.runs.results import result_base
from core.runs.store import create_run
from core.runs.targets import base_of_run, target_of_model, tuned_of_run
from core.spec.run_spec import RunSpec

Make = Callable[..., RunFolder]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that stands for a base model."""
    folder = tmp_path / "bases" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def make(spec: RunSpec, facts: Facts, plan: Plan, base: Path) -> Make:
    """Makes runs on that base, with a result unless it is said that there is none."""
    model = ModelFacts(
        path=str(base), family="llama", architecture="LlamaForCausalLM", parameters=1, embedding_parameters=1,
        linear_parameters=0, bytes_on_disk=1, dtype="BF16", hidden_size=1, intermediate_size=1, num_layers=1,
        num_heads=1, num_kv_heads=1, head_dim=1, vocab_size=400, context_length=2048, tied_embeddings=True, linears=(),
    )  # fmt: skip

    def run(*, result: bool = True, **settings: object) -> RunFolder:
        own = spec.replace("model.base", str(base))
        for path, value in settings.items():
            own = own.replace(path.replace("__", "."), value)
        folder = create_run(own, replace(facts, model=model), plan)
        if result:
            folder.adapter.mkdir()
            (folder.adapter / "adapter_config.json").write_text("{}")
            folder.trained_template.write_text("{{ messages }}")
        return folder

    return run


def test_an_adapter_lets_both_be_asked_as_the_run_loaded_them(make: Make, base: Path) -> None:
    folder = make(model__double_quant=False, training__sample_prompts=("What is a dog?",))
    tuned, plain = tuned_of_run(folder), base_of_run(folder)
    assert (tuned.title, tuned.model, tuned.adapter) == ("words", base, folder.adapter)
    assert tuned.variants == ("base", "tuned")
    assert tuned.prompts == ("What is a dog?",)
    assert (plain.variants, plain.adapter) == (("base",), None)
    assert tuned.arguments() == {
        "model": str(base), "adapter": str(folder.adapter), "device": "cpu", "compute_dtype": "fp32",
        "quantization": "none", "double_quant": False, "threads": 2, "template": "auto", "trust_remote_code": False,
        "tuned": True, "whole": False,
    }  # fmt: skip


def test_a_full_fine_tuning_is_a_model_of_its_own(make: Make) -> None:
    folder = make(adapter__method="full")
    tuned = tuned_of_run(folder)
    assert (tuned.model, tuned.adapter, tuned.variants) == (folder.adapter, None, ("tuned",))


@pytest.mark.parametrize("choice", ["auto", "none", "plain"])
def test_templates_that_cannot_change_go_by_their_name(make: Make, choice: str) -> None:
    assert tuned_of_run(make(data__template=choice)).template == choice


def test_a_template_of_ones_own_counts_as_it_was_in_the_training(make: Make, tmp_path: Path) -> None:
    own = tmp_path / "own.jinja"
    own.write_text("changed since")
    folder = make(data__template=str(own))
    assert tuned_of_run(folder).template == str(folder.trained_template)
    assert base_of_run(make(result=False, data__template=str(own))).template == str(own)


def test_without_a_result_only_the_base_can_be_asked(make: Make) -> None:
    folder = make(result=False)
    assert base_of_run(folder).variants == ("base",)
    with pytest.raises(UserError, match="has no result yet"):
        tuned_of_run(folder)


def test_a_base_that_moved_among_the_models_is_found_and_a_lost_one_named(make: Make, base: Path) -> None:
    folder = make()
    models_dir().mkdir(parents=True)
    moved = Path(shutil.move(base, models_dir() / "small"))
    assert result_base(folder) == moved
    shutil.rmtree(moved)
    with pytest.raises(UserError, match="The base model of “words” is no longer at"):
        tuned_of_run(folder)


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="There is no model"):
        target_of_model("/no/such/model")
