import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.tokenizer import Tokenizer
from core.errors import UserError
from tests.core.data.small_tokenizers import NASTY, write_metaspace, write_tokenizer


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        Tokenizer.load(folder)
    return str(caught.value)


def change(folder: Path, **settings: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def pieces_of(tokenizer: Tokenizer, text: str, *, running: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
    pieces = tokenizer.encode_pieces([text], running=running)
    return pieces.ids.tolist(), pieces.offsets(0)


def test_special_tokens_and_round_trip(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (None, 2, 0)
    assert tokenizer.eos_ids == (2,)
    assert tokenizer.special == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    assert tokenizer.vocab_size == 400
    assert (tokenizer.token_id("<|im_start|>"), tokenizer.token_id("no such token")) == (1, None)
    assert (tokenizer.token_text(1), tokenizer.token_text(10**6)) == ("<|im_start|>", "")
    assert tokenizer.added_tokens() == {0: "<|endoftext|>", 1: "<|im_start|>", 2: "<|im_end|>", 3: "<s>"}
    for text in NASTY:
        ids, offsets = pieces_of(tokenizer, text)
        assert ids == tokenizer.encode(text)
        assert tokenizer.decode(ids, skip_special=False) == text
        assert len(offsets) == len(ids)
    assert tokenizer.decode(tokenizer.encode("a<|im_end|>b")) == "ab"


@given(text=st.text(max_size=80))
def test_offsets_cover_the_text(tokenizer: Tokenizer, text: str) -> None:
    _, offsets = pieces_of(tokenizer, text)
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    covered = {place for start, stop in offsets for place in range(start, stop)}
    assert covered == set(range(len(text)))


def test_batches_equal_single_texts(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.encode_pieces(NASTY)
    rows = [(ids.tolist(), pieces.offsets(number)) for number, (ids, _, _) in enumerate(pieces.rows())]
    assert rows == [pieces_of(tokenizer, text) for text in NASTY]
    assert list(tokenizer.encode_pieces([]).rows()) == []


def test_running_text_gets_its_edges_once(tokenizer: Tokenizer, bos_tokenizer: Tokenizer, tmp_path: Path) -> None:
    both = Tokenizer.load(write_tokenizer(tmp_path, begin=True, end=True, bos_token="<s>"))
    assert (tokenizer.adds_bos, bos_tokenizer.adds_bos, both.adds_bos) == (False, True, True)
    hi = tokenizer.encode("hi")
    for text in ("hi", "<s>hi", "hi<|im_end|>", "<s>hi<|im_end|>"):
        begin = [3] if text.startswith("<s>") else []
        assert pieces_of(tokenizer, text, running=True)[0] == [*begin, *hi, 2]
        for other in (bos_tokenizer, both):
            ids, offsets = pieces_of(other, text, running=True)
            assert ids == [3, *hi, 2]
            assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert pieces_of(tokenizer, "", running=True)[0] == [2]


def test_lists_and_other_files_name_end_tokens(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "config.json").write_text(json.dumps({"eos_token_id": [0, 2], "text_config": {"bos_token_id": 1}}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 3, 99999, -1, True]}))
    found = Tokenizer.load(folder)
    assert (found.eos_ids, found.bos_id) == ((2, 0, 3), 1)
    change(folder, eos_token=None)
    found = Tokenizer.load(folder)
    assert (found.eos_ids, found.special["eos_token"]) == ((0, 2, 3), "<|endoftext|>")


def test_older_files_name_tokens_their_way(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, eos_token="unknown to the vocabulary")
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<s>", "lstrip": False}}))
    assert Tokenizer.load(folder).eos_id == 3
    change(folder, added_tokens_decoder={"400": {"content": "<new>", "special": True}, "7": {"content": "<odd>"}})
    found = Tokenizer.load(folder)
    assert (found.eos_id, found.token_id("<new>"), found.token_id("<odd>")) == (None, 400, None)
    assert found.encode("a<new>b")[1:2] == [400]


def test_named_tokens_are_never_split(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    plain = json.loads((folder / "tokenizer.json").read_text())
    plain["added_tokens"] = [item for item in plain["added_tokens"] if item["content"] != "<|im_end|>"]
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    assert Tokenizer.load(folder).encode("a<|im_end|>")[-1] == 2


def test_cutting_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    plain = json.loads((folder / "tokenizer.json").read_text())
    plain["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    plain["padding"] = {**padding, "pad_type_id": 0, "pad_token": "<|endoftext|>"}
    before = Tokenizer.load(folder)
    (folder / "tokenizer.json").write_text(json.dumps(plain))
    assert Tokenizer.load(folder).encode("one two three four five") == before.encode("one two three four five")


def test_the_fingerprint_follows_the_ids(tmp_path: Path) -> None:
    first = Tokenizer.load(write_tokenizer(tmp_path / "a")).fingerprint
    assert Tokenizer.load(write_tokenizer(tmp_path / "b")).fingerprint == first
    assert Tokenizer.load(write_tokenizer(tmp_path / "c", end=True)).fingerprint != first


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no tokenizer.json"),
        ({"tokenizer.model": "x"}, "SentencePiece"),
        ({"vocab.json": "{}", "merges.txt": ""}, "old tokenizer"),
        ({"tokenizer.json": ""}, "not valid JSON"),
        ({"tokenizer.json": "[" * 100_000}, "not valid JSON"),
        ({"tokenizer.json": "[1]"}, "no tokenizer"),
        ({"tokenizer.json": '{"model": {"type": "Unheard"}}'}, "cannot be used"),
        ({"tokenizer.json": "\udcff"}, "not valid JSON"),
    ],
)
def test_unusable_folders_say_what_to_do(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refused(tmp_path)
    assert said in message
    assert str(tmp_path) in message


def test_wrong_places_say_what_to_do(tmp_path: Path) -> None:
    assert "no such model folder" in refused(tmp_path / "nowhere")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "Import the model first" in refused(tmp_path / "model.gguf")
    folder = write_tokenizer(tmp_path / "odd")
    (folder / "tokenizer_config.json").write_text("[1]")
    assert "tokenizer_config.json" in refused(folder)
    (folder / "tokenizer_config.json").write_text("{")
    assert "cannot be used" in refused(folder)


def test_sentencepiece_like_offsets(tmp_path: Path) -> None:
    found = Tokenizer.load(write_metaspace(tmp_path))
    ids, offsets = pieces_of(found, "hello world", running=True)
    assert (ids[0], ids[-1]) == (found.bos_id, found.eos_id)
    assert offsets[0] == (0, 0)
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)


@pytest.mark.parametrize("kind", ["plain", "bos", "ignored", "eos", "metaspace"])
def test_the_ids_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    from transformers import PreTrainedTokenizerFast

    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "bos": {"bos_token": "<s>", "begin": True},
        "ignored": {"bos_token": "<s>", "add_bos_token": True, "add_eos_token": True},
        "eos": {"bos_token": "<s>", "begin": True, "end": True},
    }
    folder = write_metaspace(tmp_path) if kind == "metaspace" else write_tokenizer(tmp_path, **settings[kind])
    ours, theirs = Tokenizer.load(folder), PreTrainedTokenizerFast.from_pretrained(str(folder))
    for text in NASTY:
        for framed in (False, True):
            assert ours.encode(text, add_special=framed) == theirs.encode(text, add_special_tokens=framed), text
    assert (ours.eos_id, ours.bos_id, ours.pad_id) == (theirs.eos_token_id, theirs.bos_token_id, theirs.pad_token_id)
    assert ours.special == theirs.special_tokens_map
