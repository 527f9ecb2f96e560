"""Every bundled preset is sound, presets do not leave traces of each other, and a broken file is named."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.paths import resource
from core.spec import yaml_text
from core.spec.codec import from_mapping, to_mapping, to_yaml
from core.spec.presets import PERSONAL, Preset, apply_preset, load_presets, presets
from core.spec.rules import check
from core.spec.run_spec import RunSpec, diff, field_at, is_visible

EVERY = pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
GOOD = "name: mine\ntitle: Mine\nhelp: For me.\nsettings: {adapter: {rank: 8}}\n"


def user_spec() -> RunSpec:
    return RunSpec().replace("model.base", "starter").replace("data.train", ("rows.jsonl",))


def broken(tmp_path: Path, content: str, name: str = "mine.yaml") -> str:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_presets(tmp_path)
    assert name in str(caught.value)
    return str(caught.value)


def test_the_presets_are_there() -> None:
    assert [preset.name for preset in presets()] == [
        "chat-small-gpu",
        "chat-best",
        "domain-text",
        "preferences",
        "quick-cpu",
    ]
    assert len({preset.title for preset in presets()}) == 5
    assert len(list(resource("presets").iterdir())) == 5


@EVERY
def test_a_preset_is_sound(preset: Preset) -> None:
    assert preset.help.endswith(".")
    spec = apply_preset(preset.name, user_spec())
    assert check(spec) == ()
    assert from_mapping(to_mapping(spec)) == spec
    assert from_mapping(yaml_text.parse_mapping(to_yaml(spec))) == spec
    for edit in preset.edits:
        assert spec.get(edit.path) == edit.value
        assert is_visible(spec, field_at(edit.path)), f"{edit.path} would be ignored"
        assert edit.path not in PERSONAL


def test_presets_set_the_same_settings_so_that_none_leaves_traces() -> None:
    paths = {tuple(sorted(edit.path for edit in preset.edits)) for preset in presets()}
    assert len(paths) == 1
    for first in presets():
        for second in presets():
            both = apply_preset(second.name, apply_preset(first.name, user_spec()))
            assert both == apply_preset(second.name, user_spec())
    specs = {apply_preset(preset.name, user_spec()) for preset in presets()}
    assert len(specs) == 5


@EVERY
def test_a_preset_keeps_what_the_user_chose(preset: Preset) -> None:
    mine = user_spec().replace("output.name", "mine").replace("training.seed", 1).replace("data.format", "alpaca")
    after = apply_preset(preset.name, mine)
    assert {path for path, _, _ in diff(mine, after)} <= {edit.path for edit in preset.edits}


def test_an_unknown_preset_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="Did you mean “quick-cpu”"):
        apply_preset("quick_cpu", RunSpec())
    with pytest.raises(UserError, match="The presets are “chat-small-gpu”, “chat-best”"):
        apply_preset("zzzzzzz", RunSpec())


def test_settings_may_be_dotted(tmp_path: Path) -> None:
    (tmp_path / "10-mine.yaml").write_text(
        "name: mine\ntitle: Mine\nhelp: For me.\n"
        "settings:\n  adapter.rank: 8\n  training: {epochs: 1}\n  training.learning_rate: 1e-4\n  data:\n"
        "  data.packing: off\n"
    )
    (preset,) = load_presets(tmp_path)
    assert {edit.path: edit.value for edit in preset.edits} == {
        "adapter.rank": 8,
        "training.epochs": 1.0,
        "training.learning_rate": 1e-4,
        "data.packing": "off",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "The file is empty."),
        ("[1]", "holds a list"),
        ("name: [", "not valid YAML"),
        (GOOD + "name: mine\n", "“name” is given 2 times"),
        (GOOD + "extra: 1\n", "“extra” is no part of a preset."),
        (GOOD.replace("title: Mine", "title:"), "The preset has no title."),
        (GOOD.replace("help: For me.", "help: [a]"), "The preset has no help."),
        (GOOD.replace("name: mine\n", ""), "The preset has no name."),
        (GOOD.replace("name: mine", "name: other"), "called “other”, but its file says “mine”"),
        (GOOD.replace("{adapter: {rank: 8}}", ""), "The preset has no settings."),
        (GOOD.replace("{adapter: {rank: 8}}", "{}"), "The preset has no settings."),
        (GOOD.replace("rank: 8", "rnak: 8"), "Did you mean “adapter.rank”?"),
        (GOOD.replace("rank: 8", "rank: x"), "should be a whole number"),
        (GOOD.replace("{adapter: {rank: 8}}", "{adapter: 8}"), "should hold settings"),
        (GOOD.replace("adapter: {rank: 8}", "adapter.rnak: 8"), "Did you mean “adapter.rank”?"),
        (GOOD.replace("{rank: 8}", "{rank: 8}, adapter.rank: 9"), "“adapter.rank” is given twice"),
        (GOOD.replace("adapter: {rank: 8}", "adapter: 8, adapter.rank: 9"), "should hold settings"),
        (GOOD.replace("adapter: {rank: 8}", "model: {base: starter}"), "which is for the user to choose"),
    ],
)
def test_a_broken_preset_is_named_with_its_problem(tmp_path: Path, content: str, words: str) -> None:
    assert words in broken(tmp_path, content)


def test_every_problem_of_every_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.replace("mine", "good"))
    (tmp_path / "bad.yaml").write_text(GOOD)
    text = broken(tmp_path, GOOD.replace("rank: 8", "rank: x, alpha: y").replace("title", "titel"))
    for words in ("bad.yaml", "“titel”", "no title", "“Rank”", "“Alpha”"):
        assert words in text


def test_two_presets_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "10-mine.yaml").write_text(GOOD)
    assert "There is another preset “mine”." in broken(tmp_path, GOOD, "20-mine.yaml")


def test_a_folder_without_presets(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="There are no presets in this folder"):
            load_presets(folder)
