"""Who is who, who lives, and ending whole trees."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.runs.process_tree import (
    ProcessKey,
    ancestors,
    family,
    identify,
    is_alive,
    kill,
    rebooted_since,
    terminate,
    wait_gone,
)

SLEEP = "import time; time.sleep(120)"
NEST = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(120)"


@pytest.fixture
def spawn() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def spawn(code: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code], start_new_session=True))
        return started[-1]

    yield spawn
    for process in started:
        key = identify(process.pid)
        kill(family(key) if key else ())
        process.kill()
        process.wait()


def key_of(process: subprocess.Popen[bytes]) -> ProcessKey:
    key = identify(process.pid)
    assert key is not None
    return key


def test_a_process_is_itself_and_no_other_birth(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    key = key_of(spawn(SLEEP))
    assert is_alive(key)
    assert not is_alive(replace(key, birth="another"))
    assert identify(os.getpid()) == identify(os.getpid())


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 12345])
def test_a_pid_of_nobody(pid: int) -> None:
    assert identify(pid) is None
    assert family(ProcessKey(pid, "x")) == ()
    assert ancestors(pid if pid > 0 else 2**22 + 1) == ()
    kill([ProcessKey(pid, "x")])


def test_the_dead_are_dead_even_before_they_are_reaped(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = spawn(SLEEP)
    key = key_of(process)
    os.kill(process.pid, 9)
    assert wait_gone([key], 30.0) == ()
    assert identify(process.pid) is None
    process.wait()


def test_a_family_is_ended_whole(
    spawn: Callable[[str], subprocess.Popen[bytes]], eventually: Callable[..., None]
) -> None:
    key = key_of(spawn(NEST))
    eventually(lambda: len(family(key)) == 2)
    members = family(key)
    assert members[-1] == key
    kill(members)
    assert wait_gone(members, 30.0) == ()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no sessions")
def test_children_are_found_after_their_parent_died(
    spawn: Callable[[str], subprocess.Popen[bytes]], eventually: Callable[..., None]
) -> None:
    process = spawn(NEST)
    key = key_of(process)
    eventually(lambda: len(family(key)) == 2)
    kill([key])
    process.wait()
    (orphan,) = family(key)
    kill([orphan])
    assert wait_gone([orphan], 30.0) == ()


def test_a_stranger_with_the_same_pid_is_left_alone(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    key = key_of(spawn(SLEEP))
    stranger = replace(key, birth="long ago")
    assert family(stranger) == ()
    kill([stranger])
    terminate(stranger)
    assert wait_gone([key], 0.2) == (key,)


def test_nobody_ends_himself() -> None:
    me = identify(os.getpid())
    assert me is not None
    kill([me])
    terminate(me)


@pytest.mark.skipif(os.name != "posix", reason="Windows ends at once")
def test_terminate_is_a_question(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = spawn(SLEEP)
    terminate(key_of(process))
    assert process.wait(30) == -15


def test_ancestors_lead_up(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = spawn(SLEEP)
    assert ancestors(process.pid)[0] == identify(os.getpid())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux names its boots")
def test_a_birth_does_not_move_with_the_clock_and_knows_its_boot() -> None:
    me = identify(os.getpid())
    assert me is not None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert me.birth.startswith(f"{boot}/")
    assert not rebooted_since(me)
    assert rebooted_since(ProcessKey(1, "00000000-0000-0000-0000-000000000000/12"))
    assert not rebooted_since(ProcessKey(1, ""))


def test_waiting_ends_when_patience_does(spawn: Callable[[str], subprocess.Popen[bytes]]) -> None:
    key = key_of(spawn(SLEEP))
    began = time.monotonic()
    assert wait_gone([key], 0.05) == (key,)
    assert time.monotonic() - began < 30
