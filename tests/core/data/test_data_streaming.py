"""Text from tokens as they come: never half a character, and in the end all of it."""

import pytest

from core.data.streaming import TextStream
from core.data.tokenizer import Tokenizer
from tests.core.data.small_tokenizers import NASTY, write_metaspace


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def speaker(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    if request.param == "bytes":
        return tokenizer
    return Tokenizer.load(write_metaspace(tmp_path_factory.mktemp("metaspace")))


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("text", NASTY)
def test_the_pieces_are_the_whole(speaker: Tokenizer, text: str, every: int) -> None:
    ids = speaker.encode(text)
    stream, pieces = TextStream(speaker), []
    for number, token in enumerate(ids, 1):
        stream.add(token)
        if number % every == 0:
            pieces.append(stream.take())
    pieces.append(stream.take())
    assert "".join(pieces) == speaker.decode(ids).strip() == stream.whole()
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_of_several_tokens_comes_when_it_is_whole(speaker: Tokenizer) -> None:
    ids = speaker.encode("a🦀b")
    assert len(ids) > 4, "each byte of the emoji is a token of its own"
    stream, pieces = TextStream(speaker), []
    for token in ids:
        stream.add(token)
        pieces.append(stream.take())
    assert [piece for piece in pieces if piece] == ["a", "🦀", "b"]


def test_an_answer_cut_inside_a_character_ends_before_it(speaker: Tokenizer) -> None:
    whole, stream = speaker.encode("go 🦀🦀"), TextStream(speaker)
    for token in whole[:-1]:
        stream.add(token)
        stream.take()
    assert stream.whole() == "go 🦀"


def test_white_space_waits_for_what_follows(tokenizer: Tokenizer) -> None:
    stream, pieces = TextStream(tokenizer), []
    for token in tokenizer.encode("\n\n one\n\ntwo \n"):
        stream.add(token)
        pieces.append(stream.take())
    assert "".join(pieces) == "one\n\ntwo"
    assert all(piece == piece.rstrip() for piece in pieces)


def test_special_tokens_are_not_text(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    for token in tokenizer.encode("hello<|im_end|>"):
        stream.add(token)
    assert stream.take() == "hello"
