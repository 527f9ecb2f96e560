"""Real configs, made wrong in every way: a sentence that names the place, or facts that the weights bear out.

Never another exception, never a silent guess, and whatever is believed can be planned with.
"""

import math
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.facts.blueprints import BLUEPRINTS
from core.facts.model_config import parse_config
from core.facts.types import ModelFacts
from tests.core.facts.real_folders import config_of, write_config
from tests.core.facts.wrong_models import (
    FLAGS,
    LOOSE,
    MEASURES,
    MODELS,
    NONSENSE,
    OTHERS,
    SIZES,
    TABLES,
    Model,
    can_be_planned,
    outcome,
)

quick = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(request.param, tmp_path_factory.mktemp(request.param) / "true")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model("llama", tmp_path_factory.mktemp("llama") / "true")


def test_the_truth_is_believed(model: Model) -> None:
    assert model.facts.parameters == sum(math.prod(tensor.shape) for tensor in model.tensors)
    assert model.facts.notes == () or "experts" in model.facts.notes[0]
    assert not model.facts.assumptions
    can_be_planned(model.facts)


# --- values in the config -------------------------------------------------------------------------------------------


def test_impossible_sizes_are_refused_by_name(model: Model) -> None:
    for name in (name for name in SIZES if name in model.text):
        for value in NONSENSE:
            if isinstance(value, list | dict):
                continue
            found = model.with_setting(name, value)
            assert isinstance(found, str), (name, value)
            assert f"{name} = {str(value)[:40]}" in found, (name, value)


def test_possible_but_wrong_sizes_are_told_from_the_headers(model: Model) -> None:
    """Twice and half of each, and one more: numbers that make sense and are not true of these weights."""
    for name in (name for name in SIZES if name in model.text):
        if name in ("num_attention_heads", "n_head") and model.facts.num_kv_heads == model.facts.num_heads:
            continue  # one matrix of the same size whatever the number of heads in it
        if name == "intermediate_size" and model.facts.expert_size != model.text[name] and model.facts.experts:
            continue  # only layers without experts would have it, and there are none
        true = model.text[name]
        if name in ("max_position_embeddings", "n_positions") and not model.facts.positions:
            continue  # positions that are computed have no weights
        for wrong in (2 * true, true // 2, true + 1):
            found = model.with_setting(name, wrong)
            assert isinstance(found, str), (name, wrong)
            assert name in found or "By the config “" in found or "experts with" in found, (name, wrong, found)


def test_a_left_out_size_is_never_guessed_in_silence(model: Model) -> None:
    """Without a value, the facts are those of the weights, or there is a refusal or an assumption."""
    for name in (name for name in SIZES if name in model.text):
        found = model.with_setting(name, None)
        if isinstance(found, str):
            continue
        assert found.parameters == model.facts.parameters
        assert found.linears == model.facts.linears
        assert found.vocab_size == model.facts.vocab_size
        assert found.num_layers == model.facts.num_layers
        can_be_planned(found)


def test_other_settings_with_any_value(model: Model) -> None:
    rng = random.Random(model.family)
    for name in (*OTHERS, *FLAGS, *TABLES, *MEASURES, *LOOSE):
        for value in (*rng.sample(NONSENSE, 4), None):
            found = model.with_setting(name, value)
            if isinstance(found, ModelFacts):
                can_be_planned(found)


@pytest.mark.parametrize("name", [*MEASURES, *FLAGS, *(f"{table}.factor" for table in TABLES)])
def test_impossible_settings_are_refused_by_name(llama: Model, name: str) -> None:
    for value in (-1, 10**30, math.nan, math.inf, -math.inf, "abc", ["x"], {"a": 1}):
        if name in FLAGS or not isinstance(value, list | dict) or name not in MEASURES[-1:]:
            table, _, inner = name.rpartition(".")
            found = llama.with_setting(table or inner, {inner: value} if table else value)
            assert isinstance(found, str), value
            assert f"{name} = {str(value)[:40]}" in found


def test_more_experts_a_token_than_there_are(tmp_path: Path) -> None:
    moe = Model("qwen3_moe", tmp_path / "m")
    found = moe.with_setting("num_experts_per_tok", 129)
    assert isinstance(found, str)
    assert "num_experts_per_tok = 129, but there are num_experts = 128" in found
    found = moe.with_setting("num_experts", 64)
    assert isinstance(found, str)
    assert "num_experts = 64" in found
    assert "there are 128 experts" in found


def test_a_kind_for_every_layer(llama: Model) -> None:
    found = llama.with_setting("layer_types", ["full_attention"] * 3)
    assert isinstance(found, str)
    assert "num_hidden_layers = 2, but its layer_types lists 3" in found


value = st.sampled_from([*NONSENSE, None]) | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
table = st.dictionaries(
    st.sampled_from(["factor", "rope_theta", "rope_type", "type", "original_max_position_embeddings"]), value
)


@quick
@given(data=st.data())
def test_many_settings_at_once(llama: Model, data: st.DataObject) -> None:
    names = st.sampled_from([*SIZES, *OTHERS, *FLAGS, *TABLES, *MEASURES, *LOOSE, "model_type"])
    changes = data.draw(st.dictionaries(names, value | table, min_size=1, max_size=5))
    write_config(llama.folder, {**llama.config, **changes})
    try:
        found = outcome(llama.folder)
    finally:
        write_config(llama.folder, llama.config)
    if isinstance(found, ModelFacts):
        can_be_planned(found)


def test_every_family_is_tried() -> None:
    assert set(MODELS) == set(BLUEPRINTS) - {"ministral3"}  # of which the catalogue has no model
    for name in MODELS.values():
        assert parse_config(config_of(name, 2), name).num_layers == 2
