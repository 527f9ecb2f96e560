"""Ways to spoil a file, each from a random source alone, so that a number says everything about a trial."""

import gzip
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from tests.core.data.fuzz.seeds import seeds

Mutation = Callable[[random.Random, bytes], bytes]

_LARGEST = 1_500_000
_PIECES: tuple[bytes, ...] = (
    b"\0", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\r\n", b"\t", b";", b"|", b"\\u",
    b"\\ud800", b"\\udc00\\ud800", b'"\\u0000"', b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 5000,
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\xc3", b"\xe6\x9d", b"\xf0\x9f\x8e", b"\xed\xa0\x80",
    b"\xe9", b"\x93", b"\xe2\x80\xa8", b"\xc2\x85", b"\x1a", b"\x1c", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PAR1",
    b"PK\x03\x04", b"{{name}}", b"{%", b"[" * 3000, b'{"a":' * 3000, b'"role"', b'"from"', b"sep=\n", b"<|im_end|>",
)  # fmt: skip
_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**400, "", " ", "\0", "\ud800", "x" * 70_000, [], {},
    [None], [[]], [{}], {"": None}, {"role": "user"}, [{"role": "user", "content": None}], {"from": 3, "value": []},
    [{"role": "assistant", "content": {"type": "image"}}], '{"a": [', "[1, 2]", '{"role": "user", "content": "x"}',
)  # fmt: skip
_CODECS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252", "gb18030", "cp932", "utf-7")


def _place(source: random.Random, blob: bytes) -> int:
    return source.randrange(len(blob) + 1)


def flip_bits(source: random.Random, blob: bytes) -> bytes:
    whole = bytearray(blob)
    for _ in range(source.choice((1, 1, 2, 8, 64))):
        if whole:
            whole[source.randrange(len(whole))] ^= 1 << source.randrange(8)
    return bytes(whole)


def random_bytes(source: random.Random, blob: bytes) -> bytes:
    at = _place(source, blob)
    return blob[:at] + source.randbytes(source.choice((1, 4, 100))) + blob[at + source.choice((0, 1, 4)) :]


def cut_end(source: random.Random, blob: bytes) -> bytes:
    return blob[: _place(source, blob)]


def cut_start(source: random.Random, blob: bytes) -> bytes:
    return blob[source.choice((1, 3, _place(source, blob))) :]


def cut_middle(source: random.Random, blob: bytes) -> bytes:
    at = _place(source, blob)
    return blob[:at] + blob[at + source.choice((1, 2, 10, 200)) :]


def double_middle(source: random.Random, blob: bytes) -> bytes:
    first, second = sorted((_place(source, blob), _place(source, blob)))
    return blob[:second] + blob[first:]


def put_in(source: random.Random, blob: bytes) -> bytes:
    for _ in range(source.choice((1, 1, 3))):
        at = _place(source, blob)
        blob = blob[:at] + source.choice(_PIECES) + blob[at:]
    return blob


def put_in_front(source: random.Random, blob: bytes) -> bytes:
    return source.choice(_PIECES) + blob


def repeat(source: random.Random, blob: bytes) -> bytes:
    """Up to some megabytes, unpacked, so that chunks end in the middle of things: hundreds of them take their time."""
    return blob * max(1, min(source.choice((2, 50, 2000)), _LARGEST // max(1, len(blob), _unpacked_bytes(blob))))


def _unpacked_bytes(blob: bytes) -> int:
    """How much a packed file holds, as far as it can be read; 0 for any other."""
    import pyarrow as pa

    kind = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}.get(blob[:2])
    size = 0
    if kind is not None:
        try:
            with pa.CompressedInputStream(pa.BufferReader(blob), kind) as stream:
                while size <= _LARGEST and (piece := stream.read(1 << 16)):
                    size += len(piece)
        except (OSError, pa.ArrowException):
            pass  # a spoilt one holds what came before
    return size


def repeat_a_piece(source: random.Random, blob: bytes) -> bytes:
    at = _place(source, blob)
    piece = blob[at : at + source.choice((1, 2, 9))]
    return blob[:at] + piece * source.choice((10, 1000, 100_000)) + blob[at:]


def shuffle_lines(source: random.Random, blob: bytes) -> bytes:
    lines = blob.splitlines(keepends=True)
    source.shuffle(lines)
    return b"".join(lines)


def no_line_breaks(_: random.Random, blob: bytes) -> bytes:
    return blob.replace(b"\n", b"")


def old_line_breaks(_: random.Random, blob: bytes) -> bytes:
    return blob.replace(b"\n", b"\r")


def another_behind(source: random.Random, blob: bytes) -> bytes:
    return blob + source.choice(seeds())[1]


def another_inside(source: random.Random, blob: bytes) -> bytes:
    at, other = _place(source, blob), source.choice(seeds())[1]
    start = _place(source, other)
    return blob[:at] + other[start : start + 300] + blob[at:]


def other_encoding(source: random.Random, blob: bytes) -> bytes:
    return blob.decode("utf-8", "replace").encode(source.choice(_CODECS), "replace")


def pack(source: random.Random, blob: bytes) -> bytes:
    import pyarrow as pa

    if source.random() < 0.5:
        return gzip.compress(blob, 1, mtime=0)
    whole: bytes = pa.Codec("zstd").compress(blob, asbytes=True)
    return whole


def strange_value(source: random.Random, blob: bytes) -> bytes:
    """One value somewhere in a JSON text becomes another; a text that is none stays as it is."""
    lines = blob.split(b"\n")
    choice = source.randrange(len(lines))
    for number in (choice, None):
        text = blob if number is None else lines[number]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        changed = json.dumps(_changed(source, value), ensure_ascii=source.random() < 0.5)
        written = changed.encode("utf-8", "surrogatepass")
        if number is None:
            return written
        return b"\n".join((*lines[:number], written, *lines[number + 1 :]))
    return blob


def _changed(source: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and source.random() < 0.85:
        name = source.choice(list(value))
        kept = {key: item for key, item in value.items() if key != name}
        choice = source.random()
        if choice < 0.1:
            return kept
        if choice < 0.2:
            return {**kept, source.choice(("", "role", "text", "messages", "ＴＥＸＴ", name.upper())): value[name]}
        return {**value, name: _changed(source, value[name])}
    if isinstance(value, list) and value and source.random() < 0.85:
        at = source.randrange(len(value))
        if source.random() < 0.2:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], _changed(source, value[at]), *value[at + 1 :]]
    strange = source.choice(_STRANGE)
    return {"role": "user", "content": strange} if source.random() < 0.1 else strange


MUTATIONS: Mapping[str, Mutation] = {
    made.__name__: made
    for made in (
        flip_bits, random_bytes, cut_end, cut_start, cut_middle, double_middle, put_in, put_in_front, repeat,
        repeat_a_piece, shuffle_lines, no_line_breaks, old_line_breaks, another_behind, another_inside, other_encoding,
        pack, strange_value,
    )
}  # fmt: skip
