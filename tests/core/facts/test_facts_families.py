"""All families that the loader knows: headers tell what is loaded, and the planner counts what PEFT then trains."""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core.errors import UserError
from core.facts.architectures import FAMILIES, NATIVE, not_adaptable
from core.facts.model_files import read_model
from core.facts.types import ModelFacts
from core.plan.parameters import count_parameters, embedding_name, resolve_targets
from core.spec.sections import AdapterSpec
from tests.core.facts.tiny_families import TINY

pytestmark = [
    pytest.mark.torch,
    # peft 0.21 still asks for a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    # PEFT speaks of tied weights, of Conv1D and of ranks above what a tiny matrix holds: none of it changes a count.
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
SPECS = 10


@dataclass
class Family:
    kind: str
    model: Any
    facts: ModelFacts


@pytest.fixture(scope="module", params=TINY, ids=str)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    """A random model of one family: saved, its headers read, and loaded again."""
    import transformers
    from transformers.utils import logging

    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        config = transformers.CONFIG_MAPPING[kind](**TINY[kind])
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        yield Family(kind, model, read_model(folder))


def linear_modules(model: Any) -> dict[str, tuple[int, int, bool, bool]]:
    """Inputs, outputs, bias and Conv1D of every linear module that is no router and sees no pictures."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, module in model.named_modules():
        if ".vision_tower." in name or name.endswith(".router"):
            continue
        if isinstance(module, Conv1D):
            found[name] = (*module.weight.shape, True, True)
        elif isinstance(module, torch.nn.Linear):
            found[name] = (module.in_features, module.out_features, module.bias is not None, False)
    return found


def test_headers_tell_what_is_loaded(family: Family) -> None:
    model, facts = family.model, family.facts
    assert {
        linear.name: (linear.in_features, linear.out_features, linear.bias, linear.conv1d) for linear in facts.linears
    } == linear_modules(model)
    assert facts.parameters == model.num_parameters()
    assert facts.architecture == type(model).__name__
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert facts.tied_embeddings == (head.weight is embeddings.weight)
    assert model.get_submodule(facts.linears[-1].name) is head
    assert model.get_submodule(facts.embedding) is embeddings
    if facts.positions:
        assert facts.embedding_parameters == embeddings.weight.numel() + sum(
            parameter.numel() for parameter in model.get_submodule(facts.positions).parameters()
        )
    else:
        assert facts.embedding_parameters == embeddings.weight.numel()
    assert not [text for text in facts.assumptions if "tokenizer" not in text and "experts" not in text]


def random_adapter(rng: random.Random, facts: ModelFacts) -> AdapterSpec:
    """Any mixture of groups, names, paths and layers; some of them cannot be had together."""
    shorts = sorted({linear.short_name for linear in facts.linears})
    paths = [linear.name for linear in facts.linears]
    layered = [f"{rng.randrange(facts.num_layers)}.{name}" for name in shorts]
    pool = ["all-linear", "attention", "mlp", "0-1.all-linear", "1.mlp", *shorts, *layered, *rng.sample(paths, 3)]
    savable = [embedding_name(facts), facts.linears[-1].short_name, *shorts]
    savable += [facts.positions.rpartition(".")[2]] * bool(facts.positions)
    return AdapterSpec(
        method=rng.choice(("lora", "rslora", "dora")),
        rank=rng.randint(1, 12),
        targets=("all-linear",) if rng.random() < 0.3 else tuple(rng.sample(pool, rng.randint(1, 4))),
        layers=rng.choice(("all", "all", "all", "last 2", "first 1", "0, 2", "1-2")),
        rank_pattern={rng.choice((*shorts, *paths, *layered)): rng.randint(1, 9) for _ in range(rng.randint(0, 3))},
        modules_to_save=tuple(dict.fromkeys(rng.choice(savable) for _ in range(rng.randint(0, 3)))),
    )


def counted(model: Any) -> tuple[int, int, int]:
    """What learns, what does not, and all of it."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    learning = sum(size for size, learns in sizes if learns)
    return learning, sum(size for size, _ in sizes) - learning, sum(size for size, _ in sizes)


def test_the_planner_counts_what_peft_trains(family: Family) -> None:
    from core.engine.adapters import attach

    rng, done = random.Random(family.kind), 0
    for _ in range(20 * SPECS):
        adapter = random_adapter(rng, family.facts)
        try:
            targets = resolve_targets(adapter, family.facts)
        except UserError:
            continue  # a mixture that cannot be had, which the planner's own tests look at
        planned = count_parameters(adapter, targets, family.facts)
        wrapped = attach(copy.deepcopy(family.model), adapter, targets)
        assert (planned.trainable, planned.frozen, planned.total) == counted(wrapped), adapter
        done += 1
        if done == SPECS:
            break
    assert done == SPECS


def test_full_fine_tuning_trains_everything(family: Family) -> None:
    from core.engine.adapters import attach

    adapter = AdapterSpec(method="full")
    planned = count_parameters(adapter, resolve_targets(adapter, family.facts), family.facts)
    wrapped = attach(copy.deepcopy(family.model), adapter, ())
    assert (planned.trainable, planned.frozen, planned.total) == counted(wrapped)


def test_what_cannot_be_adapted_says_so(family: Family) -> None:
    refused = [linear for linear in family.facts.linears if not linear.adaptable]
    assert {linear.short_name for linear in refused} <= not_adaptable(family.kind)
    chosen = {target.module for target in resolve_targets(AdapterSpec(), family.facts)}
    assert chosen == {linear.name for linear in family.facts.linears if linear.adaptable and linear.role != "head"}
    for name in {linear.short_name for linear in refused}:
        with pytest.raises(UserError, match="can get no adapter"):
            resolve_targets(AdapterSpec(targets=(name,)), family.facts)


def test_every_family_is_tried() -> None:
    assert set(TINY) == set(FAMILIES)


def test_the_names_that_peft_takes_for_experts() -> None:
    from peft.utils.transformers_weight_conversion import (
        _MODEL_TO_CONVERSION_PATTERN,
        _MOE_TARGET_MODULE_MAPPING,
    )

    for kind in NATIVE:
        taken = _MOE_TARGET_MODULE_MAPPING.get(_MODEL_TO_CONVERSION_PATTERN.get(kind, ""), {})
        if taken:
            assert not_adaptable(kind) == frozenset(taken), kind
        else:
            assert not_adaptable(kind) <= {"out_proj"}, kind
