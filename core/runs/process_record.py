"""``process.json``: which process owns a run folder, told apart from a stranger that got its pid later."""

import json
import os
import time
from dataclasses import dataclass

from core.events.writer import next_seq
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.layout import RunFolder
from core.runs.process_tree import ProcessKey, ancestors, identify, is_alive


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The engine process of a folder.

    Attributes:
        pid, birth: see `core.runs.process_tree.ProcessKey`.
        started: Unix time at which it was launched.
        first_seq: number of its first event; smaller ones are from attempts before it.
        log_start: size of ``engine.log`` before it printed anything.
    """

    pid: int
    birth: str
    started: float
    first_seq: int = 0
    log_start: int = 0

    @property
    def key(self) -> ProcessKey:
        """The process, for certain."""
        return ProcessKey(self.pid, self.birth)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return is_alive(self.key)


def read_process(folder: RunFolder) -> ProcessRecord | None:
    """The folder's record; None when there is none, or none that can be read (it is then as good as absent).

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        return from_plain(ProcessRecord, json.loads(folder.process.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, RecordError):
        return None


def living_process(folder: RunFolder) -> ProcessRecord | None:
    """The record of the engine that is working on the folder right now."""
    record = read_process(folder)
    return record if record is not None and record.alive else None


def write_process(folder: RunFolder, key: ProcessKey, *, first_seq: int, log_start: int) -> ProcessRecord:
    """Records ``key`` as the folder's engine.

    Raises:
        OSError: the file cannot be written.
    """
    record = ProcessRecord(key.pid, key.birth, time.time(), first_seq, log_start)
    write_json(folder.process, to_plain(record))
    return record


def is_own(record: ProcessRecord) -> bool:
    """Whether a record names this process or one that started it (a launcher, a spawner of ranks)."""
    pid = os.getpid()
    return record.key in (identify(pid), *ancestors(pid))


def claim_process(folder: RunFolder) -> ProcessRecord:
    """Called by an engine: makes sure that the record names this process or one that started it.

    Whoever launches an engine records the process it launched; an engine started by hand records itself.

    Raises:
        OSError: the file cannot be written.
    """
    record = read_process(folder)
    if record is not None and is_own(record):
        return record
    own = identify(os.getpid())
    assert own is not None, "a running process has an identity"
    return write_process(folder, own, first_seq=next_seq(folder.events()), log_start=log_size(folder))


def log_size(folder: RunFolder) -> int:
    """Bytes in ``engine.log``; 0 while there is none."""
    return folder.log.stat().st_size if folder.log.exists() else 0
