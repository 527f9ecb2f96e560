"""Whom to talk to: a run's result or a model as it lies, and what loading it will cost."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.events.types import Variant
from core.runs.chat import ChatSampling
from core.runs.layout import RunFolder
from core.runs.targets import ChatTarget

Mode = Literal["base", "tuned", "both"]
BOTH: tuple[Variant, ...] = ("base", "tuned")
_LOADED_PARTS = frozenset(("weights", "context"))
"""The memory of a plan that a loaded model takes as well: its weights, and the program around them."""


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """A run or a model, by its folder."""

    kind: Literal["run", "model"]
    path: Path

    @property
    def name(self) -> str:
        """What to call it while nothing better is known."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class ChatCost:
    """What loading a choice takes, in bytes; 0 where that is unknown.

    Attributes:
        device: "cuda:0" or "cpu".
        free_bytes: what of the device's memory is free now.
        variants: who can be asked then.
        prompts: questions that belong to it, to begin with.
    """

    bytes: int
    free_bytes: int
    device: str
    variants: tuple[Variant, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SamplingChoice:
    """How answers are made, as the user sets it. Without `fixed_seed` each question gets a seed of its own."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_new_tokens: int = 512
    fixed_seed: bool = False
    seed: int = 42

    def sampling(self, seed: int) -> ChatSampling:
        """The same for the engine."""
        return ChatSampling(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, seed=seed
        )


def find_target(choice: ChatChoice) -> ChatTarget:
    """The choice as an engine takes it; reads files.

    Raises:
        UserError: it is not there or cannot be loaded here.
    """
    from core.runs.targets import target_of_model, tuned_of_run

    return tuned_of_run(RunFolder(choice.path)) if choice.kind == "run" else target_of_model(str(choice.path))


def read_cost(choice: ChatChoice) -> ChatCost:
    """What loading the choice will take; reads files and asks the device.

    Raises:
        UserError: it cannot be loaded.
    """
    from core.facts.hardware import read_hardware
    from core.paths import home

    target = find_target(choice)
    hardware = read_hardware(home())
    if target.device.startswith("cuda"):
        index = int(target.device.partition(":")[2] or 0)
        free = next((gpu.free_bytes for gpu in hardware.gpus if gpu.index == index), 0)
    else:
        free = hardware.ram_free_bytes
    return ChatCost(_bytes(choice, target), free, target.device, target.variants, target.prompts)


def _bytes(choice: ChatChoice, target: ChatTarget) -> int:
    """The weights in the format in which they are loaded, and the program around them, as the planner counts them."""
    from core.facts.hardware import read_hardware
    from core.facts.model_files import read_model
    from core.facts.types import Facts
    from core.paths import home
    from core.plan.planner import plan
    from core.runs.store import load_plan
    from core.spec.run_spec import RunSpec

    if choice.kind == "run":
        memory = load_plan(RunFolder(choice.path)).memory
    else:
        spec = RunSpec().replace("model.base", str(target.model)).replace("data.max_length", 128)
        memory = plan(spec, Facts(read_hardware(home()), read_model(target.model))).memory
    return sum(part.bytes for part in memory.parts if part.name in _LOADED_PARTS) if memory is not None else 0
