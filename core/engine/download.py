"""The job ``download``: the hub's download with the engine's protocol around it. Imports no torch."""

import errno
import threading
import time
from collections.abc import Mapping
from typing import Any

from core.engine.context import JobContext
from core.errors import FailureKind, JobError
from core.events.types import Body, Completed, Notice, PhaseStarted, Progress, Stopped
from core.facts.locate import cache_folder
from core.hub.datasets import dataset_details, download_dataset
from core.hub.details import details
from core.hub.download import Downloaded, DownloadStoppedError, download
from core.hub.job import take_token
from core.hub.problems import HubError, Reason

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5
_KINDS: Mapping[Reason, FailureKind] = {
    "name": FailureKind.BAD_SPEC,
    "missing": FailureKind.BAD_SPEC,
    "token": FailureKind.ACCESS,
    "gated": FailureKind.ACCESS,
    "damaged": FailureKind.BAD_DATA,
    "disk": FailureKind.DISK_FULL,
}


class _Worker(threading.Thread):
    """Downloads beside the main thread, which can then stop the job even while a silent server is waited for.

    A daemon: an abandoned one ends with the process, and what it has written counts as far as it got.
    """

    def __init__(self, context: JobContext, arguments: dict[str, Any]) -> None:
        super().__init__(name="download", daemon=True)
        self._ending = threading.Event()
        self._speech = threading.Lock()
        self.result: Downloaded | None = None
        self.failure: Exception | None = None
        self._context = context
        self._arguments = arguments

    def run(self) -> None:
        try:
            self.result = self._download(self._arguments, take_token())
        except Exception as failure:  # noqa: BLE001 (raised again where it can be told)
            self.failure = failure

    def _download(self, arguments: dict[str, Any], token: str) -> Downloaded:
        commit = arguments.get("commit") or arguments.get("revision", "")
        if arguments.get("kind") == "dataset":
            data = dataset_details(arguments["id"], commit, token)
            return download_dataset(data.at(arguments["revision"]), arguments["files"], self, token)
        found = details(arguments["id"], commit, token)
        return download(found.at(arguments.get("revision") or found.revision), arguments["files"], self, token)

    def stop(self, patience: float) -> None:
        """Asks for the end and waits a little for it; from now on nothing is said any more."""
        with self._speech:
            self._ending.set()
        self.join(patience)

    def progress(self, done: int, total: int) -> None:
        self._say(Progress("download", done, total, "bytes"))

    def stage(self, sentence: str) -> None:
        self._say(PhaseStarted("download", sentence))

    def notice(self, code: str, sentence: str) -> None:
        self._say(Notice("warning", code, sentence))

    def stopping(self) -> bool:
        return self._ending.is_set()

    def _say(self, body: Body) -> None:
        with self._speech:
            if not self._ending.is_set():
                self._context.emit(body)


def download_model(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``download``: fetches ``files`` of ``id`` at ``revision`` (``commit``) into the standard cache.

    It is a model, or where ``kind`` says so a data set; the result then has the ``name`` that a spec calls the part by.

    Raises:
        JobError: it failed; what has come is kept.
    """
    began = time.monotonic()
    worker = _Worker(context, arguments)
    with context.phase("download", f"Asking for {arguments['id']}"):
        worker.start()
        while worker.is_alive() and not context.interrupted:
            worker.join(_POLL_SECONDS)
        if worker.is_alive():
            worker.stop(_PATIENCE_SECONDS)
    if worker.is_alive() or isinstance(worker.failure, DownloadStoppedError):
        context.emit(Stopped(0, "stop", resumable=True))
        return
    if isinstance(worker.failure, HubError):
        kind = _KINDS.get(worker.failure.reason, FailureKind.NETWORK)
        raise JobError(kind, worker.failure.message, worker.failure.advice) from worker.failure
    if isinstance(worker.failure, OSError):
        raise _unwritable(worker.failure) from worker.failure
    if worker.failure is not None:
        raise worker.failure
    assert worker.result is not None, "a thread that ended without a failure has a result"
    folder, size = worker.result.folder, worker.result.bytes
    context.emit(
        Completed(
            0,
            time.monotonic() - began,
            f"Downloaded {arguments['id']}.",
            {"path": str(folder), "bytes": size, "id": arguments.get("name") or arguments["id"]},
        )
    )


def _unwritable(failure: OSError) -> JobError:
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return JobError(
            FailureKind.DISK_FULL,
            f"The disk is full: {failure.filename or cache_folder()} could not be written.",
            "Free some space and start the download again; it goes on from here.",
        )
    return JobError(
        FailureKind.BAD_SPEC,
        f"The cache cannot be written: {failure.strerror or failure} ({failure.filename or cache_folder()}).",
        "Check the rights of that folder, or choose another one with the variable HF_HUB_CACHE.",
    )
