"""Every way an engine can behave, with a real process: what the supervisor does, and what it says at the end."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ExitCode, UserError
from core.events.types import CheckpointSaved, Event, Hello, Started, Step, Stopped, Unknown
from core.paths import write_json
from core.records import to_plain
from core.runs import supervisor as supervisor_module
from core.runs.control import pending_requests, place_request
from core.runs.launch import LaunchCommand
from core.runs.layout import RunFolder
from core.runs.lock import FolderBusy
from core.runs.outcome import read_outcome
from core.runs.process_record import read_process
from core.runs.process_tree import identify, is_alive
from core.runs.supervisor import Limits, State, Supervisor

Fake = Callable[..., LaunchCommand]
Eventually = Callable[..., None]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake engine's ways to die are POSIX signals")


def start(folder: RunFolder, command: LaunchCommand, **limits: float) -> Supervisor:
    supervisor = Supervisor(folder, command, limits=Limits(**limits))
    supervisor.start()
    return supervisor


def until(supervisor: Supervisor, kind: type, seconds: float = 60.0) -> list[Event]:
    """Polls until an event of a kind arrives."""
    seen: list[Event] = []
    deadline = time.monotonic() + seconds
    while not any(isinstance(event.body, kind) for event in seen):
        assert time.monotonic() < deadline, f"no {kind.__name__}, only {seen}"
        seen += supervisor.poll()
        time.sleep(0.01)
    return seen


def test_a_run_that_goes_well(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("ok"))
    assert supervisor.state is State.STARTING
    events: list[Event] = []
    outcome = supervisor.wait(events.append)
    assert supervisor.state is State.ENDED
    assert (outcome.kind, outcome.step, outcome.steps, outcome.exit_status) == ("completed", 5, 5, 0)
    assert outcome.message == "Trained 5 steps."
    assert outcome.loss == pytest.approx(0.6)
    assert outcome.result == {"path": str(run_folder.adapter)}
    assert [event.seq for event in events] == list(range(len(events)))
    assert isinstance(events[0].body, Hello)
    assert supervisor.run_state.step == 5
    assert supervisor.poll() == []
    assert read_outcome(run_folder) == outcome
    assert run_folder.log.read_text() == "pretending to train\n"
    assert supervisor.wait() == outcome


def test_a_failure_keeps_the_engines_own_words(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("oom")).wait()
    assert (outcome.kind, outcome.failure, outcome.title) == ("failed", "out_of_memory", "Out of memory")
    assert (outcome.message, outcome.hint) == ("The GPU's memory ran out.", "Lower “Tokens a pass”.")
    assert (outcome.detail, outcome.exit_status, outcome.exit_code) == ("a traceback", 4, ExitCode.FAILED)


def test_a_segmentation_fault(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("segfault")).wait()
    assert (outcome.kind, outcome.signal, outcome.exit_status) == ("crashed", "SIGSEGV", None)
    assert outcome.message == "The engine crashed in native code (SIGSEGV). It had done step 1 of 5."
    assert "Segmentation fault" in outcome.detail
    assert not outcome.resumable


@pytest.mark.parametrize(
    ("kills", "message", "hint"),
    [
        ((7, 7), "ended from outside (SIGKILL)", "Most probably the computer ran out of memory"),
        ((7, 8), "The computer ran out of memory (RAM)", "4-bit weights"),
    ],
)
def test_sigkill_without_a_word(
    run_folder: RunFolder,
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    kills: tuple[int, int],
    message: str,
    hint: str,
) -> None:
    counts = iter(kills)
    monkeypatch.setattr(supervisor_module.crash, "memory_kills", lambda: next(counts))
    outcome = start(run_folder, fake("sigkill_self")).wait()
    assert (outcome.kind, outcome.signal) == ("crashed", "SIGKILL")
    assert message in outcome.message
    assert hint in outcome.hint
    assert outcome.resumable
    assert outcome.hint.endswith("Resume goes on from the state saved after step 5.")


def test_an_exit_without_a_last_word_shows_the_end_of_the_log(run_folder: RunFolder, fake: Fake) -> None:
    run_folder.log.write_text("from an attempt before\n")
    outcome = start(run_folder, fake("crash_midway")).wait()
    assert (outcome.kind, outcome.exit_status, outcome.step) == ("crashed", 3, 2)
    assert "exit code 3" in outcome.message
    assert outcome.detail == "loading 100 %\nTraceback: the fake engine fell over"


def test_leaving_politely_without_a_last_word_is_still_a_crash(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("silent_exit")).wait()
    assert (outcome.kind, outcome.exit_status) == ("crashed", 0)
    assert "without saying how the work went" in outcome.message


def test_a_process_that_lingers_after_its_last_word_is_killed_and_not_blamed(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("hang_after_done"), linger=0.2)
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.message) == ("completed", "Trained 5 steps.")
    record = read_process(run_folder)
    assert record is not None
    assert not record.alive


def test_stop_is_asked_for_politely_first(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("steady"))
    until(supervisor, Step)
    assert supervisor.state is State.RUNNING
    supervisor.stop(60.0)
    assert supervisor.state is State.STOPPING
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.resumable, outcome.paused, outcome.exit_code) == (
        "stopped", True, False, ExitCode.STOPPED,
    )  # fmt: skip
    assert outcome.message.startswith("Stopped after step ")
    assert pending_requests(run_folder) == ()


def test_pause_and_save_are_requests_too(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("steady"))
    until(supervisor, Step)
    supervisor.request("save")
    until(supervisor, CheckpointSaved)
    supervisor.request("pause")
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.paused, outcome.title) == ("stopped", True, "Paused")


def test_who_reads_no_requests_gets_a_signal(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("deaf"))
    until(supervisor, Step)
    supervisor.stop(0.1)
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.resumable) == ("stopped", False)
    assert "because the system asked for it" in outcome.message


def test_who_heeds_nothing_is_killed_with_all_it_started(
    run_folder: RunFolder, fake: Fake, eventually: Eventually
) -> None:
    supervisor = start(run_folder, fake("ignore_stop"), terminate=0.1)
    until(supervisor, Step)
    child = identify(int((run_folder.path / "child.pid").read_text()))
    assert child is not None
    supervisor.request("stop")
    supervisor.stop(0.1)  # less patience shortens the wait
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.signal) == ("stopped", "SIGKILL")
    assert "did not answer the request to stop" in outcome.message
    eventually(lambda: not is_alive(child))


def test_ending_by_force_at_once(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("steady"))
    until(supervisor, Step)
    supervisor.kill()
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.signal) == ("stopped", "SIGKILL")
    assert outcome.message.startswith("The engine was ended by force.")


def test_what_a_crashed_engine_left_behind_is_cleared_away(
    run_folder: RunFolder, fake: Fake, eventually: Eventually
) -> None:
    supervisor = start(run_folder, fake("orphan"))
    until(supervisor, Started)
    child = identify(int((run_folder.path / "child.pid").read_text()))
    assert supervisor.wait().signal == "SIGKILL"
    eventually(lambda: child is None or not is_alive(child))


def test_fifty_megabytes_of_output_hold_nobody_up(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("flood")).wait()
    assert outcome.kind == "completed"
    assert run_folder.log.stat().st_size == 50 * 1024 * 1024


def test_a_slow_start_is_waited_for(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("slow_start", 0.3))
    assert supervisor.poll() == []
    assert supervisor.state is State.STARTING
    assert supervisor.wait().kind == "completed"


def test_but_not_for_ever(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("slow_start", 120), hello=0.3)
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.failure) == ("failed", "internal")
    assert "said nothing for 0.3 s" in outcome.message
    assert outcome.hint


def test_another_protocol_is_refused(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("bad_protocol")).wait()
    assert (outcome.kind, outcome.failure) == ("failed", "plan_mismatch")
    assert "speaks protocol 99; this program understands 1" in outcome.message
    assert "same version" in outcome.hint
    record = read_process(run_folder)
    assert record is not None
    assert not record.alive


def test_the_first_rank_to_fail_is_the_cause(run_folder: RunFolder, fake: Fake) -> None:
    outcome = start(run_folder, fake("other_rank_fails")).wait()
    assert (outcome.failure, outcome.message) == ("out_of_memory", "The memory of GPU 1 ran out.")


def test_a_torn_line_and_the_attempt_after_it(run_folder: RunFolder, fake: Fake) -> None:
    first = start(run_folder, fake("torn_line")).wait()
    assert (first.kind, first.step, first.resumable) == ("crashed", 3, True)
    supervisor = start(run_folder, fake("resume"))
    assert not run_folder.outcome.exists()
    events: list[Event] = []
    outcome = supervisor.wait(events.append)
    assert outcome.kind == "completed"
    assert supervisor.run_state.attempt == 2
    assert list(supervisor.run_state.history.column("step")) == [1, 2, 3, 4, 5]
    assert sum(isinstance(event.body, Unknown) for event in events) == 1
    assert events[0].seq == 0


def test_the_last_word_of_an_attempt_before_decides_nothing(run_folder: RunFolder, fake: Fake) -> None:
    assert start(run_folder, fake("ok")).wait().kind == "completed"
    outcome = start(run_folder, fake("crash_midway")).wait()
    assert (outcome.kind, outcome.exit_status) == ("crashed", 3)


def test_requests_meant_for_an_attempt_before_are_forgotten(run_folder: RunFolder, fake: Fake) -> None:
    place_request(run_folder, "stop")
    supervisor = start(run_folder, fake("steady"))
    assert pending_requests(run_folder) == ()
    until(supervisor, Step)
    supervisor.kill()
    supervisor.wait()


def test_two_engines_never_share_a_folder(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("steady"))
    until(supervisor, Step)
    with pytest.raises(FolderBusy, match="is already working on this run"):
        Supervisor(run_folder, fake("ok")).start()
    assert supervisor.state is State.RUNNING
    supervisor.stop()
    assert supervisor.wait().kind == "stopped"


def test_a_program_that_is_not_there(run_folder: RunFolder) -> None:
    command = LaunchCommand((str(run_folder.path / "absent"), "x"), {}, run_folder.path)
    supervisor = Supervisor(run_folder, command)
    with pytest.raises(UserError, match=r"could not be started with .*absent.*No such file"):
        supervisor.start()
    assert supervisor.state is State.IDLE
    assert not run_folder.process.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be used: No such file"):
        Supervisor(RunFolder(tmp_path / "absent")).start()


def test_an_outcome_that_cannot_be_saved_is_still_told(
    run_folder: RunFolder, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(supervisor_module, "write_outcome", full)
    outcome = start(run_folder, fake("ok")).wait()
    assert outcome.kind == "completed"
    assert "could not be saved" in outcome.hint
    assert "No space left on device" in outcome.hint


def test_a_clock_that_was_set_back_loses_no_outcome(run_folder: RunFolder, fake: Fake) -> None:
    assert start(run_folder, fake("ok")).wait().kind == "completed"
    record = read_process(run_folder)
    assert record is not None
    write_json(run_folder.process, to_plain(replace(record, started=record.started + 3600)))
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    assert supervisor.outcome is not None
    assert supervisor.outcome.kind == "completed"


def test_ctrl_c_in_a_listener_loses_no_event(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("ok"))
    seen: list[int] = []

    def listener(event: Event) -> None:
        seen.append(event.seq)
        if event.seq == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervisor.wait(listener)
    supervisor.wait(listener)
    assert seen == list(range(10))[: len(seen)]
    assert len(seen) == len(supervisor.run_state.history) + 5


def test_stop_may_come_from_another_thread(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = start(run_folder, fake("steady"))
    until(supervisor, Step)
    timer = threading.Timer(0.1, supervisor.stop)
    timer.start()
    assert supervisor.wait().kind == "stopped"
    timer.join()


def test_misuse_is_an_error_of_the_programmer(run_folder: RunFolder, fake: Fake) -> None:
    supervisor = Supervisor(run_folder, fake("ok"))
    assert supervisor.poll() == []
    supervisor.stop()
    supervisor.kill()
    supervisor.request("save")
    assert pending_requests(run_folder) == ()
    with pytest.raises(RuntimeError, match="nothing to wait for"):
        supervisor.wait()
    supervisor.start()
    supervisor.wait()
    for again in (supervisor.start, supervisor.attach):
        with pytest.raises(RuntimeError, match="one attempt"):
            again()


# ----------------------------------------------------------------------------------------------------------- attaching


def test_the_engine_outlives_its_supervisor_and_is_found_again(run_folder: RunFolder, fake: Fake) -> None:
    first = start(run_folder, fake("steady"))
    until(first, Step)
    del first
    second = Supervisor(run_folder)
    second.attach()
    assert second.state is State.RUNNING
    replayed = second.poll()
    assert isinstance(replayed[0].body, Hello)
    until(second, Step)
    second.stop(60.0)
    outcome = second.wait()
    assert (outcome.kind, outcome.resumable) == ("stopped", True)
    assert read_outcome(run_folder) == outcome


def test_attaching_to_what_has_ended_replays_it(run_folder: RunFolder, fake: Fake) -> None:
    ended = start(run_folder, fake("ok")).wait()
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    assert (supervisor.state, supervisor.outcome) == (State.ENDED, ended)
    events = supervisor.poll()
    assert len(events) == 10
    assert supervisor.poll() == []
    assert supervisor.wait() == ended


def test_an_end_that_nobody_saw_is_told_from_the_events(run_folder: RunFolder, fake: Fake) -> None:
    start(run_folder, fake("ok")).wait()
    run_folder.outcome.unlink()
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    assert supervisor.outcome is not None
    assert supervisor.outcome.kind == "completed"
    assert run_folder.outcome.exists()


def test_a_death_that_nobody_saw_is_lost(run_folder: RunFolder, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    start(run_folder, fake("sigkill_self")).wait()
    run_folder.outcome.unlink()
    monkeypatch.setattr(supervisor_module, "exit_status", lambda key: None)  # as in another program
    monkeypatch.setattr(supervisor_module, "_COURTESY_SECONDS", 0.1)
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    outcome = supervisor.wait()
    assert (outcome.kind, outcome.step, outcome.resumable) == ("lost", 5, True)
    assert "nobody was watching" in outcome.message
    assert read_outcome(run_folder) == outcome


def test_who_started_the_engine_tells_its_end_better(
    run_folder: RunFolder, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two watch; the one that cannot see the exit code waits for the one that can."""
    starter = start(run_folder, fake("steady"))
    until(starter, Step)
    other = Supervisor(run_folder)
    other.attach()
    record = read_process(run_folder)
    assert record is not None
    monkeypatch.setattr(other, "_exit", lambda: None)
    os.kill(record.pid, signal.SIGKILL)
    while not other._record.alive and other._gone_since is None:
        other.poll()
    outcome = starter.wait()
    assert outcome.signal == "SIGKILL"
    assert other.wait() == outcome


def test_a_pid_that_somebody_else_got_is_not_trusted(run_folder: RunFolder, fake: Fake) -> None:
    """The record names this very process's pid, but with another birth: the engine is gone, and nobody is killed."""
    start(run_folder, fake("crash_midway")).wait()
    run_folder.outcome.unlink()
    record = json.loads(run_folder.process.read_text())
    record["pid"] = os.getpid()
    run_folder.process.write_text(json.dumps(record))
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    supervisor.stop(0.0)
    supervisor.kill()
    assert supervisor.wait().kind == "lost"


def test_attaching_to_a_run_that_was_never_started(run_folder: RunFolder) -> None:
    with pytest.raises(UserError, match="has not been started yet"):
        Supervisor(run_folder).attach()


def test_attaching_leaves_an_engine_of_another_version_alone(
    run_folder: RunFolder, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = start(run_folder, fake("steady"))
    until(starter, Step)
    monkeypatch.setattr(supervisor_module, "PROTOCOL_VERSION", 2)
    with pytest.raises(UserError, match="speaks protocol 1"):
        Supervisor(run_folder).attach()
    monkeypatch.undo()
    until(starter, Step)
    starter.stop()
    assert isinstance(until(starter, Stopped)[-1].body, Stopped)
    assert starter.wait().kind == "stopped"


def test_an_engine_that_has_not_said_hello_yet_is_waited_for(run_folder: RunFolder, fake: Fake) -> None:
    start(run_folder, fake("slow_start", 0.5))
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    assert supervisor.state is State.STARTING
    assert supervisor.wait().kind == "completed"


def test_an_outcome_from_before_this_attempt_is_not_its_own(run_folder: RunFolder, fake: Fake) -> None:
    start(run_folder, fake("ok")).wait()
    stale = run_folder.outcome.read_text()
    start(run_folder, fake("sigkill_self")).wait()
    run_folder.outcome.write_text(stale)
    supervisor = Supervisor(run_folder)
    supervisor.attach()
    assert supervisor.wait().kind == "crashed"
