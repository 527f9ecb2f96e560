"""A base model by its files where they are, by the catalogue where they are not."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.facts.base_model import read_base_model
from core.facts.catalogue import find_entry
from core.facts.locate import find_model

NAME = "Qwen/Qwen2.5-7B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def problem(base: str, revision: str = "") -> str:
    with pytest.raises(UserError) as failure:
        read_base_model(base, revision)
    return str(failure.value)


def test_a_model_of_the_catalogue_is_known_before_it_is_here(home: Path) -> None:
    facts = read_base_model(f" {NAME} ")
    entry = find_entry(NAME)
    assert entry is not None
    assert facts is entry.facts
    assert not facts.here
    assert facts.template
    assert read_base_model(NAME, "main") is facts
    assert not read_base_model("openai-community/gpt2").template


def test_its_files_go_before_the_catalogue(home: Path, build) -> None:  # type: ignore[no-untyped-def]
    repository = home / "hub" / f"models--{NAME.replace('/', '--')}"
    build.model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    facts = read_base_model(NAME)
    assert facts.here
    assert facts.num_layers == 2
    (repository / "snapshots" / COMMIT / "config.json").write_text("{")
    assert "not valid JSON" in problem(NAME)  # broken files are not papered over


def test_half_a_download_is_planned_from_the_catalogue(home: Path) -> None:
    blobs = home / "hub" / f"models--{NAME.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(b"12")
    assert not read_base_model(NAME).here


def test_what_the_catalogue_does_not_know(home: Path) -> None:
    assert "the revision" not in problem("nobody/knows-this")
    assert "There is no model" in problem(NAME, "v2")  # shapes of another revision are not the catalogue's to tell
    assert f"Did you mean “{NAME}”?" in problem(NAME.lower())
    assert f"Did you mean “{NAME}”?" in problem(NAME.rpartition("/")[2].lower())  # as people write it
    assert f"Did you mean “{NAME}”?" in problem(f"somebody/{NAME.rpartition('/')[2]}")
    assert "no model is chosen" in problem("").lower() or "No base model" in problem("")


def test_a_start_says_how_to_get_it(home: Path) -> None:
    with pytest.raises(UserError) as failure:
        find_model(NAME)
    assert f"lowrank models --download {NAME}" in failure.value.problems[0].advice
    with pytest.raises(UserError) as failure:
        find_model("Qwen/Qwen2.5-7B-Instruckt")
    assert f"Did you mean “{NAME}”?" in failure.value.problems[0].advice
