"""What can be wrong, as values: problems before a run, failures during one. Knows no other module."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit status of every command line verb; the same numbers with and without ``--json``."""

    DONE = 0
    BAD_SPEC = 2
    DOES_NOT_FIT = 3
    FAILED = 4
    STOPPED = 5


class Severity(StrEnum):
    """How much a problem matters: an error blocks Start, a warning is shown, information explains."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to a spec: the dotted path of a setting and its new value."""

    path: str
    value: object


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that mends a problem with one click: what the button says and the edits behind it."""

    title: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to know before a run.

    Attributes:
        severity: whether it blocks the start.
        path: dotted path of the setting, or the file (with ``:line``), that causes it.
        message: what happened and why, one or two sentences.
        advice: what to do next, one sentence.
        fixes: the same as one-click edits, where an edit of the spec can mend it.
    """

    severity: Severity
    path: str
    message: str
    advice: str
    fixes: tuple[Fix, ...] = ()

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message} {self.advice}".rstrip()


def error(path: str, message: str, advice: str, *fixes: Fix) -> Problem:
    """A problem that blocks the start."""
    return Problem(Severity.ERROR, path, message, advice, fixes)


def warning(path: str, message: str, advice: str, *fixes: Fix) -> Problem:
    """A problem that is shown but blocks nothing."""
    return Problem(Severity.WARNING, path, message, advice, fixes)


class UserError(Exception):
    """Something the user can mend, raised where the work cannot go on.

    Attributes:
        problems: everything that is wrong, never only the first thing found.
        exit_code: what the command line returns for it.
    """

    def __init__(self, *problems: Problem, exit_code: ExitCode = ExitCode.BAD_SPEC) -> None:
        assert problems, "a UserError without a problem tells nobody anything"
        self.problems = problems
        self.exit_code = exit_code
        super().__init__("\n".join(str(problem) for problem in problems))


class FailureKind(StrEnum):
    """The closed set of ways in which an engine job fails."""

    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    NETWORK = "network"
    ACCESS = "access"
    BAD_SPEC = "bad_spec"
    BAD_DATA = "bad_data"
    MODEL_LOAD = "model_load"
    UNSUPPORTED = "unsupported"
    PLAN_MISMATCH = "plan_mismatch"
    RESUME_MISMATCH = "resume_mismatch"
    NON_FINITE = "non_finite"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Failure:
    """How an engine job failed: a kind, a sentence for people, what to do next, and the detail for the log."""

    kind: FailureKind
    message: str
    hint: str
    detail: str = ""


class JobError(Exception):
    """Raised inside an engine job where the failure's kind and words are known."""

    def __init__(self, kind: FailureKind, message: str, hint: str) -> None:
        self.failure = Failure(kind, message, hint)
        super().__init__(message)
