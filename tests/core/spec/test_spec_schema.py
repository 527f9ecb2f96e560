"""The JSON Schema is valid and agrees with the codec, and the reference in the docs is up to date."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from core.spec.codec import to_mapping
from core.spec.fields import Kind
from core.spec.run_spec import RunSpec, field_at, fields, sections
from core.spec.schema import DIALECT, json_schema, reference_markdown

ROOT = Path(__file__).parents[3]
WORDS = {
    "$schema", "title", "description", "type", "properties", "additionalProperties", "items", "default", "minimum",
    "maximum", "oneOf", "const",
}  # fmt: skip
TYPES = {"object": Mapping, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def complaints(schema: Mapping, value: object, path: str = "") -> Iterator[str]:
    """A validator for the words that the schema uses, so that the tests need no package for it."""
    assert set(schema) <= WORDS, f"the validator of this test does not know {set(schema) - WORDS}"
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    names = [name for name in names if name != "null" or value is None]
    fitting = [name for name in names if name == "null" or isinstance(value, TYPES[name])]
    if not fitting or (isinstance(value, bool) and "boolean" not in names):
        yield f"{path}: {value!r} is not of type {names}"
        return
    if "oneOf" in schema and sum(option["const"] == value for option in schema["oneOf"]) != 1:
        yield f"{path}: {value!r} is not a choice"
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if isinstance(value, int | float) and not low <= value <= high:
        yield f"{path}: {value} is out of bounds"
    if isinstance(value, list):
        for item in value:
            yield from complaints(schema["items"], item, f"{path}[]")
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = schema.get("properties", {}).get(key, schema["additionalProperties"])
            if below is False:
                yield f"{path}.{key} is unknown"
            else:
                yield from complaints(below, item, f"{path}.{key}")


def test_the_schema_describes_every_setting() -> None:
    schema = json_schema()
    assert schema["$schema"] == DIALECT
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == ["version", *(section.name for section in sections())]
    for info in fields():
        own = properties[info.section]["properties"][info.name]
        assert own["title"] == info.setting.title
        assert own["description"].startswith(info.setting.help)
        if info.setting.choices:
            assert [option["const"] for option in own["oneOf"]] == [choice.value for choice in info.setting.choices]
            assert all(option["description"] and option["title"] for option in own["oneOf"])
        bounds = info.setting.bounds
        if bounds is not None:
            assert own["minimum"] == bounds.low
            assert own.get("maximum") == bounds.high


def test_every_default_and_every_written_spec_follows_the_schema() -> None:
    schema = json_schema()
    assert list(complaints(schema, to_mapping(RunSpec(), full=True))) == []
    assert list(complaints(schema, {"version": 1, "model": None, "data": {"train": "rows.jsonl"}})) == []
    spec = (
        RunSpec()
        .replace("adapter.rank_pattern", {"down_proj": 8})
        .replace("data.mapping", {"prompt": "question"})
        .replace("data.train", ("a", "b"))
        .replace("data.packing", "off")
    )
    assert list(complaints(schema, to_mapping(spec, full=True))) == []


@pytest.mark.parametrize(
    "data",
    [
        {"version": 2},
        {"modle": {}},
        {"model": {"bas": ""}},
        {"model": "starter"},
        {"model": {"quantization": "nf5"}},
        {"model": {"double_quant": 1}},
        {"adapter": {"rank": 0}},
        {"adapter": {"rank": 8.5}},
        {"adapter": {"rank": True}},
        {"adapter": {"rank_pattern": {"down_proj": 0}}},
        {"adapter": {"targets": [1]}},
        {"data": {"mapping": {"prompt": 1}}},
        {"training": {"warmup": 0.9}},
    ],
    ids=str,
)
def test_the_schema_refuses(data: object) -> None:
    assert list(complaints(json_schema(), data))


def test_descriptions_tell_units_zeros_and_conditions() -> None:
    properties = json_schema()["properties"]
    assert isinstance(properties, dict)
    length = properties["data"]["properties"]["max_length"]["description"]
    assert "Counted in tokens." in length
    assert "0 means: automatic." in properties["training"]["properties"]["micro_batch_tokens"]["description"]
    assert "Empty means: the application's runs folder." in properties["output"]["properties"]["folder"]["description"]
    epochs = properties["training"]["properties"]["epochs"]["description"]
    assert epochs.endswith("Ignored unless “training.max_steps” is 0.")
    rank = properties["adapter"]["properties"]["rank"]["description"]
    assert "is “lora”, “rslora” or “dora”." in rank


def test_the_reference_has_every_setting_choice_and_default() -> None:
    text = reference_markdown()
    for info in fields():
        assert f"### {info.setting.title}: `{info.path}`" in text
        assert info.setting.help in text
        for choice in info.setting.choices:
            assert f"| `{choice.value}` | {choice.title} | {choice.help} |" in text
    assert "- Default: `0.0002`" in text
    assert "- Default: `[all-linear]`" in text
    assert "- Value: whole number from 8 to 1,048,576" in text
    assert field_at("data.max_rows").setting.kind is Kind.INTEGER


def test_the_reference_in_the_docs_is_up_to_date() -> None:
    stored = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert stored == reference_markdown(), "run: python -m core.spec.schema > docs/settings.md"


def test_the_command_in_the_docs_prints_the_reference() -> None:
    done = subprocess.run([sys.executable, "-m", "core.spec.schema"], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode("utf-8") == reference_markdown()
    assert done.stderr == b""
