"""YAML and plain data to specs: what is understood, and what is refused with which words."""

import pytest

from core.errors import ExitCode, UserError
from core.spec import yaml_text
from core.spec.codec import MAX_PROBLEMS, from_mapping, to_mapping, to_yaml
from core.spec.names import FOREIGN
from core.spec.run_spec import RunSpec, field_at


def read(text: str) -> RunSpec:
    return from_mapping(yaml_text.parse_mapping(text, "a.yaml"), "a.yaml")


def problems_of(text: str) -> dict[str, str]:
    with pytest.raises(UserError) as caught:
        read(text)
    assert caught.value.exit_code is ExitCode.BAD_SPEC
    for problem in caught.value.problems:
        assert problem.message
        assert problem.advice
    return {problem.path: f"{problem.message} {problem.advice}" for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("path", "written", "value"),
    [
        ("training.learning_rate", "2e-4", 2e-4),
        ("training.learning_rate", "'2e-4'", 2e-4),
        ("training.learning_rate", "1", 1.0),
        ("training.warmup", ".1", 0.1),
        ("training.seed", "4_000", 4000),
        ("training.seed", "'17'", 17),
        ("training.seed", "1e3", 1000),
        ("training.seed", "16.0", 16),
        ("training.seed", "0017", 17),
        ("data.packing", "off", "off"),
        ("data.packing", "no", "off"),
        ("data.packing", "'off'", "off"),
        ("data.packing", "false", "off"),
        ("data.packing", "on", "on"),
        ("data.packing", "yes", "on"),
        ("data.packing", "Off", "off"),
        ("hardware.activation_checkpointing", "off", "off"),
        ("hardware.activation_checkpointing", "no", "off"),
        ("model.quantization", "no", "none"),
        ("model.quantization", "false", "none"),
        ("model.quantization", "NF4", "nf4"),
        ("training.optimizer", "paged-adamw-8bit", "paged_adamw_8bit"),
        ("model.double_quant", "off", False),
        ("model.double_quant", "yes", True),
        ("model.double_quant", "'false'", False),
        ("model.double_quant", "0", False),
        ("model.revision", "12e4567", "12e4567"),
        ("model.revision", "0123", "0123"),
        ("model.revision", "2024-01-01", "2024-01-01"),
        ("output.name", "no", "no"),
        ("output.name", "1:30", "1:30"),
        ("output.name", "~", ""),
        ("output.name", "'null'", "null"),
        ("data.train", "rows.jsonl", ("rows.jsonl",)),
        ("data.train", "[a.jsonl, 'b,c.jsonl']", ("a.jsonl", "b,c.jsonl")),
        ("data.train", "", ()),
        ("data.train", "''", ()),
        ("data.validation", "odd, name.csv", ("odd, name.csv",)),
        ("adapter.targets", "q_proj", ("q_proj",)),
        ("adapter.targets", "q_proj, v_proj", ("q_proj", "v_proj")),
        ("adapter.rank_pattern", "{11.down_proj: 8}", {"11.down_proj": 8}),
        ("adapter.rank_pattern", "", {}),
        ("data.mapping", "{prompt: 7, completion: yes}", {"prompt": "7", "completion": "yes"}),
    ],
)
def test_what_people_write_is_understood(path: str, written: str, value: object) -> None:
    section, _, name = path.partition(".")
    found = read(f"{section}:\n  {name}: {written}\n").get(path)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "raw", "value"),
    [
        ("data.packing", False, "off"),
        ("data.packing", True, "on"),
        ("model.quantization", False, "none"),
        ("training.epochs", 3, 3.0),
        ("training.seed", 3.0, 3),
        ("output.name", 2024, "2024"),
        ("model.double_quant", 1, True),
        ("data.train", ("a", "b"), ("a", "b")),
        ("data.train", "a", ("a",)),
    ],
)
def test_plain_python_data_is_understood(path: str, raw: object, value: object) -> None:
    section, _, name = path.partition(".")
    found = from_mapping({section: {name: raw}}).get(path)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "written", "words"),
    [
        ("adapter.rank", "sixteen", "should be a whole number, but found “sixteen”"),
        ("adapter.rank", "16.5", "a whole number, but found “16.5”"),
        ("adapter.rank", "true", "a whole number, but found “true”"),
        ("adapter.rank", "[16]", "a whole number, but found a list"),
        ("adapter.rank", "", "found nothing. Write a value, or remove the line"),
        ("adapter.rank", "9" * 5000, "a whole number"),
        ("training.learning_rate", ".nan", "Write for example “learning_rate: 0.0002”"),
        ("training.learning_rate", "nan", "Only finite numbers are allowed"),
        ("training.learning_rate", "1e999", "Only finite numbers are allowed"),
        ("training.warmup", "0,05", "Write the decimal point as “.”"),
        ("training.warmup", "5%", "Write a share as a fraction of 1: 0.05"),
        ("training.schedule", "cosin", "Did you mean “cosine”"),
        ("training.schedule", "[cosine]", "“constant”, “cosine_restarts”, “warmup_stable_decay”, but found a list"),
        ("training.schedule", "~", "found nothing"),
        ("model.quantization", "4bit", "Did you mean “nf4”"),
        ("model.quantization", "8", "Did you mean “int8”"),
        ("model.compute_dtype", "bfloat16", "Did you mean “bf16”"),
        ("hardware.device", "gpu", "Did you mean “cuda”"),
        ("model.double_quant", "maybe", "should be true or false, but found “maybe”"),
        ("model.base", "[a]", "but found a list. Write for example “base: starter”"),
        ("model.base", "{a: b}", "but found a mapping"),
        ("data.train", "{a: b}", "a list of files, but found a mapping"),
        ("data.train", "[a, [b]]", "found a list as item 2"),
        ("data.train", "[a, ~]", "found nothing as item 2"),
        ("data.mapping", "prompt", "Write it as {name: value, other: value}"),
        ("data.mapping", "{prompt: [a]}", "found a list for “prompt”"),
        ("adapter.rank_pattern", "{down_proj: big}", "found “big” for “down_proj”"),
        ("adapter.targets", "~", "found nothing"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(path: str, written: str, words: str) -> None:
    section, _, name = path.partition(".")
    found = problems_of(f"{section}:\n  {name}: {written}\n")
    assert list(found) == [path]
    assert words in found[path]
    assert "in a.yaml:2" in found[path]
    assert len(found[path]) < 400


@pytest.mark.parametrize(
    ("text", "path", "advice"),
    [
        ("adapter: {rnak: 3}", "adapter.rnak", "Did you mean “adapter.rank”?"),
        ("adapter: {learning_rate: 3}", "adapter.learning_rate", "lives in the section “training”"),
        ("adapter: {learning_rte: 3}", "adapter.learning_rte", "Did you mean “training.learning_rate”?"),
        ("training: {learning-rate: 3}", "training.learning-rate", "write “training.learning_rate”"),
        ("training: {lr: 3}", "training.lr", "It is called “training.learning_rate” here."),
        ("training: {zzz: 3}", "training.zzz", "“training” has “epochs”"),
        ("trainig: {epochs: 3}", "trainig", "Did you mean the section “training”?"),
        ("Training: {epochs: 3}", "Training", "Write “training”."),
        ("lora_r: 8", "lora_r", "It is called “adapter.rank” here."),
        ("load_in_4bit: true", "load_in_4bit", "“model.quantization” here. 4 bits are “nf4”."),
        ("logging_steps: 10", "logging_steps", "every step is recorded"),
        ("rank: 8", "rank", "“rank” lives in the section “adapter”: write “adapter.rank”."),
        ("adapter.rank: 8", "adapter.rank", "Write the section “adapter:” and, indented below it, “rank:”."),
        ("qqq: 8", "qqq", "A spec has the sections “model”, “data”"),
        ("model: starter", "model", "should hold settings, but found “starter”"),
        ("data: [a.jsonl]", "data", "should hold settings, but found a list"),
    ],
)
def test_unknown_names_get_a_suggestion(text: str, path: str, advice: str) -> None:
    found = problems_of(text)
    assert list(found) == [path]
    assert advice in found[path]
    assert "a.yaml:1" in found[path]


def test_every_problem_is_named_at_once() -> None:
    found = problems_of(
        "modle: {base: a}\n"
        "adapter:\n  rank: x\n  alpha: y\n  rank: 8\n"
        "training: {lr: 1, schedule: cosin}\n"
        "data: {trian: [a]}\n"
    )
    assert set(found) == {
        "a.yaml:5", "modle", "adapter.rank", "adapter.alpha", "training.lr", "training.schedule", "data.trian",
    }  # fmt: skip
    assert "“rank” is given 2 times (lines 3, 5)" in found["a.yaml:5"]


def test_a_flood_of_problems_is_cut_off() -> None:
    with pytest.raises(UserError) as caught:
        from_mapping({f"word{number}": number for number in range(5000)})
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert "the rest was not read" in str(caught.value)
    with pytest.raises(UserError) as caught:
        from_mapping({"adapter": {f"word{number}": number for number in range(5000)}})
    assert len(caught.value.problems) == MAX_PROBLEMS + 1


def test_messages_without_a_file_name_none() -> None:
    with pytest.raises(UserError) as caught:
        from_mapping({"adapter": {"rank": "x"}})
    assert str(caught.value).startswith("adapter.rank: “Rank” should be a whole number")


def test_empty_sections_and_mere_versions_are_the_defaults() -> None:
    assert read("version: 1\nmodel:\nadapter: {}\n") == RunSpec()


@pytest.mark.parametrize("foreign", FOREIGN)
def test_names_of_other_trainers_point_at_settings_that_exist(foreign: str) -> None:
    path, note = FOREIGN[foreign]
    assert path or note
    assert not note or note.endswith(".")
    if path:
        field_at(path)
    (message,) = problems_of(f"{foreign}: 1").values()
    assert (path or note) in message


def test_only_what_differs_is_written_unless_all_is_wanted() -> None:
    spec = RunSpec().replace("adapter.rank", 8)
    assert to_mapping(spec) == {"version": 1, "adapter": {"rank": 8}}
    full = to_mapping(spec, full=True)
    assert list(full) == ["version", "model", "data", "adapter", "training", "hardware", "output"]
    assert from_mapping(full) == spec
    assert sum(len(section) for section in full.values() if isinstance(section, dict)) > 50


def test_the_yaml_is_short_and_reads_well() -> None:
    spec = (
        RunSpec()
        .replace("model.base", "starter")
        .replace("data.train", ("rows.jsonl",))
        .replace("data.packing", "off")
        .replace("model.revision", "2e5")
        .replace("training.sample_prompts", ("One?\nTwo?", "Grüß dich 🙂"))
    )
    lines = to_yaml(spec).splitlines()
    assert lines[0].startswith("# Settings of a Lowrank Studio run.")
    assert lines[1:] == [
        "version: 1",
        "model:",
        "  base: starter",
        "  revision: '2e5'",
        "data:",
        "  train:",
        "    - rows.jsonl",
        "  packing: 'off'",
        "training:",
        "  sample_prompts:",
        "    - |-",
        "      One?",
        "      Two?",
        "    - Grüß dich 🙂",
    ]
