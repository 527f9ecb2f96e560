"""Every way to end has its words, its title and its exit code."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ExitCode, FailureKind
from core.events.run_state import RunState, fold
from core.events.types import (
    Body,
    CheckpointSaved,
    Completed,
    Event,
    Failed,
    Hello,
    PhaseStarted,
    Started,
    Step,
    Stopped,
)
from core.runs import crash
from core.runs.crash import Exit, crashed, forced, last_lines, lost, memory_kills
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome, OutcomeKind, outcome_of, process_name, read_outcome, write_outcome
from core.runs.process_record import ProcessRecord

STARTED = Started(0, 100, 80, 4, 1, 2, "none", "fp32", "sdpa", "chunked", 0, 2048)


def state_of(*bodies: Body) -> RunState:
    return fold([Event(index, 100.0 + index, 0, body) for index, body in enumerate(bodies)])


RUNNING = state_of(Hello(1, "", "train", 1, ""), STARTED, Step(40, 1.0, 1.5, 1e-4, 0.5, 10, 5, 1.0, 1))
SAVED = RUNNING.apply(Event(9, 110.0, 0, CheckpointSaved(40, "c", 1, 1.0, "time")))
JOB = state_of(Hello(1, "", "merge", 1, ""))
LOOKING = state_of(Hello(1, "", "train", 1, ""), PhaseStarted("reference", "Measuring"))


@pytest.mark.parametrize(
    ("terminal", "state", "title", "text", "code"),
    [
        (Completed(100, 9.0, "Trained 100 steps.", {}), RUNNING, "Completed", "Trained 100 steps.", ExitCode.DONE),
        (
            Stopped(40, "stop", resumable=True), RUNNING, "Stopped",
            "Stopped after step 40 of 100. Resume goes on from there.", ExitCode.STOPPED,
        ),
        (
            Stopped(40, "pause", resumable=True), RUNNING, "Paused",
            "Paused after step 40 of 100. Resume goes on from there.", ExitCode.STOPPED,
        ),
        (
            Stopped(0, "signal", resumable=False), RUNNING, "Stopped",
            "Stopped because the system asked for it after step 0 of 100. Nothing was saved to go on from.",
            ExitCode.STOPPED,
        ),
        (
            Stopped(0, "pause", resumable=True), LOOKING, "Paused",
            "Paused before the first step. Resume keeps what was measured of the answers before the first step.",
            ExitCode.STOPPED,
        ),
        (
            Stopped(0, "stop", resumable=False), JOB, "Stopped",
            "Stopped before the work was done. Nothing was saved to go on from.", ExitCode.STOPPED,
        ),
        (
            Failed("out_of_memory", "Memory ran out.", "Use less.", "trace"), SAVED, "Out of memory",
            "Memory ran out. Use less.", ExitCode.FAILED,
        ),
        (Failed("of_tomorrow", "It broke.", "Mend it."), JOB, "Failed", "It broke. Mend it.", ExitCode.FAILED),
    ],
)  # fmt: skip
def test_the_last_word_of_an_engine(
    terminal: Completed | Stopped | Failed, state: RunState, title: str, text: str, code: ExitCode
) -> None:
    outcome = outcome_of(terminal, state)
    assert (outcome.title, outcome.text, outcome.exit_code) == (title, text, code)
    assert outcome.resumable == ((isinstance(terminal, Stopped) and terminal.resumable) or state is SAVED)


def test_an_outcome_carries_the_numbers_of_the_run() -> None:
    outcome = outcome_of(Completed(100, 9.0, "Done.", {"path": "/x"}), RUNNING, exit_status=0)
    assert (outcome.step, outcome.steps, outcome.loss, outcome.seconds) == (40, 100, 1.5, 2.0)
    assert outcome.result == {"path": "/x"}


def test_every_failure_and_every_kind_has_a_title_of_its_own() -> None:
    titles = [Outcome("failed", "", failure=kind).title for kind in FailureKind]
    kinds: tuple[OutcomeKind, ...] = ("completed", "stopped", "failed", "crashed", "lost")
    titles += [Outcome(kind, "").title for kind in kinds]
    assert len(set(titles)) == len(titles)
    assert all(titles)
    assert [Outcome(kind, "").exit_code for kind in kinds] == [0, 5, 4, 4, 4]


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (-9, "ended from outside (SIGKILL)", "ran out of memory (RAM)"),
        (137, "ended from outside (SIGKILL)", "ran out of memory (RAM)"),
        (-11, "native code (SIGSEGV)", "driver"),
        (-6, "native code (SIGABRT)", "driver"),
        (-4, "does not have (SIGILL)", "newer processor"),
        (-15, "Somebody ended the engine (SIGTERM)", "engine.log"),
        (-10, "ended by SIGUSR1", "engine.log"),
        (-77, "ended by signal 77", "engine.log"),
        (0, "without saying how the work went", "engine.log"),
        (1, "exit code 1 and did not say why", "engine.log"),
        (255, "exit code 255", "engine.log"),
    ],
)
@pytest.mark.skipif(not hasattr(__import__("signal"), "SIGUSR1"), reason="signals are POSIX")
def test_the_words_of_a_crash(tmp_path: Path, status: int, said: str, hint: str) -> None:
    folder = RunFolder(tmp_path)
    folder.log.write_text("last words\n")
    outcome = crashed(folder, SAVED, Exit.from_status(status), log_start=0, memory_ran_out=False)
    assert outcome.kind == "crashed"
    assert said in outcome.message
    assert outcome.message.endswith("It had done step 40 of 100.")
    assert hint in outcome.hint
    assert outcome.hint.endswith("Resume goes on from the state saved after step 40.")
    assert (outcome.detail, outcome.resumable) == ("last words", True)


def test_windows_codes_are_put_into_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash.sys, "platform", "win32")
    exit_ = Exit.from_status(0xC0000005)
    outcome = crashed(RunFolder(tmp_path), RUNNING, exit_, log_start=0, memory_ran_out=False)
    assert "an access violation (exit code 0xC0000005)" in outcome.message
    assert "printed nothing" in outcome.hint


def test_a_full_disk_explains_a_silent_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "is_disk_full", lambda folder: True)
    folder = RunFolder(tmp_path)
    assert "is full" in crashed(folder, RUNNING, Exit(1), log_start=0, memory_ran_out=False).hint
    assert "is full" in lost(folder, RUNNING, log_start=0, rebooted=False).hint


def test_lost_and_forced_say_what_is_left(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    away = lost(folder, SAVED, log_start=0, rebooted=False)
    assert (away.title, away.exit_code, away.resumable) == ("The engine is gone", ExitCode.FAILED, True)
    assert "nobody was watching" in away.message
    assert "switched off or restarted" in lost(folder, RUNNING, log_start=0, rebooted=True).message
    by_force = forced(SAVED, Exit(None, "SIGKILL"), asked=True)
    assert (by_force.kind, by_force.signal, by_force.exit_code) == ("stopped", "SIGKILL", ExitCode.STOPPED)
    assert "lost" in by_force.hint
    assert forced(RUNNING, None, asked=False).message.startswith("The engine was ended by force.")


def test_an_end_while_answers_are_measured_says_what_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    exit_ = Exit.from_status(-9)
    early = crashed(folder, LOOKING, exit_, log_start=0, memory_ran_out=True)
    assert early.message.endswith("(SIGKILL). It was measuring how likely both answers were before training.")
    assert (early.resumable, "Resume" in early.hint) == (False, False)
    folder.reference.write_bytes(b"some")
    for later in (
        crashed(folder, LOOKING, exit_, log_start=0, memory_ran_out=True),
        lost(folder, LOOKING, log_start=0, rebooted=True),
        lost(folder, RUNNING, log_start=0, rebooted=False),
        forced(LOOKING, exit_, asked=True, measured=True),
    ):
        assert later.resumable
        assert later.hint.endswith("Resume keeps what was measured of the answers before the first step.")
    saved = crashed(folder, SAVED, exit_, log_start=0, memory_ran_out=False)
    assert saved.hint.endswith("Resume goes on from the state saved after step 40.")


def test_every_combination_is_made_of_whole_sentences(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    outcomes = [
        crashed(folder, state, Exit.from_status(status), log_start=0, memory_ran_out=ran_out)
        for state, status, ran_out in itertools.product(
            (RunState(), RUNNING, SAVED), (-9, -11, -4, -15, -2, 0, 1), (False, True)
        )
    ]
    outcomes += [lost(folder, state, log_start=0, rebooted=on) for state in (RunState(), SAVED) for on in (False, True)]
    outcomes += [forced(state, None, asked=on) for state in (RunState(), SAVED) for on in (False, True)]
    for outcome in outcomes:
        assert outcome.message.endswith(".")
        assert outcome.hint.endswith(".") or outcome.hint == ""
        assert "  " not in outcome.text
        assert outcome.text == outcome.text.strip()


def test_the_end_of_a_log_is_shown_as_a_terminal_would(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    assert last_lines(log, 0) == []
    log.write_bytes(b"old\n" + b"  1 %\r 50 %\r100 %\r\n\x1b[1mbold\x1b[0m\n\n\xff bytes\nno end")
    assert last_lines(log, 4) == ["100 %", "bold", "\N{REPLACEMENT CHARACTER} bytes", "no end"]
    assert last_lines(log, 4, 1) == ["no end"]
    assert last_lines(log, 10_000) == []
    log.write_bytes(b"x" * 100_000 + b"\n" + b"y\n" * 30)
    assert last_lines(log, 0) == ["y"] * 20


def test_an_outcome_is_kept_on_disk(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_outcome(folder) is None
    outcome = outcome_of(Failed("non_finite", "It diverged.", "Lower it.", "t"), SAVED, exit_status=4)
    write_outcome(folder, outcome)
    assert read_outcome(folder) == outcome
    same, later = (ProcessRecord(7, "b", outcome.ended + delay) for delay in (0, 1))
    assert read_outcome(folder, of=same) == outcome
    assert read_outcome(folder, of=later) is None


def test_an_outcome_belongs_to_its_process_whatever_the_clock_says(tmp_path: Path) -> None:
    folder, own = RunFolder(tmp_path), ProcessRecord(7, "b", 0.0)
    outcome = replace(outcome_of(Completed(5, 1.0, "Done.", {}), SAVED), process=process_name(own))
    write_outcome(folder, outcome)
    assert read_outcome(folder, of=replace(own, started=outcome.ended + 3600)) == outcome
    assert read_outcome(folder, of=ProcessRecord(7, "another birth", 0.0)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "exploded", "message": ""}', '{"message": "x"}'])
def test_a_damaged_outcome_is_none(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.outcome.write_text(text)
    assert read_outcome(folder) is None


def test_the_system_is_asked_about_memory() -> None:
    assert memory_kills() >= 0
