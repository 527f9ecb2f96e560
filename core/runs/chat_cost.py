"""What loading a model for answers takes, and what is free for it."""

from dataclasses import dataclass

from core.facts.hardware import read_hardware
from core.facts.model_files import read_model
from core.facts.types import Facts
from core.paths import home
from core.plan.planner import plan
from core.runs.layout import RunFolder
from core.runs.targets import ChatTarget, base_of_run, tuned_of_run
from core.spec.run_spec import RunSpec

_LOADED_PARTS = frozenset(("weights", "context"))
"""The memory of a plan that a loaded model takes as well: its weights, and the program around them."""


@dataclass(frozen=True, slots=True)
class LoadingCost:
    """What loading ``target`` takes, 0 where that is unknown, and what of the device's memory is free now, in bytes."""

    bytes: int
    free_bytes: int
    target: ChatTarget

    @property
    def fits(self) -> bool:
        """Whether there is as much as it takes."""
        return self.bytes <= self.free_bytes


def loading_cost(target: ChatTarget) -> LoadingCost:
    """Weights in the format in which they are loaded and the program around them, as the planner counts them.

    Raises:
        UserError: the model's files cannot be read.
    """
    hardware = read_hardware(home())
    spec = (
        RunSpec()
        .replace("model.base", str(target.model))
        .replace("model.quantization", target.quantization)
        .replace("model.double_quant", target.double_quant)
        .replace("model.compute_dtype", target.compute_dtype)
        .replace("data.max_length", 128)
        .replace("hardware.device", "cuda" if target.device.startswith("cuda") else "cpu")
    )
    memory = plan(spec, Facts(hardware, read_model(target.model))).memory
    taken = sum(part.bytes for part in memory.parts if part.name in _LOADED_PARTS) if memory is not None else 0
    if not target.device.startswith("cuda"):
        return LoadingCost(taken, hardware.ram_free_bytes, target)
    index = int(target.device.partition(":")[2] or 0)
    free = next((gpu.free_bytes for gpu in hardware.gpus if gpu.index == index), 0)
    return LoadingCost(taken, free, target)


def evaluation_cost(folder: RunFolder) -> LoadingCost:
    """What an evaluation of a run loads at most at a time: base and tuned model are one where there is an adapter.

    Raises:
        UserError: the run has no result, or its files cannot be read.
    """
    tuned = tuned_of_run(folder)
    targets = (tuned,) if tuned.adapter is not None else (base_of_run(folder), tuned)
    return max(map(loading_cost, targets), key=lambda cost: cost.bytes)
