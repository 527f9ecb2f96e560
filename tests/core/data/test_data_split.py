"""The validation split: what belongs together is never on both sides, whatever the order, and the share is kept."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.dataset import Dataset, load_dataset
from core.data.split import content_key, group_keys, hold_back
from core.data.types import Sample
from core.errors import Problem
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec, ValidationGroups

WORDS = [f"word{number}" for number in range(3000)]


def families(seed: int, count: int = 60) -> list[Sample]:
    """Texts of 60 words, and of every third one up to three copies in which one word is another."""
    source = random.Random(seed)
    samples: list[Sample] = []
    for number in range(count):
        words = source.choices(WORDS, k=60)
        copies = [list(words) for _ in range((number % 3 == 0) * source.randint(1, 3))]
        for copy in copies:
            copy[source.randrange(60)] = source.choice(WORDS)
        for text in (words, *copies):
            samples.append(Sample(f"rows.jsonl:{len(samples) + 1}", completion=" ".join(text)))
    source.shuffle(samples)
    return samples


def resemblance(one: Sample, other: Sample) -> float:
    """The share of groups of three words that both have: above 0.9 between a text above and its copy."""
    a, b = (
        set(zip(words, words[1:], words[2:], strict=False))
        for words in (one.completion.split(), other.completion.split())
    )
    return len(a & b) / len(a | b)


def sides(
    samples: list[Sample], share: float, seed: int, groups: ValidationGroups
) -> tuple[list[Sample], list[Sample]]:
    held = hold_back(group_keys(samples, groups), share, seed)
    return [sample for place, sample in enumerate(samples) if place not in held], [
        samples[place] for place in sorted(held)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_no_near_duplicate_is_on_both_sides(seed: int) -> None:
    samples = families(seed)
    train, held = sides(samples, 0.3, seed, "near")
    assert held
    assert max(resemblance(one, other) for one in train for other in held) < 0.8
    loose, leaked = sides(samples, 0.3, seed, "equal")
    assert max(resemblance(one, other) for one in loose for other in leaked) > 0.9, "which exact ones alone do not see"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("groups", ["equal", "near"])
def test_neither_the_order_nor_the_place_matters(seed: int, groups: ValidationGroups) -> None:
    samples = families(seed)
    _, held = sides(samples, 0.2, 3, groups)
    moved = [Sample(f"elsewhere.csv:{number}", completion=sample.completion) for number, sample in enumerate(samples)]
    random.Random(seed + 1).shuffle(moved)
    _, again = sides(moved, 0.2, 3, groups)
    assert sorted(map(content_key, held)) == sorted(map(content_key, again))
    _, other = sides(samples, 0.2, 4, groups)
    assert sorted(map(content_key, held)) != sorted(map(content_key, other)), "but the seed does"


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5])
def test_the_share_is_kept(share: float) -> None:
    samples = families(5, 200)
    wanted = round(len(samples) * share)
    _, held = sides(samples, share, 1, "near")
    assert wanted - 3 <= len(held) <= wanted, "a family has at most four rows"


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)), max_size=60),
    share=st.floats(0, 0.5, allow_nan=False),
    seed=st.integers(0, 9),
)
def test_files_stay_whole(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    """Rows as (file, content): neither a file nor a content is on both sides."""
    samples = [Sample(f"{file}.txt:{line}", completion=f"text {text}") for line, (file, text) in enumerate(rows)]
    train, held = sides(samples, share, seed, "file")
    assert not {sample.place.partition(":")[0] for sample in train} & {
        sample.place.partition(":")[0] for sample in held
    }
    assert not {sample.completion for sample in train} & {sample.completion for sample in held}
    assert len(held) <= max(1 if share else 0, round(len(rows) * share))


def texts(folder: Path, files: int, paragraphs: int, word: str = "word") -> str:
    folder.mkdir()
    for number in range(files):
        parts = [f"{word} {number} of paragraph {place}." for place in range(paragraphs)]
        (folder / f"{number:02}.txt").write_text("\n\n".join(parts))
    return str(folder)


def load(model: ModelFacts, train: str, **settings: object) -> Dataset:
    spec = DataSpec(train=(train,), train_on="all", text_rows="paragraphs", **settings)  # type: ignore[arg-type]
    return load_dataset(spec, 7, model)


def files_of(found: Dataset) -> tuple[set[str], set[str]]:
    train, held = ({row.place.rpartition(":")[0] for row in side} for side in (found.train, found.validation))
    return train, held


def test_whole_files_are_held_back(tmp_path: Path, model: ModelFacts) -> None:
    folder = texts(tmp_path / "book", files=20, paragraphs=5)
    train, held = files_of(load(model, folder, validation_share=0.1, validation_groups="file"))
    assert (len(train), len(held)) == (18, 2)
    assert not train & held
    parted = files_of(load(model, folder, validation_share=0.1))
    assert parted[0] & parted[1], "by default rows are held back one by one"


def test_files_that_are_too_large_for_the_share(tmp_path: Path, model: ModelFacts) -> None:
    folder = texts(tmp_path / "book", files=4, paragraphs=10)
    found = load(model, folder, validation_share=0.05, validation_groups="file")
    assert found.facts.validation.rows == 0
    problem = about(found, "data.validation_share")
    assert "smallest group of rows that have to stay together has 10 of the 40 rows" in problem.message
    (edit,) = problem.fixes[0].edits
    mended = load(model, folder, validation_groups="file", **{edit.path.partition(".")[2]: edit.value})
    assert mended.facts.validation.rows == 10
    alone = load(model, texts(tmp_path / "one", 1, 30), validation_groups="file")
    assert not about(alone, "data.validation_groups").fixes


def about(found: Dataset, path: str) -> Problem:
    return next(problem for problem in found.problems if problem.path == path)


def write(path: Path, lines: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return str(path)


def test_validation_files_without_what_is_nearly_trained(tmp_path: Path, model: ModelFacts) -> None:
    samples = families(3, 9)
    lines = [sample.completion for sample in samples]
    held = write(tmp_path / "held.jsonl", [lines[0], f"{lines[1]} and more", "something else altogether " * 9])
    train = write(tmp_path / "train.jsonl", lines)
    for groups, rows, words in (
        ("equal", 2, "are also training rows"),
        ("near", 1, "or nearly"),
        ("file", 2, "are also"),
    ):
        found = load(model, train, validation=(held,), validation_groups=groups)
        assert found.facts.validation.rows == rows
        assert words in about(found, "data.validation").message


def test_the_fingerprint_knows_what_was_kept_together(tmp_path: Path, model: ModelFacts) -> None:
    train = write(tmp_path / "train.jsonl", [sample.completion for sample in families(1, 20)])
    every = {
        groups: load(model, train, validation_groups=groups).facts.fingerprint for groups in ("equal", "near", "file")
    }
    assert len(set(every.values())) == 3
    without = [load(model, train, validation_share=0, validation_groups=groups) for groups in ("equal", "near")]
    assert len({found.facts.fingerprint for found in without}) == 1, "where nothing is held back it decides nothing"
