"""What ``lowrank bench inference`` measured: answers before and after merging, in 16 and in 4 bits."""

from dataclasses import dataclass
from typing import Literal

State = Literal["base", "apart", "merged"]
"""The model as it is; with the adapter beside its weights; with the adapter merged into them."""
TITLES: dict[State, str] = {"base": "base alone", "apart": "adapter apart", "merged": "merged"}


@dataclass(frozen=True, slots=True)
class InferenceCell:
    """One model in one format, measured in a process of its own.

    Attributes:
        weights: how they are held: "bf16", "fp16", "fp32" or "nf4".
        prompt: tokens read.
        generated: tokens written.
        prefill: tokens read a second, the first new token included; the median of the repetitions.
        generation: tokens written a second, from the first to the last; the median.
        weight_bytes: of all parameters and buffers.
        loaded_bytes: taken on the device when the model was ready.
        peak_bytes: the most that answering took, the weights included.
    """

    state: State
    weights: str
    prompt: int
    generated: int
    prefill: float
    generation: float
    weight_bytes: int
    loaded_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class InferenceBench:
    """All cells of a model on a device."""

    model: str
    device: str
    threads: int
    time: float
    cells: tuple[InferenceCell, ...] = ()
