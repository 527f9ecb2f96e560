"""Near-duplicates: found where they are, and only there."""

import random
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data import near
from core.data.near import MOST_SHINGLES, NearIndex, near_groups, text_of
from core.data.shingles import shingle
from core.data.types import Message, Sample


def _words(source: random.Random, count: int) -> list[str]:
    return [f"word{source.randrange(10**6)}" for _ in range(count)]


def _texts(*texts: str) -> list[Sample]:
    return [Sample(f"rows:{number}", completion=text) for number, text in enumerate(texts, start=1)]


def _resemblance(one: Sequence[str], other: Sequence[str]) -> float:
    """By the definition, with Python's sets."""
    first, second = (
        {tuple([*words, "", ""][start : start + 3]) for start in range(len(words))} for words in (one, other)
    )
    return len(first & second) / len(first | second)


def _groups(texts: Sequence[str], threshold: float = 0.8) -> tuple[tuple[int, ...], ...]:
    return near_groups(_texts(*texts), threshold=threshold)


@pytest.mark.parametrize("length", [12, 30, 100, 500])
def test_pairs_are_found_exactly_from_the_threshold_on(length: int) -> None:
    source = random.Random(length)
    texts, alike = [], []
    for number in range(200):
        words = _words(source, length)
        changed = list(words)
        for place in source.sample(range(length), round(length * source.choice((0.02, 0.05, 0.1, 0.2)))):
            changed[place] = f"other{source.randrange(10**6)}"
        texts += [" ".join(words), " ".join(changed)]
        if _resemblance(words, changed) >= 0.8:
            alike.append((2 * number, 2 * number + 1))
    found = _groups(texts)
    assert set(found) <= set(alike), "what is called alike was compared word by word"
    assert len(found) >= 0.97 * len(alike) > 0


def test_case_marks_and_spaces_do_not_count() -> None:
    assert _groups(["Where is the station?", "where  is\nthe STATION !!", "Where was the station?"]) == ((0, 1),)


@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好我们去公园散步然后一起喝茶聊天",
        "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะ",
        "नमस्ते दुनिया यह एक लंबा वाक्य है जिसे हम जाँचते हैं",
        "𠀀𠀁𠀂𠀃𠀄𠀅𠀆𠀇𠀈𠀉",
    ],
)
def test_every_script_has_words(text: str) -> None:
    whole = shingle([text])
    assert len(set(whole.values.tolist())) >= 8
    assert _groups([text, text[: len(text) // 3], text + "。"]) == ((0, 2),)


def test_a_shared_system_text_makes_no_rows_alike() -> None:
    system = Message("system", " ".join(_words(random.Random(1), 500)))
    chats = [
        Sample("a:1", (system, Message("user", "How tall is the tower?"), Message("assistant", "Some 300 metres."))),
        Sample("a:2", (system, Message("user", "Who wrote this book?"), Message("assistant", "Nobody knows it."))),
    ]
    assert near_groups(chats) == ()
    assert near_groups([*chats, chats[0]]) == ((0, 2),)


def test_rows_without_words_are_like_no_other() -> None:
    assert _groups(["!!!", "???", "", "...", "a", "a"]) == ((4, 5),)


def test_a_prompt_and_its_answer_count_both() -> None:
    assert text_of(Sample("a:1", prompt="one", completion="two")) == "one\ntwo"


def test_long_texts_are_judged_by_a_part_of_their_words() -> None:
    source = random.Random(3)
    words = _words(source, 3 * MOST_SHINGLES)
    little, much = list(words), list(words)
    for place in source.sample(range(len(words)), len(words) // 50):  # resemblance 0.89
        little[place] = "x"
    for place in source.sample(range(len(words)), len(words) // 8):  # resemblance 0.5
        much[place] = "x"
    assert _groups([" ".join(words), " ".join(little), " ".join(much)]) == ((0, 1),)


def test_texts_longer_than_what_is_worked_on_at_once() -> None:
    source = random.Random(4)
    long, short = " ".join(_words(source, 20_000)), "a short text of seven words in between"
    assert _groups([short, long, short, long.upper(), "nothing like it at all, not one word"]) == ((0, 2), (1, 3))


@given(st.lists(st.text(max_size=30), max_size=12))
@settings(deadline=None, max_examples=60)
def test_any_text_is_compared(texts: list[str]) -> None:
    groups = _groups(texts)
    assert all(list(group) == sorted(group) and len(group) > 1 for group in groups)
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)
    members = [row for group in groups for row in group]
    assert len(members) == len(set(members))
    same = {tuple(shingle([text]).values.tolist()) for text in texts}
    distinct = [text for text in texts if len(shingle([text]).values)]
    assert len(members) - len(groups) >= len(distinct) - len(same), "equal texts are always in one group"


@given(st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), max_size=12), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_what_comes_in_batches_is_what_comes_at_once(words: list[str], size: int) -> None:
    texts = [" ".join(words[start:]) for start in range(len(words))] * 2

    def read(wanted: Sequence[int]) -> Iterable[tuple[int, str]]:
        return ((row, texts[row]) for row in wanted)

    with NearIndex() as index:
        for start in range(0, len(texts), size):
            index.add(texts[start : start + size])
        assert index.groups(read) == _groups(texts)


def test_texts_that_are_gone_when_they_are_wanted_again_are_like_no_other() -> None:
    said = " ".join(_words(random.Random(6), 40))
    texts = [said, *(f"{said} {number}" for number in range(3))]
    with NearIndex() as index:
        index.add(texts)
        assert index.groups(lambda wanted: ((row, texts[row]) for row in wanted)) == ((0, 1, 2, 3),)
        assert index.groups(lambda wanted: ((row, texts[row]) for row in wanted if row != 2)) == ((0, 1, 3),)
        assert index.groups(lambda _: ()) == ()


def test_many_texts_of_one_kind_are_compared_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms that differ in one word of many: every row resembles every other, and each is compared about once."""
    frame = _words(random.Random(5), 60)
    texts = [" ".join([*frame[:30], f"name{number}", *frame[30:]]) for number in range(400)]
    compared = 0
    real = near._Sketches.resemblance

    def counted(self: near._Sketches, one: int, other: int) -> float:
        nonlocal compared
        compared += 1
        return real(self, one, other)

    monkeypatch.setattr(near._Sketches, "resemblance", counted)
    assert _groups(texts) == (tuple(range(400)),)
    assert compared < 800


def test_the_work_ends_when_it_is_no_longer_wanted() -> None:
    class EnoughError(Exception):
        pass

    def ending(after: int) -> Callable[[], None]:
        calls = iter(range(after))

        def alive() -> None:
            if next(calls, None) is None:
                raise EnoughError

        return alive

    texts = _texts(*(f"text number {number // 2} of many" for number in range(600)))
    for after in (0, 2, 3):
        with pytest.raises(EnoughError):
            near_groups(texts, alive=ending(after))
