"""``lowrank schema``: every setting, for editors and for people."""

import argparse
import json

from core.cli.console import Console
from core.errors import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--reference", action="store_true", help="print the settings reference in Markdown instead")


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints the JSON Schema of the settings file, or the reference."""
    from core.spec.schema import json_schema, reference_markdown

    if options.reference:
        text = reference_markdown()
        console.line(text.rstrip("\n"))
        console.result({"markdown": text})
    else:
        schema = json_schema()
        console.line(json.dumps(schema, indent=2, ensure_ascii=True))
        console.result(schema)
    return ExitCode.DONE
