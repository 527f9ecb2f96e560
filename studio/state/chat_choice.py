"""Whom to talk to: a run's result or saved state, an adapter, or a model as it lies; and what loading it will cost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.runs.chat import ChatSampling
from core.runs.layout import RunFolder
from core.runs.targets import ChatTarget

if TYPE_CHECKING:
    from core.runs.chat_cost import LoadingCost


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """Somebody to talk to, by a folder.

    Attributes:
        kind: a run, or a model or adapter as it lies there.
        step: of a run, the saved state that is meant; 0 for its result.
    """

    kind: Literal["run", "model"]
    path: Path
    step: int = 0

    @property
    def name(self) -> str:
        """What to call it while nothing better is known."""
        return f"{self.path.name}@{self.step}" if self.step else self.path.name


@dataclass(frozen=True, slots=True)
class SamplingChoice:
    """How answers are made, as the user sets it. Without `fixed_seed` each question gets a seed of its own."""

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 512
    fixed_seed: bool = False
    seed: int = 42

    def sampling(self, seed: int) -> ChatSampling:
        """The same for the engine."""
        return ChatSampling(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            seed=seed,
        )


def find_target(choice: ChatChoice) -> ChatTarget:
    """The choice as an engine takes it; reads files.

    Raises:
        UserError: it is not there or cannot be loaded here.
    """
    from core.export.chat_targets import find_target as find_named
    from core.runs.targets import state_of_run, tuned_of_run

    if choice.kind == "model":
        return find_named(str(choice.path))
    folder = RunFolder(choice.path)
    return state_of_run(folder, choice.step) if choice.step else tuned_of_run(folder)


def read_cost(choice: ChatChoice) -> "LoadingCost":
    """What loading the choice will take; reads files and asks the device.

    Raises:
        UserError: it cannot be loaded.
    """
    from core.runs.chat_cost import loading_cost

    return loading_cost(find_target(choice))
