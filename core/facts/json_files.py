"""JSON files written by other programs, read with bounds and answered in sentences."""

import json
import re
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.units import format_bytes

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
MAX_BYTES = 256 * 1024 * 1024  # the largest index and tokenizer files in use are below 100 MiB


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        UserError: the file cannot be read, is no JSON (the line is named), or holds something else than an object.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # half a pair could never be written down again
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as failure:
        raise UserError(
            error(
                f"{path}:{failure.lineno}",
                f"The file {path.name} is not valid JSON: {failure.msg} in line {failure.lineno}, "
                f"column {failure.colno}.",
                "Mend the line, or take the file from the model's source again.",
            )
        ) from failure
    except (ValueError, RecursionError) as failure:
        raise UserError(
            error(str(path), f"The file {path.name} is not valid JSON: {failure}.", "Take it from its source again.")
        ) from failure
    if not isinstance(value, dict):
        raise UserError(
            error(
                str(path),
                f"The file {path.name} holds a {type(value).__name__} where an object of settings belongs.",
                "Take the file from the model's source again.",
            )
        )
    return value


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        UserError: the file cannot be read, is far too large, or is not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(
                error(
                    str(path), f"The file {path.name} has {format_bytes(size)}, far more than it should.", "Check it."
                )
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as failure:
        raise UserError(
            error(str(path), f"The file cannot be read: {failure.strerror or failure}.", "Check the file's rights.")
        ) from failure
    except UnicodeDecodeError as failure:
        raise UserError(
            error(
                str(path),
                f"The file {path.name} is not UTF-8 text (byte {failure.start}).",
                "Take the file from the model's source again.",
            )
        ) from failure
