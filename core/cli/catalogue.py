"""What ``lowrank models --catalogue`` prints: models that can be planned with before they are downloaded."""

from core.cli.console import Console
from core.errors import ExitCode
from core.facts.catalogue import Entry, entries
from core.facts.types import Facts, HardwareFacts, ModelFacts
from core.units import format_bytes, format_count

_LORA = ("none", "nf4")


def list_catalogue(text: str, console: Console) -> ExitCode:
    """Lists the models whose names hold every word of ``text``, each with the memory that tuning it takes here."""
    from core import paths
    from core.facts.hardware import read_hardware
    from core.spec.run_spec import RunSpec

    words = text.casefold().split()
    found = [entry for entry in entries() if all(word in _searched(entry) for word in words)]
    if not found:
        console.line(f"The catalogue has no model for “{text}”; “lowrank models --search” asks the Hugging Face Hub.")
        console.result({"models": []})
        return ExitCode.DONE
    spec, hardware = RunSpec(), read_hardware(paths.home())
    device = hardware.gpus[0].name if hardware.gpus else "the processor"
    console.paragraph(
        f"LoRA: memory of the smallest setting with rank {spec.adapter.rank} on all linear layers and rows of "
        f"{spec.data.max_length:,} tokens, with weights in 16 and in 4 bits, on {device}."
    )
    memory: dict[str, tuple[int, ...]] = {}
    records: list[dict[str, object]] = []
    width = max(len(entry.name) for entry in found)
    for entry in found:
        facts = entry.facts
        shape = f"{entry.title} {facts.parameters}"
        peaks = memory.get(shape) or _peaks(facts, hardware)
        memory[shape] = peaks
        sizes = " / ".join(format_bytes(peak) for peak in peaks)
        context = f"{entry.context:,} tokens" if entry.context else ""
        parts = [
            format_count(facts.parameters),
            context,
            entry.licence,
            "terms to accept" if entry.gated else "",
            f"LoRA {sizes}",
        ]
        console.paragraph(
            ", ".join(part for part in parts if part),
            " " * (width + 2),
            f"{console.bold(entry.name.ljust(width))}  ",
        )
        records.append(_record(entry, facts, peaks))
    console.result({"models": records})
    return ExitCode.DONE


def _searched(entry: Entry) -> str:
    return f"{entry.name} {entry.title} {entry.family} {entry.licence}".casefold()


def _peaks(facts: ModelFacts, hardware: HardwareFacts) -> tuple[int, ...]:
    """Peaks with every layer recomputed, in the order of `_LORA`."""
    from core.plan.choices import decide
    from core.spec.run_spec import RunSpec

    spec, known = RunSpec().replace("hardware.activation_checkpointing", "all"), Facts(hardware, facts)
    return tuple(decide(spec.replace("model.quantization", bits), known).memory.peak_bytes for bits in _LORA)


def _record(entry: Entry, facts: ModelFacts, peaks: tuple[int, ...]) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "family": entry.family,
        "parameters": facts.parameters,
        "context": entry.context,
        "licence": entry.licence,
        "gated": entry.gated,
        "template": entry.template,
        "bytes": facts.bytes_on_disk,
        "lora_16_bit_bytes": peaks[0],
        "lora_4_bit_bytes": peaks[1],
    }
