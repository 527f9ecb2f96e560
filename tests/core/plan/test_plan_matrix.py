"""The matrix of layers and kinds: any choice of cells and ranks is written as settings that mean exactly it."""

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Severity, UserError
from core.facts.types import LinearFacts, ModelFacts
from core.plan.matrix import Cell, Expression, Matrix
from core.plan.parameters import resolve_targets
from core.spec.layers import layered_name, layers_text, parse_layers
from core.spec.rules import check
from core.spec.sections import AdapterSpec
from tests.core.plan.invented_facts import MODELS, gpt2, llama, spec

TINY = llama(64, 160, 6, 4, 2, 300)


def _with_outside() -> ModelFacts:
    outside = LinearFacts("model.project_in", None, "other", 32, 64)
    return dataclasses.replace(TINY, linears=(outside, *TINY.linears))


def _hybrid() -> ModelFacts:
    """Every other layer has another kind of attention with a projection of the same last name."""

    def own(linear: LinearFacts) -> LinearFacts:
        odd = linear.layer is not None and linear.layer % 2 and linear.role == "attention"
        return dataclasses.replace(linear, name=linear.name.replace("self_attn", "linear_attn")) if odd else linear

    return dataclasses.replace(TINY, linears=tuple(own(linear) for linear in TINY.linears))


SHAPES = {"llama": TINY, "gpt2": gpt2(), "outside": _with_outside(), "hybrid": _hybrid()}


def adapter(found: Expression, rank: int = 16) -> AdapterSpec:
    return AdapterSpec(rank=rank, targets=found.targets, layers=found.layers, rank_pattern=found.rank_pattern)


@pytest.mark.parametrize("shape", SHAPES)
@given(picked=st.data())
def test_any_choice_is_read_back_as_it_was_painted(shape: str, picked: st.DataObject) -> None:
    model = SHAPES[shape]
    matrix = Matrix(model)
    every = matrix.every()
    chosen = picked.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    ranks = picked.draw(st.lists(st.sampled_from((4, 8, 16)), min_size=len(chosen), max_size=len(chosen)))
    cells = dict(zip(chosen, ranks, strict=True))
    outside = picked.draw(st.lists(st.sampled_from([item.name for item in matrix.outside]), unique=True))
    found = matrix.express(cells, 16, outside)
    targets = resolve_targets(adapter(found), model)
    assert matrix.cells(targets) == cells
    assert sorted(matrix.chosen_outside(targets)) == sorted(outside)
    asked = spec(adapter__targets=found.targets, adapter__layers=found.layers, adapter__rank_pattern=found.rank_pattern)
    assert not [item for item in check(asked) if item.severity is Severity.ERROR]


def painted(matrix: Matrix, **layers: range | list[int]) -> dict[Cell, int]:
    numbers = {kind.title: number for number, kind in enumerate(matrix.kinds)}
    return {(numbers[title], layer): 16 for title, chosen in layers.items() for layer in chosen}


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize(
    ("layers", "targets", "text"),
    [
        (dict.fromkeys(ATTENTION + MLP, range(6)), ("all-linear",), "all"),
        (dict.fromkeys(ATTENTION, range(6)), ("attention",), "all"),
        (dict.fromkeys(MLP, range(4, 6)), ("mlp",), "last 2"),
        (dict.fromkeys(("q_proj", "v_proj"), range(3)), ("q_proj", "v_proj"), "first 3"),
        ({name: [0, 1, 4] for name in ("q_proj", *MLP)}, ("mlp", "q_proj"), "0-1, 4"),
        (
            dict.fromkeys(ATTENTION, range(6)) | dict.fromkeys(MLP, range(4, 6)),
            ("attention", "4-5.mlp"),
            "all",
        ),
        ({"q_proj": range(6), "down_proj": [1, 3, 4]}, ("q_proj", "1.down_proj", "3-4.down_proj"), "all"),
    ],
)
def test_the_text_is_as_short_as_a_person_would_write_it(
    layers: dict[str, range | list[int]], targets: tuple[str, ...], text: str
) -> None:
    matrix = Matrix(TINY)
    found = matrix.express(painted(matrix, **layers), 16)
    assert (found.targets, found.layers, found.rank_pattern) == (targets, text, {})


def test_ranks_are_written_for_a_kind_and_for_the_layers_that_differ_from_it() -> None:
    matrix = Matrix(TINY)
    cells = painted(matrix, q_proj=range(6), down_proj=range(6))
    down = next(number for number, kind in enumerate(matrix.kinds) if kind.title == "down_proj")
    cells |= {(down, layer): 32 for layer in range(6)} | {(down, 1): 8, (down, 4): 16, (down, 5): 16}
    found = matrix.express(cells, 16)
    assert found.rank_pattern == {"down_proj": 32, "1.down_proj": 8, "4-5.down_proj": 16}


def test_nothing_chosen_is_no_target() -> None:
    found = Matrix(TINY).express({}, 16)
    assert (found.targets, found.layers, found.rank_pattern) == ((), "all", {})


def test_modules_of_one_name_and_two_roles_are_two_kinds() -> None:
    kinds = Matrix(gpt2()).kinds
    assert [(kind.role, kind.title, kind.name) for kind in kinds] == [
        ("attention", "c_attn", "c_attn"),
        ("attention", "c_proj", "attn.c_proj"),
        ("mlp", "c_fc", "c_fc"),
        ("mlp", "c_proj", "mlp.c_proj"),
    ]


def test_the_largest_matrix_is_written_in_a_few_milliseconds() -> None:
    matrix = Matrix(MODELS["70b"])
    checkered = {cell: 16 if cell[1] % 3 else 8 for cell in matrix.every() if sum(cell) % 2}
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        found = matrix.express(checkered, 16)
        best = min(best, time.perf_counter() - start)
    assert matrix.cells(resolve_targets(adapter(found), MODELS["70b"])) == checkered
    assert best < 0.010


# ------------------------------------------------------------------------------------- names with layers before them


def test_layers_before_a_name_narrow_it() -> None:
    def names(*targets: str) -> list[str]:
        return [item.module for item in resolve_targets(AdapterSpec(targets=targets), TINY)]

    assert names("1.q_proj", "3-4.k_proj") == [
        "model.layers.1.self_attn.q_proj",
        "model.layers.3.self_attn.k_proj",
        "model.layers.4.self_attn.k_proj",
    ]
    assert len(names("2-5.mlp")) == 12
    assert len(names("0-1.all-linear")) == 14
    assert len(names("5.self_attn.q_proj")) == 1


def test_of_several_ranks_the_more_precise_name_wins() -> None:
    pattern = {"0-3.q_proj": 4, "q_proj": 8, "1.q_proj": 2, "model.layers.2.self_attn.q_proj": 64}
    found = resolve_targets(AdapterSpec(targets=("q_proj",), rank_pattern=pattern), TINY)
    assert [item.rank for item in found] == [4, 2, 64, 4, 8, 8]


@pytest.mark.parametrize(
    ("targets", "pattern", "words"),
    [
        (("4-9.q_proj",), {}, "names layers 4 to 9, but the model's layers are 0 to 5"),
        (("6.q_proj",), {}, "names layer 6, but the model's layers are 0 to 5"),
        (("0-3.q_prj",), {}, "Did you mean “q_proj”?"),
        (("q_proj",), {"0-9.q_proj": 8}, "names layers 0 to 9"),
        (("q_proj",), {"0-3.mlp": 8}, "no linear layer “0-3.mlp”"),
    ],
)
def test_wrong_layers_before_a_name_are_named(targets: tuple[str, ...], pattern: dict[str, int], words: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_targets(AdapterSpec(targets=targets, rank_pattern=pattern), TINY)
    assert words in str(caught.value)


@given(st.sets(st.integers(0, 11), min_size=1))
def test_layers_are_read_back_as_they_were_written(layers: set[int]) -> None:
    assert set(parse_layers(layers_text(layers, 12), 12)) == layers


def test_only_numbers_before_the_first_dot_are_layers() -> None:
    assert layered_name("0-11.q_proj") == (0, 11, "q_proj")
    assert layered_name("3.mlp.down_proj") == (3, 3, "mlp.down_proj")
    assert layered_name("self_attn.q_proj") is None
    assert layered_name("q_proj") is None
