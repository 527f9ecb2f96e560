"""What is simulated: a model, a setting of everything that moves memory, and the documents of each pass of a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.types import Encoded
from core.facts.types import DeviceKind
from core.spec.sections import AdapterSpec


@dataclass(frozen=True, slots=True)
class Case:
    """One setting.

    Attributes:
        model: a name from `tests.simulator.models.CONFIGS`, or a transformers config as a dict with its model_type.
        quantization: "none", "nf4" or "int8".
        compute_dtype: "bf16", "fp16" or "fp32".
        optimizer: a kind of `core.engine.optimizer.make_optimizer`.
        attention: "flash", "sdpa" or "eager".
        checkpointed: how many layers, from the first on, are recomputed.
        passes: lengths of the documents of each pass of the step.
        supervised: share of each document, at its end, that carries loss.
        layers: another number of layers than the model's own; None leaves it.
        ampere: the GPU is of that generation or newer, so flash attention runs in 16 bits.
    """

    model: str | Mapping[str, Any] = "llama-3-8b"
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    quantization: str = "none"
    double_quant: bool = True
    compute_dtype: str = "bf16"
    optimizer: str = "adamw"
    attention: str = "flash"
    checkpointed: int = 0
    passes: tuple[tuple[int, ...], ...] = ((1024,),)
    supervised: float = 1.0
    kind: DeviceKind = "cuda"
    layers: int | None = None
    ampere: bool = True

    def rows(self) -> tuple[tuple[Encoded, ...], ...]:
        """The documents of each pass as rows whose content does not matter."""
        return tuple(tuple(self._row(length) for length in lengths) for lengths in self.passes)

    def kept(self, lengths: tuple[int, ...]) -> int:
        """Positions of a pass that carry loss."""
        return sum(min(length - 1, max(1, round(length * self.supervised))) for length in lengths)

    def _row(self, length: int) -> Encoded:
        trained = self.kept((length,))
        return Encoded((5,) * length, (False,) * (length - trained) + (True,) * trained)

    def with_layers(self, layers: int) -> "Case":
        """The same at another depth."""
        return replace(self, layers=layers, checkpointed=min(self.checkpointed, layers))
