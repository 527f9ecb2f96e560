"""A base model seen by the planner: its linear layers by name, and the sums that every estimate starts from."""

from collections import Counter
from dataclasses import dataclass

from core.facts.types import LinearFacts, ModelFacts
from core.plan.once import once_for_each

ATTENTION_INPUT = 1
ATTENTION_OUTPUT = 2
MLP_INPUT = 4
MLP_OUTPUT = 8

OUTPUT_NAMES = frozenset(("o_proj", "out_proj", "c_proj", "dense", "wo", "o"))
_KEPT_INDEXES = 8


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a pass over `ModelFacts.linears` tells.

    Attributes:
        by_name: full module path -> layer.
        by_short: last part of the path -> layers of that name, in model order.
        inputs: full module path -> bit of the tensor it reads; layers with the same bit in a block read the same one.
        block_parameters: elements of the weight matrices inside the blocks: what quantization shrinks.
        block_outputs: rows of those matrices, each of which has one scale in int8.
        largest_linear: elements of the largest weight matrix inside the blocks.
        largest_block: elements of the weight matrices of the largest block.
        blocks: (in, out) of those matrices -> how many there are.
    """

    by_name: dict[str, LinearFacts]
    by_short: dict[str, tuple[LinearFacts, ...]]
    inputs: dict[str, int]
    block_parameters: int
    block_outputs: int
    largest_linear: int
    largest_block: int
    blocks: Counter[tuple[int, int]]


@once_for_each(_KEPT_INDEXES)
def shapes_of(model: ModelFacts) -> Shapes:
    """The index of a model's linear layers; remembered for the models seen last."""
    by_short: dict[str, list[LinearFacts]] = {}
    blocks = [linear for linear in model.linears if linear.layer is not None]
    for linear in model.linears:
        by_short.setdefault(linear.short_name, []).append(linear)
    by_block: Counter[int | None] = Counter()
    for linear in blocks:
        by_block[linear.layer] += linear.in_features * linear.out_features
    sizes = [linear.in_features * linear.out_features for linear in blocks]
    return Shapes(
        by_name={linear.name: linear for linear in model.linears},
        by_short={name: tuple(group) for name, group in by_short.items()},
        inputs={linear.name: _input_of(linear, model) for linear in blocks},
        block_parameters=sum(sizes),
        block_outputs=sum(linear.out_features for linear in blocks),
        largest_linear=max(sizes, default=0),
        largest_block=max(by_block.values(), default=0),
        blocks=Counter((linear.in_features, linear.out_features) for linear in blocks),
    )


def _input_of(linear: LinearFacts, model: ModelFacts) -> int:
    if linear.role == "attention":
        return ATTENTION_OUTPUT if linear.short_name in OUTPUT_NAMES else ATTENTION_INPUT
    if linear.role == "mlp" and linear.out_features == model.hidden_size != linear.in_features:
        return MLP_OUTPUT
    return MLP_INPUT
