"""Rows come to the same tokens with and without files on disk, whatever happens to those files, and on any core."""

import dataclasses
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import batches, token_cache
from core.data.batches import TokenBatches
from core.data.dataset import Dataset, LoadCancelledError, load_dataset
from core.data.split import content_key
from core.data.templates import ChatTemplate, Writing, choose_template
from core.data.token_cache import TokenCache, clear_tokens, tokens_folder
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, Message, Sample
from core.errors import Edit, Fix, Problem, error
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from core.units import GIB
from tests.core.data.small_tokenizers import NASTY
from tests.core.disks import mounted, tell

ROOT = Path(__file__).resolve().parents[3]
SEED = 42


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this computer's disk has left, there is room here."""
    tell(monkeypatch, 100 * GIB)


def make_rows(path: Path, count: int = 2500) -> str:
    """Chats that differ, some of which the template refuses; about two hundred characters each."""
    source = random.Random(5)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            said = " ".join(
                source.choice(("quick", "naïve café", "東京", "🎉", "lazy dog", "\n\n", "1234")) for _ in range(30)
            )
            turns = [
                {"role": "user", "content": f"{number} {said}"},
                {"role": "assistant", "content": said[::-1] or "x"},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    return str(path)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """Five batches or so."""
    return make_rows(tmp_path / "rows.jsonl")


def load(rows: str, model: ModelFacts, **settings: Any) -> Dataset:
    return load_dataset(DataSpec(train=(rows,), **settings), SEED, model)


def without_files(rows: str, model: ModelFacts, **settings: Any) -> Dataset:
    """The data set as it is when nothing was kept."""
    clear_tokens()
    found = load(rows, model, **settings)
    clear_tokens()
    return found


def kept() -> list[Path]:
    return sorted(tokens_folder().iterdir()) if tokens_folder().is_dir() else []


@pytest.fixture
def hits(monkeypatch: pytest.MonkeyPatch) -> list[TokenCache]:
    """Every cache that a load makes, to ask how many batches were found."""
    made: list[TokenCache] = []

    class Watched(TokenCache):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("core.data.dataset.TokenCache", Watched)
    return made


# ------------------------------------------------------------------------------------------------------ what is kept


documents = st.builds(
    lambda pairs, place: Encoded([token for token, _ in pairs], [trained for _, trained in pairs], place),
    st.lists(st.tuples(st.one_of(st.integers(0, 300), st.integers(0, 2**31 - 1)), st.booleans()), max_size=20),
    st.text(max_size=10),
)
problems = st.builds(
    lambda place, words, edit: error(place, words, words, Fix(words, (Edit("data.template", edit),))),
    st.text(max_size=10), st.text(st.characters(codec="utf-8"), max_size=20), st.text(max_size=5),
)  # fmt: skip


@given(batch=st.lists(st.one_of(documents, problems), max_size=8))
def test_what_is_kept_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, batch: list[Encoded | Problem]
) -> None:
    cache = TokenCache(tmp_path_factory.mktemp("cache"))
    places = [row.place if isinstance(row, Encoded) else row.path for row in batch]
    cache.write("a" * 64, batch)
    assert cache.read("a" * 64, places) == batch
    assert cache.read("b" * 64, places) is None
    moved = cache.read("a" * 64, [f"elsewhere:{number}" for number in range(len(batch))])
    assert moved is not None
    assert [row.place if isinstance(row, Encoded) else row.path for row in moved] == [
        f"elsewhere:{number}" for number in range(len(batch))
    ]


texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8"), max_size=40))
samples = st.one_of(
    st.builds(lambda text: Sample("f:1", completion=text), texts),
    st.builds(lambda asked, said: Sample("f:2", prompt=asked, completion=said), texts, texts),
    st.builds(
        lambda turns: Sample("f:3", tuple(Message(role, text) for role, text in turns)),
        st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=5),
    ),
    st.just(Sample("f:4", (Message("user", "a \ud800 b"), Message("assistant", "half a pair")))),
)


@given(rows=st.lists(samples, max_size=6), train_on=st.sampled_from(["completions", "all", "last"]))
def test_rows_are_the_same_with_files_and_without(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: Tokenizer,
    model: ModelFacts,
    rows: list[Sample],
    train_on: Any,
) -> None:
    template = choose_template("auto", model, tokenizer)
    cache = TokenCache(tmp_path_factory.mktemp("cache"))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_WORTH_KEEPING", 0)
        for used in (None, cache, cache):
            with TokenBatches(tokenizer, template, train_on, alive=lambda: None, cache=used) as work:
                found.append(work.finish(work.begin(rows)))
    assert found[0] == found[1] == found[2]
    assert cache.hits == 1


def test_a_second_load_tokenises_nothing(rows: str, model: ModelFacts, hits: list[TokenCache]) -> None:
    fresh = without_files(rows, model)
    assert load(rows, model) == fresh
    count = len(kept())
    assert count > 3
    assert hits[-1].hits == 0
    assert load(rows, model) == fresh
    assert (hits[-1].hits, len(kept())) == (count, count)


def test_another_limit_or_another_split_needs_no_new_tokens(
    rows: str, model: ModelFacts, hits: list[TokenCache]
) -> None:
    for settings in ({"max_length": 400}, {"validation_share": 0.3}, {"max_length": 377, "validation_share": 0.0}):
        fresh = without_files(rows, model, **settings)
        load(rows, model)
        assert load(rows, model, **settings) == fresh
        assert hits[-1].hits == len(kept())


def test_a_moved_file_needs_no_new_tokens_and_names_its_new_place(
    rows: str, model: ModelFacts, hits: list[TokenCache], tmp_path: Path
) -> None:
    load(rows, model)
    moved = str(Path(rows).rename(tmp_path / "moved.jsonl"))
    found = load(moved, model)
    assert hits[-1].hits == len(kept())
    assert found.train[0].place == f"{moved}:1"


def test_rows_that_fail_fail_again(tmp_path: Path, model: ModelFacts, hits: list[TokenCache]) -> None:
    strict = dataclasses.replace(
        model,
        template="{% if '7' in messages[0].content[:4] %}{{ raise_exception('no seven') }}{% endif %}" + model.template,
    )
    path = make_rows(tmp_path / "some.jsonl", 600)
    fresh = without_files(path, strict, bad_rows="skip")
    assert fresh.facts.skipped_rows > 100
    for _ in range(2):
        assert load(path, strict, bad_rows="skip") == fresh
    assert hits[-1].hits > 0


def test_whatever_decides_the_tokens_decides_the_key(
    tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model: ModelFacts, model_with: Callable[[str], ModelFacts]
) -> None:
    def key(
        sample: Sample, cutter: Tokenizer = tokenizer, base: ModelFacts = model, choice: str = "auto", **more: Any
    ) -> str:
        template: ChatTemplate = choose_template(choice, base, cutter)
        identity = batches._identity(cutter, template, more.get("train_on", "completions"))
        found = batches._batch_key(identity, [sample], [b""])
        assert found == batches._batch_key(identity, [sample], [content_key(sample)])
        return found

    def call(**arguments: str) -> Sample:
        extra = {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
        return Sample("f:1", (Message("user", "q"), Message("assistant", "", extra)))

    plain = Sample("f:1", (Message("user", "q"), Message("assistant", "a")))
    keys = [
        key(plain), key(plain, bos_tokenizer), key(plain, base=model_with(model.template + " ")),
        key(plain, choice="none"), key(plain, choice="plain"), key(plain, train_on="all"), key(plain, train_on="last"),
        key(Sample("f:1", prompt="q", completion="a")), key(Sample("f:1", completion="qa")),
        key(dataclasses.replace(plain, tools=({"name": "f"},))),
        key(Sample("f:1", (Message("user", "q"), Message("assistant", "a", {"weight": 0})))),
        key(call(a="1", b="2")), key(call(b="2", a="1")),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key(plain) == key(dataclasses.replace(plain, place="elsewhere:9"))


# -------------------------------------------------------------------------------------------------- what may go wrong


def damaged(blob: bytes) -> Iterator[bytes]:
    source = random.Random(3)
    for size in (0, 1, 16, 17, 30, 49, 53, 60, len(blob) // 2, len(blob) - 1):
        yield blob[:size]
    for _ in range(40):
        place = source.randrange(len(blob))
        yield blob[:place] + bytes([blob[place] ^ (1 << source.randrange(8))]) + blob[place + 1 :]
    yield blob + b"more"
    yield b"\0" * len(blob)
    yield os.urandom(len(blob))


def test_a_damaged_or_foreign_file_is_made_again(rows: str, model: ModelFacts, hits: list[TokenCache]) -> None:
    fresh = without_files(rows, model)
    load(rows, model)
    victim, other, *_ = kept()
    blob = victim.read_bytes()
    cache = TokenCache(tokens_folder())
    for broken in damaged(blob):
        victim.write_bytes(broken)
        assert cache.read(victim.stem, ["f:1"] * 512) is None
        assert not victim.exists()
    for broken in (blob[: len(blob) // 2], other.read_bytes()):
        victim.write_bytes(broken)
        assert load(rows, model) == fresh
        assert hits[-1].hits == len(kept()) - 1
        assert victim.read_bytes() == blob


PROGRAM = """
import hashlib, os, signal, sys
from core.data.dataset import load_dataset
from core.spec.sections import DataSpec
from tests.core.data.small_tokenizers import model_of
from pathlib import Path

def tell(done, total):
    if int(sys.argv[3]) and done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

found = load_dataset(DataSpec(train=(sys.argv[1],)), 42, model_of(Path(sys.argv[2])), on_progress=tell)
digest = hashlib.sha256()
for row in (*found.train, *found.validation):
    digest.update(row.ids + row.marks + row.place.encode())
print(digest.hexdigest())
"""


def start(rows: str, model: ModelFacts, kill_at: int = 0, **env: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, rows, model.path, str(kill_at)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)


def digest_of(found: Dataset) -> str:
    digest = hashlib.sha256()
    for row in (*found.train, *found.validation):
        digest.update(row.ids + row.marks + row.place.encode())
    return digest.hexdigest()


def test_a_killed_program_is_gone_on_with(rows: str, model: ModelFacts, hits: list[TokenCache]) -> None:
    fresh = without_files(rows, model)
    process = start(rows, model, kill_at=1000)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = len(kept())
    assert done > 0
    assert load(rows, model) == fresh
    assert hits[-1].hits == done < len(kept())


def test_a_cancelled_load_is_gone_on_with(rows: str, model: ModelFacts, hits: list[TokenCache]) -> None:
    fresh = without_files(rows, model)

    def tell(done: int, total: int) -> None:
        if done >= 1000:
            raise LoadCancelledError

    with pytest.raises(LoadCancelledError):
        load_dataset(DataSpec(train=(rows,)), SEED, model, on_progress=tell)
    done = len(kept())
    assert done > 0
    assert load(rows, model) == fresh
    assert hits[-1].hits == done < len(kept())


def test_two_programs_at_once_and_any_number_of_cores(rows: str, model: ModelFacts) -> None:
    expected = digest_of(without_files(rows, model))
    cores = [{"RAYON_NUM_THREADS": "1"}, {"RAYON_NUM_THREADS": "7"}, {"TOKENIZERS_PARALLELISM": "false"}]
    processes = [start(rows, model, **env) for env in cores]
    assert [process.communicate()[0].strip() for process in processes] == [expected] * 3
    assert all(path.suffix == ".tokens" for path in kept())
    assert len(kept()) > 3
    assert digest_of(load(rows, model)) == expected


def test_a_disk_that_fills_up_costs_nothing_but_the_files(
    rows: str, model: ModelFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = without_files(rows, model)
    with mounted(tmp_path / "disk", 1) as disk:
        monkeypatch.setenv("LOWRANK_HOME", str(disk))
        (disk / "other").write_bytes(b"\0" * (1_048_576 - 300_000))
        assert load(rows, model) == fresh
        assert all(path.suffix == ".tokens" for path in kept())
        first = len(kept())
        assert load(rows, model) == fresh
        assert len(kept()) == first


def test_a_read_only_folder_costs_nothing_but_the_files(
    rows: str, model: ModelFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hits: list[TokenCache]
) -> None:
    fresh = without_files(rows, model)
    with mounted(tmp_path / "disk", 8) as disk:
        monkeypatch.setenv("LOWRANK_HOME", str(disk))
        for changed in (False, True):
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            assert load(rows, model) == fresh
            assert (hits[-1].hits > 0) is changed
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            load(rows, model)


def test_a_file_where_the_folder_should_be_costs_nothing(rows: str, model: ModelFacts, lowrank_home: Path) -> None:
    fresh = without_files(rows, model)
    lowrank_home.mkdir(exist_ok=True)
    for path in (tokens_folder(), tokens_folder().parent):
        if path.is_dir():
            path.rmdir()
    tokens_folder().parent.write_text("no folder")
    assert load(rows, model) == fresh


def test_room_is_left_on_the_disk(rows: str, model: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, GIB)
    load(rows, model)
    assert kept() == []


def test_everything_can_be_deleted(rows: str, model: ModelFacts) -> None:
    load(rows, model)
    size = sum(path.stat().st_size for path in kept())
    assert clear_tokens() == size > 0
    assert kept() == []
    assert clear_tokens() == 0


# -------------------------------------------------------------------------------------------------------- cancelling


def test_nobody_waits_long_for_the_next_chance_to_cancel(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that goes on by 0.02 s for each look at it, hardly more than 0.1 s lies between two questions.

    It is looked at before each row is written, so what is counted are rows between two chances to cancel.
    """
    ticks = itertools.count()
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: 0.02 * next(ticks)))
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(600):
            said = f"{number} the quick brown fox " * (2000 if number % 300 == 299 else 20)
            turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "a"}]
            file.write(json.dumps({"messages": turns}) + "\n")
    written = 0
    gaps: list[int] = []
    write = ChatTemplate.write

    def counted(self: ChatTemplate, messages: Sequence[Message], **more: Any) -> Writing:
        nonlocal written
        written += 1
        return write(self, messages, **more)

    def tell(done: int, total: int) -> None:
        nonlocal written
        gaps.append(written)
        written = 0

    monkeypatch.setattr(ChatTemplate, "write", counted)
    load_dataset(DataSpec(train=(str(path),)), SEED, model, on_progress=tell)
    assert sum(gaps) == 600
    assert max(gaps) <= 8


def test_a_wait_for_the_library_can_be_ended(
    tmp_path: Path, tokenizer: Tokenizer, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of four million characters keeps the library busy for seconds; nobody has to wait for it."""
    template = choose_template("none", model, tokenizer)
    row = Sample("f:1", completion="the quick brown fox " * 200_000)
    asked: list[float] = []

    def tell() -> None:
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise LoadCancelledError

    with TokenBatches(tokenizer, template, "all", alive=tell) as work:
        batch = work.begin([row])
        began = time.monotonic()
        with pytest.raises(LoadCancelledError):
            work.finish(batch)
        assert asked[-1] - began < 3 * 0.3
        assert batch.found is not None
        assert not batch.found.done()
    batch.found.result()  # so that nothing of this test is left running


def test_very_long_rows_are_tokenised_one_at_a_time(
    tokenizer: Tokenizer, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library takes hundreds of bytes for a token while it works, so what is on its way has a bound."""
    monkeypatch.setattr(batches, "MOST_CHARACTERS", 500)
    monkeypatch.setattr(batches, "_CHARACTERS_AHEAD", 2000)
    rows = [Sample(f"f:{n}", completion="the fox " * (300 if 3 <= n < 6 else 20)) for n in range(12)]
    on_its_way: list[list[int]] = []
    with TokenBatches(tokenizer, choose_template("none", model, tokenizer), "all", alive=lambda: None) as work:
        begin = work.begin

        def watched(samples: Sequence[Sample], *more: Any) -> batches.Pending:
            batch = begin(samples, *more)
            on_its_way.append([*(each.size for each in work._waiting), batch.size])
            return batch

        monkeypatch.setattr(work, "begin", watched)
        done = [pair for row in rows for some in work.add(row) for pair in some]
        done += [pair for some in work.flush() for pair in some]
    assert [sample for sample, _ in done] == rows
    assert all(len(sizes) == 1 or sum(sizes) <= 2000 for sizes in on_its_way)
    assert max(map(sum, on_its_way)) > 2000, "a row may be longer than that, and is alone then"
    assert max(map(len, on_its_way)) > 1


def test_constants_fit_each_other() -> None:
    assert batches.MOST_CHARACTERS > batches._WORTH_KEEPING
    assert token_cache.LIMIT > 100 * batches.MOST_CHARACTERS
