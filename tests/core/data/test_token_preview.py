"""The token view shows exactly what is trained."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.dataset import LoadCancelledError, load_dataset
from core.data.labels import encode_sample
from core.data.templates import choose_template
from core.data.token_preview import TokenPreview, preview_tokens
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.errors import UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.small_tokenizers import write_metaspace

TALK = Sample(
    "rows.jsonl:1",
    (
        Message("system", "Be kind."),
        Message("user", "Naïve café, 東京 🎉 ?"),
        Message("assistant", "Yes 🎉🎉!"),
        Message("user", "And  now?\n"),
        Message("assistant", "Rubbish in front of a fort; 東京."),
    ),
)
PAIR = Sample("rows.jsonl:2", prompt="What is it?", completion=" A thing.")
TEXT = Sample("rows.jsonl:3", completion="The quick brown fox — 東京 — jumps.")


def trained_text(found: TokenPreview) -> str:
    return "".join(piece for piece, trained in zip(found.pieces, found.trained, strict=True) if trained)


@pytest.mark.parametrize("sample", [TALK, PAIR, TEXT], ids=["talk", "pair", "text"])
@pytest.mark.parametrize("train_on", ["completions", "last", "all"])
@pytest.mark.parametrize("template_name", ["auto", "none", "llama3"])
def test_it_is_what_the_engine_trains(
    sample: Sample, train_on: str, template_name: str, tokenizer: Tokenizer, model: ModelFacts
) -> None:
    template = choose_template(template_name, model, tokenizer)
    for limit in (8, 20, 33, 100_000):
        spec = DataSpec(max_length=limit, train_on=train_on)  # type: ignore[arg-type]
        found = preview_tokens(sample, tokenizer, template, spec)
        engine = encode_sample(sample, tokenizer, template, spec.train_on, limit)
        assert found.ids[:limit] == engine.tokens
        assert found.trained[:limit] == engine.trained
        assert found.supervised == engine.supervised
        assert len(found.ids) == len(found.pieces) == len(found.trained) == len(engine.tokens) + engine.lost_tokens
        assert found.cut_at == (limit if engine.lost_tokens else None)


def test_the_pieces_are_the_text(tokenizer: Tokenizer, model: ModelFacts) -> None:
    template = choose_template("auto", model, tokenizer)
    found = preview_tokens(TALK, tokenizer, template, DataSpec())
    assert "".join(found.pieces) == template.render(TALK.messages)
    assert found.pieces[0] == "<|im_start|>"
    assert trained_text(found) == "Yes 🎉🎉!<|im_end|>Rubbish in front of a fort; 東京.<|im_end|>"
    running = preview_tokens(TEXT, tokenizer, template, DataSpec())
    assert "".join(running.pieces) == TEXT.completion + "<|im_end|>"
    assert running.trained == (False, *(True for _ in running.ids[1:]))


def test_a_beginning_that_the_tokenizer_adds_is_shown(bos_tokenizer: Tokenizer, model: ModelFacts) -> None:
    template = choose_template("none", model, bos_tokenizer)
    found = preview_tokens(TEXT, bos_tokenizer, template, DataSpec())
    assert (found.pieces[0], found.trained[0]) == ("<s>", False)
    assert "".join(found.pieces[1:]).startswith(TEXT.completion)


def test_sentencepiece_pieces_are_the_text_too(tmp_path: Path, model: ModelFacts) -> None:
    tokenizer = Tokenizer.load(write_metaspace(tmp_path / "metaspace"))
    template = choose_template("none", dataclasses.replace(model, path=str(tmp_path / "metaspace")), tokenizer)
    found = preview_tokens(TEXT, tokenizer, template, DataSpec())
    assert TEXT.completion in "".join(found.pieces)


def test_a_template_that_refuses_says_so(model_with: Callable[[str], ModelFacts], tokenizer: Tokenizer) -> None:
    template = choose_template("auto", model_with("{{ raise_exception('no system') }}"), tokenizer)
    with pytest.raises(UserError, match="no system"):
        preview_tokens(TALK, tokenizer, template, DataSpec())


# ---------------------------------------------------------------------------------------------------------- cancelling


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json"])
def test_loading_can_be_cancelled_anywhere_and_leaves_nothing(tmp_path: Path, model: ModelFacts, ending: str) -> None:
    import csv

    rows = [{"prompt": f"question {n} " * 40, "completion": f"answer {n}"} for n in range(1200)]
    path = tmp_path / f"rows.{ending}"
    if ending == "csv":
        lines = [",".join(row.values()) for row in rows]
        path.write_text("prompt,completion\n" + "\n".join(lines))
    else:
        path.write_text(json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    spec = DataSpec(train=(str(path),))
    calls: list[tuple[int, int]] = []
    whole = load_dataset(spec, 42, model, on_progress=lambda done, total: calls.append((done, total)))
    before, limit = sorted(tmp_path.rglob("*")), csv.field_size_limit()
    assert len(calls) > 5
    places: list[Callable[[int, int], bool]] = [
        lambda number, done: number == 1,
        lambda number, done: number == 2,
        lambda number, done: done > 0,
        lambda number, done: done >= 1000,
        lambda number, done: done == 1200,
    ]
    for is_there in places:
        numbers = itertools.count(1)

        def tell(done: int, total: int, is_there: Any = is_there, numbers: Any = numbers) -> None:
            if is_there(next(numbers), done):
                raise LoadCancelledError

        with pytest.raises(LoadCancelledError):
            load_dataset(spec, 42, model, on_progress=tell)
        assert sorted(tmp_path.rglob("*")) == before
        assert csv.field_size_limit() == limit
    assert load_dataset(spec, 42, model) == whole
