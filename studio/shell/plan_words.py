"""A plan in the panel's words."""

from core.plan.types import Memory, Plan
from core.units import format_bytes
from studio.widgets.memory_bar import Part
from studio.widgets.verdicts import verdict_word
from studio.words import say, tr, tr_count


def verdict_words(plan: Plan | None) -> tuple[str, str, str]:
    """The verdict of a plan: a short word, a sentence with numbers, and the name of the verdict."""
    memory = plan.memory if plan is not None else None
    if memory is None:
        return tr("Not planned yet"), tr("Choose a base model to see what a run needs."), "unknown"
    numbers = tr(
        "about {peak} of {limit}", peak=format_bytes(memory.peak_bytes), limit=format_bytes(memory.limit_bytes)
    )
    return verdict_word(memory.verdict), numbers, memory.verdict


def memory_parts(memory: Memory) -> list[Part]:
    """The memory bar's parts, with titles and details in the user's language."""
    return [
        Part(part.name, say(part.title), part.bytes, say(part.detail) if part.detail else "")
        for part in memory.parts
        if part.bytes > 0
    ]


def band_words(memory: Memory) -> str:
    """Between which sizes the peak will lie, and what of the device is free."""
    return tr(
        "Between {low} and {high}; {free} are free now",
        low=format_bytes(memory.low_bytes),
        high=format_bytes(memory.high_bytes),
        free=format_bytes(memory.free_bytes),
    )


def short_band(memory: Memory) -> str:
    """The band on one line, its unit said once where both ends have the same."""
    low, high = format_bytes(memory.low_bytes), format_bytes(memory.high_bytes)
    number, _, unit = low.rpartition(" ")
    return tr("{low} to {high}", low=number if high.endswith(f" {unit}") else low, high=high)


def evidence_words(memory: Memory) -> str:
    """What the band rests on."""
    if memory.measured_runs:
        return tr_count(
            memory.measured_runs,
            "The band rests on one earlier run on this device.",
            "The band rests on {n} earlier runs on this device.",
        )
    return tr("Nothing has been measured on this device yet; the first run will narrow the band.")


def moment_words(memory: Memory) -> str:
    """When the peak is reached; empty while that is not known."""
    return {
        "step": tr("The peak is reached in a training step."),
        "evaluation": tr("The peak is reached while the validation loss is measured."),
        "sampling": tr("The peak is reached while a sample is written."),
        "loading": tr("The peak is reached while the base model is loaded."),
    }.get(memory.moment, "")


def shown_title(memory: Memory) -> str:
    """What the second number is called: what other programs will say of the process."""
    return tr("Shown by nvidia-smi") if memory.device.startswith("cuda") else tr("Shown by the system")


def shown_tip(memory: Memory) -> str:
    """Why the second number is larger."""
    if memory.device.startswith("cuda"):
        return tr(
            "Device context and the allocator's cache included. The cache is given back before memory runs out, so "
            "this number may exceed what must fit."
        )
    return tr("The engine's process with all its libraries, as a task manager shows it at its peak.")
