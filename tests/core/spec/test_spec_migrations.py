"""Specs of every version stay readable, and those of a newer program are refused with a sentence."""

import os
from pathlib import Path

import pytest

from core.errors import UserError
from core.spec.codec import from_mapping, read_spec
from core.spec.migrations import STEPS, Step, migrate, renamed
from core.spec.run_spec import SCHEMA_VERSION, RunSpec, fields
from core.spec.sections import AdapterSpec, DataSpec, HardwareSpec, ModelSpec, OutputSpec, TrainingSpec

OLD_SPECS = Path(__file__).parents[2] / "golden" / "old_specs"

GOLDEN = RunSpec(
    model=ModelSpec("starter", "nf4", False, "bf16", "0123abc", True),
    data=DataSpec(
        train=("/data/one.jsonl", "/data/two.csv"),
        validation=("/data/held.jsonl",),
        validation_share=0.1,
        format="alpaca",
        mapping={"prompt": "question", "completion": "answer"},
        template="chatml",
        max_length=1024,
        train_on="all",
        packing="off",
        bad_rows="skip",
        max_rows=500,
    ),
    adapter=AdapterSpec("dora", 8, 16.0, 0.05, ("q_proj", "v_proj"), "last 8", {"11.down_proj": 4}, ("embed_tokens",)),
    training=TrainingSpec(
        epochs=1.5,
        max_steps=30,
        effective_batch=8,
        micro_batch_tokens=4096,
        learning_rate=1e-4,
        schedule="linear",
        warmup=0.1,
        weight_decay=0.01,
        optimizer="paged_adamw_8bit",
        max_grad_norm=0.5,
        seed=7,
        evaluate_every=10,
        early_stopping=3,
        checkpoint_minutes=5.0,
        keep_checkpoints=1,
        max_bad_steps=2,
        sample_prompts=("Who are you?", "Two\nlines"),
        sample_every=20,
        sample_tokens=40,
    ),
    hardware=HardwareSpec("cuda", "sdpa", "layers", 4, 1, 3, True),
    output=OutputSpec("golden", "/runs"),
)

CHAIN = {
    1: Step({"adapter.width": "adapter.rank", "speed.lr": "training.rate"}),
    2: Step({"training.rate": "training.learning_rate"}, lambda tree: tree["adapter"].update(alpha=8)),  # type: ignore[attr-defined]
}


@pytest.mark.skipif(os.name != "posix", reason="the golden paths are absolute on POSIX only")
@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_golden_specs_of_every_version_mean_what_they_meant(version: int) -> None:
    assert read_spec(OLD_SPECS / f"v{version}.yaml") == GOLDEN


def test_every_version_has_a_way_to_the_next_and_a_golden_file() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))
    assert sorted(path.name for path in OLD_SPECS.iterdir()) == [f"v{n}.yaml" for n in range(1, SCHEMA_VERSION + 1)]


def test_renames_lead_to_settings_that_exist() -> None:
    paths = {info.path for info in fields()}
    for step in STEPS.values():
        for old in step.renames:
            assert renamed(old) in paths
            assert old not in paths


def test_steps_follow_each_other() -> None:
    old = {"version": 1, "adapter": {"width": 4, "alpha": 2}, "speed": {"lr": 0.1}}
    new = migrate(old, steps=CHAIN, current=3)
    assert new == {"adapter": {"rank": 4, "alpha": 8}, "training": {"learning_rate": 0.1}}
    assert old["speed"] == {"lr": 0.1}, "the data that came in is left alone"
    assert migrate({**old, "version": "2"}, steps=CHAIN, current=3)["speed"] == {"lr": 0.1}


def test_a_rename_finds_an_empty_or_a_broken_section() -> None:
    moved = migrate({"version": 1, "speed": {"lr": 0.1}, "training": None, "adapter": {}}, steps=CHAIN, current=3)
    assert moved["training"] == {"learning_rate": 0.1}
    broken = migrate({"version": 1, "speed": {"lr": 0.1}, "training": "x", "adapter": {}}, steps=CHAIN, current=3)
    assert broken["training"] == "x"


def test_the_old_and_the_new_name_together_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"“adapter\.width” is now called “adapter\.rank”, and both are given in a\.yaml"
    ):
        migrate({"version": 1, "adapter": {"width": 4, "rank": 8}}, "a.yaml", steps=CHAIN, current=3)


def test_renamed_follows_the_chain() -> None:
    assert renamed("speed.lr", steps=CHAIN) == "training.learning_rate"
    assert renamed("training.rate", steps=CHAIN) == "training.learning_rate"
    assert renamed("adapter.rank", steps=CHAIN) == ""


def test_an_old_name_in_a_new_file_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.spec.codec.renamed", lambda path: "adapter.rank" if path == "adapter.width" else "")
    with pytest.raises(UserError, match=r"It is called “adapter\.rank” now"):
        from_mapping({"adapter": {"width": 4}})


def test_a_newer_version_is_refused_alone() -> None:
    with pytest.raises(UserError) as caught:
        from_mapping({"version": SCHEMA_VERSION + 1, "adaptr": {}}, "a.yaml")
    (problem,) = caught.value.problems
    assert problem.path == "a.yaml"
    assert f"of version {SCHEMA_VERSION + 1}" in problem.message
    assert "Update Lowrank Studio" in problem.advice


@pytest.mark.parametrize("version", ["x", "", None, 0, "0", -1, 1.5, True, [1], "1.0", "9" * 5000, "²"])
def test_what_is_no_version(version: object) -> None:
    with pytest.raises(UserError, match="version") as caught:
        from_mapping({"version": version})
    assert "Write “version: 1”" in caught.value.problems[0].advice


def test_a_version_may_be_a_text_or_missing() -> None:
    assert from_mapping({"version": "1"}) == from_mapping({"version": 1}) == from_mapping({}) == RunSpec()
