"""The number formats of GGUF files: which there are, what they take, and who can write them."""

from dataclasses import dataclass

from core.errors import UserError, error

BLOCK_LENGTH = 32
"""Weights that share a scale in all quantized formats that are written here."""
K_BLOCK_LENGTH = 256
"""Weights of a block of the K-quants."""


@dataclass(frozen=True, slots=True)
class Precision:
    """One number format.

    Attributes:
        name: as it is asked for.
        title: as llama.cpp's users call it.
        words: what it is good for.
        bits: bits a weight, for an estimate.
        file_type: its number in ``general.file_type`` (llama.h, ``llama_ftype``).
        needs_llama: only llama.cpp itself can write it (K-quants: blocks of 256 with scales of their own).
    """

    name: str
    title: str
    words: str
    bits: float
    file_type: int
    needs_llama: bool = False


ALL = (
    Precision("f32", "F32", "Exact, and twice as large as needed.", 32, 0),
    Precision("f16", "F16", "As good as the original on nearly every model.", 16, 1),
    Precision("bf16", "BF16", "The original bits of most models; slow on older processors.", 16, 32),
    Precision("q8_0", "Q8_0", "Half the size, hardly any loss.", 8.5, 7),
    Precision("q6_k", "Q6_K", "Small loss.", 6.5625, 18, needs_llama=True),
    Precision("q5_k_m", "Q5_K_M", "Small loss, a third of the size.", 5.7, 17, needs_llama=True),
    Precision("q5_1", "Q5_1", "Small loss, in the older format.", 6, 9),
    Precision(
        "q4_k_m", "Q4_K_M", "What most people run: a quarter of the size, some loss.", 4.85, 15, needs_llama=True
    ),
    Precision("q4_1", "Q4_1", "Some loss, in the older format.", 5, 3),
    Precision("q4_0", "Q4_0", "More loss; fast on phones.", 4.5, 2),
    Precision("q3_k_m", "Q3_K_M", "Much loss, for want of memory.", 3.9, 12, needs_llama=True),
    Precision("q2_k", "Q2_K", "Heavy loss, for want of memory.", 3.0, 10, needs_llama=True),
)
OLDER = ("q5_1", "q4_1", "q4_0")
"""Those that are written here, but not by llama.cpp's converter."""
PRECISIONS = tuple(item.name for item in ALL)
_BY_NAME = {item.name: item for item in ALL}


def find_precision(name: str) -> Precision:
    """The format that is called so, in upper or lower case.

    Raises:
        UserError: there is none.
    """
    found = _BY_NAME.get(name.lower())
    if found is None:
        known = ", ".join(PRECISIONS)
        raise UserError(error("precision", f"There is no GGUF precision “{name}”.", f"Choose one of {known}."))
    return found


def tensor_type(name: str, shape: tuple[int, ...], precision: Precision, *, is_head: bool) -> str:
    """In which of ggml's types a tensor is written ("F32", "Q8_0"), as llama.cpp's converter decides it.

    Args:
        name: GGUF's name of the tensor.
        shape: its lengths, rows first.
        precision: what was asked for.
        is_head: it makes the logits: the head, or the embeddings of a model that uses them twice. Below 8 bits it
            keeps 8, because errors there hurt every token.
    """
    if (
        len(shape) < 2
        or not name.endswith(".weight")
        or name.endswith("_norm.weight")
        or name == "position_embd.weight"
    ):
        return "F32"
    kind = precision.title if not precision.needs_llama else "F16"
    if is_head and kind in ("Q4_0", "Q4_1", "Q5_1"):
        kind = "Q8_0"
    return "F16" if kind.startswith("Q") and shape[-1] % BLOCK_LENGTH else kind
