"""YAML as text: files read with every scalar left a text and every line number kept, and mappings written for people.

Knows nothing of settings. Scalars stay texts because YAML 1.1 would turn `off` into false and leave `2e-4` a text;
only the setting knows what is meant. Anchors work; merge keys, tags that make objects, and second documents do not.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Problem, UserError, error

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1024 * 1024
_DATA_SUFFIXES = frozenset({".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".arrow"})
_MODEL_SUFFIXES = frozenset({".gguf", ".safetensors", ".bin", ".pt", ".pth"})
_MOST_LINES = 5
_MAPPING = "tag:yaml.org,2002:map"
_LIST = "tag:yaml.org,2002:seq"
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_FLOAT = "tag:yaml.org,2002:float"
_ODD_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")  # YAML folds or drops these unless they are escaped
_FLOAT_OF_YAML_1_2 = re.compile(r"[-+]?(?:\d+|\d+\.\d*|\.\d+)[eE][-+]?\d+")


class MarkedDict(dict[str, object]):
    """A mapping from a file.

    Attributes:
        lines: the line (from 1) of every key.
        repeated: the lines of keys that were given again; the first one's value counts.
        problems: what is wrong with the file although it is YAML; only the outermost mapping has any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}
        self.repeated: dict[str, list[int]] = {}
        self.problems: tuple[Problem, ...] = ()


def line_of(data: Mapping[str, object], key: str) -> int:
    """The line a key stands on; 0 for mappings that came from no file."""
    return data.lines.get(key, 0) if isinstance(data, MarkedDict) else 0


def problems_of(data: Mapping[str, object]) -> tuple[Problem, ...]:
    """What was already wrong with the file that a mapping came from: repeated keys, keys that are no names."""
    return data.problems if isinstance(data, MarkedDict) else ()


def read_mapping(path: Path) -> MarkedDict:
    """The mapping that a YAML file holds.

    Raises:
        UserError: the file is missing, unreadable, empty, too large, binary, not UTF-8, not YAML or no mapping.
    """
    return parse_mapping(_decode(path, _read_bytes(path)), str(path))


def _read_bytes(path: Path) -> bytes:
    name = str(path)
    try:
        with path.open("rb") as file:
            blob = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(error(name, "There is no such file.", "Check the path and its spelling.")) from None
    except IsADirectoryError:
        raise UserError(error(name, "This is a folder, not a file.", "Name the YAML file itself.")) from None
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else str(failure)
        message = f"The file cannot be read: {reason}."
        raise UserError(error(name, message, "Check the path and the rights of the file.")) from failure
    if len(blob) > MAX_BYTES:
        raise UserError(error(name, "The file is larger than 1 MiB, so it is no settings file.", _wrong_file(path)))
    return blob


def _decode(path: Path, blob: bytes) -> str:
    if blob.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(error(str(path), "The file is in UTF-16.", "Save it again as UTF-8."))
    if b"\0" in blob:
        raise UserError(error(str(path), "The file is binary, so it is no settings file.", _wrong_file(path)))
    try:
        return blob.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = blob.count(b"\n", 0, failure.start) + 1
        message = f"The file is not in UTF-8: line {line} has a byte that UTF-8 does not allow."
        raise UserError(error(f"{path}:{line}", message, "Save it again as UTF-8.")) from None


def _wrong_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _DATA_SUFFIXES:
        return "It looks like a data file: name it under “data.train” in a settings file."
    if suffix in _MODEL_SUFFIXES:
        return "It looks like a model: name it under “model.base” in a settings file."
    return "Name a YAML file with settings."


def parse_mapping(text: str, source: str = "") -> MarkedDict:
    """The mapping that a YAML text holds; ``source`` is the file's name for messages.

    Keys that are given twice do not stop the reading: see `problems_of`.

    Raises:
        UserError: the text is empty, not YAML, or something other than a mapping.
    """
    data, problems = _load(text, source)
    if data is None:
        raise UserError(error(source, "The file is empty.", "Write at least “model:” and “data:” with their settings."))
    if not isinstance(data, MarkedDict):
        found = "a list" if isinstance(data, list) else "a single value"
        message = f"The file holds {found}, not sections with settings."
        raise UserError(error(source, message, _wrong_file(Path(source or "text"))))
    data.problems = problems
    return data


def parse_inline(text: str) -> object:
    """The value of a one-line YAML text, or None where it is not YAML."""
    import yaml

    try:
        return yaml.load(text, _loader())  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None


def _load(text: str, source: str) -> tuple[object, tuple[Problem, ...]]:
    import yaml

    try:
        loader = _loader()(text)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as failure:
        raise UserError(_syntax_problem(failure, text, source)) from failure
    except RecursionError:
        advice = "A spec has sections and settings, nothing deeper."
        raise UserError(error(source, "The file is nested too deeply to be a settings file.", advice)) from None
    return data, tuple(loader.problems(source))


def _syntax_problem(failure: "yaml.YAMLError", text: str, source: str) -> Problem:
    import yaml

    if isinstance(failure, yaml.reader.ReaderError):
        line = text.count("\n", 0, failure.position) + 1
        message = f"Line {line} has a control character that YAML does not allow."
        return error(f"{source}:{line}" if source else "", message, "Remove the character.")
    mark = getattr(failure, "problem_mark", None)
    line = mark.line + 1 if mark else 0
    where = f"{source}:{line}" if source and line else source
    what = str(getattr(failure, "problem", None) or failure)
    if "single document" in str(failure):
        return error(
            where, "The file holds more than one YAML document.", "Keep one and remove the “---” between them."
        )
    if "constructor for the tag" in what:
        return error(where, f"The YAML tag on line {line} is not allowed here.", "Remove the tag that begins with “!”.")
    lines = text.splitlines()
    if line and line <= len(lines) and "\t" in lines[line - 1]:
        return error(where, f"Line {line} is indented with a tab, which YAML forbids.", "Indent with spaces.")
    column = f", column {mark.column + 1}" if mark else ""
    advice = "Check the indentation, the colons and the quotation marks there."
    if source and Path(source).suffix.lower() in _DATA_SUFFIXES | _MODEL_SUFFIXES:
        advice = _wrong_file(Path(source))
    return error(where, f"The file is not valid YAML: {what} (line {line}{column}).", advice)


@functools.cache
def _loader() -> Any:
    """The loader class; made on first use, because importing yaml costs more than everything else here."""
    import yaml

    class SpecLoader(yaml.SafeLoader):
        """Every plain scalar is a text except null; mappings remember lines and repeated keys."""

        def __init__(self, text: str) -> None:
            super().__init__(text)
            self._odd_keys: list[int] = []
            self._mappings: list[MarkedDict] = []

        def problems(self, source: str) -> list[Problem]:
            """What was understood and is refused all the same: repeated keys, and keys that are no texts."""
            found = []
            for line in self._odd_keys:
                where = f"{source}:{line}" if source else ""
                found.append(error(where, f"The key on line {line} is not a name.", "Write a name before the colon."))
            for mapping in self._mappings:
                for key, again in mapping.repeated.items():
                    shown = [str(line) for line in [mapping.lines[key], *again][:_MOST_LINES]]
                    lines = ", ".join(shown) + ", …" * (len(again) >= _MOST_LINES)
                    where = f"{source}:{again[0]}" if source else ""
                    message = f"“{key}” is given {len(again) + 1} times (lines {lines})."
                    found.append(error(where, message, "Keep one of them."))
            return found

        def marked_mapping(self, node: "yaml.MappingNode") -> MarkedDict:
            data = MarkedDict()
            self._mappings.append(data)
            for key_node, value_node in node.value:
                line = key_node.start_mark.line + 1
                key = self.construct_object(key_node, deep=True) if isinstance(key_node, yaml.ScalarNode) else None
                value = self.construct_object(value_node, deep=True)
                if not isinstance(key, str):
                    self._odd_keys.append(line)
                elif key in data:
                    data.repeated.setdefault(key, []).append(line)
                else:
                    data[key] = value
                    data.lines[key] = line
            return data

    SpecLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag == _NULL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    allowed = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (_NULL, _TEXT, _LIST, None)}
    SpecLoader.yaml_constructors = {**allowed, _MAPPING: SpecLoader.marked_mapping}
    return SpecLoader


def dump(data: Mapping[str, object], header: str) -> str:
    """A mapping as YAML below comment lines; texts are quoted where YAML 1.1 or 1.2 would misread them."""
    import yaml

    comment = "".join(f"# {line}\n" for line in header.splitlines())
    body = yaml.dump(dict(data), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)
    return comment + str(body)


@functools.cache
def _dumper() -> Any:
    import yaml

    class SpecDumper(yaml.SafeDumper):
        """Block style for texts of several lines, no aliases, lists indented below their key."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (the base class's signature)
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow=flow, indentless=False)

        def text(self, value: str) -> "yaml.ScalarNode":
            style = "|" if "\n" in value else None
            return self.represent_scalar(_TEXT, value, style='"' if _ODD_BREAKS.search(value) else style)

    SpecDumper.add_representer(str, SpecDumper.text)
    SpecDumper.add_implicit_resolver(_FLOAT, _FLOAT_OF_YAML_1_2, list("-+.0123456789"))
    return SpecDumper
