"""Every text of the window and of the core has a translation, and every translation a text."""

import re

import pytest

from core.paths import resource
from studio.sentences import Sentences
from studio.words import LANGUAGES
from tests.studio.words.collect import CATALOGUES, catalogue, collect, is_prose, missing, not_literal, unused
from tests.studio.words.reading import templates

OTHER_LANGUAGES = [code for code in LANGUAGES if code != "en"]

pytestmark = pytest.mark.parametrize("language", OTHER_LANGUAGES)


def test_nothing_is_missing(language: str) -> None:
    lacking = [f"{text.place}: {text.text}" for texts in missing(language).values() for text in texts]
    assert not lacking


def test_nothing_is_spare(language: str) -> None:
    assert not unused(language)


def test_only_known_catalogues_are_there(language: str) -> None:
    assert {path.stem for path in resource("translations", language).glob("*.json")} <= set(CATALOGUES)


def test_translations_hold_the_same_values(language: str) -> None:
    holes = re.compile(r"\{\w+\}")
    pairs = [(text, said) for name in CATALOGUES for text, said in catalogue(language, name).items()]
    assert pairs
    assert not [(text, said) for text, said in pairs if set(holes.findall(text)) != set(holes.findall(said))]


def test_translations_of_the_window_can_be_filled(language: str) -> None:
    for name in set(CATALOGUES) - {"core", "settings"}:
        for text, said in catalogue(language, name).items():
            names = dict.fromkeys(re.findall(r"\{([a-z_]\w*)\}", text), "7")
            if names:
                assert "{" not in said.format(**names), text


def test_no_translation_is_empty_or_padded(language: str) -> None:
    for name in CATALOGUES:
        for text, said in catalogue(language, name).items():
            assert said.strip() == said != "", text


def test_each_sentence_with_values_finds_its_own_translation(language: str) -> None:
    """A general sentence must not take what a special one knows."""
    whole = {text: said for name in CATALOGUES for text, said in catalogue(language, name).items()}
    sentences = Sentences(whole)
    hole = re.compile(r"\{(\d+)\}")

    def bare(text: str) -> str:
        return re.sub(r"\s", "", text)

    for text, said in whole.items():
        if hole.search(text):
            filled = hole.sub(lambda found: f"{int(found[1]) + 7}", text)
            wanted = hole.sub(lambda found: f"{int(found[1]) + 7}", said)
            assert bare(sentences.say(filled)) == bare(wanted), text


def test_every_text_of_the_window_is_a_literal(language: str) -> None:
    assert not not_literal()


def test_the_collector_sees_what_it_should(language: str) -> None:
    found = collect()
    assert found["Load weights in"].catalogue == "settings"
    assert found["The run needs about {0}, but {1}: about {2} are missing."].catalogue == "core"
    assert found["Choose a base model to see what a run needs."].catalogue == "shell"
    assert found["Choose files…"].catalogue == "data"
    assert len(found) > 2000


def test_the_collector_reads_sentences_made_in_steps(language: str) -> None:
    source = '''
def words(rows, cut):
    """Not this one."""
    message = "One row is left." if rows == 1 else f"{rows:,} rows are left."
    if cut:
        message += f" Of them {cut} are cut."
    where = f" in {cut}" if cut else ""
    assert rows, "nor this one"
    raise Trouble(message, f"Look{where} again: {'now' if rows else 'later'}.")
'''
    found = {text for text, _ in templates(source) if is_prose(text)}
    assert found == {
        "One row is left.",
        "{0} rows are left.",
        "One row is left. Of them {0} are cut.",
        "{0} rows are left. Of them {1} are cut.",
        "Look in {0} again: now.",
        "Look in {0} again: later.",
        "Look again: now.",
        "Look again: later.",
    }
