"""``lowrank models``: the base models on this computer, and how to get one."""

import argparse
import re
from pathlib import Path

from core.cli.console import Console
from core.errors import ExitCode, UserError, error
from core.facts.types import ModelFacts
from core.units import format_bytes, format_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="show this model: a name, a folder or a GGUF file")
    parser.add_argument("--fetch", choices=("starter",), help="fetch the starter model (SmolLM2-135M-Instruct)")
    parser.add_argument(
        "--import", dest="source", metavar="FILE.gguf", help="turn a GGUF file into a model that can be trained"
    )
    parser.add_argument("--name", help="what the imported model is called; its file's name if left out")
    parser.add_argument(
        "--dtype", choices=("bf16", "fp16", "fp32"), default="bf16", help="number format of the imported weights"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Lists the models, shows one, or gets one."""
    asked = [name for name in ("model", "fetch", "source") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(error("", "Several things are asked for at once.", "Name one of MODEL, --fetch and --import."))
    if options.name and not options.source:
        raise UserError(error("--name", "There is nothing to give this name to.", "Use it together with --import."))
    if options.fetch:
        return _fetch(console)
    if options.source:
        return _import(Path(options.source).expanduser(), options.name or "", options.dtype, console)
    return _show(options.model, console) if options.model else _list(console)


def fetch_starter(console: Console) -> Path:
    """The starter model's folder, fetched first if need be, with a progress line."""
    from core.cli.progress import bar
    from core.runs.starter import ensure_starter

    try:
        return ensure_starter(lambda words, part: console.progress(f"{bar(part)} {part:4.0%}  {words}"))
    finally:
        console.end_progress()


def _fetch(console: Console) -> ExitCode:
    folder = fetch_starter(console)
    console.line(f"The starter model is in {folder}; use it with “--set model.base=starter”.")
    console.result({"name": "starter", "path": str(folder)})
    return ExitCode.DONE


def _list(console: Console) -> ExitCode:
    from core.facts.locate import list_models
    from core.facts.model_files import read_model

    records: list[dict[str, object]] = []
    installed = list_models()
    width = max((len(model.name) for model in installed), default=0)
    for model in installed:
        record: dict[str, object] = {"name": model.name, "path": str(model.path), "origin": model.origin}
        try:
            facts = read_model(model.path)
            record |= {"parameters": facts.parameters, "bytes": facts.bytes_on_disk, "family": facts.family}
            size = f"{format_count(facts.parameters)} parameters, {format_bytes(facts.bytes_on_disk)}"
            words = f"{size}, {facts.family}, {model.origin}"
        except UserError as failure:
            words = f"cannot be used: {failure.problems[0].message}"
            record["problem"] = str(failure)
        records.append(record)
        console.paragraph(words, " " * (width + 2), f"{console.bold(model.name.ljust(width))}  ")
    if not installed:
        console.line("There are no models yet. “lowrank models --fetch starter” fetches a small one to begin with.")
    console.result({"models": records})
    return ExitCode.DONE


def _show(name: str, console: Console) -> ExitCode:
    from core.facts.locate import find_model
    from core.facts.model_files import read_model
    from core.records import to_plain

    facts = read_model(find_model(name))
    _print_facts(facts, console)
    console.result(to_plain(facts))
    return ExitCode.DONE


def _print_facts(facts: ModelFacts, console: Console) -> None:
    heads = f"{facts.num_heads} heads of {facts.head_dim}"
    if facts.num_kv_heads != facts.num_heads:
        heads += f", {facts.num_kv_heads} for keys and values"
    modules: dict[str, list[tuple[int, int]]] = {}
    for linear in facts.linears:
        modules.setdefault(linear.short_name, []).append((linear.in_features, linear.out_features))
    rows = [
        ("Folder", facts.path),
        ("Architecture", f"{facts.architecture} ({facts.family})"),
        ("Parameters", f"{facts.parameters:,} in {facts.dtype}, {format_bytes(facts.bytes_on_disk)} on disk"),
        ("Layers", f"{facts.num_layers} layers, hidden size {facts.hidden_size:,}, {heads}"),
        ("Vocabulary", f"{facts.vocab_size:,} tokens{', shared by input and output' * facts.tied_embeddings}"),
        ("Context", f"{facts.context_length:,} tokens"),
        ("Template", facts.template_origin or "none"),
        ("Licence", facts.licence or "not stated"),
    ]
    if facts.prequantized:
        rows.append(("Quantized", facts.prequantized))
    if facts.remote_code:
        rows.append(("Own code", "this model wants its own Python files to run (model.trust_remote_code)"))
    for label, text in rows:
        console.line(f"{console.bold(label.ljust(13))} {text}")
    console.line(console.bold("Linear layers"))
    for name, shapes in modules.items():
        sizes = ", ".join(f"{inner:,} → {outer:,}" for inner, outer in dict.fromkeys(shapes))
        console.line(f"  {name:<16} {len(shapes):>4} × {sizes}")
    for sentence in facts.assumptions:
        console.paragraph(f"Assumed: {sentence}", "  ", "")


def _import(source: Path, name: str, dtype: str, console: Console) -> ExitCode:
    from core.cli.jobs import run_job
    from core.facts.model_files import read_model
    from core.paths import models_dir

    if not source.is_file():
        raise UserError(error("--import", f"There is no file {source.absolute()}.", "Check the path."))
    if source.suffix.lower() != ".gguf":
        message = f"{source.name} is not a GGUF file."
        raise UserError(error("--import", message, "A folder with safetensors files needs no import: use its path."))
    name = name or source.stem
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        advice = "Use letters, digits, “.”, “_”, “+” and “-”, beginning with a letter or digit."
        raise UserError(error("--name", f"“{name}” cannot be the name of a model.", advice))
    target = models_dir() / name
    if target.exists():
        raise UserError(error("--name", f"There is already a model “{name}” in {target}.", "Choose another --name."))
    facts = read_model(source)
    _require_space(target, facts.parameters * (4 if dtype == "fp32" else 2))
    models_dir().mkdir(parents=True, exist_ok=True)
    arguments = {
        "source": str(source.absolute()),
        "target": str(target),
        "name": name,
        "dtype": dtype,
        "licence": facts.licence,
    }
    finished = run_job("import_gguf", arguments, console)
    if finished.outcome.kind == "completed":
        console.line(f"Imported “{name}” into {target}; use it with “--set model.base={name}”.")
    console.result({"name": name, "path": str(target), "exit_code": int(finished.outcome.exit_code)})
    return finished.outcome.exit_code


def _require_space(target: Path, needed: int) -> None:
    import shutil

    from core.paths import existing_parent

    free = shutil.disk_usage(existing_parent(target)).free
    if needed > free:
        message = (
            f"The imported model takes {format_bytes(needed)}, and {format_bytes(free)} are free at {target.parent}."
        )
        advice = "Free some space, or put the data folder on another disk with the variable LOWRANK_HOME."
        raise UserError(error(str(target), message, advice), exit_code=ExitCode.DOES_NOT_FIT)
