"""How a run ended, as a value with words: the window, the command line and the list of runs say the same."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.errors import ExitCode, FailureKind
from core.events.run_state import RunState
from core.events.types import Completed, Failed, Stopped
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.layout import RunFolder
from core.runs.process_record import ProcessRecord

OutcomeKind = Literal["completed", "stopped", "failed", "crashed", "lost"]
Terminal = Stopped | Failed | Completed

_TITLES: Mapping[OutcomeKind, str] = {
    "completed": "Completed",
    "stopped": "Stopped",
    "failed": "Failed",
    "crashed": "The engine crashed",
    "lost": "The engine is gone",
}
_FAILURE_TITLES: Mapping[str, str] = {
    FailureKind.OUT_OF_MEMORY: "Out of memory",
    FailureKind.DISK_FULL: "The disk is full",
    FailureKind.NETWORK: "The network failed",
    FailureKind.ACCESS: "Access was refused",
    FailureKind.BAD_SPEC: "The settings cannot be used",
    FailureKind.BAD_DATA: "The data cannot be used",
    FailureKind.MODEL_LOAD: "The base model could not be loaded",
    FailureKind.UNSUPPORTED: "Not supported here",
    FailureKind.PLAN_MISMATCH: "The plan no longer holds",
    FailureKind.RESUME_MISMATCH: "The run cannot be resumed",
    FailureKind.NON_FINITE: "The training diverged",
    FailureKind.INTERNAL: "An error in Lowrank Studio",
}
KEPT_MEASUREMENTS = "Resume keeps what was measured of the answers before the first step."
"""What to say where no state was saved yet, but what was measured before the first step (`RunFolder.reference`)."""

_EXIT_CODES: Mapping[OutcomeKind, ExitCode] = {
    "completed": ExitCode.DONE,
    "stopped": ExitCode.STOPPED,
    "failed": ExitCode.FAILED,
    "crashed": ExitCode.FAILED,
    "lost": ExitCode.FAILED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run (or short job) ended.

    Attributes:
        kind: completed; stopped as somebody asked; failed with an explanation; crashed, which was seen and left no
            explanation; lost, which nobody saw.
        message: what happened, in one or two sentences.
        hint: what to do next, in one sentence; may be empty.
        failure: the `FailureKind` of a failed run.
        exit_status: exit code of the process where that was seen; None after a signal.
        signal: name of the signal that ended the process, such as "SIGKILL".
        paused: stopped in order to go on later.
        resumable: a saved state is there to go on from, or what was measured before the first step.
        detail: traceback or the last lines of ``engine.log``.
        result: what the kind of job promises, such as the path it wrote.
        ended: Unix time.
        process: the engine process that it is about (`process_name`); empty while nobody has said.
    """

    kind: OutcomeKind
    message: str
    hint: str = ""
    failure: str = ""
    exit_status: int | None = None
    signal: str = ""
    paused: bool = False
    resumable: bool = False
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    loss: float | None = None
    validation_loss: float | None = None
    detail: str = ""
    result: Mapping[str, object] = field(default_factory=dict)
    ended: float = field(default_factory=time.time)
    process: str = ""

    @property
    def title(self) -> str:
        """Two to six words for a heading or a list."""
        if self.paused:
            return "Paused"
        return _FAILURE_TITLES.get(self.failure, _TITLES[self.kind]) if self.kind == "failed" else _TITLES[self.kind]

    @property
    def text(self) -> str:
        """Everything to say in one paragraph: what happened and what to do next."""
        return f"{self.message} {self.hint}".rstrip()

    @property
    def exit_code(self) -> ExitCode:
        """What the command line returns for it."""
        return _EXIT_CODES[self.kind]


def outcome_of(terminal: Terminal, state: RunState, *, exit_status: int | None = None) -> Outcome:
    """The outcome that an engine's last word stands for."""
    if isinstance(terminal, Completed):
        return summed_up("completed", terminal.message, "", state, exit_status=exit_status, result=terminal.result)
    if isinstance(terminal, Failed):
        return summed_up(
            "failed",
            terminal.message,
            terminal.hint,
            state,
            failure=terminal.kind,
            detail=terminal.detail,
            exit_status=exit_status,
            resumable=bool(state.checkpoints),
        )
    hint = "Resume goes on from there." if terminal.resumable else "Nothing was saved to go on from."
    return summed_up(
        "stopped",
        _stopped_message(terminal, state),
        KEPT_MEASUREMENTS if terminal.resumable and _nothing_learned(terminal, state) else hint,
        state,
        paused=terminal.reason == "pause",
        resumable=terminal.resumable,
        exit_status=exit_status,
    )


def _stopped_message(terminal: Stopped, state: RunState) -> str:
    verb = {"stop": "Stopped", "pause": "Paused", "signal": "Stopped because the system asked for it"}[terminal.reason]
    if state.hello is not None and state.hello.job != "train":
        return f"{verb} before the work was done."
    if terminal.resumable and _nothing_learned(terminal, state):
        return f"{verb} before the first step."
    return f"{verb} after {step_of(terminal.step, state.steps)}."


def _nothing_learned(terminal: Stopped, state: RunState) -> bool:
    """Whether a training was stopped before it had taken a step."""
    return terminal.step == 0 and (state.hello is None or state.hello.job == "train")


def step_of(step: int, steps: int) -> str:
    """``step 40 of 100``, without the total where it is not known."""
    return f"step {step} of {steps}" if steps else f"step {step}"


def summed_up(
    kind: OutcomeKind,
    message: str,
    hint: str,
    state: RunState,
    *,
    failure: str = "",
    exit_status: int | None = None,
    signal: str = "",
    paused: bool = False,
    resumable: bool = False,
    detail: str = "",
    result: Mapping[str, object] | None = None,
) -> Outcome:
    """An outcome with the numbers that the run had reached."""
    return Outcome(
        kind=kind,
        message=message,
        hint=hint,
        failure=failure,
        exit_status=exit_status,
        signal=signal,
        paused=paused,
        resumable=resumable,
        step=state.step,
        steps=state.steps,
        seconds=state.seconds,
        loss=state.loss,
        validation_loss=state.validation_loss,
        detail=detail,
        result=result or {},
    )


def write_outcome(folder: RunFolder, outcome: Outcome) -> None:
    """Puts the outcome into the folder, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_json(folder.outcome, to_plain(outcome))


def read_outcome(folder: RunFolder, *, of: ProcessRecord | None = None) -> Outcome | None:
    """The outcome that somebody wrote; None while there is none (or none that can be read).

    Args:
        folder: where it lies.
        of: only what is said about this engine process. An outcome that names no process is held against the time at
            which it was started; one that does needs no clock, which may have been set back meanwhile.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        outcome = from_plain(Outcome, json.loads(folder.outcome.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, RecordError):
        return None
    if of is None or (outcome.process == process_name(of) if outcome.process else outcome.ended >= of.started):
        return outcome
    return None


def process_name(record: ProcessRecord) -> str:
    """What an outcome calls the process that it is about."""
    return f"{record.pid} {record.birth}"
