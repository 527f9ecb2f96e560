"""Text to token ids and back, straight from ``tokenizer.json``.

transformers' ``AutoTokenizer`` chooses a class by the model's type and with some folders gives other ids than the
file says; the file is the truth, so it is read with the ``tokenizers`` library alone.
"""

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.data.byte_level import ByteWidths, byte_widths
from core.data.pieces import Pieces, Row, bounds_of, flat_ids, from_offsets, from_widths, join_rows
from core.data.special_tokens import SpecialTokens, read_special_tokens
from core.errors import Problem, UserError, error

TOKENIZER_FILE = "tokenizer.json"
_PARALLEL = "TOKENIZERS_PARALLELISM"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A model's tokenizer.

    Attributes:
        special: its special tokens by name ("bos_token", "eos_token", …), for chat templates.
        bos_id, eos_id, pad_id: None where the model has none.
        eos_ids: every token that the model's files call an end of text or turn; `eos_id` first.
        adds_bos: running text gets `bos_id` in front; so the model was trained.
        vocab_size: number of tokens, added ones included. The model's embedding may have more rows.
        fingerprint: hash of everything that decides the ids.
    """

    special: Mapping[str, str]
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    eos_ids: tuple[int, ...]
    adds_bos: bool
    vocab_size: int
    fingerprint: str
    _backend: Any = field(repr=False, compare=False)
    _adds_eos: bool = False
    _widths: ByteWidths | None = field(default=None, repr=False, compare=False)
    _frame: tuple[Sequence[int], Sequence[int]] | None = None

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Reads the tokenizer of a model folder.

        Raises:
            UserError: the folder has no ``tokenizer.json``, or one that cannot be used.
        """
        plain = _read_file(folder)
        special = read_special_tokens(folder)
        backend = _build(folder, plain, special)
        identity = json.dumps([plain, special.identity()], sort_keys=True, ensure_ascii=True)
        probe = backend.encode("a", add_special_tokens=True).ids
        bare = backend.encode("a", add_special_tokens=False).ids
        named = {name: text for name, text in special.named.items() if backend.token_to_id(text) is not None}
        eos_ids = _eos_ids(backend, named, special)
        bos_id = _named_id(backend, named, "bos_token", special.bos_ids)
        pad_id = _named_id(backend, named, "pad_token", special.pad_ids)
        for name, token in (("bos_token", bos_id), ("eos_token", eos_ids[0] if eos_ids else None)):
            text = None if token is None else backend.id_to_token(token)
            if text is not None:
                named.setdefault(name, text)
        return cls(
            special=named,
            bos_id=bos_id,
            eos_id=eos_ids[0] if eos_ids else None,
            pad_id=pad_id,
            eos_ids=eos_ids,
            adds_bos=bos_id is not None and probe[:1] == [bos_id] and bare[:1] != [bos_id],
            vocab_size=backend.get_vocab_size(with_added_tokens=True),
            fingerprint=hashlib.sha256(identity.encode("ascii")).hexdigest(),
            _backend=backend,
            _adds_eos=bool(eos_ids) and probe[-1:] == [eos_ids[0]] and bare[-1:] != [eos_ids[0]],
            _widths=byte_widths(plain, backend),
            _frame=_frame(probe, bare),
        )

    def encode(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            text: what to encode; special tokens written in it become those tokens.
            add_special: put before and after it what the tokenizer itself adds to running text. Never for the
                output of a chat template, which has written all of that already.
        """
        ids: list[int] = self._backend.encode(text, add_special_tokens=add_special).ids
        return ids

    def encode_texts(self, texts: Sequence[str], *, running: bool = False) -> "EncodedTexts":
        """Many texts at once, on all processor cores; nothing of Python is held up meanwhile.

        Args:
            texts: what to encode; special tokens written in them become those tokens.
            running: documents as in pretraining: the tokenizer's own beginning once in front, the end token once
                behind. Never for the output of a chat template, which has written all of that already.
        """
        by_width = (
            self._widths is not None and all(map(self._widths.fits, texts)) and (not running or self._frame is not None)
        )
        encode = self._backend.encode_batch_fast if by_width else self._backend.encode_batch
        return EncodedTexts(texts, encode(list(texts), add_special_tokens=running), running, by_width)

    def read_pieces(self, found: "EncodedTexts") -> Pieces:
        """What `encode_texts` came to: ids, and the characters that each token stands for."""
        pieces = self._by_width(found) if found.by_width else None
        if pieces is None:
            texts, items = found.texts, found.items
            if found.by_width:
                items = self._backend.encode_batch(list(texts), add_special_tokens=found.running)
            pieces = from_offsets([item.ids for item in items], [item.offsets for item in items], texts)
        return join_rows([self._with_edges(*row) for row in pieces.rows()], found.texts) if found.running else pieces

    def encode_pieces(self, texts: Sequence[str], *, running: bool = False) -> Pieces:
        """`encode_texts`, and what it came to."""
        return self.read_pieces(self.encode_texts(texts, running=running))

    def _by_width(self, found: "EncodedTexts") -> Pieces | None:
        """Ids and places without the library's help; None where a text's bytes are not those of its tokens."""
        assert self._widths is not None
        counts = [len(item) for item in found.items]
        # One by one: so many numbers at once would leave the processor's cache before they are read.
        ids = flat_ids((item.ids for item in found.items), sum(counts))
        widths = self._widths.of(ids)
        if found.running and self._frame is not None:
            front, back = self._frame
            for start, stop in itertools.pairwise(bounds_of(counts)):
                row = ids[start:stop].tolist()
                if row[: len(front)] != front or row[len(row) - len(back) :] != back:
                    return None
                widths[start : start + len(front)] = widths[stop - len(back) : stop] = 0
        return from_widths(ids, widths, counts, found.texts)

    def _with_edges(self, *row: *Row) -> Row:
        ids, starts, stops = row
        added = len(ids) > 1 and starts[0] == stops[0] == 0
        first = 1 if added and self.bos_id is not None and ids[0] == ids[1] == self.bos_id else 0
        last = len(ids)
        if self._adds_eos and last > first and ids[-1] == self.eos_id:
            # The text may have ended with one already.
            last -= 1
        ids, starts, stops = ids[first:last], starts[first:last], stops[first:last]
        if self.eos_id is None or (len(ids) and ids[-1] == self.eos_id):
            return ids, starts, stops
        import numpy as np

        end = stops[-1] if len(ids) else 0
        return np.append(ids, np.int32(self.eos_id)), np.append(starts, end), np.append(stops, end)

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of token ids."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def token_id(self, text: str) -> int | None:
        """The id of the token that is written exactly so; None if there is none."""
        found: int | None = self._backend.token_to_id(text)
        return found

    def token_text(self, token: int) -> str:
        """A token as the vocabulary writes it; empty for an id that it does not have."""
        return self._backend.id_to_token(token) or ""

    def added_tokens(self) -> Mapping[int, str]:
        """The tokens that are never split or merged: control tokens and whatever else was added to the vocabulary."""
        return {token: item.content for token, item in self._backend.get_added_tokens_decoder().items()}


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Texts as the library has encoded them.

    Attributes:
        running: with what the tokenizer adds to documents.
        by_width: without offsets, because the tokens' widths will tell.
    """

    texts: Sequence[str]
    items: Any
    running: bool
    by_width: bool


def _frame(probe: list[int], bare: list[int]) -> tuple[list[int], list[int]] | None:
    """What the tokenizer adds in front of a document and behind it; None where that cannot be told apart from it."""
    for start in range(len(probe) - len(bare) + 1):
        stop = start + len(bare)
        if probe[start:stop] == bare:
            return probe[:start], probe[stop:]
    return None


def _read_file(folder: Path) -> dict[str, Any]:
    path = folder / TOKENIZER_FILE
    try:
        plain = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(_missing(folder)) from None
    except OSError as failure:
        message = f"The tokenizer cannot be read: {failure.strerror}."
        raise UserError(error(str(path), message, "Check the file's permissions.")) from failure
    except (ValueError, RecursionError) as failure:
        message = f"The tokenizer's file is not valid JSON ({failure}); it is damaged or was not downloaded completely."
        raise UserError(error(str(path), message, "Download or copy it again.")) from None
    if not isinstance(plain, dict) or not isinstance(plain.get("model"), dict):
        message = "The file is JSON, but no tokenizer: it has no part called “model”."
        raise UserError(error(str(path), message, "Copy the tokenizer.json that belongs to the model."))
    return plain


def _missing(folder: Path) -> Problem:
    where = str(folder)
    if folder.is_file():
        message = "The tokenizer is read from a model folder, and this is a file."
        return error(where, message, "Import the model first (a GGUF file becomes a folder), then choose the folder.")
    if not folder.is_dir():
        return error(where, "There is no such model folder, so there is no tokenizer.", "Choose the model again.")
    save = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    if (folder / "tokenizer.model").is_file():
        message = "The folder has a SentencePiece tokenizer (tokenizer.model) but no tokenizer.json."
        advice = f"Take the model's newer files, or convert it once with transformers and sentencepiece: {save}."
        return error(where, message, advice)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        message = "The folder has an old tokenizer (vocab.json and merges.txt) but no tokenizer.json."
        return error(where, message, f"Convert it once with transformers: {save}.")
    return error(where, "The model folder has no tokenizer.json.", "Copy it from where the model comes from.")


def _build(folder: Path, plain: dict[str, Any], special: SpecialTokens) -> Any:
    """The library's tokenizer with cutting and padding off and exact offsets."""
    _use_all_cores()
    import tokenizers

    _keep_spaces(plain.get("post_processor"))
    plain["truncation"] = plain["padding"] = None
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(plain))
    except Exception as failure:
        # The library raises the base class itself, so nothing narrower can be caught.
        message = f"The tokenizer's file cannot be used: {failure}."
        advice = "Copy it again; if the model is very new, update this application."
        raise UserError(error(str(folder / TOKENIZER_FILE), message, advice)) from failure
    _declare(backend, special)
    return backend


@functools.cache
def _use_all_cores() -> None:
    """Batches use all cores, unless whoever started this program has said otherwise.

    A process that is forked off has none of the threads and would wait for them for ever, so it goes without.
    """
    os.environ.setdefault(_PARALLEL, "true")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: os.environ.update({_PARALLEL: "false"}))


def _keep_spaces(part: object) -> None:
    """Lets offsets include the space that a token begins with; ids are not touched by this."""
    if isinstance(part, dict):
        if "trim_offsets" in part:
            part["trim_offsets"] = False
        for inner in part.get("processors") or ():
            _keep_spaces(inner)


def _declare(backend: Any, special: SpecialTokens) -> None:
    """Makes every token that the model's settings name one that is never split, as transformers does."""
    import tokenizers

    known = {item.content for item in backend.get_added_tokens_decoder().values()}
    for token, settings in sorted(special.added.items()):
        expected = backend.token_to_id(settings["content"])
        fits = expected == token or (expected is None and token == backend.get_vocab_size(with_added_tokens=True))
        if settings["content"] not in known and fits:
            backend.add_tokens([tokenizers.AddedToken(**settings)])
            known.add(settings["content"])
    for text in (*special.named.values(), *special.extra):
        if text not in known and backend.token_to_id(text) is not None:
            backend.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False)])


def _named_id(backend: Any, named: Mapping[str, str], name: str, numbers: Sequence[int]) -> int | None:
    if name in named:
        token: int | None = backend.token_to_id(named[name])
        return token
    return next((number for number in numbers if backend.id_to_token(number) is not None), None)


def _eos_ids(backend: Any, named: Mapping[str, str], special: SpecialTokens) -> tuple[int, ...]:
    first = [backend.token_to_id(named["eos_token"])] if "eos_token" in named else []
    known = [number for number in special.eos_ids if backend.id_to_token(number) is not None]
    return tuple(dict.fromkeys([*first, *known]))
