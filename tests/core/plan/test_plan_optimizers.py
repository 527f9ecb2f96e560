"""Each optimizer's states and the memory of its update, against the engine's own step on the simulator."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.plan.disk import CHECKPOINT_TEXTS, HEADER_LINE, checkpoint_bytes
from core.plan.memory import trained_of
from core.plan.parameters import count_parameters, resolve_targets
from core.plan.planner import plan
from core.spec.sections import AdapterSpec
from tests.core.plan.closed_form import footprint_of, size_of
from tests.core.plan.invented_facts import MODELS, facts, spec
from tests.simulator.cases import Case

# A small vocabulary, so that the update of the matrices and not the head is the highest moment.
SMALL: Mapping[str, Any] = {
    "model_type": "llama", "vocab_size": 256, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 2,
    "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 8192,
}  # fmt: skip
ADAPTERS = (
    AdapterSpec(rank=64),
    AdapterSpec(method="dora", rank=64),
    AdapterSpec(method="full"),
    AdapterSpec(modules_to_save=("embed_tokens", "lm_head")),
)
OPTIMIZERS = ("adamw", "lion", "lion_8bit", "adafactor", "muon")


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: f"{adapter.method} {adapter.modules_to_save}")
def test_states_and_update_against_the_simulator(adapter: AdapterSpec, optimizer: str) -> None:
    from tests.simulator.run import simulate

    for passes in (((600, 300),), ((16,),)):
        case = Case(SMALL, adapter=adapter, passes=passes, optimizer=optimizer)
        simulated = simulate(case)
        footprint = footprint_of(case, simulated.facts)
        assert footprint.optimizer == simulated.static["optimizer"]
        assert footprint.allocated(size_of(case), 0) == pytest.approx(simulated.peak_bytes, rel=0.002)


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", ["dora", "full"])
def test_the_states_of_a_checkpoint_are_as_large_as_planned(method: str, optimizer: str) -> None:
    """Every tensor that the engine would save, on a model that is really there."""
    import torch
    from transformers import AutoModelForCausalLM

    from core.engine import adapters
    from core.engine.masters import Masters
    from core.engine.optimizer import make_optimizer, optimizer_tensors
    from tests.simulator.facts import facts_of_model
    from tests.simulator.models import config_of

    base = AutoModelForCausalLM.from_config(config_of({**SMALL, "hidden_size": 128, "intermediate_size": 352}))
    model = facts_of_model(base)
    adapter = AdapterSpec(method="full" if method == "full" else "dora", rank=32)
    targets = resolve_targets(adapter, model)
    trained = trained_of(adapter, targets, model, count_parameters(adapter, targets, model).trainable)
    wrapped = adapters.attach(base, adapter, targets)
    masters = Masters(wrapped, torch.float32)
    hidden = adapters.hidden_matrices(wrapped, masters.names)
    rule = make_optimizer(optimizer, masters.masters, learning_rate=1e-4, weight_decay=0.0, hidden=hidden)
    for master in masters.masters:
        master.grad = torch.ones_like(master)
    rule.step()
    tensors, _ = optimizer_tensors(rule)
    saved = sum(tensor.nbytes for tensor in tensors.values())
    texts = CHECKPOINT_TEXTS + HEADER_LINE * (len(tensors) + len(masters.masters))
    assert checkpoint_bytes(trained, optimizer) == saved + 4 * trained.parameters + texts


def test_what_states_take_falls_from_adamw_to_adafactor() -> None:
    def states(optimizer: str) -> int:
        made = plan(spec(adapter__method="full", training__optimizer=optimizer), facts("h100", "1b")).memory
        assert made is not None
        return next(part.bytes for part in made.parts if part.name == "optimizer")

    parameters = MODELS["1b"].parameters
    assert states("lion") == pytest.approx(4 * parameters, rel=0.001)
    assert states("lion_8bit") == pytest.approx(parameters, rel=0.02)
    assert states("adafactor") < 0.01 * parameters
    assert states("lion") < states("muon") < states("adamw")


def test_a_step_of_muon_takes_its_time_where_whole_matrices_learn() -> None:
    def step(optimizer: str, **settings: object) -> float:
        made = plan(spec(training__optimizer=optimizer, **settings), facts("h100", "8b")).duration
        assert made is not None
        return made.raw_step_seconds

    assert step("muon", adapter__method="full") > 1.1 * step("adamw", adapter__method="full")
    assert step("muon") < 1.5 * step("adamw")
    assert step("lion") <= step("adamw") < step("adafactor")


@pytest.mark.parametrize(("optimizer", "offered"), [("lion", "lion_8bit"), ("adafactor", None), ("muon", None)])
def test_fewer_bits_are_offered_to_the_same_rule_only(optimizer: str, offered: str | None) -> None:
    made = plan(spec(adapter__method="full", training__optimizer=optimizer), facts("rtx4090", "8b"))
    edits = [edit for problem in made.problems for fix in problem.fixes for edit in fix.edits]
    found = {str(edit.value) for edit in edits if edit.path == "training.optimizer"}
    assert found <= {offered, "adamw"}
