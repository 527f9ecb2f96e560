"""What kind of file a data file is, and its rows. The content decides; the ending helps where the content cannot."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from core.data.column_rows import ARROW_FILE, PARQUET, is_arrow_stream, read_arrow, read_parquet
from core.data.encodings import BOMS, CODECS, WESTERN, is_utf8, looks_western, utf16_without_mark
from core.data.folders import ending_of, kind_by_name, list_folder
from core.data.hub_files import find_hub_data
from core.data.json_document import read_json_document
from core.data.json_rows import read_json_lines
from core.data.packed import OnBytes, Packing
from core.data.source import Source, check_file, read_head
from core.data.table_rows import Dialect, read_table, sniff_dialect
from core.data.text_rows import TextCut, read_text
from core.data.types import Row
from core.errors import Problem, UserError, error
from core.spec.hub_data import is_hub_data
from core.spec.sections import DataSpec

FormatName = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "text"]

_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet", "Unpack it, or save the spreadsheet as CSV in UTF-8."),
    (b"%PDF", "a PDF document", "Save its text as a .txt or .md file."),
    (b"FEA1", "a Feather file of the first version", "Write it again with a newer program, or as Parquet."),
    (b"ORC", "an ORC file", "Write it as Parquet."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"BZh", "packed with bzip2", "Unpack it, or pack it with gzip."),
    (b"\xfd7zXZ", "packed with xz", "Unpack it, or pack it with gzip."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it."),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "Save it as CSV in UTF-8, or as text."),
    (b"{\\rtf", "a rich-text document", "Save it as plain text."),
    (b"version https://git-lfs", "a placeholder of Git LFS", "Fetch the real file with “git lfs pull”."),
)
_PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))


_PLAIN = DataSpec()
_PAGE_START = 20
_LONG_LINE = 400
"""Lines of more characters than this on average are no lines of a page, which have some 60 to 120."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file, or a folder of files of one kind, whose kind is known.

    Attributes:
        bytes: its size on disk.
        packing: how it is packed.
        encoding, fallback: how its bytes are read, see `core.data.source.Source`.
        bare_returns: its lines end with a carriage return alone.
        dialect: how a table is written.
        cut: what a row of a text file is.
        parts: the files of a folder, in order; empty for a file.
        left_out: how many files of other kinds the folder holds.
        origin: what the spec calls the data set of the hub that the files belong to; empty for everything else.
    """

    path: Path
    format: FormatName
    bytes: int
    packing: Packing = ""
    encoding: str = "utf-8"
    fallback: str = ""
    bare_returns: bool = False
    dialect: Dialect = field(default_factory=Dialect)
    cut: TextCut = field(default_factory=TextCut)
    parts: tuple[Path, ...] = ()
    left_out: int = 0
    origin: str = ""
    spec: DataSpec = field(default=_PLAIN, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What a spec calls it."""
        return self.origin or str(self.path)

    @property
    def compressed(self) -> bool:
        """Whether it is packed, so that its size says little about what it holds."""
        return bool(self.packing)

    @property
    def source(self) -> Source:
        """The file as a text."""
        return Source(self.path, self.packing, self.encoding, self.fallback, self.bare_returns)


def detect_named(name: str, spec: DataSpec = _PLAIN) -> DataFile:
    """Finds out what an entry of ``data.train`` or ``data.validation`` is: a path, or a data set of the hub.

    Raises:
        UserError: as `detect`, or the data set is not on this computer.
    """
    return _detect_hub_data(name, spec) if is_hub_data(name) else detect(Path(name).expanduser(), spec)


def _detect_hub_data(name: str, spec: DataSpec) -> DataFile:
    found = find_hub_data(name)
    first = _detect_file(found.files[0], spec, in_folder=False)
    if len(found.files) == 1:
        return replace(first, origin=name)
    return replace(
        first,
        bytes=sum(check_file(path) for path in found.files),
        fallback=CODECS.get(spec.encoding, ""),
        parts=found.files,
        origin=name,
    )


def detect(path: Path, spec: DataSpec = _PLAIN) -> DataFile:
    """Finds out what a file or a folder is.

    Args:
        path: where it is.
        spec: the section ``data`` of the spec: encodings, and what a row of a text file is.

    Raises:
        UserError: there is no such file, it is empty, unreadable, or of a kind that holds no rows.
    """
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):  # an impossible name; looking at it as a file says what is wrong
        is_folder = False
    if not is_folder:
        return _detect_file(path, spec, in_folder=False)
    found = list_folder(path)
    kind = found.kind or _detect_file(found.files[0], spec, in_folder=True).format
    return DataFile(
        path,
        cast("FormatName", kind),
        found.bytes,
        fallback=CODECS.get(spec.encoding, ""),
        cut=_cut(spec, "", in_folder=True) if kind == "text" else TextCut(),
        parts=found.files,
        left_out=found.left_out,
        spec=spec,
    )


def _detect_file(path: Path, spec: DataSpec, *, in_folder: bool) -> DataFile:
    size = check_file(path)
    head, packing = read_head(path)
    if head.startswith(PARQUET):
        return DataFile(path, "parquet", size, packing)
    if head.startswith(ARROW_FILE) or is_arrow_stream(head):
        return DataFile(path, "arrow", size, packing)
    ending = ending_of(path)
    if ending in (".parquet", ".pq", ".arrow", ".feather", ".ipc"):
        name = "Parquet" if ending in (".parquet", ".pq") else "Arrow"
        _refuse_foreign(path, head)
        advice = "Write it again, or give the file its true ending."
        message = f"The name says {name}, but the content is something else."
        raise UserError(error(str(path), message, advice))
    _refuse_foreign(path, head)
    encoding = _encoding(path, head, spec)
    text = _head_text(head, encoding)
    if not text.strip():
        if packing and not head:
            raise UserError(error(str(path), "The archive holds an empty file.", "Choose a file with rows."))
        if len(head) == size:
            raise UserError(error(str(path), "The file holds only blank lines.", "Choose a file with rows."))
    bare_returns = "\r" in text and "\n" not in text
    text = text.replace("\r", "\n") if bare_returns else text
    named = kind_by_name(path)
    kind = _text_kind(cast("FormatName", named) if named else None, text)
    if kind != "text" and text.lstrip()[:_PAGE_START].lower().startswith(("<!doctype html", "<html")):
        message = "This is a web page, not a data file with rows."
        advice = "Download the file itself; its site may show a page for signing in instead."
        raise UserError(error(str(path), message, advice))
    fallback = CODECS.get(spec.encoding, "")
    if not fallback and kind in ("csv", "tsv", "text") and encoding == "utf-8" and looks_western(head):
        fallback = WESTERN
        text = head.decode(WESTERN, "replace")
        text = text.replace("\r", "\n") if bare_returns else text
    dialect = Dialect()
    if kind in ("csv", "tsv"):
        dialect = sniff_dialect(text, preferred="\t" if kind == "tsv" else ",")
    cut = _cut(spec, text, in_folder=in_folder)
    return DataFile(path, kind, size, packing, encoding, fallback, bare_returns, dialect, cut, spec=spec)


def read_rows(file: DataFile, *, first_list: bool = False, on_bytes: OnBytes | None = None) -> Iterator[Row | Problem]:
    """The rows of a file in order; a broken one comes as the problem that it is, and reading goes on.

    Everything streams: the longest row decides how much memory it takes.

    Args:
        file: the file.
        first_list: of a JSON object take the first list of rows, without looking for others first.
        on_bytes: told how many bytes have been read.

    Raises:
        BrokenFileError: the file is damaged from some place on.
        UserError: the file as a whole cannot be read on.
    """
    if file.parts:
        return _read_parts(file, on_bytes)
    source = file.source
    if file.format == "jsonl":
        return read_json_lines(source, on_bytes=on_bytes)
    if file.format == "json":
        return read_json_document(source, first_list=first_list, on_bytes=on_bytes)
    if file.format == "parquet":
        return read_parquet(source, on_bytes=on_bytes)
    if file.format == "arrow":
        return read_arrow(source, on_bytes=on_bytes)
    if file.format == "text":
        return read_text(source, file.cut, on_bytes=on_bytes)
    return read_table(source, file.dialect, on_bytes=on_bytes)


def _read_parts(file: DataFile, on_bytes: OnBytes | None) -> Iterator[Row | Problem]:
    """The rows of all files of a folder; a file that cannot be used is a problem among the rows."""
    before = 0
    for path in file.parts:
        size = 0
        try:
            part = _detect_file(path, file.spec, in_folder=not file.origin)
            size = part.bytes
            listener = (lambda read, start=before: on_bytes(start + read)) if on_bytes else None
            yield from read_rows(part, on_bytes=listener)
        except UserError as failure:
            yield from failure.problems
        before += size


def _cut(spec: DataSpec, text: str, *, in_folder: bool) -> TextCut:
    if spec.text_rows == "auto":
        return TextCut("file" if in_folder else "lines" if _has_a_text_a_line(text) else "paragraphs")
    separator = spec.text_separator.replace("\\n", "\n").replace("\\t", "\t")
    if spec.text_rows == "separator" and not separator:
        message = "No separator is given, so it is not clear where a row of a text file ends."
        raise UserError(error("data.text_separator", message, "Write what stands between two rows."))
    return TextCut(spec.text_rows, separator if spec.text_rows == "separator" else "")


def _refuse_foreign(path: Path, head: bytes) -> None:
    for signature, name, advice in _FOREIGN:
        if head.startswith(signature):
            raise UserError(error(str(path), f"This is {name}, not a data file with rows.", advice))
    if head.startswith(_PICKLES):
        message = "This looks like a Python pickle, which could run code when it is opened, so it is not read."
        raise UserError(error(str(path), message, "Write the rows as JSONL or Parquet."))


def _has_a_text_a_line(text: str) -> bool:
    """Whether a text file has no paragraphs, but lines as long as paragraphs: a dump with one article in each."""
    found = text.strip().splitlines()
    return len(found) > 1 and all(line.strip() for line in found) and len(text) >= _LONG_LINE * len(found)


def _encoding(path: Path, head: bytes, spec: DataSpec) -> str:
    """“utf-8”, or “utf-16-le” and “utf-16-be” for files that do not announce it.

    Raises:
        UserError: the file is no text.
    """
    announced = next((codec for mark, codec in BOMS if head.startswith(mark)), "")
    if announced == "utf-32":
        raise UserError(error(str(path), "The file is in UTF-32.", "Save it as UTF-8."))
    if announced:
        return announced
    bare = utf16_without_mark(head)
    if bare:
        return bare
    if spec.encoding == "utf_16" and not is_utf8(head):
        return CODECS[spec.encoding]
    zeros = head.count(0)
    if zeros > 8 and zeros * 100 >= len(head):
        message = f"The file is not text: it contains NUL bytes, the first at byte {head.index(0)}."
        raise UserError(error(str(path), message, "Choose a JSONL, JSON, CSV, TSV, Parquet, Arrow or text file."))
    return "utf-8"


def _head_text(head: bytes, encoding: str) -> str:
    """The beginning of a text file as text; bytes that are not UTF-8 are left to the reader, which names their line."""
    mark = next((mark for mark, _ in BOMS if head.startswith(mark)), b"")
    if encoding == "utf-8":
        return head.removeprefix(mark).decode("utf-8", "replace")
    return head.decode(encoding, "ignore")


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
