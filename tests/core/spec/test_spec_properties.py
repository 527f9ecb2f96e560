"""What holds for every spec there is, tried on random ones built from the table of settings."""

import math
import string
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.spec import yaml_text
from core.spec.codec import apply_assignments, from_mapping, read_spec, to_mapping, to_yaml, write_spec
from core.spec.fields import FieldInfo, Kind
from core.spec.rules import check
from core.spec.run_spec import RunSpec, diff, field_at, fields, is_visible
from core.spec.values import quote, read_value

STEADY = settings(deadline=None, database=None, derandomize=True)
TRICKY = st.sampled_from(
    (
        *("", "off", "no", "yes", "null", "~", "2e-4", "1_000", "0x1f", "1:30", ".inf", "- a", "a: b", "#", "{", "["),
        *("a\nb", "a\n", "\n", " a", "a ", "\ttab", "é", "\u2028", "\x85", "\ufeff", "🙂", "\x00", "\x1b", "\udcff"),
        *("=", "<<", "!tag", "&a", "*a", "%", "@", "`", "|", ">", "? x", "...", "---", "true", "1e5", "2024-01-01"),
        *("a\r\nb", '"', "~/a", "a, b", "//a", "\\", "'"),
    )
)
TEXTS = st.one_of(TRICKY, st.text(max_size=30), st.text(string.ascii_letters + " \n:#-'\"", max_size=40))
KEYS = st.one_of(TRICKY, st.text(max_size=12))


def values_of(info: FieldInfo) -> st.SearchStrategy[object]:
    """Any value of the setting's type, inside its bounds or not."""
    kind = info.setting.kind
    if kind is Kind.CHOICE:
        return st.sampled_from([choice.value for choice in info.setting.choices])
    if kind is Kind.FLAG:
        return st.booleans()
    if kind is Kind.INTEGER:
        return st.integers(-(10**30), 10**30)
    if kind is Kind.NUMBER:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind in (Kind.FILES, Kind.NAMES, Kind.PARAGRAPHS):
        return st.lists(TEXTS, max_size=4).map(tuple)
    if kind is Kind.MAPPING:
        return st.dictionaries(KEYS, TEXTS, max_size=3)
    if kind is Kind.RANKS:
        return st.dictionaries(KEYS, st.integers(-5, 5000), max_size=3)
    if kind is Kind.WEIGHTS:  # names that read alike would make their problems' sentences alike
        pairs = st.tuples(KEYS, st.floats(-1, 2000))
        return st.lists(pairs, max_size=3, unique_by=lambda pair: quote(pair[0])).map(dict)
    return TEXTS


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    spec = RunSpec()
    for info in draw(st.lists(st.sampled_from(fields()), max_size=12, unique_by=lambda info: info.path)):
        spec = spec.replace(info.path, draw(values_of(info)))
    return spec


@given(specs(), st.booleans())
@settings(STEADY, max_examples=150)
def test_yaml_and_back_is_the_same_spec(spec: RunSpec, full: bool) -> None:
    text = to_yaml(spec, full=full)
    again = from_mapping(yaml_text.parse_mapping(text))
    assert again == spec
    assert diff(spec, again) == ()
    assert to_yaml(again, full=full) == text


@given(specs())
@settings(STEADY, max_examples=100)
def test_plain_data_and_back_is_the_same_spec_and_hashes_alike(spec: RunSpec) -> None:
    for full in (False, True):
        again = from_mapping(to_mapping(spec, full=full))
        assert again == spec
        assert hash(again) == hash(spec)


@given(spec=specs())
@settings(STEADY, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_file_and_back_is_the_same_spec_once_paths_are_absolute(tmp_path: Path, spec: RunSpec) -> None:
    path = tmp_path / "a.yaml"
    write_spec(spec, path)
    once = read_spec(path)
    assert {name for name, _, _ in diff(spec, once)} <= {"data.train", "data.validation", "output.folder", "model.base"}
    write_spec(once, path)
    assert read_spec(path) == once


@given(specs())
@settings(STEADY, max_examples=60)
def test_assignments_say_the_same_as_the_file(spec: RunSpec) -> None:
    simple = (Kind.CHOICE, Kind.FLAG, Kind.INTEGER, Kind.NUMBER)
    written = [f"{path}={new}" for path, _, new in diff(RunSpec(), spec) if field_at(path).setting.kind in simple]
    again = apply_assignments(RunSpec(), written)
    for path, _, new in diff(RunSpec(), spec):
        if field_at(path).setting.kind in simple:
            assert again.get(path) == new


@given(spec=specs(), data=st.data())
@settings(STEADY, max_examples=100)
def test_hidden_settings_change_nothing_that_the_rules_say(spec: RunSpec, data: st.DataObject) -> None:
    hidden = [info for info in fields() if not is_visible(spec, info)]
    if hidden:
        info = data.draw(st.sampled_from(hidden))
        assert check(spec.replace(info.path, data.draw(values_of(info)))) == check(spec)


@given(specs())
@settings(STEADY, max_examples=150)
def test_every_fix_removes_its_problem(spec: RunSpec) -> None:
    for problem in check(spec):
        assert problem.message
        assert problem.advice
        assert not any(ord(letter) < 32 for letter in problem.message + problem.advice)
        for fix in problem.fixes:
            after = spec
            for edit in fix.edits:
                after = after.replace(edit.path, edit.value)
            assert after != spec
            left = [(other.path, other.message) for other in check(after)]
            assert (problem.path, problem.message) not in left


@given(st.sampled_from(fields()), st.text(max_size=20))
@settings(STEADY, max_examples=200)
def test_any_text_is_read_or_refused_and_numbers_are_finite(info: FieldInfo, text: str) -> None:
    try:
        value = read_value(info, text)
    except ValueError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
