"""One engine per folder, requests as files, and who owns a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ExitCode
from core.runs import file_lock
from core.runs import lock as lock_module
from core.runs.child_env import child_env
from core.runs.control import clear_requests, pending_requests, place_request, take_request
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy, hold_lock, require_free
from core.runs.process_record import (
    ProcessRecord,
    claim_process,
    is_own,
    living_process,
    read_process,
    write_process,
)
from core.runs.process_tree import ProcessKey, ancestors, identify


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "_PATIENCE_SECONDS", 0.0)


def test_the_holder_is_written_down_and_crossed_out(folder: RunFolder) -> None:
    with hold_lock(folder):
        assert folder.lock.read_text() == str(os.getpid())
        record = read_process(folder)
        assert record is not None
        assert record.key == identify(os.getpid())
        assert record.alive
    assert folder.lock.read_text() == ""
    with hold_lock(folder):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_second_holder_is_refused_by_name(folder: RunFolder) -> None:
    busy = pytest.raises(FolderBusy, match=f"Process {os.getpid()} is already")
    with hold_lock(folder), busy as refused, hold_lock(folder):
        pytest.fail("two at once")
    assert refused.value.exit_code is ExitCode.FAILED
    assert refused.value.problems[0].advice


@pytest.mark.usefixtures("impatient")
def test_a_folder_is_free_or_not_before_a_launch(folder: RunFolder) -> None:
    require_free(folder)
    with hold_lock(folder):
        with pytest.raises(FolderBusy):
            require_free(folder)
        folder.process.unlink()
        with pytest.raises(FolderBusy, match=f"Process {os.getpid()}"):
            require_free(folder)
    folder.process.unlink(missing_ok=True)
    require_free(folder)


def test_looking_does_not_stand_in_the_way(folder: RunFolder) -> None:
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT)
    assert lock_module.try_lock(handle)
    closing = subprocess.Popen([sys.executable, "-c", "pass"])
    os.close(handle)
    with hold_lock(folder):
        pass
    closing.wait()


@pytest.mark.parametrize("left", ["", "99999999", "no number"])
def test_a_lock_file_left_behind_blocks_nobody(folder: RunFolder, left: str) -> None:
    folder.lock.write_text(left)
    with hold_lock(folder):
        assert folder.lock.read_text() == str(os.getpid())


def test_a_killed_holder_blocks_nobody(folder: RunFolder) -> None:
    code = (
        "import os, pathlib; from core.runs.layout import RunFolder; from core.runs.lock import hold_lock\n"
        f"with hold_lock(RunFolder(pathlib.Path({str(folder.path)!r}))): os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", code], env=child_env())
    assert process.returncode != 0
    assert folder.lock.read_text() != ""
    with hold_lock(folder):
        pass


@pytest.mark.usefixtures("impatient")
def test_without_locks_the_record_serves(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have no locks; a living engine in the record is respected all the same."""
    for module in (file_lock, lock_module):
        monkeypatch.setattr(module, "try_lock", lambda handle: True)
    parent = identify(os.getppid())
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        key = identify(sleeper.pid)
        assert key is not None
        write_process(folder, key, first_seq=0, log_start=0)
        with pytest.raises(FolderBusy, match=f"Process {sleeper.pid}"), hold_lock(folder):
            pytest.fail("two at once")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert parent is not None
    write_process(folder, parent, first_seq=3, log_start=7)
    with hold_lock(folder):  # whoever launched this process recorded itself: that is no stranger
        record = read_process(folder)
        assert record is not None
        assert (record.key, record.first_seq, record.log_start) == (parent, 3, 7)


def test_an_engine_started_by_hand_records_itself(folder: RunFolder) -> None:
    folder.events().write_text('{"seq":4,"time":1,"rank":0,"type":"heartbeat","idle_seconds":0}\n')
    folder.log.write_text("old output")
    write_process(folder, ProcessKey(1, "long ago"), first_seq=0, log_start=0)
    record = claim_process(folder)
    assert is_own(record)
    assert (record.pid, record.first_seq, record.log_start) == (os.getpid(), 5, 10)
    assert claim_process(folder) == record


def test_a_recycled_pid_is_nobody(folder: RunFolder) -> None:
    write_process(folder, ProcessKey(os.getpid(), "long ago"), first_seq=0, log_start=0)
    record = read_process(folder)
    assert record is not None
    assert not record.alive
    assert not is_own(record)
    assert living_process(folder) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "x", "birth": "", "started": 1}', '{"pid": 1}'])
def test_a_damaged_record_is_none(folder: RunFolder, text: str) -> None:
    folder.process.write_text(text)
    assert read_process(folder) is None
    assert living_process(folder) is None


def test_the_record_is_readable_json(folder: RunFolder) -> None:
    me = identify(os.getpid())
    assert me is not None
    record = write_process(folder, me, first_seq=2, log_start=3)
    assert json.loads(folder.process.read_text())["pid"] == os.getpid()
    assert read_process(folder) == record
    assert isinstance(record, ProcessRecord)
    assert me not in ancestors(os.getpid())


# ------------------------------------------------------------------------------------------------------------- requests


def test_a_request_is_placed_seen_and_taken_once(folder: RunFolder) -> None:
    assert pending_requests(folder) == ()
    assert not take_request(folder, "stop")
    place_request(folder, "save")
    place_request(folder, "stop")
    place_request(folder, "stop")
    assert pending_requests(folder) == ("stop", "save")
    assert take_request(folder, "stop")
    assert not take_request(folder, "stop")
    assert pending_requests(folder) == ("save",)


def test_requests_can_be_forgotten(folder: RunFolder) -> None:
    clear_requests(folder)
    place_request(folder, "pause")
    clear_requests(folder)
    assert pending_requests(folder) == ()


def test_a_request_that_cannot_be_removed_is_still_heard(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    place_request(folder, "stop")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert take_request(folder, "stop")
