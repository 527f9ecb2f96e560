"""``python -m core.engine FOLDER``: say hello, do the folder's job, and always leave a last word in the event log."""

import faulthandler
import gc
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from core import __version__
from core.engine.collecting import collecting_later
from core.engine.context import JobContext
from core.errors import ExitCode, Failure, FailureKind, JobError, UserError
from core.events.types import PROTOCOL_VERSION, Failed, Hello
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy, hold_lock
from core.runs.place import ALONE, LEFT_ALONE, OthersGone, Place, place_from

_WITHOUT_GPU = ("download", "export", "import_gguf")
_OTHERS_GONE = "Another process of this run has ended or no longer answers, so the others could not go on."
_RESUME = "Resume goes on from the last saved state; engine.log may tell more."


def main(arguments: list[str]) -> int:
    """Runs the job in the folder named on the command line; returns 0 when it completed or stopped as asked.

    ``--processes N`` overrides how many processes share a training. A process that torchrun (or our own launcher)
    started is one of them; any other starts them where there are to be several.
    """
    options = _read_arguments(arguments)
    if options is None:
        print("usage: python -m core.engine FOLDER [--processes N] (a run or job folder)", file=sys.stderr)  # noqa: T201
        return ExitCode.BAD_SPEC
    faulthandler.enable()
    folder, wanted = options
    place = place_from(os.environ)
    kind, job = _read_job(folder)
    if place is None and kind == "train":
        processes = wanted or _planned_processes(folder)
        if processes > 1:
            from core.runs.launch_ranks import run_ranks

            return run_ranks(folder, processes)
    place = place or ALONE
    try:
        with hold_lock(folder) if place.leads else nullcontext():  # one lock for the whole group
            return _work(folder, place, kind, job)
    except FolderBusy as busy:
        print(busy, file=sys.stderr)  # noqa: T201 (engine.log; the event log belongs to the other engine)
        return ExitCode.FAILED


def _read_arguments(arguments: list[str]) -> tuple[RunFolder, int] | None:
    """The folder, and how many processes are wanted (0 where nobody says); None when that makes no sense."""
    match arguments:
        case [path]:
            processes = 0
        case [path, "--processes", number] if number.isdigit() and int(number) > 0:
            processes = int(number)
        case _:
            return None
    return (RunFolder(Path(path).absolute()), processes) if Path(path).is_dir() else None


def _planned_processes(folder: RunFolder) -> int:
    from core.runs.store import load_spec

    try:
        return load_spec(folder).hardware.processes
    except UserError:
        return 1  # one that cannot be read is complained about where the complaint is written down: at work


def _work(folder: RunFolder, place: Place, kind: str, job: dict[str, object]) -> int:
    context = JobContext(folder, place)
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
                world_size=place.size,
            )
        )
        return _dispatch(context, kind, job)
    finally:
        context.close()


def _dispatch(context: JobContext, kind: str, job: dict[str, object]) -> int:
    """Imports torch only here, after the hello: the first import can take many seconds on a cold disk."""
    if _is_for_processor(context.folder, kind, job):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # libraries begin to use what they see, of which a run may need all
    try:
        with collecting_later():
            work = _work_of(kind)
            gc.freeze()  # nor does anybody look again at what stays to the end
        work(context, job)
    except OthersGone as error:
        return _left_alone(context, error)
    except Exception as error:  # noqa: BLE001 (the border of the process: everything becomes a last word)
        if context.place.size > 1 and _lost_others(error):
            return _left_alone(context, error)
        failure = _describe(error)
        print(failure.detail, file=sys.stderr, flush=True)  # noqa: T201
        context.emit(Failed(failure.kind, failure.message, failure.hint, failure.detail))
        return ExitCode.FAILED
    return ExitCode.DONE


def _is_for_processor(folder: RunFolder, kind: str, job: dict[str, object]) -> bool:
    """Whether no GPU is to be used; where nobody says, one might be."""
    if kind != "train":
        return job.get("device", "cpu" if kind in _WITHOUT_GPU else "") == "cpu"
    from core.runs.store import load_plan

    try:
        return load_plan(folder).choices.device.value == "cpu"
    except UserError:
        return False  # what is wrong with it is said at work


def _work_of(kind: str) -> Callable[[JobContext, dict[str, object]], None]:
    match kind:
        case "train":
            from core.engine.training import train

            return lambda context, _: train(context)
        case "import_gguf":
            from core.engine.import_gguf import import_gguf

            return import_gguf
        case "chat":
            from core.engine.chat import chat

            return chat
        case "download":
            from core.engine.download import download_model

            return download_model
        case "export":
            from core.engine.export_job import export

            return export
        case "verify":
            from core.engine.verify_job import verify

            return verify
        case "sample":
            from core.engine.jobs import sample

            return sample
        case _:
            return _measuring(kind)


def _measuring(kind: str) -> Callable[[JobContext, dict[str, object]], None]:
    match kind:
        case "evaluate":
            from core.engine.evaluate_job import evaluate

            return evaluate
        case "bench_attention":
            from core.engine.bench_attention import bench_attention

            return bench_attention
        case "bench_inference":
            from core.engine.bench_inference import bench_inference

            return bench_inference
        case _:
            raise KeyError(kind)


def _lost_others(error: Exception) -> bool:
    from core.engine.distributed import lost_others

    return lost_others(error)


def _left_alone(context: JobContext, error: Exception) -> int:
    """What is left to say for one whose group is broken: nothing, but for the first one."""
    traceback.print_exception(error)
    if context.place.leads:  # the others leave the word to the one that failed
        context.emit(Failed(FailureKind.INTERNAL, _OTHERS_GONE, _RESUME, "".join(traceback.format_exception(error))))
    return LEFT_ALONE


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
