"""A JSON text of any length, taken apart value by value while it is read: never more than one value in memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from core.data.encodings import is_utf8
from core.data.packed import BrokenFileError, OnBytes
from core.data.source import MAX_LINE_BYTES, Source, not_utf8, utf8_chunks, wrong_encoding

_SPACE = re.compile(r"[ \t\r\n]*")
_TAIL = len("\\ud83d\\ude00")
"""So near the end of what has been read a complaint may only mean that the rest is still missing."""

_LEAST = 64 * 1024
_JUDGED_BYTES = 64 * 1024


class BrokenJsonError(Exception):
    """The text is no JSON from some place on; ``failure`` says why, ``line`` and ``column`` where."""

    def __init__(self, failure: json.JSONDecodeError, line: int, column: int, *, at_end: bool) -> None:
        super().__init__(failure.msg)
        self.failure, self.line, self.column, self.at_end = failure, line, column, at_end


class ValueTooLongError(Exception):
    """A single value is longer than `MAX_LINE_BYTES`; ``line`` says where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


class JsonText:
    """A place in a JSON text, and what stands there. ``RecursionError`` and ``ValueError`` are the decoder's own."""

    def __init__(self, source: Source, *, on_bytes: OnBytes | None = None) -> None:
        """Opens nothing before the first question."""
        self._pieces = _pieces(source, on_bytes)
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False
        self._counted, self._lines, self._column = 0, 1, 0
        self._dropped = 0
        self._failure: BrokenFileError | None = None

    @property
    def line(self) -> int:
        """The line of the place, counted from 1."""
        self._count(self._at)
        return self._lines

    @property
    def offset(self) -> int:
        """How many characters stand before the place."""
        return self._dropped + self._at

    def peek(self) -> str:
        """The next character that is no white space, which is passed over; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space is not None else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def step(self) -> None:
        """Passes over one character."""
        self._at += 1

    def seek(self, offset: int) -> None:
        """Passes over everything up to a place in front."""
        while self._dropped + len(self._text) < offset:
            self._at = len(self._text)
            if not self._fill():
                return
        self._at = offset - self._dropped

    def value(self) -> Any:
        """The value that begins here, read to its end.

        Raises:
            BrokenJsonError: there is none.
            ValueTooLongError: it does not end soon enough.
        """
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as failure:
                if self._ended or not self._is_at_the_end(failure):
                    raise self._broken(failure) from None
            else:
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_LINE_BYTES:
                raise ValueTooLongError(self.line)
            if not self._fill():
                self._ended = True

    def broken(self, message: str) -> BrokenJsonError:
        """What to raise where something else should stand here, in the words of Python's decoder."""
        return self._broken(json.JSONDecodeError(message, self._text, self._at))

    def near(self, failure: json.JSONDecodeError) -> str:
        """What stands where it breaks."""
        return self._text[failure.pos : failure.pos + 200]

    def _broken(self, failure: json.JSONDecodeError) -> BrokenJsonError:
        position = failure.pos
        self._count(position)
        begin = self._text.rfind("\n", 0, position)
        column = position - begin if begin >= 0 else self._column + position + 1
        open_string = failure.msg.startswith("Unterminated string")
        at_end = self._ended and (open_string or position >= len(self._text.rstrip()))
        return BrokenJsonError(failure, self._lines, column, at_end=at_end)

    def _is_at_the_end(self, failure: json.JSONDecodeError) -> bool:
        return failure.msg.startswith("Unterminated string") or failure.pos >= len(self._text) - _TAIL

    def _count(self, position: int) -> None:
        if position > self._counted:
            self._lines += self._text.count("\n", self._counted, position)
            self._counted = position

    def _fill(self) -> bool:
        """Reads on and forgets what lies behind; False at the end of the text."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return False
        self._count(self._at)
        gone = self._text[: self._at]
        newline = gone.rfind("\n")
        self._column = len(gone) - newline - 1 if newline >= 0 else self._column + len(gone)
        kept = self._text[self._at :]
        fresh: list[str] = []
        size = 0
        # At least as much as there is already, so that a long value is not begun again and again.
        while size < max(_LEAST, len(kept)):
            try:
                piece = next(self._pieces, None)
            except BrokenFileError as failure:  # what came before it is read first
                self._failure = failure
                break
            if piece is None:
                self._ended = True
                break
            fresh.append(piece)
            size += len(piece)
        self._dropped += self._at
        self._counted -= self._at
        self._text, self._at = kept + "".join(fresh), 0
        if self._failure is not None and not size:
            raise self._failure
        return size > 0


def _pieces(source: Source, on_bytes: OnBytes | None) -> Iterator[str]:
    """The text piece by piece.

    Raises:
        BrokenFileError: it is not in the encoding that was found or stated.
    """
    chunks = utf8_chunks(source, on_bytes=on_bytes)
    first = next(chunks, b"")
    legacy = bool(source.fallback) and not is_utf8(first[:_JUDGED_BYTES])
    decoder = codecs.getincrementaldecoder(source.fallback if legacy else "utf-8")()
    line, offset = 1, 0
    piece = first
    while True:
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as failure:
            data = failure.object  # what was held back from the piece before stands in front of it
            good = data[: failure.start].decode(source.fallback if legacy else "utf-8")
            yield good
            line += good.count("\n")
            if legacy:
                raise BrokenFileError(wrong_encoding(source, line, offset)) from None
            behind = len(data) - len(piece)
            raise BrokenFileError(not_utf8(source.path, line, offset - behind, data, failure.start)) from None
        if text:
            yield text
        if not piece:
            return
        line += text.count("\n")
        offset += len(piece)
        piece = next(chunks, b"")
