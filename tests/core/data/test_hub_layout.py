"""Which files of a data set belong to which subset and split: the library's own answer where it has one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.data.hub_layout import Config, choose, layout, missing_shards, why_unreadable
from core.errors import UserError
from core.spec.hub_data import HubData

ENGLISH_AND_GERMAN = """
configs:
- config_name: en
  data_files:
  - {split: train, path: en/train.jsonl}
  - {split: test, path: [en/test.jsonl]}
- {config_name: de, default: true, data_files: de/*.jsonl}
"""
SHARDS = "configs: [{config_name: default, data_files: [{split: train, path: 'data/train-*'}]}]"
STATED: list[tuple[list[str], str]] = [
    (["en/train.jsonl", "en/test.jsonl", "de/a.jsonl", "de/b.jsonl", "README.md"], ENGLISH_AND_GERMAN),
    (["data/train-00000-of-00002-0a1b.parquet", "data/train-00001-of-00002-9f9f.parquet", "data/test.csv"], SHARDS),
    (
        ["x/y/a.json", "x/b.json", ".hidden/c.json", "__pycache__/d.json"],
        "configs: [{config_name: c, data_files: '**'}]",
    ),
    (["x/train/a.json", "x/dev/b.json", "z/train/c.json"], "configs: [{config_name: c, data_dir: x}]"),
    (["p/a1.csv", "p/b2.csv", "p/c3.csv"], "configs: [{config_name: c, data_files: ['p/[ab]?.csv', './p/c3.csv']}]"),
]
BY_NAME: list[list[str]] = [
    ["data/train-00000-of-00001.parquet", "data/extra_split-00000-of-00001.parquet", "README.md"],
    ["train.jsonl", "dev.jsonl", "README.md"],
    ["my_train_file.csv", "eval-2.csv", "testing.csv"],
    ["train/a/1.json", "train/2.json", "validation/3.json", "other/4.json"],
    ["sub/my-train/1.json", "sub/test_1/2.json"],
    ["rows.csv", "more/rows2.csv", "dataset_infos.json"],
    ["training.jsonl.gz", "valid.jsonl.gz"],
    ["latest.json", "contest.json"],
]  # fmt: skip


def plain(configs: tuple[Config, ...]) -> dict[str, dict[str, list[str]]]:
    return {config.name: {part.name: sorted(part.files) for part in config.splits} for config in configs}


def folder_with(path: Path, names: list[str]) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("{}")
    return path


def in_library(folder: Path, patterns: Any) -> dict[str, list[str]]:
    """What the Hugging Face library makes of patterns, or of the names alone."""
    from datasets.data_files import DataFilesDict, get_data_patterns, sanitize_patterns

    asked = sanitize_patterns(patterns) if patterns else get_data_patterns(str(folder))
    found = DataFilesDict.from_patterns(asked, base_path=str(folder))
    return {str(split): sorted(str(Path(file).relative_to(folder)) for file in files) for split, files in found.items()}


@pytest.mark.parametrize("names", BY_NAME)
def test_names_alone_are_understood_as_the_library_does(tmp_path: Path, names: list[str]) -> None:
    (config,) = layout(names, {})
    assert (config.name, config.is_default) == ("default", True)
    assert plain((config,))["default"] == in_library(folder_with(tmp_path, names), None)


@pytest.mark.parametrize(("names", "card"), STATED)
def test_cards_are_understood_as_the_library_does(tmp_path: Path, names: list[str], card: str) -> None:
    data = yaml.safe_load(card)
    folder = folder_with(tmp_path, names)
    expected = {
        entry["config_name"]: in_library(folder / entry.get("data_dir", ""), entry.get("data_files"))
        for entry in data["configs"]
    }
    inside = {entry["config_name"]: entry.get("data_dir", "") for entry in data["configs"]}
    found = {
        name: {part: [str(Path(file).relative_to(inside[name])) for file in files] for part, files in parts.items()}
        for name, parts in plain(layout(names, data)).items()
    }
    assert found == expected


def test_the_order_of_shards_and_the_counts_of_the_card() -> None:
    names = [f"data/train-0000{number}-of-00003.parquet" for number in (2, 0, 1)]
    info = {"dataset_info": {"splits": [{"name": "train", "num_examples": 30}, {"name": "test", "num_examples": "x"}]}}
    (config,) = layout(names, info)
    assert config.splits[0].files == tuple(sorted(names))
    assert config.splits[0].rows == 30
    assert missing_shards(names[:2]) == ("data/train-00001-of-00003.parquet",)
    assert missing_shards(["data/train-00000-of-00002-abc.parquet"]) == ()


def test_what_the_hub_has_converted() -> None:
    names = [
        ".gitattributes",
        "plain/train/0000.parquet",
        "plain/train/0001.parquet",
        "plain/partial-test/0000.parquet",
    ]
    assert plain(layout(names, {})) == {"plain": {"train": names[1:3], "test": names[3:]}}
    two = layout([*names, "other/train/0000.parquet"], {})
    assert [config.is_default for config in two] == [False, False]


def test_texts_beside_rows_are_no_rows() -> None:
    names = ["train.jsonl", "notes.txt", "LICENSE.txt", "requirements.txt"]
    assert plain(layout(names, {})) == {"default": {"train": ["train.jsonl"]}}
    assert plain(layout(["book.txt", "README.md", "about.md"], {})) == {"default": {"train": ["book.txt"]}}
    assert plain(layout(["a.csv", "b.csv", "a.parquet"], {}))["default"]["train"] == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    "card",
    [
        {"configs": 3},
        {"configs": [3, {"config_name": 7, "data_files": {"a": 1}}]},
        {"dataset_info": [1, {"splits": [2]}]},
    ],
)
def test_odd_cards_fall_back_to_names(card: dict[str, Any]) -> None:
    assert [part.files for part in layout(["train.jsonl"], card)[0].splits] == [("train.jsonl",)]


CONFIGS = layout(
    ["en/train.jsonl", "en/test.jsonl", "de/a.jsonl"],
    yaml.safe_load(
        "configs: [{config_name: en, data_dir: en}, {config_name: de, data_files: [{split: x, path: de/*}]}]"
    ),
)


def test_choosing() -> None:
    one = CONFIGS[:1]
    assert [part.name for part in choose(one, HubData("a/b"))] == ["en", "train"]
    assert choose(CONFIGS, HubData("a/b", "en", "test"))[1].files == ("en/test.jsonl",)
    assert choose(CONFIGS, HubData("a/b", "de"))[1].name == "x", "the only one"


@pytest.mark.parametrize(
    ("wanted", "message", "advice"),
    [
        (HubData("a/b"), "not clear which is meant: en, de", "hf:a/b/en"),
        (HubData("a/b", "fr"), "no part “fr”; it has: en, de", "hf:a/b/en"),
        (HubData("a/b", "en", "dev"), "no part “dev”; it has: train, test", "hf:a/b/en:train"),
    ],
)
def test_choosing_what_is_not_there(wanted: HubData, message: str, advice: str) -> None:
    with pytest.raises(UserError) as caught:
        choose(CONFIGS, wanted)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert advice in problem.advice


def test_why_nothing_can_be_read() -> None:
    why, advice = why_unreadable(["README.md", "squad.py", ".gitattributes"])
    assert "squad.py" in why
    assert "never run" in why
    assert "@refs/convert/parquet" in advice
    assert ".tar" in why_unreadable(["a/1.tar", "a/2.tar", "b.png"])[0]
    assert "no data files" in why_unreadable(["README.md", ".gitattributes"])[0]
    assert layout(["README.md", "squad.py"], {}) == ()
