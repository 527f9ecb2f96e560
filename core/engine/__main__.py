"""``python -m core.engine FOLDER``: say hello, do the folder's job, and always leave a last word in the event log."""

import faulthandler
import json
import os
import platform
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from core import __version__
from core.engine.context import JobContext
from core.errors import ExitCode, Failure, JobError
from core.events.types import PROTOCOL_VERSION, Failed, Hello
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy, hold_lock


def main(arguments: list[str]) -> int:
    """Runs the job in the folder named on the command line; returns 0 when it completed or stopped as asked."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m core.engine FOLDER (a run or job folder)", file=sys.stderr)  # noqa: T201
        return ExitCode.BAD_SPEC
    faulthandler.enable()
    folder = RunFolder(Path(arguments[0]).absolute())
    try:
        with hold_lock(folder):
            return _work(folder)
    except FolderBusy as busy:
        print(busy, file=sys.stderr)  # noqa: T201 (engine.log; the event log belongs to the other engine)
        return ExitCode.FAILED


def _work(folder: RunFolder) -> int:
    kind, job = _read_job(folder)
    context = JobContext(folder)
    try:
        context.start()
        context.emit(
            Hello(
                protocol=PROTOCOL_VERSION,
                version=__version__,
                job=kind,
                pid=os.getpid(),
                python=platform.python_version(),
                torch=version("torch"),
                world_size=int(os.environ.get("WORLD_SIZE", "1")),
            )
        )
        return _dispatch(context, kind, job)
    finally:
        context.close()


def _dispatch(context: JobContext, kind: str, job: dict[str, object]) -> int:
    """Imports torch only here, after the hello: the first import can take many seconds on a cold disk."""
    try:
        if kind == "train":
            from core.engine.sft import train

            train(context)
        elif kind == "import_gguf":
            from core.engine.import_gguf import import_gguf

            import_gguf(context, job)
        elif kind == "chat":
            from core.engine.chat import chat

            chat(context, job)
        elif kind == "download":
            from core.engine.download import download_model

            download_model(context, job)
        else:
            from core.engine import jobs

            {"sample": jobs.sample, "merge": jobs.merge}[kind](context, job)
    except Exception as error:  # noqa: BLE001 (the border of the process: everything becomes a last word)
        failure = _describe(error)
        print(failure.detail, file=sys.stderr, flush=True)  # noqa: T201
        context.emit(Failed(failure.kind, failure.message, failure.hint, failure.detail))
        return ExitCode.FAILED
    return ExitCode.DONE


def _describe(error: Exception) -> Failure:
    if isinstance(error, JobError):  # says all there is to say; a download need not import torch to fail
        known, detail = error.failure, "".join(traceback.format_exception(error))
        return Failure(known.kind, known.message, known.hint, detail)
    from core.engine.failures import describe

    return describe(error)


def _read_job(folder: RunFolder) -> tuple[str, dict[str, object]]:
    if not folder.job.exists():
        return "train", {}
    job = json.loads(folder.job.read_text(encoding="utf-8"))
    return str(job["kind"]), dict(job["arguments"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
