"""Parts of the report by themselves: exact lengths, the sides of the validation split in arrays, and languages."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.report.languages import NAMES, language_of
from core.data.report.sides import held_back, keys_of_files, keys_of_groups
from core.data.report.types import Lengths
from core.data.split import content_key, group_keys, hold_back
from core.data.types import Sample


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 70), st.integers(1, 30))
def test_lengths_are_exact(sizes: list[int], limit: int, width: int) -> None:
    counts = sorted({size: sizes.count(size) for size in sizes}.items())
    lengths = Lengths(tuple(size for size, _ in counts), tuple(count for _, count in counts))
    assert (lengths.total_rows, lengths.total_tokens, lengths.longest) == (
        len(sizes),
        sum(sizes),
        max(sizes, default=0),
    )
    cut = lengths.cut(limit)
    assert cut.rows == sum(size > limit for size in sizes)
    assert cut.tokens == sum(max(0, size - limit) for size in sizes)
    bins = lengths.bins(width)
    assert sum(bins) == len(sizes)
    assert all(
        count == sum(width * place < size <= width * (place + 1) for size in sizes) for place, count in enumerate(bins)
    )
    for percent in (0, 10, 50, 95, 99.5, 100):
        found = lengths.percentile(percent)
        if sizes:
            assert found in sizes
            assert sum(size <= found for size in sizes) >= percent / 100 * len(sizes)
            assert sum(size < found for size in sizes) < max(1.0, percent / 100 * len(sizes))
    with pytest.raises(ValueError, match="at least one token"):
        lengths.bins(0)


# --- sides


def as_column(keys: Sequence[bytes]) -> Any:
    import numpy as np

    return np.frombuffer(b"".join(keys), "V16")


def numbered(files: Sequence[int]) -> Any:
    import numpy as np

    return np.array(files, np.int64)


@given(st.lists(st.integers(0, 12), max_size=60), st.floats(0, 0.5), st.integers(0, 5))
def test_the_same_rows_are_held_back(numbers: list[int], share: float, seed: int) -> None:
    keys = [content_key(Sample("a:1", completion=f"text {number}")) for number in numbers]
    found = held_back(as_column(keys), share, seed)
    assert frozenset(found.tolist()) == hold_back(keys, share, seed)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=30))
def test_files_are_kept_together_as_the_split_does(rows: list[tuple[int, int]]) -> None:
    samples = [Sample(f"file{file}:1", completion=f"text {text}") for text, file in rows]
    files = {name: number for number, name in enumerate(dict.fromkeys(file for _, file in rows))}
    found = keys_of_files(as_column([*map(content_key, samples)]), numbered([files[file] for _, file in rows]))
    assert [bytes(key) for key in found] == group_keys(samples, "file")


def test_groups_are_kept_together() -> None:
    keys = as_column([bytes([number]) * 16 for number in (5, 3, 4, 1)])
    found = [bytes(key)[0] for key in keys_of_groups(keys, [(0, 2), ()])]
    assert found == [4, 3, 4, 1]


# --- languages

SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog and it was not happy.",
    "de": "Wie komme ich zum Bahnhof? Das ist nicht weit von hier.",
    "fr": "Je ne sais pas ce que vous voulez dire, mais c'est bien pour nous.",
    "es": "¿Cómo puedo llegar a la estación? No está muy lejos, pero hay que andar por la calle.",
    "pt": "Você não precisa de mais nada para fazer isso em casa, mas é bom.",
    "it": "Non so che cosa è successo, ma il treno è partito con la famiglia.",
    "nl": "Het is niet ver van hier, maar je moet ook met de trein naar de stad.",
    "sv": "Jag vet inte hur det är med honom, men det är bra att vi kan komma.",
    "da": "Jeg ved ikke hvordan det er med ham, men det er godt at vi kan komme.",
    "fi": "En tiedä mitä se on, mutta hän oli täällä kun minä tulin ja se on hyvä.",
    "pl": "Nie wiem, jak to jest, ale on się nie boi i jest w domu.",
    "cs": "Nevím, jak to je, ale on se nebojí a je v domě, který je pro nás.",
    "hu": "Nem tudom, hogy ez mi, de az egy ház és van benne valaki.",
    "ro": "Nu știu ce este, dar el este în casă și nu se teme de nimic.",
    "tr": "Bu ne için bilmiyorum ama çok güzel bir şey ve daha iyi olacak.",
    "vi": "Tôi không biết đó là gì, nhưng anh ấy đã ở trong nhà với những người khác.",
    "id": "Saya tidak tahu apa itu, tetapi dia ada di rumah dengan yang lain dan ini baik.",
    "ru": "Я не знаю, что это такое, но он был дома.",
    "uk": "Я не знаю, що це таке, але він був вдома і це добре.",
    "bg": "Не знам какво е това, но той е в къщата и не се страхува.",
    "sr": "Не знам шта је то, али он је у кући и то је добро за нас.",
    "zh": "今天天气很好，我们去公园散步吧。",
    "ja": "今日は天気がいいので、公園を散歩しましょう。",
    "ko": "오늘은 날씨가 좋아서 공원에 갑니다.",
    "ar": "لا أعرف ما هذا، لكنه كان في البيت مع الآخرين.",
    "fa": "نمی‌دانم این چیست، اما او در خانه است و از آن نمی‌ترسد.",
    "ur": "مجھے نہیں معلوم کہ یہ کیا ہے، لیکن وہ گھر میں ہے اور اس سے خوش ہے۔",
    "he": "אני לא יודע מה זה",
    "el": "Δεν ξέρω τι είναι αυτό",
    "hi": "मुझे नहीं पता कि यह क्या है",
    "bn": "আমি জানি না এটা কি",
    "ta": "அது என்னவென்று எனக்குத் தெரியாது",
    "te": "అది ఏమిటో నాకు తెలియదు",
    "th": "ฉันไม่รู้ว่ามันคืออะไร",
    "ka": "არ ვიცი რა არის ეს",
    "hy": "Ես չգիտեմ, թե դա ինչ է",
    "am": "ምን እንደሆነ አላውቅም",
    "latin": "Hello world",
    "cyrillic": "Привет мир",
    "other": "12345 + 67 = ?",
}


def test_every_language_is_told() -> None:
    assert set(SENTENCES) == set(NAMES)
    assert {code: language_of(text) for code, text in SENTENCES.items()} == {code: code for code in SENTENCES}


@given(st.text(max_size=300))
def test_any_text_has_a_language(text: str) -> None:
    assert language_of(text) in NAMES
