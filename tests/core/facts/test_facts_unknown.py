"""Families that nobody has heard of: a wider band with what was assumed, never a silent guess."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.facts.model_files import read_model
from core.facts.tensors import Tensor
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from tests.core.facts.real_folders import config_of, tensors_for, write_config, write_folder
from tests.core.facts.wrong_models import NONSENSE, OTHERS, SIZES, Model, can_be_planned, outcome
from tests.core.plan.invented_facts import MACHINES

quick = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
value = st.sampled_from([*NONSENSE, None]) | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of a family that nobody has heard of."""
    found = Model("llama", tmp_path_factory.mktemp("stranger") / "true")
    found.config |= {"model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    write_config(found.folder, found.config)
    found.facts = read_model(found.folder)
    return found


def test_an_unknown_family_gets_a_wider_band_and_says_what_was_assumed(tmp_path: Path) -> None:
    config = config_of("meta-llama/Meta-Llama-3-8B")
    known = read_model(write_folder(tmp_path / "known", config, tensors_for(config)))
    renamed = {**config, "model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    unknown = read_model(write_folder(tmp_path / "unknown", renamed, tensors_for(config)))
    assert unknown.linears == known.linears
    assert unknown.parameters == known.parameters
    bands = []
    for facts in (known, unknown):
        planned = plan(RunSpec().replace("model.base", facts.path), Facts(MACHINES["h100"], facts))
        assert planned.memory is not None
        moving = sum(part.bytes for part in planned.memory.parts if part.name in ("activations", "workspace"))
        bands.append((planned.memory.high_bytes - planned.memory.low_bytes, moving))
    assert bands[1][0] > bands[0][0] + 0.25 * bands[0][1]
    (told,) = [problem for problem in planned.problems if "had to be guessed" in problem.message]
    assert "“llamoid” is not in the table of known ones" in told.message
    assert "wider band" in told.message


def test_every_contradiction_in_an_unknown_family_is_told(stranger: Model) -> None:
    for name in ("num_hidden_layers", "vocab_size", "hidden_size"):
        found = stranger.with_setting(name, stranger.config[name] + 64)
        assert isinstance(found, ModelFacts)
        assert found.linears == stranger.facts.linears
        assert any(f"{name} = " in text and "are believed" in text for text in found.assumptions), name
        can_be_planned(found)


def test_impossible_sizes_of_an_unknown_family_are_refused_too(stranger: Model) -> None:
    for name in (name for name in SIZES if name in stranger.config):
        for value in NONSENSE:
            found = stranger.with_setting(name, value)
            if isinstance(found, ModelFacts):
                assert isinstance(value, list | dict), (name, value)
                can_be_planned(found)
            else:
                assert name in found


@quick
@given(data=st.data())
def test_an_unknown_family_with_any_tensors(stranger: Model, data: st.DataObject) -> None:
    tensors = list(stranger.tensors)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(tensors) - 1))
        shape = tuple(data.draw(st.lists(st.integers(0, 70), max_size=3)))
        name = data.draw(
            st.sampled_from([tensors[at].name, "weight", "model.layers.7.x.weight", "experts.weight", "h.0.a.weight"])
            | st.text("model.layers.0123456789experts.gate.weight", min_size=1, max_size=30)
        )
        dtype, size = data.draw(st.sampled_from([("BF16", 2), ("F32", 4), ("U8", 1), ("BOOL", 1)]))
        tensors[at] = Tensor(name, shape, dtype, size * math.prod(shape))
        if data.draw(st.booleans()) and len(tensors) > 2:
            tensors.pop(data.draw(st.integers(0, len(tensors) - 1)))
    unique = list({tensor.name: tensor for tensor in tensors}.values())
    changes = data.draw(st.dictionaries(st.sampled_from([*SIZES, *OTHERS]), value, max_size=2))
    config = {**stranger.config, **changes}
    found = outcome(write_folder(stranger.folder.parent / "any", config, unique))
    if isinstance(found, ModelFacts):
        assert found.assumptions
        can_be_planned(found)
