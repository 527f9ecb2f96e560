import dataclasses
import gzip
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data.dataset import Dataset, load_dataset
from core.data.order import seed_number
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded
from core.errors import Edit, Severity, UserError
from core.facts.types import ModelFacts
from core.paths import resource
from core.records import from_plain, to_plain
from core.spec.sections import DataSpec
from tests.core.data.small_tokenizers import write_tokenizer


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def chats(tmp_path: Path) -> str:
    """Forty different conversations."""
    return write(tmp_path / "chats.jsonl", [chat(f"question {number}", f"answer {number}") for number in range(40)])


def contents(rows: Sequence[Encoded]) -> set[tuple[int, ...]]:
    return {row.tokens for row in rows}


def refused(model: ModelFacts, **settings: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load_dataset(DataSpec(**settings), 42, model)
    return caught.value


def test_a_chat_file_becomes_rows_and_facts(chats: str, model: ModelFacts, tokenizer: Tokenizer) -> None:
    told: list[tuple[int, int]] = []
    found = load_dataset(
        DataSpec(train=(chats,)), 42, model, on_progress=lambda done, total: told.append((done, total))
    )
    assert (len(found.train), len(found.validation), found.problems) == (38, 2, ())
    row = found.train[0]
    assert row.place == f"{chats}:1"
    assert tokenizer.decode(row.tokens, skip_special=False).startswith("<|im_start|>user\nquestion 0<|im_end|>")
    facts = found.facts
    assert (facts.shape, facts.template_name, facts.skipped_rows) == ("messages", "model", 0)
    assert (facts.files[0].rows, facts.files[0].format, len(facts.files[0].sha256)) == (40, "jsonl", 64)
    assert facts.train.rows == 38
    assert facts.train.tokens == sum(len(row.tokens) for row in found.train)
    assert told[-1] == (40, 40)
    assert all(done <= total for done, total in told)
    assert from_plain(type(facts), json.loads(json.dumps(to_plain(facts)))) == facts


def test_the_same_spec_gives_the_same_rows(chats: str, model: ModelFacts) -> None:
    spec = DataSpec(train=(chats,), validation_share=0.25, max_rows=20)
    first, second = (load_dataset(spec, 7, model) for _ in range(2))
    assert (first.train, first.validation, first.facts) == (second.train, second.validation, second.facts)
    assert (len(first.train), len(first.validation)) == (15, 5)
    assert not contents(first.train) & contents(first.validation)
    other = load_dataset(spec, 8, model)
    assert contents(other.train) != contents(first.train)


def test_the_fingerprint_follows_all_that_decides_the_tokens(
    chats: str, model: ModelFacts, tmp_path: Path, model_with: Callable[[str], ModelFacts]
) -> None:
    def fingerprint(base: ModelFacts = model, seed: int = 1, **settings: Any) -> str:
        return load_dataset(DataSpec(**{"train": (chats,), **settings}), seed, base).facts.fingerprint

    moved = shutil.copy(chats, tmp_path / "moved.jsonl")
    assert fingerprint(train=(str(moved),)) == fingerprint()
    with Path(moved).open("a") as file:
        file.write(json.dumps(chat("one", "more")))
    changed = dataclasses.replace(model, path=str(write_tokenizer(tmp_path / "tok", bos_token="<s>")))
    different = [
        fingerprint(),
        fingerprint(train=(str(moved),)),
        fingerprint(seed=2),
        fingerprint(max_length=64),
        fingerprint(train_on="all"),
        fingerprint(template="plain"),
        fingerprint(template="none"),
        fingerprint(max_rows=10),
        fingerprint(validation_share=0.2),
        fingerprint(model_with(model.template + " ")),
        fingerprint(changed),
    ]
    assert len(set(different)) == len(different)


def test_several_files_of_several_kinds(model: ModelFacts, tmp_path: Path) -> None:
    chats = write(tmp_path / "a.jsonl", [chat("q", "a")])
    table = tmp_path / "b.csv.gz"
    table.write_bytes(gzip.compress(b"question;answer\nwhat;that\n"))
    text = tmp_path / "c.txt"
    text.write_text("one paragraph\n\nanother\n")
    found = load_dataset(DataSpec(train=(chats, str(table), str(text)), validation_share=0), 1, model)
    assert [Path(row.place).name for row in found.train] == ["a.jsonl:1", "b.csv.gz:2", "c.txt:1", "c.txt:3"]
    assert found.facts.shape == "messages"
    assert "b.csv.gz is “question_answer”; c.txt is “text”" in found.facts.shape_reason
    assert [item.format for item in found.facts.files] == ["jsonl", "csv", "text"]
    assert not found.validation


def test_validation_files_lose_the_rows_that_are_trained(chats: str, model: ModelFacts, tmp_path: Path) -> None:
    held = write(tmp_path / "held.jsonl", [chat("question 3", "answer 3"), chat("new", "row")])
    found = load_dataset(DataSpec(train=(chats,), validation=(held,)), 1, model)
    assert (len(found.train), len(found.validation)) == (40, 1)
    assert "1 validation rows are also training rows" in found.problems[0].message
    again = load_dataset(DataSpec(train=(chats,), validation=(chats,)), 1, model)
    assert not again.validation
    assert {problem.severity for problem in again.problems} == {Severity.WARNING}


def test_duplicates_never_cross_over(model: ModelFacts, tmp_path: Path) -> None:
    rows = [chat(f"q{number % 15}", "a") for number in range(60)]
    found = load_dataset(DataSpec(train=(write(tmp_path / "a.jsonl", rows),), validation_share=0.2), 3, model)
    assert len(found.train) + len(found.validation) == 60
    assert found.validation
    assert not contents(found.train) & contents(found.validation)


def test_bad_rows_stop_the_load_with_twenty_names_and_a_count(model: ModelFacts, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    good = json.dumps(chat("q", "a"))
    path.write_text("\n".join([good, "{broken", json.dumps(chat("q", ""))] + [good + "x"] * 30))
    failure = refused(model, train=(str(path),))
    assert len(failure.problems) == 21
    assert failure.problems[0].path == f"{path}:2"
    assert failure.problems[-1].path == str(path)
    assert failure.problems[-1].message == "12 more rows cannot be used; 32 in all."
    found = load_dataset(DataSpec(train=(str(path),), bad_rows="skip"), 1, model)
    assert (len(found.train), found.facts.skipped_rows, len(found.problems)) == (1, 32, 21)
    assert {problem.severity for problem in found.problems} == {Severity.WARNING}


def test_rows_that_the_template_refuses_are_bad_rows_too(
    model_with: Callable[[str], ModelFacts], tmp_path: Path
) -> None:
    source = "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('never') }}{% endif %}"
    strict = model_with(source + "{{ m.content }}<|im_end|>{% endfor %}")
    path = write(tmp_path / "a.jsonl", [chat("q", "a"), chat("no", "a")])
    assert "never" in str(refused(strict, train=(path,)))
    found = load_dataset(DataSpec(train=(path,), bad_rows="skip"), 1, strict)
    assert (len(found.train), found.facts.skipped_rows) == (1, 1)


def test_rows_without_loss_are_dropped_and_counted(model: ModelFacts, tmp_path: Path) -> None:
    rows = [chat("q", "a"), {"messages": [{"role": "user", "content": "only"}]}, chat("long " * 50, "a")]
    path = write(tmp_path / "a.jsonl", rows)
    found = load_dataset(DataSpec(train=(path,), max_length=40, validation_share=0), 1, model)
    assert (len(found.train), found.facts.fully_masked_rows) == (1, 2)
    assert "2 rows have no token that carries loss" in found.problems[0].message
    assert "1 because the answer begins after" in found.problems[0].message
    (fix,) = found.problems[0].fixes
    assert fix.edits == (Edit("data.train_on", "all"),)
    every = load_dataset(DataSpec(train=(path,), max_length=40, validation_share=0, train_on="all"), 1, model)
    assert every.facts.fully_masked_rows == 0
    nothing = write(tmp_path / "b.jsonl", rows[1:2])
    (none, _) = refused(model, train=(nothing,)).problems
    assert "No row is left to train" in none.message
    assert none.fixes == ()
    behind = write(tmp_path / "c.jsonl", rows[2:])
    (none, _) = refused(model, train=(behind,), max_length=40, validation_share=0).problems
    assert "The answers begin behind data.max_length; raise it." in none.advice
    ((raised,),) = [fix.edits for fix in none.fixes]
    enough = DataSpec(train=(behind,), max_length=int(str(raised.value)), validation_share=0)
    assert len(load_dataset(enough, 1, model).train) == 1, "the fix that is offered mends it"


def test_cut_rows_are_counted_and_left_for_the_plan_to_say(chats: str, model: ModelFacts) -> None:
    whole = load_dataset(DataSpec(train=(chats,)), 1, model).facts.train
    assert (whole.longest_uncut, whole.truncated_rows) == (whole.longest, 0)
    found = load_dataset(DataSpec(train=(chats,), max_length=whole.longest - 1), 1, model)
    cut = found.facts.train
    assert (cut.longest, cut.longest_uncut) == (whole.longest - 1, whole.longest)
    assert cut.truncated_rows > 0
    assert cut.lost_tokens == whole.tokens - cut.tokens
    assert not found.problems


def test_templates_whose_end_the_model_lacks_are_a_warning(chats: str, model: ModelFacts) -> None:
    found = load_dataset(DataSpec(train=(chats,), template="llama3"), 1, model)
    assert "“<|eot_id|>”" in found.problems[0].message
    assert not load_dataset(DataSpec(train=(chats,), template="none"), 1, model).problems


def test_every_unusable_file_is_named_at_once(model: ModelFacts, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    odd = write(tmp_path / "odd.jsonl", [{"a": 1, "b": 2}])
    broken = tmp_path / "broken.json"
    broken.write_text("[1,")
    names = (str(tmp_path / "missing.csv"), str(empty), odd, str(broken), str(tmp_path))
    failure = refused(model, train=names[:3], validation=names[3:])
    assert {problem.path.rpartition(":")[0] or problem.path for problem in failure.problems} >= {str(broken)}
    assert all(any(problem.path.startswith(name) for problem in failure.problems) for name in names)
    assert "no training files" in str(refused(model, train=()))


def test_a_folder_without_tokenizer_is_refused(chats: str, model: ModelFacts, tmp_path: Path) -> None:
    bare = dataclasses.replace(model, path=str(tmp_path))
    assert "no tokenizer.json" in str(refused(bare, train=(chats,)))


def test_the_bundled_sample_set(model: ModelFacts) -> None:
    train, held = resource("data", "devils-dictionary.jsonl"), resource("data", "devils-dictionary-held-back.jsonl")
    found = load_dataset(DataSpec(train=(str(train),), validation=(str(held),)), 42, model)
    assert (len(found.train), len(found.validation)) == (846, 80)
    assert not [problem for problem in found.problems if "also training rows" in problem.message]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """The file after a small accident."""
    blob = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(blob) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            blob = blob[:place]
        elif kind == 1:
            blob[place:place] = chance.choice([b"\0", b'"', b"\n", b"\xff", b"\xef\xbb\xbf", b"{", b"]", b",", b"\\u"])
        elif kind == 2 and place < len(blob):
            blob[place] = chance.randrange(256)
        elif kind == 3:
            del blob[place : place + chance.randrange(1, 40)]
        elif kind == 4:
            blob[place:place] = blob[: chance.randrange(200)]
        else:
            words = [b"null", b"1e999", b"[]", b"{}", b'"\\ud800"', b"true", b"NaN", b"-0.0"]
            blob[place:place] = chance.choice(words)
    return bytes(blob)


def seeds(tmp_path: Path) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [chat(f"question {number}", f"answer, {number}") for number in range(12)]
    tools = [{"from": "human", "value": "q"}, {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}]
    share = [{"conversations": [*tools, {"from": "gpt", "value": "a"}], "tools": "[]", "system": "s"}] * 5
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "seed.parquet")
    jsonl = "".join(json.dumps(row) + "\n" for row in rows)
    return {
        "a.jsonl": jsonl.encode(),
        "b.json": json.dumps({"data": share}, indent=1).encode(),
        "c.csv": b'prompt,completion,system\n"a, b","c\nd",\n' + b"x,y,z\n" * 8,
        "d.txt": "one\n\ntwo über\n\n\nthree".encode(),
        "e.parquet": (tmp_path / "seed.parquet").read_bytes(),
        "f.jsonl.gz": gzip.compress(jsonl.encode(), mtime=0),
        "g.tsv": "instruction\toutput\ni\to\n".encode("utf-16"),
    }


def test_mutated_files_end_in_rows_or_in_words(
    model: ModelFacts, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Reading the tokenizer hundreds of times would take most of the time.
    monkeypatch.setattr("core.data.dataset.Tokenizer", SimpleNamespace(load=lambda _: tokenizer))
    chance = random.Random(11)
    files = seeds(tmp_path)
    ends = {"rows": 0, "words": 0}
    for round_number in range(420):
        name = sorted(files)[round_number % len(files)]
        path = tmp_path / name
        path.write_bytes(mutate(files[name], chance))
        spec = DataSpec(train=(str(path),), bad_rows=chance.choice(["stop", "skip"]), template="plain")
        found = attempt(spec, model)
        if isinstance(found, UserError):
            ends["words"] += 1
            assert all(problem.message and problem.advice and problem.path for problem in found.problems)
            assert len(str(found)) < 20_000
        else:
            ends["rows"] += 1
            check(found)
    assert min(ends.values()) > 60


def attempt(spec: DataSpec, model: ModelFacts) -> Dataset | UserError:
    try:
        return load_dataset(spec, 1, model)
    except UserError as failure:
        return failure


def check(found: Dataset) -> None:
    assert found.train
    for row in (*found.train, *found.validation):
        assert len(row.tokens) == len(row.trained)
        assert row.supervised
        assert not row.trained[0]


# -------------------------------------------------------------------------------------------------- several files


def places(rows: Sequence[Encoded]) -> list[str]:
    return [Path(row.place.rpartition(":")[0]).name + ":" + row.place.rpartition(":")[2] for row in rows]


def two_files(folder: Path) -> tuple[str, str]:
    return (
        write(folder / "a.jsonl", [chat(f"a {number}", "yes") for number in range(20)]),
        write(folder / "b.jsonl", [chat(f"b {number}", "no") for number in range(10)]),
    )


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ({}, (20, 10)),
        ({"b.jsonl": 3.0}, (20, 30)),
        ({"a.jsonl": 0.25, "b.jsonl": 1.5}, (5, 15)),
        ({"a.jsonl": 0.01}, (0, 10)),
    ],
)
def test_weights_say_how_often_an_epoch_takes_the_rows_of_a_file(
    model: ModelFacts, tmp_path: Path, weights: dict[str, float], counts: tuple[int, int]
) -> None:
    files = two_files(tmp_path)
    spec = DataSpec(train=files, weights=weights, validation_share=0)
    found = load_dataset(spec, 7, model)
    assert tuple(sum(place.startswith(name) for place in places(found.train)) for name in "ab") == counts
    assert tuple(item.epoch_rows for item in found.facts.files) == counts
    assert [item.weight for item in found.facts.files] == [weights.get(name, 1.0) for name in ("a.jsonl", "b.jsonl")]
    assert load_dataset(spec, 7, model).train == found.train
    most = max((places(found.train).count(place) for place in places(found.train)), default=0)
    assert most <= max(-(-weight // 1) for weight in (1.0, *weights.values()))


def test_the_seed_chooses_the_share_of_a_file_wherever_it_lies(model: ModelFacts, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here, there = two_files(tmp_path), two_files(tmp_path / "elsewhere")
    spec = DataSpec(train=here, weights={"a.jsonl": 0.5}, validation_share=0)
    moved = dataclasses.replace(spec, train=there, weights={there[0]: 0.5})
    first, again, other = load_dataset(spec, 1, model), load_dataset(moved, 1, model), load_dataset(spec, 2, model)
    assert places(first.train) == places(again.train) != places(other.train)
    assert first.facts.fingerprint == again.facts.fingerprint != other.facts.fingerprint


def test_rows_taken_twice_are_never_both_trained_and_measured(model: ModelFacts, tmp_path: Path) -> None:
    spec = DataSpec(train=two_files(tmp_path), weights={"b.jsonl": 4.0}, validation_share=0.3)
    found = load_dataset(spec, 3, model)
    assert not contents(found.train) & contents(found.validation)
    assert len(found.validation) == len(contents(found.validation))
    assert len(load_dataset(dataclasses.replace(spec, max_rows=12), 3, model).train) <= 12


def test_weights_change_the_fingerprint_and_nothing_else_does(model: ModelFacts, tmp_path: Path) -> None:
    files = two_files(tmp_path)
    plain = load_dataset(DataSpec(train=files), 1, model).facts.fingerprint
    assert load_dataset(DataSpec(train=files, weights={"a.jsonl": 1.0}), 1, model).facts.fingerprint == plain
    assert load_dataset(DataSpec(train=files, text_rows="lines"), 1, model).facts.fingerprint == plain
    assert load_dataset(DataSpec(train=files, encoding="gb18030"), 1, model).facts.fingerprint == plain
    assert load_dataset(DataSpec(train=files, weights={"a.jsonl": 2.0}), 1, model).facts.fingerprint != plain


def earlier_fingerprint(spec: DataSpec, seed: int, found: Dataset, shapes: Sequence[object], model: ModelFacts) -> str:
    """The recipe of the first version, word for word; runs that it started resume by it."""
    tokenizer = Tokenizer.load(Path(model.path))
    template = choose_template(spec.template, model, tokenizer)
    parts = {
        "version": 2,
        "files": [[file.sha256, *shape] for file, shape in zip(found.facts.files, shapes, strict=True)],  # type: ignore[misc]
        "sides": [len(spec.train), len(spec.validation), spec.validation_share],
        "template": [False, template.source, dict(template.variables)],
        "labels": [spec.train_on, spec.max_length, spec.bad_rows, spec.max_rows],
        "seed": seed_number(seed),
        "tokenizer": tokenizer.fingerprint,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def test_fingerprints_are_what_they_were_before_there_were_weights(model: ModelFacts, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", [chat("q", "a"), chat("r", "b")])
    book, table = str(tmp_path / "book.txt"), str(tmp_path / "table.csv")
    Path(book).write_text("one\n\ntwo\n", encoding="utf-8")
    Path(table).write_text("prompt,completion\np,c\n", encoding="utf-8")
    chats = ["messages", {"messages": "messages"}]
    pairs = ["prompt_completion", {"prompt": "prompt", "completion": "completion"}]
    text = ["text", {"text": "text"}]
    for spec, shapes in (
        (DataSpec(train=(rows,), validation_share=0), [chats]),
        (DataSpec(train=(book,), validation_share=0, train_on="all"), [text]),
        (DataSpec(train=(table, rows), validation_share=0.2, max_rows=2), [pairs, chats]),
    ):
        found = load_dataset(spec, 42, model)
        assert found.facts.fingerprint == earlier_fingerprint(spec, 42, found, shapes, model)


def test_a_text_cut_otherwise_has_another_fingerprint(model: ModelFacts, tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("one\ntwo\n\nthree\n---\nfour\n", encoding="utf-8")
    found = {
        unit: load_dataset(DataSpec(train=(str(path),), text_rows=unit, validation_share=0), 1, model)
        for unit in ("auto", "paragraphs", "lines", "file", "separator")
    }
    assert {unit: len(item.train) for unit, item in found.items()} == {
        "auto": 2, "paragraphs": 2, "lines": 5, "file": 1, "separator": 2
    }  # fmt: skip
    assert found["auto"].facts.fingerprint == found["paragraphs"].facts.fingerprint
    assert len({item.facts.fingerprint for item in found.values()}) == 4


def test_a_folder_is_one_set_of_rows(model: ModelFacts, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "b" / ".hidden").mkdir(parents=True)
    for name in ("b/2.txt", "a.txt", "b/1.md", ".x.txt", "b/.hidden/y.txt", "b/note.json"):
        (folder / name).write_text(f"this is {name}\n\nand more\n", encoding="utf-8")
    (folder / "empty.txt").touch()
    found = load_dataset(DataSpec(train=(str(folder),), validation_share=0), 1, model)
    assert [Path(row.place.rpartition(":")[0]).relative_to(folder).as_posix() for row in found.train] == [
        "a.txt", "b/1.md", "b/2.txt"
    ]  # fmt: skip
    (facts,) = found.facts.files
    assert (facts.path, facts.format, facts.rows) == (str(folder), "text", 3)
    assert any("1 files of other kinds" in problem.message for problem in found.problems)
    moved = shutil.copytree(folder, tmp_path / "moved")
    again = load_dataset(DataSpec(train=(str(moved),), validation_share=0), 1, model)
    assert again.facts.fingerprint == found.facts.fingerprint
    (moved / "a.txt").write_text("changed", encoding="utf-8")
    changed = load_dataset(DataSpec(train=(str(moved),), validation_share=0), 1, model)
    assert changed.facts.fingerprint != found.facts.fingerprint


@pytest.mark.parametrize("name", ["cut.json", "cut.jsonl.gz"])
def test_a_damaged_file_gives_the_rows_before_the_damage_if_bad_rows_are_skipped(
    model: ModelFacts, tmp_path: Path, name: str
) -> None:
    rows = [chat(f"question {random.Random(number).random()}", f"answer {number}") for number in range(3000)]
    text = json.dumps(rows) if name == "cut.json" else "".join(json.dumps(row) + "\n" for row in rows)
    blob = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    path = tmp_path / name
    path.write_bytes(blob[: len(blob) * 3 // 4])
    assert "cut off" in str(refused(model, train=(str(path),)))
    found = load_dataset(DataSpec(train=(str(path),), bad_rows="skip", validation_share=0), 1, model)
    assert 1000 < len(found.train) < 3000
    assert any("rows before that place are used" in problem.message for problem in found.problems)


def test_a_file_that_changes_while_it_is_read_is_refused(model: ModelFacts, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "rows.jsonl", [chat(f"question {number}", "a" * 100) for number in range(5000)]))

    def write_on(done: int, total: int) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(chat("late", "row")) + "\n")

    with pytest.raises(UserError, match="changed while it was read"):
        load_dataset(DataSpec(train=(str(path),)), 1, model, on_progress=write_on)


def test_a_file_that_vanishes_while_it_is_read_is_named(model: ModelFacts, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "rows.jsonl", [chat(f"question {number}", "a" * 100) for number in range(5000)]))
    with pytest.raises(UserError, match=r"rows\.jsonl: The file cannot be read"):
        load_dataset(
            DataSpec(train=(str(path),)), 1, model, on_progress=lambda done, total: path.unlink(missing_ok=True)
        )
