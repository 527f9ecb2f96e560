"""What kind of file a data file is, and its rows. The content decides; the ending helps where the content cannot."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.data.json_rows import read_json_document, read_json_lines
from core.data.source import MAX_LINE_BYTES, OnBytes, check_file, decode, lines, read_head, too_long
from core.data.table_rows import read_parquet, read_table, sniff_delimiter
from core.data.types import Row
from core.errors import Problem, UserError, error

FormatName = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]

_BY_ENDING: dict[str, FormatName] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".md": "text",
    ".text": "text",
}
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet", "Unpack it, or save the spreadsheet as CSV in UTF-8."),
    (b"%PDF", "a PDF document", "Save its text as a .txt or .md file."),
    (b"ARROW1", "an Arrow file", "Write it as Parquet."),
    (b"ORC", "an ORC file", "Write it as Parquet."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "Unpack it, or pack it with gzip."),
    (b"BZh", "packed with bzip2", "Unpack it, or pack it with gzip."),
    (b"\xfd7zXZ", "packed with xz", "Unpack it, or pack it with gzip."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it."),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "Save it as CSV in UTF-8, or as text."),
    (b"{\\rtf", "a rich-text document", "Save it as plain text."),
    (b"version https://git-lfs", "a placeholder of Git LFS", "Fetch the real file with “git lfs pull”."),
)
_PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file whose kind is known.

    Attributes:
        bytes: its size on disk.
        compressed: it is packed with gzip.
        delimiter: what separates the columns of a table; empty for the other kinds.
    """

    path: Path
    format: FormatName
    bytes: int
    compressed: bool = False
    delimiter: str = ""


def detect(path: Path) -> DataFile:
    """Finds out what a file is.

    Raises:
        UserError: there is no such file, it is empty, unreadable, or of a kind that holds no rows.
    """
    size = check_file(path)
    head, compressed = read_head(path)
    if head.startswith(b"PAR1"):
        if compressed:
            advice = "Unpack it; Parquet is packed inside."
            raise UserError(error(str(path), "This is a Parquet file inside a gzip file.", advice))
        return DataFile(path, "parquet", size)
    ending = _ending(path)
    if ending in (".parquet", ".pq"):
        advice = "Write it again, or give the file its true ending."
        raise UserError(error(str(path), "The name says Parquet, but the content is something else.", advice))
    _refuse_foreign(path, head)
    text = _head_text(path, head)
    if not text.strip():
        if compressed and not head:
            raise UserError(error(str(path), "The archive holds an empty file.", "Choose a file with rows."))
        if len(head) == size:
            raise UserError(error(str(path), "The file holds only blank lines.", "Choose a file with rows."))
    kind = _text_kind(_BY_ENDING.get(ending), text)
    delimiter = ""
    if kind in ("csv", "tsv"):
        delimiter = sniff_delimiter(text, preferred="\t" if kind == "tsv" else ",")
    return DataFile(path, kind, size, compressed, delimiter)


def read_rows(file: DataFile, *, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a file in order; a broken one comes as the problem that it is, and reading goes on.

    Only a JSON document is held in memory as a whole; everything else streams.

    Raises:
        UserError: the file as a whole cannot be read on.
    """
    packed = file.compressed
    if file.format == "jsonl":
        return read_json_lines(file.path, compressed=packed, on_bytes=on_bytes)
    if file.format == "json":
        return read_json_document(file.path, compressed=packed, on_bytes=on_bytes)
    if file.format == "parquet":
        return read_parquet(file.path, on_bytes=on_bytes)
    if file.format == "text":
        return _read_paragraphs(file.path, compressed=packed, on_bytes=on_bytes)
    return read_table(file.path, delimiter=file.delimiter, compressed=packed, on_bytes=on_bytes)


def _ending(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _refuse_foreign(path: Path, head: bytes) -> None:
    for signature, name, advice in _FOREIGN:
        if head.startswith(signature):
            raise UserError(error(str(path), f"This is {name}, not a data file with rows.", advice))
    if head.startswith(_PICKLES):
        message = "This looks like a Python pickle, which could run code when it is opened, so it is not read."
        raise UserError(error(str(path), message, "Write the rows as JSONL or Parquet."))


def _head_text(path: Path, head: bytes) -> str:
    """The beginning of a text file as text; bytes that are not UTF-8 are left to the reader, which names their line."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise UserError(error(str(path), "The file is in UTF-32.", "Save it as UTF-8."))
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", "ignore")
    zeros = head.count(0)
    if zeros * 3 >= len(head) and len(head) >= 4 and (head[1::2].count(0) == zeros or head[::2].count(0) == zeros):
        message = "The file looks like UTF-16 without a byte order mark."
        raise UserError(error(str(path), message, "Save it as UTF-8."))
    if zeros > 8 and zeros * 100 >= len(head):
        message = f"The file is not text: it contains NUL bytes, the first at byte {head.index(0)}."
        raise UserError(error(str(path), message, "Choose a JSONL, JSON, CSV, TSV, Parquet or text file."))
    return head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def _text_kind(named: FormatName | None, text: str) -> FormatName:
    """The kind of a text file from what its ending says and from how it begins."""
    if named == "text":
        return "text"
    start = text.lstrip()
    if start[:1] not in ("{", "["):
        return "text" if named is None else named
    first, line_end, rest = start.partition("\n")
    alone = _is_json(first)
    if named in ("csv", "tsv") and not (alone and line_end):
        return named
    another = bool(rest.strip())
    if start[0] == "[":
        return "jsonl" if named == "jsonl" and alone and another and rest.lstrip()[:1] == "[" else "json"
    if alone:
        return "jsonl" if another or named != "json" else "json"
    if named == "jsonl" and first.strip() != "{":
        return "jsonl"
    return "json" if line_end or named == "json" else "jsonl"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _read_paragraphs(path: Path, *, compressed: bool, on_bytes: OnBytes | None) -> Iterator[Row | Problem]:
    """The paragraphs of a text file: what stands between blank lines."""
    held: list[str] = []
    start, size = 1, 0
    for line in lines(path, compressed=compressed, on_bytes=on_bytes):
        text = too_long(path, line.number, "line") if line.too_long else decode(path, line)
        if isinstance(text, Problem):
            yield text
            continue
        if text.strip():
            start = start if held else line.number
            size += len(line.data)
            held.append(text)
            if size <= MAX_LINE_BYTES:
                continue
            yield too_long(path, start, "paragraph")
        elif held:
            yield Row(str(path), start, {"text": "".join(held).strip("\r\n")})
        held, size = [], 0
    if held:
        yield Row(str(path), start, {"text": "".join(held).strip("\r\n")})
