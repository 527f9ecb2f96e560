"""``lowrank doctor``: checks this computer and this installation."""

import argparse

from core.cli.console import Console
from core.errors import ExitCode

_MARKS = {"ok": ("green", "ok"), "warn": ("yellow", "warn"), "bad": ("red", "bad")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--report", action="store_true", help="print it as plain text to pass on, without the names of your folders"
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints a line for each thing that matters, with the remedy where one is needed."""
    from core.records import to_plain
    from core.runs.checkup import check_all, report_text

    console.progress("Looking at this computer and asking PyTorch")
    findings = check_all()
    console.end_progress()
    bad = any(finding.level == "bad" for finding in findings)
    code = ExitCode.FAILED if bad else ExitCode.DONE
    if options.report:
        console.lines(report_text(findings).splitlines())
        console.result({"ok": not bad, "exit_code": int(code), "report": report_text(findings)})
        return code
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        colour, word = _MARKS[finding.level]
        mark = console.colour(colour, word.ljust(4))
        plain = f"{word.ljust(4)}  {finding.subject:<{width}}  "
        lines = console.wrap(finding.text, " " * len(plain), plain)
        lines[0] = lines[0].replace(plain[:4], mark, 1)
        console.lines(lines)
        if finding.remedy:
            console.paragraph(finding.remedy, " " * len(plain))
    console.line()
    console.line("Something has to be mended before a run can start." if bad else "Runs can start here.")
    console.result({"ok": not bad, "exit_code": int(code), "findings": [to_plain(item) for item in findings]})
    return code
