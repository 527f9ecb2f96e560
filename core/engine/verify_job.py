"""The job ``verify``: an export, opened afresh in a process that knows nothing of the one that wrote it."""

import time
from pathlib import Path
from typing import Any

from core.engine import bootstrap
from core.engine.context import JobContext
from core.events.types import Completed, Notice, Stopped
from core.export.verification import report_path, verdict_words
from core.export.verification.verify import VerificationCancelledError
from core.export.verification.verify import verify as verify_export


def verify(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``verify``: compares ``export`` of a ``kind`` with ``base`` and ``adapter`` (may be empty).

    It completes whether the checks pass or not: ``verdict`` in its result says it, and the report lies with the export.
    """
    began = time.monotonic()
    export, adapter = Path(arguments["export"]), arguments.get("adapter")
    bootstrap.use_threads(0)
    bootstrap.quiet_libraries()
    try:
        with context.phase("verify", f"Comparing {export.name} with what was trained"):
            found = verify_export(
                export,
                arguments["kind"],
                Path(arguments["base"]),
                Path(adapter) if adapter else None,
                on_step=lambda _words, done, total: context.progress("verify", done, total, "steps"),
                cancelled=lambda: context.interrupted,
            )
    except VerificationCancelledError:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    for check in found.failed:
        context.emit(Notice("warning", f"verify.{check.name}", check.words))
    result = {"passed": found.passed, "verdict": found.verdict, "path": str(export), "report": str(report_path(export))}
    context.emit(Completed(0, time.monotonic() - began, verdict_words(found), result))
