"""The measures of answers against slow and plain definitions."""

import random

import pytest

from core.runs.similarity import edit_distance, edit_similarity, exact_match, word_f1


def plain_distance(one: str, other: str) -> int:
    """Levenshtein as the textbook has it."""
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        here = [row]
        for column, wanted in enumerate(other, 1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (letter != wanted)))
        above = here
    return above[-1]


def test_the_distance_is_levenshteins() -> None:
    draw = random.Random(0)
    for _ in range(500):
        one, other = ("".join(draw.choices("abc é", k=draw.randrange(0, 80))) for _ in range(2))
        assert edit_distance(one, other) == plain_distance(one, other), (one, other)
    assert edit_distance("kitten", "sitting") == 3


def test_similarity_is_a_share_of_the_longer_text() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("", "four") == 0.0
    assert edit_similarity(" four\n", "four") == 1.0


def test_an_exact_match_forgives_only_white_space_around_and_composition() -> None:
    assert exact_match(" caf\u00e9\n", "cafe\u0301")
    assert not exact_match("Four", "four")
    assert not exact_match("four.", "four")


def test_words_are_counted_as_a_bag_without_case_and_punctuation() -> None:
    assert word_f1("The cat, the dog.", "the dog THE cat") == 1.0
    assert word_f1("a b c", "a b d e") == pytest.approx(2 * 2 / 7)
    assert word_f1("", "") == 1.0
    assert word_f1("word", "") == 0.0
    assert word_f1("我喜欢猫", "我喜欢狗") == pytest.approx(3 / 4)
