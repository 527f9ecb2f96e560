"""``lowrank export``: a run's result for other programs, checked afresh after it was written."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.errors import ExitCode, UserError, error

if TYPE_CHECKING:
    from core.export.result import ExportKind, ExportOptions

_KINDS = ("adapter", "merged", "gguf", "gguf_adapter", "ollama", "lm_studio", "hub")
"""`core.export.result.KINDS`, which is not imported only to show the help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", metavar="RUN", help="name or folder of a run with a result")
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        action="append",
        help="merged: one model that any program loads (default); adapter: the small difference to the base model; "
        "gguf: one file for llama.cpp and its kin; gguf_adapter: the difference alone, for llama.cpp; ollama: with a "
        "Modelfile; lm_studio: where LM Studio finds it; hub: uploaded to the Hugging Face Hub; several, one after "
        "another, if given several times",
    )
    parser.add_argument(
        "--to",
        metavar="PATH",
        help="where to write it: a folder that is empty or does not exist, a .gguf file or a folder for it, LM "
        "Studio's folder of models (exports/RUN/KIND if left out); with several kinds the folder above them",
    )
    parser.add_argument(
        "--precision",
        metavar="NAME",
        default="",
        help="of a GGUF file: f32, f16, bf16, q8_0 (usual), q5_1, q4_1, q4_0, and with a llama.cpp on this computer "
        "q6_k, q5_k_m, q4_k_m, q3_k_m, q2_k",
    )
    parser.add_argument("--repo", metavar="OWNER/NAME", default="", help="the repository on the hub")
    parser.add_argument("--public", action="store_true", help="a repository made on the hub can be seen by everybody")
    parser.add_argument(
        "--content", choices=("adapter", "merged"), default="adapter", help="what goes to the hub (adapter)"
    )
    parser.add_argument(
        "--with",
        dest="others",
        metavar="OTHER=WEIGHT",
        action="append",
        default=[],
        help="adds another run's adapter (or the one in a folder) of the same base, with this weight; may be repeated",
    )
    parser.add_argument("--weight", type=float, default=1.0, help="the weight of RUN's own adapter then (1)")
    parser.add_argument("--no-verify", action="store_true", help="do not load and ask the export afterwards")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Writes the result as one kind after another; what went wrong with one says so and ends it."""
    from core.cli.exporting import combined_source, export_result, require_plan
    from core.export.result import ExportOptions
    from core.runs.store import find_run

    folder = find_run(options.run)
    kinds: list[ExportKind] = list(dict.fromkeys(options.kind or ("merged",)))
    chosen = ExportOptions(options.precision, options.repo, not options.public, options.content)
    _require_fitting(options, kinds, chosen)
    places = {kind: _place(options.to, kind, alone=len(kinds) == 1) for kind in kinds}
    for kind in kinds:
        require_plan(folder, kind, places[kind], chosen)  # before the first of them is written
    done = []
    with combined_source(folder, options.weight, options.others, console) as source:
        for kind in kinds:
            verify = not options.no_verify
            done.append(export_result(folder, kind, places[kind], console, chosen, source=source, verify=verify))
            if done[-1].code is ExitCode.STOPPED:
                break
    code = next((item.code for item in done if item.code is not ExitCode.DONE), ExitCode.DONE)
    if len(kinds) == 1:
        console.result(done[0].record)
    else:
        console.result({"exports": [item.record for item in done], "exit_code": int(code)})
    return code


def _place(typed: str | None, kind: str, *, alone: bool) -> Path | None:
    if not typed:
        return None
    place = Path(typed).expanduser().absolute()
    return place if alone else place / kind


def _require_fitting(options: argparse.Namespace, kinds: list["ExportKind"], chosen: "ExportOptions") -> None:
    """Options that mean nothing for any of the kinds are mistakes, and are said so."""
    from core.export.result import PRECISE_KINDS

    problems = []
    if chosen.precision and not set(kinds) & set(PRECISE_KINDS):
        advice = "Leave it out, or export a kind that has one, such as gguf."
        problems.append(error("--precision", f"The kind “{kinds[0]}” has no precision to choose.", advice))
    for name, is_given in (
        ("--repo", bool(options.repo)),
        ("--public", options.public),
        ("--content", options.content != "adapter"),
    ):
        if is_given and "hub" not in kinds:
            problems.append(error(name, "That is about the hub, and nothing goes there.", "Add “--kind hub”."))
    if problems:
        raise UserError(*problems)
