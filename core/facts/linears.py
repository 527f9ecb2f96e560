"""Finds embeddings, head, blocks and every linear layer among a model's tensors, by names and shapes alone."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from core.facts.architectures import (
    EMBEDDINGS,
    FUSED,
    HEADS,
    NOT_LOADED,
    POSITIONS,
    TOWERS,
    Family,
    role_of,
)
from core.facts.tensors import Tensor
from core.facts.types import LinearFacts

_BLOCK = re.compile(r"(?:^|(?<=\.))(?:layers|h|blocks|block|layer|decoder_layers)\.(\d+)\.")
# Wrappers that come and go between checkpoints and classes; what follows them is what counts.
_WRAPPERS = frozenset(("model", "language_model", "text_model", "transformer", "backbone", "decoder"))
_BUFFERS = re.compile(
    r"(^|\.)(inv_freq|masked_bias|causal_mask|e_score_correction_bias|expert_bias|position_ids|act_fn\.(beta|eps))$"
)
_NOT_LINEAR = re.compile(r"norm|embed|rotary|router|^ln_|^wpe$|^wte$|^gate$|relative")
_EXPERTS = "experts"
_ORDER = ("q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "gate_proj", "up_proj", "down_proj", "c_attn", "c_fc")
_STATEFUL = re.compile(r"(^|\.)(A_log|ssm|mamba|linear_attn|time_decay|rg_lru|conv1d\.weight|short_?conv)(\.|$)")


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's tensors, sorted by what they are.

    Attributes:
        tensors: all that are loaded, by the names that the loaded class gives them.
        linears: every linear layer that can take an adapter, and the head last.
        embedding: the input embeddings; None where they are stored as the head alone.
        positions: learned positions.
        embedding_name: module path of the input embeddings once loaded; `positions_name` of the positions, or empty.
        head: the output projection; None where it shares the embeddings' matrix.
        blocks: numbers of the blocks found; `last_tensor` is a tensor of the last of them, or empty.
        has_experts: weights of experts were found, which are no linear layers once loaded.
        stateful: tensors were found that carry state along a row.
        parameters: all values of all tensors, a tied head stored twice counted twice.
        doubles: pairs of stored tensors that would be loaded as one and the same.
        guessed_root: where an unknown class is believed to keep its blocks; empty for known families.
    """

    tensors: Mapping[str, Tensor]
    linears: tuple[LinearFacts, ...]
    embedding: Tensor | None
    positions: Tensor | None
    embedding_name: str
    positions_name: str
    head: Tensor | None
    blocks: frozenset[int]
    last_tensor: str
    has_experts: bool
    stateful: bool
    parameters: int
    guessed_root: str = ""
    doubles: tuple[tuple[Tensor, Tensor], ...] = ()


def read_layout(tensors: Iterable[Tensor], family: Family, num_layers: int = 0, extra_layers: int = 0) -> Layout:
    """Sorts the tensors of a model's files.

    Args:
        tensors: as the files name them.
        family: what is known about the model; `core.facts.architectures.UNKNOWN` for nothing.
        num_layers: how many blocks the config promises; 0 when it does not say.
        extra_layers: how many blocks beyond them are stored but not loaded.
    """
    tensors = [tensor for tensor in tensors if not _is_buffer(tensor)]
    root = family.root if family.blocks else _guess_root(tensors)
    named: dict[str, Tensor] = {}
    doubles: list[tuple[Tensor, Tensor]] = []
    for tensor in tensors:
        name = _module_name(tensor.name, family, root)
        if name and not (extra_layers and num_layers <= _block_number(name, root) < num_layers + extra_layers):
            if name in named:
                doubles.append((named[name], tensor))
            named[name] = tensor
    text = {name: tensor for name, tensor in named.items() if not TOWERS.intersection(name.split("."))}
    head_name = family.head if family.architecture else _guess_head(text, family.head)
    head = _matrix(text.get(f"{head_name}.weight"))
    embedding_name, positions_name = _find(text, EMBEDDINGS), _find(text, POSITIONS)
    embedding = text.get(f"{embedding_name}.weight")
    numbers = {name: number for name in text if (number := _block_number(name, root)) >= 0}
    linears = tuple(sorted(_linears(text, family, root), key=_place))
    if head is not None or embedding is not None:
        linears += (_head(head_name, head or embedding, f"{head_name}.bias" in text),)
    return Layout(
        named,
        linears,
        embedding,
        text.get(f"{positions_name}.weight"),
        embedding_name or f"{root}.embed_tokens",
        positions_name,
        head,
        frozenset(numbers.values()),
        max(numbers, key=lambda name: numbers[name], default=""),
        any(_is_expert(name, tensor) for name, tensor in text.items()),
        any(_STATEFUL.search(name) for name in text),
        sum(tensor.elements for tensor in named.values()),
        "" if family.blocks else root,
        tuple(doubles),
    )


def without(layout: Layout, names: Iterable[str], family: Family) -> Layout:
    """The layout of the same model without some of its tensors, which are named as once loaded."""
    absent = frozenset(names)
    return read_layout((tensor for name, tensor in layout.tensors.items() if name not in absent), family)


def repeated(layout: Layout, family: Family, blocks: int) -> Layout:
    """The layout of a model with many blocks that are all like the single one of ``layout``; its tensors stay those."""
    prefix = f"{family.blocks}.0."
    block = sum(tensor.elements for name, tensor in layout.tensors.items() if name.startswith(prefix))
    one = [(linear.name[len(prefix) :], linear) for linear in layout.linears if linear.layer is not None]
    linears = [
        LinearFacts(
            f"{family.blocks}.{number}.{name}",
            number,
            first.role,
            first.in_features,
            first.out_features,
            first.bias,
            first.fused,
            first.conv1d,
        )
        for number in range(blocks)
        for name, first in one
    ]
    before = tuple(linear for linear in layout.linears if linear.layer is None and linear.role != "head")
    head = tuple(linear for linear in layout.linears if linear.role == "head")
    return replace(
        layout,
        linears=(*before, *linears, *head),
        blocks=frozenset(range(blocks)),
        parameters=layout.parameters + (blocks - 1) * block,
    )


def _matrix(tensor: Tensor | None) -> Tensor | None:
    return tensor if tensor is not None and len(tensor.shape) == 2 else None


def _guess_head(text: Mapping[str, Tensor], default: str) -> str:
    return next((name.removesuffix(".weight") for name in text if name.removesuffix(".weight") in HEADS), default)


def _is_buffer(tensor: Tensor) -> bool:
    """Masks and tables that older checkpoints carry; they are not trained and not counted."""
    mask = tensor.name.endswith(".bias") and len(tensor.shape) == 4
    return mask or tensor.dtype == "BOOL" or bool(_BUFFERS.search(tensor.name))


def _guess_root(tensors: Iterable[Tensor]) -> str:
    """Where the blocks lie in an unknown class: where most of the tensors that are not pictures' or sound's are."""
    found: Counter[str] = Counter()
    for tensor in tensors:
        match = _BLOCK.search(tensor.name)
        if match and not TOWERS.intersection(tensor.name.split(".")):
            found[tensor.name[: match.start()].rstrip(".")] += 1
    # A checkpoint of the bare model has no prefix; classes for text generation keep it under “model”.
    return (found.most_common(1)[0][0] or "model") if found else "model"


def _is_expert(name: str, tensor: Tensor) -> bool:
    return _EXPERTS in name.split(".") or (len(tensor.shape) == 3 and ("moe." in name or ".mlp." in name))


def _module_name(name: str, family: Family, root: str) -> str:
    """The name that the loaded class uses; empty for what it does not load.

    transformers adds or takes away the prefix of the inner model when it loads a checkpoint of the other kind
    (``core_model_loading.rename_source_key``), and moves the text part of older picture models.
    """
    parts = name.split(".")
    if NOT_LOADED.intersection(parts):
        return ""
    if not family.architecture:
        return f"{root}.{name}" if _BLOCK.match(name) or parts[0] in EMBEDDINGS else name
    if TOWERS.intersection(parts):
        return name if family.towers else ""
    inner = _WRAPPERS.union(root.split("."))
    while len(parts) > 1 and parts[0] in inner:
        parts = parts[1:]
    if parts[0] in HEADS and len(parts) == 2:
        return f"{family.head}.{parts[1]}"
    return f"{root}.{'.'.join(parts)}"


def _block_number(name: str, root: str) -> int:
    match = _BLOCK.match(name[len(root) + 1 :]) if name.startswith(f"{root}.") else None
    return int(match[1]) if match and len(match[1]) < 7 else -1


def _find(tensors: Mapping[str, Tensor], words: frozenset[str]) -> str:
    """The module outside the blocks whose name is one of ``words``; empty where there is none."""
    for name, tensor in tensors.items():
        parts = name.split(".")
        if (
            parts[-1] == "weight"
            and words.intersection(parts[-2:-1])
            and len(tensor.shape) == 2
            and not _BLOCK.search(name)
        ):
            return name.removesuffix(".weight")
    return ""


def _linears(text: Mapping[str, Tensor], family: Family, root: str) -> Iterable[LinearFacts]:
    for name, tensor in text.items():
        module, _, last = name.rpartition(".")
        number = _block_number(name, root)
        parts = tuple(module[len(root) + 1 :].split("."))
        if last != "weight" or len(tensor.shape) != 2 or _EXPERTS in parts or not module.startswith(f"{root}."):
            continue
        if any(_NOT_LINEAR.search(part) for part in parts):
            continue
        if number < 0 and not re.search(r"proj", parts[-1]):
            continue
        inputs, outputs = tensor.shape if family.conv1d else tensor.shape[::-1]
        yield LinearFacts(
            name=module,
            layer=number if number >= 0 else None,
            role=role_of(parts[2:] if number >= 0 else parts),
            in_features=inputs,
            out_features=outputs,
            bias=f"{module}.bias" in text,
            fused=FUSED.get(parts[-1], ()),
            conv1d=family.conv1d,
        )


def _place(linear: LinearFacts) -> tuple[int, int, int, str]:
    """Blocks in order, and inside each the order in which a token passes the layers."""
    layer = -1 if linear.layer is None else linear.layer
    order = _ORDER.index(linear.short_name) if linear.short_name in _ORDER else len(_ORDER)
    return layer, ("attention", "mlp", "other", "head").index(linear.role), order, linear.name


def _head(name: str, matrix: Tensor | None, bias: bool) -> LinearFacts:
    assert matrix is not None
    return LinearFacts(name, None, "head", matrix.shape[1], matrix.shape[0], bias)
