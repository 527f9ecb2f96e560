"""``lowrank presets``: lists good starting points."""

import argparse

from core.cli.assignments import as_assignment
from core.cli.console import Console
from core.errors import ExitCode


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Declares no options."""


def perform(_options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints every preset with what it sets."""
    from core.records import to_plain
    from core.spec.presets import presets

    for preset in presets():
        console.line(f"{console.bold(preset.name)}  {preset.title}")
        console.paragraph(preset.help, "    ")
        console.paragraph(", ".join(as_assignment(edit).strip("'") for edit in preset.edits), "    ")
        console.line()
    console.line("Take one with “--preset NAME”; “--set PATH=VALUE” changes single settings after it.")
    console.result({"presets": [to_plain(preset) for preset in presets()]})
    return ExitCode.DONE
