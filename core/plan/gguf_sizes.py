"""How large a model is as a GGUF file of each type: from the shapes of its tensors, no weights needed.

Formats and their blocks are ggml's (`gguf.constants.GGML_QUANT_SIZES`); which tensor gets which format is what
llama.cpp's own quantizer does (`llama-quant.cpp`: `llama_tensor_get_type_impl` and `tensor_type_fallback`): vectors and
learned positions stay F32, the output (or the embeddings, where they are one matrix) is Q6_K at least, and the mixes
_K_M give Q6_K to the values and to the down projections of the first and last eighth of the layers and of every third
one between. Rows that are no multiple of a block's 256 numbers go to the next format with blocks of 32.

Held against that quantizer on six shapes from 135 M to 70 B: equal to within 0.001 %. Older builds of it give fused
queries, keys and values more bits (2 % of a Q5_K_M file of Phi-3). Experts, which the facts do not list, are estimated.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from core.facts.types import LinearFacts, ModelFacts
from core.plan.shapes import shapes_of

# Format -> (numbers in a block, bytes of a block).
BLOCKS: Mapping[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q6_K": (256, 210),
    "Q5_K": (256, 176),
    "Q5_1": (32, 24),
    "Q5_0": (32, 22),
    "Q4_K": (256, 144),
    "Q4_0": (32, 18),
}
# Type of a file -> the format of most of its tensors.
TYPES: Mapping[str, str] = {
    "F32": "F32",
    "F16": "F16",
    "BF16": "BF16",
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q4_K_M": "Q4_K",
    "Q4_0": "Q4_0",
}
_PLAIN = ("F32", "F16", "BF16")
_NARROWER = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_VALUES = frozenset(("v_proj", "kv_b_proj", "c_attn", "qkv_proj", "query_key_value", "Wqkv", "value"))
_DOWN = frozenset(("down_proj", "w2", "fc2", "fc_out", "dense_4h_to_h"))

# Measured on a GGUF file with 49,152 tokens: names, types, merges, template, and the list of tensors.
VOCABULARY_BYTES = 36
TENSOR_BYTES = 64
# llama.cpp calls models of 80 layers with shared key heads “70B” and gives their small value matrices more bits.
_SEVENTY_LAYERS = 80

_KEPT = 8
_known: dict[tuple[int, bool], tuple[ModelFacts, Mapping[str, int]]] = {}


def gguf_sizes(model: ModelFacts, *, untied: bool = False) -> Mapping[str, int]:
    """Bytes of the model as a GGUF file, by the file's type.

    Args:
        model: the base, which a merge leaves as large as it was.
        untied: the merge makes two matrices of the one that embeddings and head share.
    """
    key = (id(model), untied)
    found = _known.get(key)
    if found is None or found[0] is not model:
        if len(_known) >= _KEPT:
            _known.clear()
        tied = model.tied_embeddings and not untied
        sizes = {name: _size(model, name, tied=tied) for name in TYPES}
        found = _known[key] = (model, MappingProxyType(sizes))
    return found[1]


def _size(model: ModelFacts, name: str, *, tied: bool) -> int:
    base = TYPES[name]
    shapes = shapes_of(model)
    matrix = model.vocab_size * model.hidden_size
    total = sum(number * _bytes(width * height, width, form) for width, height, form, number in _formats(model, name))
    output = _output_format(base, model)
    total += _bytes(matrix, model.hidden_size, output if tied else base)
    total += 0 if tied else _bytes(matrix, model.hidden_size, output)
    positions = max(0, model.embedding_parameters - matrix)
    heads = matrix if model.tied_embeddings else 2 * matrix
    rest = max(0, model.parameters - shapes.block_parameters - heads - positions)
    # Norms and biases are vectors; much more than a vector for every layer's side is experts, stored in one piece.
    sides = sum(number * sum(size) for size, number in shapes.blocks.items()) + 2 * model.hidden_size
    experts = rest if rest > 2 * sides else 0
    total += _expert_bytes(experts, name) + 4 * (rest - experts + positions)
    return total + VOCABULARY_BYTES * model.vocab_size + TENSOR_BYTES * (shapes.blocks.total() + 2 * model.num_layers)


def _formats(model: ModelFacts, name: str) -> Iterator[tuple[int, int, str, int]]:
    """Width, height and format of the matrices in the layers, and how many there are of each."""
    base = TYPES[name]
    if not name.endswith("_M"):
        for (width, height), number in shapes_of(model).blocks.items():
            yield width, height, base, number
        return
    blocks = [linear for linear in model.linears if linear.layer is not None]
    down = [linear for linear in blocks if _is_down(linear)]
    values = [linear for linear in blocks if linear.short_name in _VALUES]
    better = {
        linear.name for group in (down, values) for number, linear in enumerate(group) if _more_bits(number, len(group))
    }
    seventy = model.num_layers == _SEVENTY_LAYERS and model.num_heads != model.num_kv_heads
    helped = {linear.name for linear in values} if seventy and base == "Q4_K" else frozenset()
    for linear in blocks:
        form = "Q6_K" if linear.name in better else "Q5_K" if linear.name in helped else base
        yield linear.in_features, linear.out_features, form, 1


def _is_down(linear: LinearFacts) -> bool:
    return linear.short_name in _DOWN or (linear.role == "mlp" and linear.short_name in ("c_proj", "wo"))


def _more_bits(layer: int, layers: int) -> bool:
    first = layers // 8
    return layer < first or layer >= 7 * layers // 8 or (layer - first) % 3 == 2


def _output_format(base: str, model: ModelFacts) -> str:
    if base in (*_PLAIN, "Q8_0"):
        return base
    return "Q8_0" if model.family == "falcon" or model.hidden_size % BLOCKS[base][0] else "Q6_K"


def _bytes(elements: int, columns: int, form: str) -> int:
    """Bytes of a matrix with rows of ``columns`` numbers."""
    if form not in _PLAIN and columns % BLOCKS[form][0]:
        form = _NARROWER.get(form, "F16")
        form = "F16" if columns % BLOCKS[form][0] else form
    numbers, size = BLOCKS[form]
    return elements // numbers * size


def _expert_bytes(elements: int, name: str) -> int:
    """Experts: a third of them are down projections, and half of those have more bits in a mix."""
    if not elements:
        return 0
    better = elements // 6 if name.endswith("_M") else 0
    return _bytes(better, 256, "Q6_K") + _bytes(elements - better, 256, TYPES[name])
