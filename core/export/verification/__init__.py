"""Verification: every export is opened afresh and must say what was trained."""

from core.export.verification.records import (
    Check,
    Verdict,
    Verification,
    read_verification,
    report_path,
    report_record,
    report_text,
    verdict_of,
    verdict_words,
    write_verification,
)

__all__ = [
    "Check",
    "Verdict",
    "Verification",
    "read_verification",
    "report_path",
    "report_record",
    "report_text",
    "verdict_of",
    "verdict_words",
    "write_verification",
]
