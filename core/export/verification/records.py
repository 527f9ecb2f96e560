"""What a verification found: one check for each thing that was compared, with what was measured and what may be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from core.paths import write_json
from core.records import RecordError, from_plain, to_plain

REPORT_FILE = "verification.json"

Verdict = Literal["passed", "failed", "not_compared"]
_ON_WEIGHTS = ("changes", "answers", "opens")
"""Checks that say something of the weights; the others look at texts and tokens alone."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared.

    Attributes:
        name: "template", "special_tokens", "tokenizer", "changes", "opens", "answers", "logits" or
            "greedy".
        measured, limit: as text for people; empty where there is nothing to measure.
        words: what was compared, and what is wrong where it is, in a sentence.
    """

    name: str
    passed: bool
    measured: str
    limit: str
    words: str


def checked(name: str, words: str, *, passed: bool, measured: str = "", limit: str = "") -> Check:
    """A check with what there is to say of it."""
    return Check(name, passed, measured, limit, words)


@dataclass(frozen=True, slots=True)
class Verification:
    """The report on an export.

    Attributes:
        kind: the kind of export.
        precision: what it is written in.
        read_by: the program that opened it; empty where none could.
        checks: everything that was compared.
        notes: what could not be compared, and why, in sentences.
        seconds: how long it took.
    """

    kind: str
    precision: str
    read_by: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """What it comes to; "not_compared" where nothing that was trained could be looked at."""
        return verdict_of(self.checks)

    @property
    def passed(self) -> bool:
        """Whether what was trained was compared, and every check passed."""
        return self.verdict == "passed"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not."""
        return tuple(check for check in self.checks if not check.passed)

    def lasting(self, seconds: float) -> "Verification":
        """The same with the time it took."""
        return replace(self, seconds=seconds)


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """What checks come to; none of the weights means that what was trained has not been compared."""
    if any(not check.passed for check in checks):
        return "failed"
    return "passed" if any(check.name in _ON_WEIGHTS for check in checks) else "not_compared"


def report_path(export: Path) -> Path:
    """Where the report on an export lies: in its folder, or beside its file."""
    return export / REPORT_FILE if export.is_dir() else export.with_name(f"{export.name}.{REPORT_FILE}")


def write_verification(found: Verification, export: Path) -> Path:
    """Keeps a report with its export; one from before gives way."""
    path = report_path(export)
    write_json(path, report_record(found))
    return path


def report_record(found: Verification) -> dict[str, object]:
    """The report as it is kept, and as ``--json`` gives it."""
    return {**to_plain(found), "verdict": found.verdict, "passed": found.passed}


def read_verification(export: Path) -> Verification | None:
    """The report on an export; None where there is none that can be read."""
    import json

    try:
        data: Any = json.loads(report_path(export).read_text(encoding="utf-8"))
        return from_plain(Verification, data)
    except (OSError, ValueError, RecordError):
        return None


def report_text(found: Verification) -> str:
    """The report for people, a line for each check."""
    lines = []
    for check in found.checks:
        measured = f" ({check.measured}{f', at most {check.limit}' if check.limit else ''})" if check.measured else ""
        lines.append(f"{'passed' if check.passed else 'FAILED'}  {check.words}{measured}")
    lines += list(found.notes)
    read_by = f" Read by {found.read_by}." if found.read_by else ""
    return "\n".join([f"{verdict_words(found)}{read_by}", *lines])


def verdict_words(found: Verification) -> str:
    """The verdict in a sentence."""
    if found.verdict == "failed":
        return f"{len(found.failed)} of {len(found.checks)} checks failed."
    if found.verdict == "not_compared":
        return "Not compared: nothing here can look at what was trained in it."
    if any(check.name == "answers" for check in found.checks):
        return "Everything agrees."
    return "All that could be compared agrees; nobody here could ask it for answers."
