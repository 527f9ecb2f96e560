"""Targets that nobody has looked at come to the same as those made one by one."""

import json

import pytest

from core.errors import UserError
from core.plan.parameters import count_parameters, resolve_targets
from core.plan.planner import plan
from core.plan.types import Plan, Target
from core.records import from_plain, to_plain
from core.spec.sections import AdapterSpec
from tests.core.plan.invented_facts import MODELS, facts, gpt2, llama, spec

TINY = llama(64, 160, 4, 4, 2, 300)
ASKED = (
    AdapterSpec(),
    AdapterSpec(method="dora", rank=4),
    AdapterSpec(targets=("attention", "lm_head"), layers="last 2", rank=7),
    AdapterSpec(rank=4, rank_pattern={"q_proj": 2, "1.q_proj": 4, "down_proj": 9}),
    AdapterSpec(targets=("q_proj",), modules_to_save=("embed_tokens", "lm_head")),
    AdapterSpec(targets=(), modules_to_save=("down_proj",)),
)


@pytest.mark.parametrize("asked", ASKED)
def test_sums_by_size_are_those_of_single_modules(asked: AdapterSpec) -> None:
    targets = resolve_targets(asked, TINY)
    assert sum(shape.number for shape in targets.shapes) == len(targets) == len(tuple(targets))
    assert targets.parameters == sum(target.parameters for target in targets)
    for target in targets:
        linear = next(linear for linear in TINY.linears if linear.name == target.module)
        assert (target.in_features, target.out_features) == (linear.in_features, linear.out_features)
        magnitudes = linear.out_features if asked.method == "dora" else 0
        assert target.parameters == target.rank * (linear.in_features + linear.out_features) + magnitudes
    ranks = {target.rank for target in targets}
    assert ranks == {shape.rank for shape in targets.shapes}
    layers = [linear.layer for linear in targets.places.linears if linear.layer is not None]
    assert targets.places.first == min(layers, default=TINY.num_layers)
    trained = count_parameters(asked, targets, TINY).trainable
    assert trained == targets.parameters + sum(targets.places.saved.values())


def test_they_are_equal_to_the_tuple_of_them() -> None:
    targets, again = (resolve_targets(AdapterSpec(), TINY) for _ in range(2))
    listed = tuple(targets)
    assert isinstance(listed[0], Target)
    assert targets == again == listed
    assert listed == targets
    assert hash(targets) == hash(listed)
    assert (targets[0], targets[-1:]) == (listed[0], listed[-1:])
    assert targets != resolve_targets(AdapterSpec(rank=8), TINY)
    # Two ways to say the same.
    assert resolve_targets(AdapterSpec(rank=4, rank_pattern={"q_proj": 16}, targets=("q_proj",)), TINY) == (
        resolve_targets(AdapterSpec(rank=16, targets=("q_proj",)), TINY)
    )


def test_the_places_are_found_once_for_all_ranks() -> None:
    model = MODELS["8b"]
    one, two = (resolve_targets(AdapterSpec(rank=rank), model) for rank in (8, 64))
    assert one.places is two.places
    assert (one[0].rank, two[0].rank) == (8, 64)
    assert resolve_targets(AdapterSpec(layers="last 1"), model).places is not one.places
    assert resolve_targets(AdapterSpec(), llama(64, 160, 4, 4, 2, 300)).places is not one.places


def test_a_refusal_is_remembered_and_still_one() -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="nonsense"):
            resolve_targets(AdapterSpec(targets=("nonsense",)), TINY)
    assert len(resolve_targets(AdapterSpec(targets=("nonsense",), method="full"), TINY)) == 0


def test_a_plan_writes_and_reads_them_as_a_list() -> None:
    made = plan(spec(), facts())
    plain = json.loads(json.dumps(to_plain(made)))
    assert plain["targets"][0]["module"] == made.targets[0].module
    read = from_plain(Plan, plain)
    assert isinstance(read.targets, tuple)
    assert read.targets == made.targets


def test_a_model_with_other_names() -> None:
    targets = resolve_targets(AdapterSpec(rank=3), gpt2())
    assert targets.parameters == sum(3 * (target.in_features + target.out_features) for target in targets)
