"""What a token stands for, and whether it carries loss, is what the library's own offsets say, token by token."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.marking import mark_tokens
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded
from tests.core.data.small_tokenizers import CORPUS, NASTY, write_metaspace, write_tokenizer

Offsets = list[tuple[int, int]]


def walked(text: str, offsets: Offsets, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """The marks in the words of the rule: one walk over tokens and spans."""
    marks = []
    number = 0
    for start, stop in offsets:
        while number < len(spans) and spans[number][1] <= start:
            number += 1
        if number == len(spans):
            break
        first = spans[number][0]
        marks.append(start >= first or (stop > first and bool(text[first:stop].strip())))
    return marks + [False] * (len(offsets) - len(marks))


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[tuple[int, int]]]:
    """A text, tokens that cover it with gaps and overlaps as libraries make them, and spans of it."""
    text = draw(st.text(alphabet="ab \n", max_size=30))
    starts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    stops = sorted(draw(st.lists(st.integers(0, len(text)), min_size=len(starts), max_size=len(starts))))
    offsets = [(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True)]
    edges = sorted(draw(st.sets(st.integers(0, len(text) + 1), max_size=8)))
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    return text, offsets, spans


@given(marked_texts())
def test_marks_follow_the_rule(case: tuple[str, Offsets, list[tuple[int, int]]]) -> None:
    import numpy as np

    text, offsets, spans = case
    starts, stops = (np.array([edge[side] for edge in offsets], np.int64) for side in (0, 1))
    found = mark_tokens(starts, stops, spans, lambda start, stop: text[start:stop])
    assert found.astype(bool).tolist() == walked(text, offsets, spans)


def with_settings(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "tokenizer.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    change(plain)
    path.write_text(json.dumps(plain), encoding="utf-8")
    return folder


def composing(plain: dict[str, Any]) -> None:
    plain["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}


def splitting(plain: dict[str, Any]) -> None:
    digits = {"type": "Digits", "individual_digits": True}
    words = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\s+"}, "behavior": "Isolated", "invert": False}
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    plain["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, words, last]}


def lowering(plain: dict[str, Any]) -> None:
    plain["normalizer"] = {"type": "Lowercase"}


def removing(plain: dict[str, Any]) -> None:
    splitting(plain)
    plain["pre_tokenizer"]["pretokenizers"][1] |= {"pattern": {"Regex": r"\s+"}, "behavior": "Removed"}


def prefixing(plain: dict[str, Any]) -> None:
    plain["pre_tokenizer"]["add_prefix_space"] = True


def stripping(plain: dict[str, Any]) -> None:
    for item in plain["added_tokens"]:
        item["rstrip"] = True


def forgetting(plain: dict[str, Any]) -> None:
    del plain["model"]["vocab"]["q"]
    plain["model"]["merges"] = [pair for pair in plain["model"]["merges"] if "q" not in "".join(pair)]


def unknowing(plain: dict[str, Any]) -> None:
    forgetting(plain)
    plain["model"]["unk_token"] = "<s>"


KINDS: dict[str, tuple[Callable[[dict[str, Any]], None] | None, bool]] = {
    "plain": (None, True), "nfc": (composing, True), "split": (splitting, True), "lower": (lowering, False),
    "removed": (removing, False), "prefix": (prefixing, False), "strip": (stripping, False),
    "no-byte": (forgetting, True), "unknown": (unknowing, False), "metaspace": (None, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Tokenizer]:
    """Tokenizers that cut bytes, and such that change the text, each with and without edges of its own."""
    made = {}
    for name, (change, _) in KINDS.items():
        for edges in (False, True):
            folder = tmp_path_factory.mktemp(name)
            if name == "metaspace":
                write_metaspace(folder)
            else:
                write_tokenizer(folder, begin=edges, end=edges, **({"bos_token": "<s>"} if edges else {}))
            made[name, edges] = Tokenizer.load(with_settings(folder, change) if change else folder)
    return made


def test_only_tokenizers_that_keep_bytes_go_by_widths(kinds: dict[tuple[str, bool], Tokenizer]) -> None:
    for (name, _), tokenizer in kinds.items():
        assert tokenizer.encode_texts(["plain text"]).by_width is KINDS[name][1], name
        assert tokenizer.encode_texts(["plain text"], running=True).by_width is KINDS[name][1], name


def library(tokenizer: Tokenizer, texts: Sequence[str], *, running: bool) -> list[tuple[list[int], Offsets]]:
    """What the library says, with what the application puts around running text."""
    items = tokenizer._backend.encode_batch(list(texts), add_special_tokens=running)
    return [edged(tokenizer, item.ids, item.offsets) if running else (item.ids, item.offsets) for item in items]


def edged(tokenizer: Tokenizer, ids: list[int], offsets: Offsets) -> tuple[list[int], Offsets]:
    added = bool(offsets) and offsets[0] == (0, 0)
    start = 1 if added and tokenizer.bos_id is not None and ids[:2] == [tokenizer.bos_id] * 2 else 0
    ids, offsets = ids[start:], offsets[start:]
    if tokenizer._adds_eos and ids[-1:] == [tokenizer.eos_id]:
        ids, offsets = ids[:-1], offsets[:-1]
    if ids[-1:] == [tokenizer.eos_id]:
        return ids, offsets
    assert tokenizer.eos_id is not None
    end = max((stop for _, stop in offsets), default=0)
    return [*ids, tokenizer.eos_id], [*offsets, (end, end)]


MARKED = [
    "<s>",
    "<|im_end|>",
    "<|im_start|>",
    " ",
    "\n",
    "e\u0301",
    "東京",
    "🎉👩‍👩‍👧",
    "\u00a0",
    "quick",
    "1234",
    "\ufeff",
    "é",
]
TEXTS = st.lists(
    st.one_of(st.text(max_size=30), st.lists(st.sampled_from(MARKED), max_size=8).map("".join)), max_size=5
)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("name", list(KINDS))
@given(texts=TEXTS)
def test_pieces_are_those_of_the_library(
    kinds: dict[tuple[str, bool], Tokenizer], name: str, edges: bool, running: bool, texts: list[str]
) -> None:
    tokenizer = kinds[name, edges]
    for group in (texts, NASTY, CORPUS[:3]):
        pieces = tokenizer.encode_pieces(group, running=running)
        found = [(ids.tolist(), pieces.offsets(number)) for number, (ids, _, _) in enumerate(pieces.rows())]
        expected = library(tokenizer, group, running=running)
        assert [ids for ids, _ in found] == [ids for ids, _ in expected]
        for (_, ours), (_, theirs) in zip(found, expected, strict=True):
            assert ours == theirs


def test_a_forked_process_tokenises_too(tokenizer: Tokenizer) -> None:
    """The threads that a batch uses stay behind when a process is forked off; waiting for them would be for ever."""
    import multiprocessing
    import warnings

    tokenizer.encode_pieces(NASTY * 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this is about
        child = multiprocessing.get_context("fork").Process(target=tokenizer.encode_pieces, args=(NASTY * 50,))
        child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    child.join()
    assert not alive
    assert child.exitcode == 0


def test_rows_are_compact_and_say_the_same() -> None:
    row = Encoded((5, 70_000, 2), (False, True, True), "f:1", 4)
    assert (row.tokens, row.trained, len(row), row.supervised) == ((5, 70_000, 2), (False, True, True), 3, 2)
    assert len(row.ids) + len(row.marks) == 5 * 3
    assert row == Encoded.packed(row.ids, row.marks, "f:1", 4)
    assert hash(row) == hash(Encoded([5, 70_000, 2], [0, 1, 1], "f:1", 4))
    assert row.cut(2) == Encoded((5, 70_000), (False, True), "f:1", 5)
    assert row.cut(3) is row
