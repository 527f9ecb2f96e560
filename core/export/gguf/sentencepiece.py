"""The pieces of a SentencePiece model file, read without its library.

The file is a protocol buffer; `pieces` is field 1 of ``ModelProto``, and of each piece 1 is the text, 2 the score, and
3 the type (https://github.com/google/sentencepiece, src/sentencepiece_model.proto).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError, error

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Piece:
    """One token; ``kind`` counts like ggml's token types: 1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte."""

    text: str
    score: float = 0.0
    kind: int = 1


def read_pieces(path: Path) -> tuple[Piece, ...]:
    """All tokens of ``tokenizer.model``, by id.

    Raises:
        UserError: the file is cut short or no SentencePiece model.
    """
    try:
        blob = path.read_bytes()
        pieces = tuple(_piece(value) for number, value in _fields(blob) if number == 1 and isinstance(value, bytes))
    except (ValueError, IndexError, struct.error, OSError) as failure:
        message = f"The file is no readable SentencePiece model: {failure}."
        raise UserError(error(str(path), message, "Copy or download the tokenizer again.")) from failure
    if not pieces:
        raise UserError(error(str(path), "The file holds no tokens.", "Copy or download the tokenizer again."))
    return pieces


def _piece(blob: bytes) -> Piece:
    text, score, kind = "", 0.0, 1
    for number, value in _fields(blob):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            score = struct.unpack("<f", value)[0]
        elif number == 3 and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _fields(blob: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of one message."""
    at = 0
    while at < len(blob):
        key, at = _varint(blob, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(blob, at)
            yield number, value
            continue
        length = {_EIGHT: 8, _FOUR: 4}.get(wire, -1)
        if wire == _BYTES:
            length, at = _varint(blob, at)
        if length < 0 or at + length > len(blob):
            raise ValueError("a field reaches beyond its end")
        yield number, blob[at : at + length]
        at += length


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = blob[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")
