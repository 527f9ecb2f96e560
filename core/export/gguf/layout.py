"""Every tensor of a GGUF file before a byte of it is written: its name, its type, its size, and what it is made of."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.export.gguf.families import Family, Shape, extra_tensors
from core.export.gguf.precisions import Precision, tensor_type
from core.export.matching import Written

_LEFT_OUT = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Buffers that old files of some families hold and that every program computes."""
_HEADS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True, slots=True)
class Placed:
    """One tensor of the file.

    Attributes:
        name: GGUF's name.
        shape: its lengths, rows first, as the file has it.
        kind: ggml's type ("F32", "Q8_0").
        source: the merged model's tensor; None for one that is computed, see ``values``.
        heads: rows are regrouped for so many heads, see `core.export.gguf.families.Family.interleaved`; 0 for none.
        plus_one: one is added to every number.
        transposed: rows and columns change places.
        values: numbers of a computed tensor.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    source: Written | None = None
    heads: int = 0
    plus_one: bool = False
    transposed: bool = False
    values: tuple[float, ...] = ()

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Its size in the file, without padding."""
        import gguf

        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[self.kind]]
        return self.elements // int(block) * int(size)

    @property
    def is_as_stored(self) -> bool:
        """Whether its bytes are those of the base's file."""
        source = self.source
        if source is None or source.change is not None or self.heads or self.plus_one or self.transposed:
            return False
        return source.source.dtype == self.kind


def place_tensors(
    tensors: tuple[Written, ...],
    family: Family,
    config: Mapping[str, Any],
    precision: Precision,
    base: Path,
    *,
    tied: bool,
) -> tuple[Placed, ...]:
    """The tensors of the file, in the order of the model's files.

    Args:
        tensors: those of the merged model.
        family: what llama.cpp calls the model.
        config: its config.json.
        precision: what was asked for.
        base: the model's folder, for messages.
        tied: embeddings and head are one matrix, which is written once.

    Raises:
        UserError: a tensor has no place in llama.cpp's model.
    """
    shape = Shape(config)
    names = _names(family.arch, shape.layers)
    found: list[Placed] = []
    unknown: list[str] = []
    for tensor in tensors:
        if tensor.name.endswith(_LEFT_OUT) or (tied and tensor.name.endswith(_HEADS)):
            continue
        name = names.get_name(tensor.name, try_suffixes=(".weight", ".bias"))
        if name is None:
            unknown.append(tensor.name)
            continue
        found.append(_placed(name, tensor, family, shape, precision, tied=tied))
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        message = f"llama.cpp's “{family.arch}” has no place for {', '.join(unknown[:3])}{more}."
        advice = "Export the merged model and convert it with llama.cpp's own converter."
        raise UserError(error(str(base), message, advice))
    found += [Placed(name, (len(values),), "F32", values=tuple(values)) for name, values in extra_tensors(config)]
    return tuple(found)


@functools.cache  # made anew for each tensor that is read back, it would take longer than reading it
def _names(arch: str, layers: int) -> Any:
    import gguf

    architectures = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(architectures[arch], layers)


def _placed(name: str, tensor: Written, family: Family, shape: Shape, precision: Precision, *, tied: bool) -> Placed:
    transposed = tensor.name.endswith(family.transposed) if family.transposed else False
    lengths = tuple(reversed(tensor.shape)) if transposed else tensor.shape
    heads = 0
    if family.interleaved:
        part = tensor.name.rsplit(".", 2)[-2]
        heads = {"q_proj": shape.heads, "k_proj": shape.key_heads}.get(part, 0)
    is_head = name == "output.weight" or (tied and name == "token_embd.weight")
    plus_one = family.norms_plus_one and name.endswith("norm.weight")
    kind = tensor_type(name, lengths, precision, is_head=is_head)
    return Placed(name, lengths, kind, tensor, heads, plus_one, transposed)


def rows_of_embeddings(placed: tuple[Placed, ...], base: Path) -> int:
    """How many tokens the model has rows for.

    Raises:
        UserError: there are no embeddings.
    """
    for tensor in placed:
        if tensor.name == "token_embd.weight":
            return tensor.shape[0]
    raise UserError(error(str(base), "The model's files hold no token embeddings.", "Take the model's files anew."))


def total_bytes(placed: tuple[Placed, ...], alignment: int = 32) -> int:
    """What all tensors take in the file."""
    return sum(-(-tensor.bytes // alignment) * alignment for tensor in placed)


def parameters(placed: tuple[Placed, ...]) -> int:
    """How many numbers the model has."""
    return sum(tensor.elements for tensor in placed)
