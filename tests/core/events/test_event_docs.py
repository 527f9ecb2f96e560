"""docs/events.md names every type and every field, and nothing that is not there."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

from core.events.codec import EVENT_TYPES
from core.events.types import PROTOCOL_VERSION, Phase
from core.runs.layout import REQUESTS

TEXT = (Path(__file__).parents[3] / "docs" / "events.md").read_text("utf-8")


def test_the_table_of_types_is_complete() -> None:
    section = TEXT.partition("## Types")[2].partition("## Rules")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE)
    documented = {name: re.findall(r"`(\w+)`", fields) for name, fields in rows}
    assert documented == {name: [field.name for field in dataclasses.fields(cls)] for name, cls in EVENT_TYPES.items()}


def test_version_phases_and_requests_are_the_real_ones() -> None:
    assert f"Protocol version: {PROTOCOL_VERSION} " in TEXT
    phases = re.search(r"Phases: ([^.]*)\.", TEXT)
    assert phases is not None
    assert tuple(re.findall(r"`(\w+)`", phases[1])) == get_args(Phase)
    requests = re.search(r"`control/`: ([^.]*)\.", TEXT)
    assert requests is not None
    assert tuple(re.findall(r"`(\w+)`", requests[1])) == REQUESTS
