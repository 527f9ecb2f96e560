"""In which form the layers are to compute, with the reason; the run tries faster forms on its own rows before it does.

Memory and time are planned for plain layers. Other forms keep less and take less where they are worth anything, but by
how much only the run finds out.
"""

from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, warning
from core.plan.types import Choices, Chosen, Duration
from core.spec.run_spec import RunSpec
from core.units import format_duration

WORTH_SECONDS = 120.0
"""A run has to last so long for a trial, which takes some passes of it for each form that can be had."""
WORTH_COMPILING = 900.0
"""And so long for one of compiled layers: compiling takes up to some minutes."""
_NAMES = {"compiled": "compiled layers", "liger": "Liger's fused kernels"}


def kernels_of(spec: RunSpec, choices: Choices, duration: Duration | None) -> Chosen[str]:
    """The form: plain, compiled, liger, or measured where the run takes what is the fastest on trial."""
    asked, on_gpu = spec.hardware.kernels, choices.device.value != "cpu"
    obstacle = _obstacle(spec, choices)
    if asked == "plain":
        return Chosen("plain", "You chose plain layers.", by_user=True)
    if asked in _NAMES:
        if obstacle:
            return Chosen("plain", f"{obstacle}.")
        return Chosen(asked, f"You chose {_NAMES[asked]}; the run tries them on its first rows.", by_user=True)
    if not on_gpu:
        return Chosen("plain", "On a processor the engine fuses attention and adapters itself.")
    if obstacle:
        return Chosen("plain", f"{obstacle}.")
    if spec.hardware.deterministic:
        return Chosen("plain", "What is measured may come out otherwise next time, and this run is to repeat itself.")
    if duration is None:
        return Chosen("plain", "Plain until the time that the run takes is known.")
    lasts = format_duration(duration.seconds)
    if duration.seconds < WORTH_SECONDS:
        return Chosen("plain", f"The run takes about {lasts}; trying faster layers would cost more than it saves.")
    return Chosen("measured", f"The run takes about {lasts}, so it tries faster layers first and takes the fastest.")


def kernel_problems(spec: RunSpec, choices: Choices) -> Iterator[Problem]:
    """What was asked for and cannot be had."""
    asked = spec.hardware.kernels
    obstacle = _obstacle(spec, choices) if asked in _NAMES else ""
    if obstacle:
        yield warning(
            "hardware.kernels",
            f"{obstacle}, so {_NAMES[asked]} are not used and the layers stay plain.",
            "Let the form of the layers be chosen.",
            Fix("Choose the kernels automatically", (Edit("hardware.kernels", "auto"),)),
        )


def _obstacle(spec: RunSpec, choices: Choices) -> str:
    """Why layers can only be plain."""
    if choices.sharding.value == "base":
        return "The layers of a shared base model are whole only while they compute"
    if spec.hardware.kernels == "liger" and choices.device.value == "cpu":
        return "Liger's kernels run on a GPU only"
    return ""
