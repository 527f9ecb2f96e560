"""The table of settings is complete and consistent: whoever adds a setting and forgets something is told here."""

import dataclasses
import typing
from collections.abc import Mapping

import pytest

from core.spec.fields import Choice, FieldInfo, Kind
from core.spec.rules_data import MAPPING_PARTS
from core.spec.run_spec import RunSpec, diff, field_at, fields, is_visible, sections
from core.spec.values import LIST_KINDS, MAPPING_KINDS, TEXT_KINDS, fits, read_value, to_plain

EVERY = pytest.mark.parametrize("info", fields(), ids=lambda info: info.path)
AFFECTED = {"memory", "speed", "quality", "disk"}
TYPES = {
    Kind.FLAG: bool,
    Kind.INTEGER: int,
    Kind.NUMBER: float,
    Kind.MAPPING: Mapping[str, str],
    Kind.RANKS: Mapping[str, int],
    Kind.WEIGHTS: Mapping[str, float],
    **dict.fromkeys(TEXT_KINDS, str),
    **dict.fromkeys(LIST_KINDS, tuple[str, ...]),
}


def test_every_dataclass_field_is_a_setting_with_a_unique_name() -> None:
    declared = {f"{section.name}.{field.name}" for section in sections() for field in dataclasses.fields(section.type)}
    assert declared == {info.path for info in fields()}
    names = [info.name for info in fields()]
    assert len(names) == len(set(names)), "did-you-mean finds a setting by its last name, so it must be the only one"


def test_every_section_says_what_it_is_about() -> None:
    assert [section.name for section in sections()] == [field.name for field in dataclasses.fields(RunSpec)]
    for section in sections():
        assert section.title
        assert section.help.endswith(".")
        assert isinstance(getattr(RunSpec(), section.name), section.type)


def test_every_kind_is_used_and_understood() -> None:
    assert {info.setting.kind for info in fields()} == set(Kind)
    assert set(TYPES) | {Kind.CHOICE} == set(Kind)


@EVERY
def test_words(info: FieldInfo) -> None:
    setting = info.setting
    assert setting.title == setting.title.strip() != ""
    assert not setting.title.endswith(".")
    assert setting.help.endswith(".")
    assert setting.help[0].isupper() or setting.help.startswith("“")
    assert "  " not in setting.help
    assert set(setting.affects) <= AFFECTED
    assert len(set(setting.affects)) == len(setting.affects)


@EVERY
def test_type_and_default(info: FieldInfo) -> None:
    if info.setting.kind is not Kind.CHOICE:
        assert info.type == TYPES[info.setting.kind]
    assert fits(info, info.default)
    assert read_value(info, to_plain(info.default)) == info.default


@EVERY
def test_bounds(info: FieldInfo) -> None:
    setting = info.setting
    numeric = setting.kind in (Kind.INTEGER, Kind.NUMBER)
    assert (setting.bounds is not None) == numeric, "numbers have bounds, and only numbers"
    if setting.bounds is not None:
        assert setting.bounds.low is not None
        assert setting.bounds.contains(info.default)
        assert not setting.log or setting.bounds.low > 0 or setting.zero_means, "a logarithmic scale has no zero"
    if not numeric:
        assert not setting.unit
        assert setting.step is None
        assert not setting.log


@EVERY
def test_choices(info: FieldInfo) -> None:
    setting = info.setting
    assert bool(setting.choices) == (setting.kind is Kind.CHOICE)
    if setting.choices:
        assert tuple(choice.value for choice in setting.choices) == typing.get_args(info.type)
        assert info.default in typing.get_args(info.type)
        assert len({choice.title for choice in setting.choices}) == len(setting.choices)
    for choice in setting.choices:
        assert isinstance(choice, Choice)
        assert choice.title
        assert choice.help.endswith(".")
        assert choice.value == choice.value.casefold().replace("-", "_"), "the codec ignores case and hyphens"


@EVERY
def test_visibility_points_at_a_setting_that_is_always_visible(info: FieldInfo) -> None:
    when = info.setting.visible_when
    if when is None:
        return
    other = field_at(when.path)
    assert other.path != info.path
    assert other.setting.visible_when is None
    assert when.values
    for value in when.values:
        assert fits(other, value)
        if other.setting.choices:
            assert value in [choice.value for choice in other.setting.choices]


@EVERY
def test_zero_means_only_where_zero_or_empty_is_allowed(info: FieldInfo) -> None:
    setting = info.setting
    if not setting.zero_means:
        return
    assert not setting.zero_means.endswith(".")
    if setting.bounds is not None:
        assert setting.bounds.contains(0)
    else:
        assert setting.kind in TEXT_KINDS | LIST_KINDS | MAPPING_KINDS


def test_the_mapping_names_the_parts_that_the_rules_know() -> None:
    assert all(part in field_at("data.mapping").setting.help for part in MAPPING_PARTS)


def test_specs_are_equal_hash_alike_and_share_no_mapping() -> None:
    one, other = RunSpec(), RunSpec()
    assert one == other
    assert hash(one) == hash(other)
    assert one.data.mapping is not other.data.mapping
    mapped = one.replace("data.mapping", {"prompt": "question"})
    assert mapped != one
    assert mapped.replace("data.mapping", {}) == one
    assert {one: "found"}[other] == "found"
    assert len({one, other, mapped}) == 2


def test_replace_changes_one_setting_and_diff_names_it() -> None:
    changed = RunSpec().replace("adapter.rank", 8)
    assert changed.get("adapter.rank") == 8
    assert diff(RunSpec(), changed) == (("adapter.rank", 16, 8),)
    with pytest.raises(KeyError):
        RunSpec().replace("adapter.rnak", 8)
    with pytest.raises(KeyError):
        RunSpec().get("adapter")


def test_visibility_follows_the_setting_it_points_at() -> None:
    rank = field_at("adapter.rank")
    assert is_visible(RunSpec(), rank)
    assert not is_visible(RunSpec().replace("adapter.method", "full"), rank)
