"""``lowrank models``: the base models on this computer, and how to get one."""

import argparse
from dataclasses import replace
from pathlib import Path

from core.cli.catalogue import list_catalogue
from core.cli.console import Console
from core.cli.hub import download_from_hub, search_hub
from core.errors import ExitCode, UserError, error
from core.facts.types import ModelFacts
from core.runs.importing import ImportDtype
from core.units import format_bytes, format_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="show this model: a name, a folder or a GGUF file")
    parser.add_argument("--fetch", choices=("starter",), help="fetch the starter model (SmolLM2-135M-Instruct)")
    parser.add_argument(
        "--import", dest="source", metavar="FILE.gguf", help="turn a GGUF file into a model that can be trained"
    )
    parser.add_argument(
        "--catalogue",
        nargs="?",
        const="",
        metavar="TEXT",
        help="list common models that can be planned with before they are downloaded, all or those with TEXT",
    )
    parser.add_argument("--search", metavar="TEXT", help="search the Hugging Face Hub for models that can be trained")
    parser.add_argument(
        "--download", metavar="ID", help="download this model of the Hub (owner/model) into the Hugging Face cache"
    )
    parser.add_argument("--revision", help="the branch, tag or commit to download; the newest if left out")
    parser.add_argument("--name", help="what the imported model is called; its file's name if left out")
    parser.add_argument(
        "--dtype", choices=("bf16", "fp16", "fp32"), default="bf16", help="number format of the imported weights"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Lists the models, shows one, or gets one."""
    ways = ("model", "fetch", "source", "catalogue", "search", "download")
    if sum(getattr(options, name) is not None for name in ways) > 1:
        advice = "Name one of MODEL, --fetch, --import, --catalogue, --search and --download."
        raise UserError(error("", "Several things are asked for at once.", advice))
    if options.name and not options.source:
        raise UserError(error("--name", "There is nothing to give this name to.", "Use it together with --import."))
    if options.revision and not options.download:
        raise UserError(error("--revision", "There is nothing to take it of.", "Use it together with --download."))
    if options.catalogue is not None:
        return list_catalogue(options.catalogue, console)
    if options.search is not None:
        return search_hub(options.search, console)
    if options.download is not None:
        return download_from_hub(options.download, options.revision or "", console)
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
        console.line("“lowrank models --catalogue” lists common ones that can be planned with before a download.")
    console.result({"models": records})
    return ExitCode.DONE


def _show(name: str, console: Console) -> ExitCode:
    from core.facts.base_model import read_base_model
    from core.records import to_plain

    facts = read_base_model(name)
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
    size = f"{format_bytes(facts.bytes_on_disk)} {'on disk' if facts.here else 'to download'}"
    rows = [
        ("Folder", facts.path if facts.here else f"not on this computer; “lowrank models --download {facts.path}”"),
        ("Architecture", f"{facts.architecture} ({facts.family})"),
        ("Parameters", f"{facts.parameters:,} in {facts.dtype}, {size}"),
        ("Layers", f"{facts.num_layers} layers, hidden size {facts.hidden_size:,}, {heads}"),
        ("Vocabulary", f"{facts.vocab_size:,} tokens{', shared by input and output' * facts.tied_embeddings}"),
        ("Context", f"{facts.context_length:,} tokens" if facts.context_length else "no limit stated"),
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
    for sentence in facts.notes:
        console.paragraph(f"Note: {sentence}", "  ", "")
    for sentence in facts.assumptions:
        console.paragraph(f"Assumed: {sentence}", "  ", "")


def _import(source: Path, name: str, dtype: ImportDtype, console: Console) -> ExitCode:
    from core.cli.jobs import run_job
    from core.paths import models_dir
    from core.runs.importing import plan_import

    try:
        plan = plan_import(source, name, dtype)
    except UserError as failure:
        options = {"source": "--import", "name": "--name"}
        named = (replace(problem, path=options.get(problem.path, problem.path)) for problem in failure.problems)
        raise UserError(*named, exit_code=failure.exit_code) from failure
    models_dir().mkdir(parents=True, exist_ok=True)
    finished = run_job("import_gguf", plan.arguments, console)
    if finished.outcome.kind == "completed":
        console.line(f"Imported “{plan.name}” into {plan.target}; use it with “--set model.base={plan.name}”.")
    console.result({"name": plan.name, "path": str(plan.target), "exit_code": int(finished.outcome.exit_code)})
    return finished.outcome.exit_code
