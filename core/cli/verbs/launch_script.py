"""``lowrank launch-script``: a script that trains a spec with torchrun, on one machine or many, or by Slurm."""

import argparse
from pathlib import Path

from core.cli.console import Console
from core.cli.numbers import whole_number
from core.errors import ExitCode, UserError, error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("spec", metavar="SPEC", help="settings file in YAML")
    parser.add_argument("--kind", choices=("torchrun", "slurm"), default="torchrun", help="what starts the processes")
    parser.add_argument("--nodes", metavar="N", default="1", help="how many machines")
    parser.add_argument("--gpus", metavar="M", default="", help="GPUs of each machine; hardware.processes if left out")
    parser.add_argument("--run", metavar="FOLDER", default="", help="the run folder, on a disk that all machines see")
    parser.add_argument("--to", metavar="FILE", default="", help="write it there instead of printing it")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Writes or prints the script; starts nothing."""
    import time

    from core.paths import write_atomic
    from core.runs.launch_scripts import Script
    from core.runs.store import run_name, runs_folder
    from core.spec.codec import read_spec

    spec = read_spec(Path(options.spec))
    nodes = _number("--nodes", options.nodes)
    processes = _number("--gpus", options.gpus) if options.gpus else spec.hardware.processes
    if nodes * processes > spec.training.effective_batch:
        raise UserError(
            error(
                "training.effective_batch",
                f"{nodes * processes:,} processes share the rows of a step, and there are only "
                f"{spec.training.effective_batch:,} of them.",
                "Use fewer processes, or more rows a step.",
            )
        )
    folder = Path(options.run) if options.run else runs_folder(spec) / run_name(spec, time.localtime())
    script = Script(
        options.kind,
        Path(options.spec).absolute(),
        folder.absolute(),
        nodes,
        processes,
        gpus=spec.hardware.device != "cpu",
    )
    text = script.text()
    if options.to:
        target = Path(options.to)
        try:
            write_atomic(target, text)
            target.chmod(0o755)
        except OSError as failure:
            message = f"The script cannot be written: {failure.strerror or failure}."
            raise UserError(error(str(target), message, "Choose another place.")) from failure
        console.line(f"Wrote {target}. The run will be in {folder.absolute()}.")
    else:
        console.line(text.rstrip())
    console.result({"script": text, "path": options.to or None, "folder": str(folder.absolute())})
    return ExitCode.DONE


def _number(option: str, text: str) -> int:
    number = whole_number(text, 1)
    if number is None:
        raise UserError(error(option, f"“{text}” is not a number of at least 1.", f"Write for example {option} 2."))
    return number
