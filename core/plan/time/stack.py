"""A model's layers and the part of them that is trained, as sums that time is counted from."""

from dataclasses import dataclass

from core.facts.types import ModelFacts
from core.plan.once import once_for_each
from core.plan.parameters import embedding_elements, head_of
from core.plan.shapes import ATTENTION_INPUT, shapes_of
from core.plan.targets import Targets
from core.spec.sections import AdapterSpec

# Bytes that element-wise kernels move for a token in 16 bits, forward and backward, by the width that they scale with.
NORM, NORM_BACK = 72, 120  # two norms of the hidden width, through fp32
RESIDUAL, RESIDUAL_BACK = 12, 30  # two sums of the hidden width; backward also joins what flows to a shared input
ROTARY, ROTARY_BACK = 20, 24  # query and key width
LAYOUT, LAYOUT_BACK = 4, 4  # query, key and value, laid out for the attention kernel
GATE, GATE_BACK = 10, 18  # the MLP's inner width: activation and product
_KEPT = 8


@dataclass(frozen=True, slots=True)
class Stack:
    """A model's layers.

    Attributes:
        up_to: elements of the weights in the layers before each one; the last entry counts all of them.
        inlets: elements of each layer's weights that read the layer's own input, through its first norm.
        query: width of all query heads together.
        plain, plain_back: bytes of element-wise kernels for a token in one layer in 16 bits, without adapters.
        head: elements of the vocabulary projection, and `vocabulary` its rows.
    """

    layers: int
    up_to: tuple[int, ...]
    inlets: tuple[int, ...]
    query: int
    heads: int
    plain: float
    plain_back: float
    head: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What is trained.

    Attributes:
        parameters: trained ones.
        full: every weight is trained.
        layers: of the model.
        first: first layer that gradients reach.
        modules: adapted ones; `inputs` and `outputs` are the sums of their widths.
        narrow: operations of the adapters' products for a token, forward.
        rebuilt: elements of the weights whose norm DoRA makes anew in every pass, `rebuilding` the operations for it.
    """

    parameters: int
    full: bool
    layers: int
    first: int
    modules: int
    inputs: int
    outputs: int
    narrow: int
    rebuilt: int
    rebuilding: int
    dropout: bool

    def share_of_layers(self, start: int, stop: int) -> float:
        """The part of the adapters that lies in layers ``start`` to ``stop``; they count as spread evenly."""
        reached = self.layers - self.first
        return max(0, stop - max(start, self.first)) / reached if reached and self.modules else 0.0


@once_for_each(_KEPT)
def stack_of(model: ModelFacts) -> Stack:
    """The sums over a model's layers; remembered for the models seen last."""
    shapes = shapes_of(model)
    sizes, inlets = [0] * model.num_layers, [0] * model.num_layers
    for linear in model.linears:
        if linear.layer is not None and linear.layer < model.num_layers:
            elements = linear.in_features * linear.out_features
            sizes[linear.layer] += elements
            inlets[linear.layer] += elements if shapes.inputs[linear.name] == ATTENTION_INPUT else 0
    up_to = [0]
    for size in sizes:
        up_to.append(up_to[-1] + size)
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    hidden, wide = model.hidden_size, model.intermediate_size
    head = head_of(model)
    return Stack(
        layers=model.num_layers,
        up_to=tuple(up_to),
        inlets=tuple(inlets),
        query=query,
        heads=model.num_heads,
        plain=(NORM + RESIDUAL) * hidden + ROTARY * (query + key) + LAYOUT * (query + 2 * key) + GATE * wide,
        plain_back=(NORM_BACK + RESIDUAL_BACK) * hidden
        + ROTARY_BACK * (query + key)
        + LAYOUT_BACK * (query + 2 * key)
        + GATE_BACK * wide,
        head=head.in_features * head.out_features if head else embedding_elements(model),
        vocabulary=head.out_features if head else model.vocab_size,
    )


def trained_part(adapter: AdapterSpec, model: ModelFacts, targets: Targets, parameters: int) -> Trained:
    """The adapters of a spec, or everything.

    Args:
        adapter: what is asked for.
        model: the base model.
        targets: the modules that get adapters.
        parameters: all trained ones, modules trained in full included.
    """
    full = adapter.method == "full"
    embeddings = any("emb" in name or "wte" in name for name in adapter.modules_to_save)
    inputs, outputs, narrow, elements, rebuilding = 0, 0, 0, 0, 0
    for shape in targets.shapes:
        inputs += shape.number * shape.in_features
        outputs += shape.number * shape.out_features
        narrow += 2 * shape.number * shape.rank * (shape.in_features + shape.out_features)
        size = shape.number * shape.in_features * shape.out_features
        elements += size
        rebuilding += 2 * shape.rank * size
    dora = adapter.method == "dora"
    return Trained(
        parameters=parameters,
        full=full,
        layers=model.num_layers,
        first=0 if full or embeddings else targets.places.first,
        modules=len(targets),
        inputs=inputs,
        outputs=outputs,
        narrow=narrow,
        rebuilt=elements if dora else 0,
        rebuilding=rebuilding if dora else 0,
        dropout=adapter.dropout > 0 and not full,
    )
