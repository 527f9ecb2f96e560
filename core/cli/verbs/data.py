"""``lowrank data``: says what is in data files and what is wrong with it, before anything is trained."""

import argparse
from dataclasses import replace
from pathlib import Path

from core.cli.console import Console
from core.cli.spec_options import add_assignments
from core.errors import ExitCode, Problem, UserError, error
from core.facts.types import ModelFacts
from core.spec.hub_data import is_hub_data
from core.spec.run_spec import RunSpec

STARTER = "starter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="data files, folders, or data sets of the hub")
    parser.add_argument("--model", metavar="MODEL", help=f"whose tokenizer and template are used (“{STARTER}”)")
    parser.add_argument("--spec", metavar="SPEC", help="take the files and all else from a settings file")
    parser.add_argument("--validation", action="append", default=[], metavar="FILE", help="rows that are only measured")
    newest = "ask the hub for a newer commit of data sets that are named without one"
    parser.add_argument("--newest", action="store_true", help=newest)
    add_assignments(parser, "data.max_length=512")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints the shape of the rows, the first one as tokens, and the report."""
    from core.cli.data_report import first_sample, print_report, print_sample
    from core.cli.hub import fetch_hub_data
    from core.data.hub_files import pin_hub_data
    from core.data.report.making import make_report
    from core.records import to_plain
    from core.spec.codec import to_mapping

    spec = _spec(options)
    model = _model(spec)
    if any(is_hub_data(name) for name in (*spec.data.train, *spec.data.validation)):
        fetch_hub_data(spec.data, console, newest=options.newest)
        spec = replace(spec, data=pin_hub_data(spec.data))
    sample = first_sample(spec.data, model)
    print_sample(console, spec.data, model, sample)

    def show(done: int, total: int) -> None:
        console.progress(f"Reading all rows: {done / total:.0%}" if total else "Reading all rows")

    try:
        report = make_report(spec.data, spec.training.seed, model, on_progress=show)
    finally:
        console.end_progress()
    print_report(console, report)
    console.result(
        {
            "exit_code": int(ExitCode.DONE),
            "problems": [],
            "spec": to_mapping(spec, full=True)["data"],
            "sample": sample.plain() if sample is not None else None,
            "report": to_plain(report),
        }
    )
    return ExitCode.DONE


def _spec(options: argparse.Namespace) -> RunSpec:
    """The settings that the options mean.

    Raises:
        UserError: one of them cannot be used, or no file is named.
    """
    from core.spec.codec import apply_assignments, read_spec, resolve_paths
    from core.spec.rules import check

    spec = read_spec(Path(options.spec)) if options.spec else RunSpec()
    data, model = spec.data, spec.model
    if options.files:
        data = replace(data, train=tuple(options.files))
    if options.validation:
        data = replace(data, validation=tuple(options.validation))
    base = options.model or model.base or STARTER
    spec = replace(spec, data=data, model=replace(model, base=base))
    spec = resolve_paths(apply_assignments(spec, options.assignments), Path.cwd())
    if not spec.data.train:
        raise UserError(error("", "No data file is named.", "Write for example “lowrank data rows.jsonl”."))
    wrong = [problem for problem in check(spec) if problem.severity == "error" and problem.path.startswith("data.")]
    if wrong:
        raise UserError(*wrong)
    return spec


def _model(spec: RunSpec) -> ModelFacts:
    """The model whose tokenizer and template are used.

    Raises:
        UserError: it is unknown, damaged or not here; with what is wrong with the files.
    """
    from core.facts.base_model import read_base_model

    try:
        model = read_base_model(spec.model.base, spec.model.revision)
    except UserError as failure:
        raise UserError(*_wrong_files(spec), *failure.problems) from failure
    if not model.here:
        message = f"“{spec.model.base}” is not on this computer, and its tokenizer is needed."
        advice = "Download it, or name another model with --model."
        raise UserError(*_wrong_files(spec), error("model.base", message, advice))
    return model


def _wrong_files(spec: RunSpec) -> tuple[Problem, ...]:
    """What is wrong with the files, so that all is said at once."""
    from core.data.report.files import open_files

    try:
        open_files(spec.data)
    except UserError as failure:
        return failure.problems
    return ()
