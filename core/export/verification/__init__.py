"""Verification: every export is opened afresh and must say what was trained."""

from core.export.verification.records import (
    Check,
    Verification,
    read_verification,
    report_path,
    report_text,
    write_verification,
)

__all__ = ["Check", "Verification", "read_verification", "report_path", "report_text", "write_verification"]
