"""What ``lowrank models --catalogue`` prints: models that can be planned with before they are downloaded."""

from core.cli.console import Console
from core.errors import ExitCode
from core.facts.catalogue import Entry, entries
from core.facts.types import Facts, HardwareFacts, ModelFacts
from core.units import GIB, format_count

_LORA = ("none", "nf4")
_FREE = ("apache-2.0", "mit")


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
    memory: dict[str, tuple[int, ...]] = {}
    rows: list[tuple[Entry, ModelFacts, tuple[int, ...]]] = []
    for entry in found:
        facts = entry.facts
        shape = f"{entry.title} {facts.parameters}"
        if shape not in memory:
            memory[shape] = _peaks(facts, hardware)
        rows.append((entry, facts, memory[shape]))
    console.paragraph(
        f"GiB that LoRA takes at least on {device}: rank {spec.adapter.rank} on all linear layers, rows of "
        f"{spec.data.max_length:,} tokens, every layer recomputed, base weights in 16 or in 4 bits."
    )
    console.line()
    _print_rows(rows, console)
    console.result({"models": [_record(*row) for row in rows]})
    return ExitCode.DONE


def _print_rows(rows: list[tuple[Entry, ModelFacts, tuple[int, ...]]], console: Console) -> None:
    """A line for each model; the licence follows in it where there is room, else below it unless it is a free one."""
    width = max(len("Model"), *(len(entry.name) for entry, _, _ in rows))
    head = f"{'Model':<{width}}  {'Size':>6}  {'Tokens':>9}  {'16-bit':>6}  {'4-bit':>5}"
    wide = len(head) + 2 + max(len(_terms(entry)) for entry, _, _ in rows) <= console.width
    console.line(console.bold(head + "  Licence" * wide))
    for entry, facts, (plain, packed) in rows:
        context = f"{entry.context:,}" if entry.context else "any"
        line = (
            f"{entry.name:<{width}}  {format_count(facts.parameters):>6}  {context:>9}  "
            f"{plain / GIB:6.1f}  {packed / GIB:5.1f}"
        )
        console.line(f"{line}  {_terms(entry)}" if wide else line)
        if not wide and _terms(entry) not in _FREE:
            console.line(console.dim(f"  {_terms(entry)}"))
    if not wide:
        console.line()
        console.paragraph("The licence is apache-2.0 or mit where the next line names no other one.")


def _terms(entry: Entry) -> str:
    return f"{entry.licence}, terms to accept" if entry.gated else entry.licence


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
