"""Edits of a spec as the options that make them."""

import json
import shlex

from core.errors import Edit


def as_assignment(edit: Edit) -> str:
    """``Edit("data.max_length", 512)`` -> ``data.max_length=512``, quoted as a shell needs it."""
    return shlex.quote(f"{edit.path}={_value_text(edit.value)}")


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return json.dumps(list(value), ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
