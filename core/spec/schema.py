"""The table of settings as a JSON Schema for editors and as a reference for people. Nothing here is written by hand.

``python -m core.spec.schema > docs/settings.md`` brings the reference up to date.
"""

import json
import sys

from core.spec.fields import Bounds, FieldInfo, Kind
from core.spec.migrations import VERSION_KEY
from core.spec.run_spec import SCHEMA_VERSION, field_at, fields, sections
from core.spec.values import LIST_KINDS, readable, to_plain

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TITLE = "Settings of a Lowrank Studio run"
_INTRO = """\
# Settings

Every setting of a run, as it stands in a YAML file, on the command line (`--set adapter.rank=8`) and in the window.
This page is generated from the table in `core/spec/sections.py`: change the texts there.

A file holds sections, and in them only what differs from the defaults:

```yaml
version: 1
model:
  base: starter
data:
  train:
    - rows.jsonl
adapter:
  rank: 8
```

Relative paths are meant from the file's own folder.
"""

_VALUES = {
    Kind.TEXT: "text",
    Kind.TEMPLATE: "name, file or text of a template",
    Kind.PARAGRAPHS: "list of texts",
    Kind.MODEL: "folder, file or name",
    Kind.FOLDER: "folder",
    Kind.FILES: "list of files",
    Kind.CHOICE: "one of the choices below",
    Kind.FLAG: "`true` or `false`",
    Kind.INTEGER: "whole number",
    Kind.NUMBER: "number",
    Kind.NAMES: "list of names",
    Kind.MAPPING: "mapping of names to column names",
    Kind.RANKS: "mapping of module names to ranks",
    Kind.WEIGHTS: "mapping of files to numbers",
}


def json_schema() -> dict[str, object]:
    """A JSON Schema (draft 2020-12) of the spec file, with titles, descriptions, bounds, choices and defaults."""
    properties: dict[str, object] = {
        VERSION_KEY: {
            "title": "Version",
            "description": "Version of the settings' names; files of older versions stay readable.",
            "type": "integer",
            "minimum": 1,
            "maximum": SCHEMA_VERSION,
            "default": SCHEMA_VERSION,
        }
    }
    for section in sections():
        own = {info.name: _field_schema(info) for info in fields() if info.section == section.name}
        properties[section.name] = {
            "title": section.title,
            "description": section.help,
            "type": ["object", "null"],
            "properties": own,
            "additionalProperties": False,
        }
    return {
        "$schema": DIALECT,
        "title": _TITLE,
        "description": "What is not written has its default.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _field_schema(info: FieldInfo) -> dict[str, object]:
    return {
        "title": info.setting.title,
        "description": " ".join([info.setting.help, *_notes(info)]),
        **_type_schema(info),
        "default": to_plain(info.default),
    }


def _type_schema(info: FieldInfo) -> dict[str, object]:
    setting = info.setting
    if setting.kind is Kind.CHOICE:
        options = [
            {"const": choice.value, "title": choice.title, "description": choice.help} for choice in setting.choices
        ]
        return {"type": "string", "oneOf": options}
    if setting.kind in LIST_KINDS:
        return {"type": ["array", "string"], "items": {"type": "string"}}
    if setting.kind is Kind.FLAG:
        return {"type": "boolean"}
    if setting.kind in (Kind.INTEGER, Kind.NUMBER):
        return {"type": setting.kind.value, **_bounds_schema(info)}
    if setting.kind is Kind.MAPPING:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if setting.kind is Kind.RANKS:
        ranks = {"type": "integer", **_bounds_schema(field_at("adapter.rank"))}
        return {"type": "object", "additionalProperties": ranks}
    if setting.kind is Kind.WEIGHTS:
        return {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}}
    return {"type": "string"}


def _bounds_schema(info: FieldInfo) -> dict[str, object]:
    bounds = info.setting.bounds or Bounds()
    return {
        word: _number(value) for word, value in (("minimum", bounds.low), ("maximum", bounds.high)) if value is not None
    }


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _notes(info: FieldInfo) -> list[str]:
    """What the attributes of a setting say, as sentences."""
    setting = info.setting
    notes = []
    if setting.unit:
        notes.append(f"Counted in {setting.unit}.")
    if setting.zero_means:
        empty = "0" if setting.kind in (Kind.INTEGER, Kind.NUMBER) else "Empty"
        notes.append(f"{empty} means: {setting.zero_means}.")
    if setting.visible_when:
        notes.append(f"Ignored unless “{setting.visible_when.path}” is {_either(setting.visible_when.values)}.")
    return notes


def _either(values: tuple[object, ...]) -> str:
    words = [f"“{value}”" if isinstance(value, str) else json.dumps(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def reference_markdown() -> str:
    """The reference of all settings as Markdown: the text of ``docs/settings.md``."""
    parts = [_INTRO]
    for section in sections():
        parts.append(f"## {section.title} (`{section.name}`)\n\n{section.help}\n")
        parts += [_field_reference(info) for info in fields() if info.section == section.name]
    return "\n".join(parts)


def _field_reference(info: FieldInfo) -> str:
    setting = info.setting
    lines = [f"### {setting.title}: `{info.path}`", "", setting.help, ""]
    lines.append(f"- Value: {_VALUES[setting.kind]}{_range(info)}")
    lines.append(f"- Default: {_default(info)}")
    lines += [f"- {note}" for note in _notes(info)]
    if setting.affects:
        lines.append(f"- Affects: {', '.join(setting.affects)}")
    if setting.choices:
        lines += ["", "| choice | | |", "| --- | --- | --- |"]
        lines += [f"| `{choice.value}` | {choice.title} | {choice.help} |" for choice in setting.choices]
    return "\n".join(lines) + "\n"


def _range(info: FieldInfo) -> str:
    bounds = info.setting.bounds
    if bounds is None or bounds.low is None:
        return ""
    return f" from {readable(bounds.low)}" + (f" to {readable(bounds.high)}" if bounds.high is not None else "")


def _default(info: FieldInfo) -> str:
    default = info.default
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, int | float):
        return f"`{default:.10g}`"
    if not default:
        return "empty"
    return f"`{default}`" if isinstance(default, str) else f"`[{', '.join(default)}]`"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]  # a real stream, not a test's
    sys.stdout.write(reference_markdown())
