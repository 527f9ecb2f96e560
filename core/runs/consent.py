"""The user's consent to go on with a saved state although something has changed: exactly what was shown, no more."""

import json
from collections.abc import Sequence

from core.paths import write_json
from core.records import RecordError, from_plain, to_plain
from core.runs.identity import Change
from core.runs.layout import RunFolder


def write_consent(folder: RunFolder, agreed: Sequence[Change]) -> None:
    """Records what the user has agreed to.

    Raises:
        OSError: it cannot be written.
    """
    write_json(folder.consent, [to_plain(change) for change in agreed])


def read_consent(folder: RunFolder) -> tuple[Change, ...]:
    """What the user has agreed to; nothing where there is no record, or none that can be read.

    Raises:
        OSError: the record is there and cannot be read.
    """
    try:
        items = json.loads(folder.consent.read_text("utf-8"))
        return tuple(from_plain(Change, item) for item in items)
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError, RecursionError, RecordError):
        return ()
