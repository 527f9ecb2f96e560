"""What the order of a layer's allocations depends on, and nothing else: the key under which it is remembered."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Structure:
    """One kind of layer in one setting.

    Attributes:
        block: the family's block, see `core.plan.memory.blocks.families`.
        adapted: names of the linear layers that have adapters.
        learned: names of linear layers that are trained in full.
        biased: names of linear layers that have a bias.
        attention, mlp: names of the linear layers by role, for a family that has no block of its own.
        full: every weight learns.
        number: the compute format, "bf16", "fp16" or "fp32".
        kernel: "varlen", "flash", "efficient" (which wants as many key heads as query heads), "processor" (flash on a
            CPU), "eager" or "capped" (written out, the latter with Gemma 2's cap on scores).
        before, after: documents with calls of their own before and after the longest one's.
        learns_input: the layer's input wants a gradient.
        grouped: fewer key heads than query heads.
        residual_dropout: the model drops some of what each layer adds.
        fused: a layer and its adapter are one operation where they can be.
        fused_norms: norms are one node (`core.engine.kernels.rms_norm`).
    """

    block: str
    adapted: frozenset[str] = frozenset()
    learned: frozenset[str] = frozenset()
    biased: frozenset[str] = frozenset()
    attention: tuple[str, ...] = ()
    mlp: tuple[str, ...] = ()
    full: bool = False
    dropout: bool = False
    dora: bool = False
    quantization: str = "none"
    number: str = "bf16"
    kernel: str = "varlen"
    before: bool = False
    after: bool = False
    learns_input: bool = True
    grouped: bool = False
    residual_dropout: bool = False
    fused: bool = False
    fused_norms: bool = False

    @property
    def keeps_scores(self) -> bool:
        """Attention keeps the weights of each document's first block (`core.engine.kernels.block_attention`)."""
        return self.kernel == "processor" and self.number == "bf16"

    @property
    def size(self) -> int:
        """Bytes of the compute format."""
        return 4 if self.number == "fp32" else 2
