"""Targets by keyword, name, layer and rank pattern; exact counts; every wrong name is answered."""

import dataclasses

import pytest

from core.errors import UserError
from core.facts.types import LinearFacts
from core.plan.parameters import count_parameters, resolve_targets, saved_elements, target_warnings
from core.spec.sections import AdapterSpec
from tests.core.plan.invented_facts import MODELS, gpt2, llama

TINY = llama(64, 160, 4, 4, 2, 300)
TIED = llama(64, 160, 4, 4, 2, 300, tied=True)


def names(adapter: AdapterSpec, model=TINY) -> list[str]:
    return [target.module for target in resolve_targets(adapter, model)]


def problems_of(adapter: AdapterSpec, model=TINY) -> list[str]:
    with pytest.raises(UserError) as caught:
        resolve_targets(adapter, model)
    return [str(problem) for problem in caught.value.problems]


def test_all_linear_is_every_linear_layer_but_the_head() -> None:
    found = names(AdapterSpec())
    assert len(found) == 7 * 4
    assert "lm_head" not in found
    assert found == [linear.name for linear in TINY.linears if linear.role != "head"]


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        (("attention",), 16),
        (("mlp",), 12),
        (("q_proj",), 4),
        (("self_attn.q_proj",), 4),
        (("model.layers.2.self_attn.q_proj",), 1),
        (("q_proj", "attention"), 16),
        (("lm_head",), 1),
        (("all-linear", "lm_head"), 29),
    ],
)
def test_names_of_every_kind(targets: tuple[str, ...], count: int) -> None:
    assert len(names(AdapterSpec(targets=targets))) == count


def test_layers_restrict_targets_but_never_a_head_named_outright() -> None:
    found = names(AdapterSpec(layers="last 1", targets=("mlp", "lm_head")))
    assert found == [f"model.layers.3.mlp.{name}_proj" for name in ("gate", "up", "down")] + ["lm_head"]


def test_layers_leave_linears_outside_blocks_to_those_who_name_them() -> None:
    outside = LinearFacts("model.project_in", None, "other", 32, 64)
    model = dataclasses.replace(TINY, linears=(outside, *TINY.linears))
    assert "model.project_in" in names(AdapterSpec(), model)
    assert "model.project_in" not in names(AdapterSpec(layers="first 2"), model)
    assert "model.project_in" in names(AdapterSpec(layers="first 2", targets=("mlp", "project_in")), model)


def test_full_fine_tuning_has_no_targets() -> None:
    adapter = AdapterSpec(method="full", targets=("nonsense",))
    assert resolve_targets(adapter, TINY) == ()
    counted = count_parameters(adapter, resolve_targets(adapter, TINY), TINY)
    assert (counted.trainable, counted.frozen, counted.total) == (TINY.parameters, 0, TINY.parameters)


def test_counts_are_exact() -> None:
    # Known from PEFT: rank 16 on every linear layer of SmolLM2-135M and Llama-3.1-8B.
    for name, trainable in (("135m", 4_884_480), ("8b", 41_943_040)):
        counted = count_parameters(AdapterSpec(), resolve_targets(AdapterSpec(), MODELS[name]), MODELS[name])
        assert counted.trainable == trainable
        assert counted.total == MODELS[name].parameters + trainable
    assert MODELS["135m"].parameters == 134_515_008
    assert MODELS["8b"].parameters == 8_030_261_248


def test_dora_adds_one_magnitude_for_each_output_also_for_conv1d() -> None:
    for model in (TINY, gpt2()):
        plain = resolve_targets(AdapterSpec(rank=4), model)
        dora = resolve_targets(AdapterSpec(rank=4, method="dora"), model)
        assert [b.parameters - a.parameters for a, b in zip(plain, dora, strict=True)] == [
            target.out_features for target in plain
        ]


def test_rank_pattern_the_more_specific_key_wins() -> None:
    pattern = {"down_proj": 8, "mlp.down_proj": 10, "2.down_proj": 32, "model.layers.3.mlp.down_proj": 64, "q_proj": 2}
    ranks = {target.module: target.rank for target in resolve_targets(AdapterSpec(rank_pattern=pattern), TINY)}
    assert ranks["model.layers.0.mlp.down_proj"] == 10
    assert ranks["model.layers.2.mlp.down_proj"] == 32
    assert ranks["model.layers.3.mlp.down_proj"] == 64
    assert ranks["model.layers.0.self_attn.q_proj"] == 2
    assert ranks["model.layers.0.self_attn.k_proj"] == 16


def test_the_order_of_rank_patterns_does_not_matter() -> None:
    one = AdapterSpec(rank_pattern={"2.down_proj": 32, "down_proj": 8})
    other = AdapterSpec(rank_pattern={"down_proj": 8, "2.down_proj": 32})
    assert resolve_targets(one, TINY) == resolve_targets(other, TINY)


def test_modules_trained_in_full_are_copies_with_their_bias() -> None:
    adapter = AdapterSpec(modules_to_save=("embed_tokens", "lm_head"))
    counted = count_parameters(adapter, resolve_targets(adapter, TINY), TINY)
    bare = count_parameters(AdapterSpec(), resolve_targets(AdapterSpec(), TINY), TINY)
    assert counted.trainable == bare.trainable + 2 * 300 * 64
    assert counted.frozen == TINY.parameters
    model = gpt2()
    assert saved_elements("c_fc", model) == 2 * (64 * 256 + 256)
    assert saved_elements("wte", model) == 500 * 64
    assert saved_elements("wpe", model) == 128 * 64
    assert saved_elements("embed_tokens", model) is None


def test_the_tied_embedding_trap_is_said() -> None:
    adapter = AdapterSpec(modules_to_save=("embed_tokens",))
    (found,) = target_warnings(adapter, resolve_targets(adapter, TIED), TIED)
    assert "one matrix" in found.message
    assert "embed_tokens" in found.message
    assert f"{300 * 64:,}" in found.message
    assert target_warnings(adapter, resolve_targets(adapter, TINY), TINY) == ()
    head = AdapterSpec(targets=("lm_head",))
    assert "lm_head" in target_warnings(head, resolve_targets(head, TIED), TIED)[0].message


def test_unknown_names_get_a_suggestion_and_the_list() -> None:
    (found,) = problems_of(AdapterSpec(targets=("q_pro",)))
    assert "Did you mean “q_proj”?" in found
    assert "gate_proj" in found
    assert "all-linear" in found


def test_everything_wrong_is_said_at_once() -> None:
    adapter = AdapterSpec(
        targets=("q_proj", "attn_q", "zzz"),
        layers="2-9",
        rank_pattern={"downproj": 8, "9.down_proj": 8, "q_proj": 0, "up_proj": 4},
        modules_to_save=("q_proj", "embed_token"),
    )
    found = "\n".join(problems_of(adapter))
    for piece in (
        "attn_q",
        "zzz",
        "2-9",
        "“downproj”",
        "Did you mean “down_proj”",
        "names layer 9",
        "Rank 0 of “q_proj”",
        "“up_proj” gets rank 4 but no adapter",
        "would get an adapter as well",
        "Did you mean “embed_tokens”",
    ):
        assert piece in found, piece


def test_a_name_outside_the_chosen_layers_and_no_name_at_all() -> None:
    (found,) = problems_of(AdapterSpec(targets=("model.layers.0.mlp.up_proj",), layers="last 1"))
    assert "names no module in the layers “last 1”" in found
    (found,) = problems_of(AdapterSpec(targets=()))
    assert "nothing would be trained" in found
    saved_only = AdapterSpec(targets=(), modules_to_save=("lm_head",))
    assert resolve_targets(saved_only, TINY) == ()
    assert count_parameters(saved_only, resolve_targets(saved_only, TINY), TINY).trainable == 300 * 64


def test_a_model_without_linear_layers() -> None:
    bare = dataclasses.replace(TINY, linears=())
    (found,) = problems_of(AdapterSpec(targets=("q_proj",)), bare)
    assert "no linear layers at all" in found
