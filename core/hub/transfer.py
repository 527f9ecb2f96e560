"""One file on its way from the hub: goes on where it was, tries again, and proves that what came is the file."""

import hashlib
import http.client
import io
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from core.hub.cache import size_of
from core.hub.files import HubFile
from core.hub.problems import HubError, Subject
from core.hub.web import opened, unreachable
from core.units import KIB, MIB, format_bytes

CHUNK = 256 * KIB
TRIES = 5
"""How often in a row a connection may fail without bringing anything new."""
BACKOFF_SECONDS = 1.0
"""The first wait before another try; each further one is twice as long."""
_LONGEST_WAIT = 60.0
_SHA1_DIGITS, _SHA256_DIGITS = 40, 64


class DownloadStoppedError(Exception):
    """Somebody wanted the download to end; what has come stays."""


class Listener(Protocol):
    """Who wants to know how a download goes."""

    def progress(self, done: int, total: int) -> None:
        """So many bytes of all files are here."""

    def stage(self, sentence: str) -> None:
        """What is done now."""

    def notice(self, code: str, sentence: str) -> None:
        """Something that is not as it should be, but goes on."""

    def stopping(self) -> bool:
        """Whether the download should end."""


@dataclass
class Count:
    """How many bytes of all files are here, and who is told.

    Attributes:
        done: bytes of all files that are here.
        total: bytes of all files.
    """

    listener: Listener
    total: int
    done: int = 0

    def add(self, count: int) -> None:
        """So many more (or, below 0, fewer) are here; ends the work if somebody asked for that.

        Raises:
            DownloadStoppedError: somebody did.
        """
        self.settle(self.done + count)

    def settle(self, done: int) -> None:
        """So many are here altogether; ends the work if somebody asked for that.

        Raises:
            DownloadStoppedError: somebody did.
        """
        self.done = done
        if self.listener.stopping():
            raise DownloadStoppedError
        self.listener.progress(self.done, self.total)


@dataclass
class Transfer:
    """One file, its part on disk, and the hash of what the part holds.

    Attributes:
        part: where the content gathers; it becomes ``blob`` when it is whole and right.
    """

    file: HubFile
    address: str
    subject: Subject
    token: str
    part: Path
    blob: Path
    count: Count
    _here: int = 0
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def run(self) -> None:
        """Fetches what is missing.

        Raises:
            DownloadStoppedError: somebody asked for that.
            HubError: the file cannot be had, or not be trusted.
            OSError: it cannot be stored.
        """
        self._take_up()
        resumed = self._here > 0
        for last in (not resumed, True):
            self._fetch()
            if self._is_right():
                os.replace(self.part, self.blob)
                return
            self.part.unlink()
            self.count.add(-self._here)
            if last:
                break
            self.count.listener.notice(
                "download_damaged", f"What was here of {self.file.name} was damaged; it is fetched from its beginning."
            )
            self._begin()
        raise HubError(
            "damaged",
            f"The file {self.file.name} arrived damaged: its content is not what {self.subject.host} promised.",
            "Start the download again; if it happens again, the network or this computer's memory spoils data.",
            path=self.file.name,
        )

    def _begin(self) -> None:
        self._hash = hashlib.sha256()
        if len(self.file.digest) == _SHA1_DIGITS:  # Git's own way to name a content
            self._hash = hashlib.sha1(b"blob %d\0" % self.file.size, usedforsecurity=False)
        self._here = 0

    def _is_right(self) -> bool:
        """Whether the content is what the hub promised; where a mirror names it by other means, the size has to do."""
        digest = self.file.digest
        return len(digest) not in (_SHA1_DIGITS, _SHA256_DIGITS) or self._hash.hexdigest() == digest

    def _take_up(self) -> None:
        """Reads what an earlier attempt left, because its hash is needed; bytes of it count as here already."""
        self._begin()
        before = size_of(self.part)
        if before > self.file.size:
            self.part.unlink()
            self.count.add(-self.file.size)
            return
        if before > MIB:
            size = format_bytes(before)
            self.count.listener.stage(f"Checking the {size} of {self.file.name} that are here already")
        if before > 0:
            with self.part.open("rb") as file:
                while block := file.read(MIB):
                    self._hash.update(block)
                    self._here += len(block)
                    self.count.add(0)

    def _fetch(self) -> None:
        """Goes on until the part has its full size, over as many connections as that takes."""
        self.part.parent.mkdir(parents=True, exist_ok=True)
        tries = 0
        if not self.file.size:
            self.part.touch()
        self.count.listener.stage(f"Downloading {self.file.name}")
        while self._here < self.file.size:
            before = self._here
            try:
                self._receive()
                broken = HubError("unreachable", f"{self.subject.host} ended the connection early.", "Try again later.")
            except HubError as failure:
                if failure.reason not in ("unreachable", "server", "busy"):
                    raise
                broken = failure
            if self._here >= self.file.size:
                return
            tries = 1 if self._here > before else tries + 1
            if tries >= TRIES or broken.retry_after > _LONGEST_WAIT:
                raise _given_up(broken, self.file)
            self._pause(broken.retry_after or BACKOFF_SECONDS * 2 ** (tries - 1), broken)

    def _receive(self) -> None:
        """Reads one connection to its end, however that comes about."""
        with opened(self.address, self.subject, self.token, start=self._here) as answer:
            if answer.start != self._here:  # the server knows no ranges: it begins anew, and so does the part
                self.count.add(-self._here)
                self._begin()
            with self.part.open("r+b" if self._here else "wb", buffering=0) as file:
                file.seek(self._here)
                while self._here < self.file.size:
                    try:
                        block = answer.read_some(min(CHUNK, self.file.size - self._here))
                    except (OSError, http.client.HTTPException) as failure:
                        raise unreachable(failure, self.subject) from failure
                    if not block:
                        return
                    _write(file, block)
                    self._hash.update(block)
                    self._here += len(block)
                    self.count.add(len(block))
                os.fsync(file.fileno())

    def _pause(self, seconds: float, broken: HubError) -> None:
        self.count.listener.notice(
            "download_retry", f"{broken.message} {self.file.name} is tried again in {seconds:.0f} s."
        )
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.count.add(0)
            time.sleep(min(left, 0.1))


def _write(file: io.RawIOBase, block: bytes) -> None:
    """Writes all of a block; an unbuffered file may take it in pieces, and leaves nothing behind when we are killed."""
    view = memoryview(block)
    while view:
        view = view[file.write(view) or 0 :]


def _given_up(failure: HubError, file: HubFile) -> HubError:
    return HubError(
        failure.reason,
        f"The download broke off at {file.name}: {failure.message}",
        f"{failure.advice} What has come is kept, and the next try goes on from there.",
        path=file.name,
        page=failure.page,
        retry_after=failure.retry_after,
    )
