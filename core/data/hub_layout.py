"""Which files of a data set on the hub hold which rows: by what its card says, else by how its files are called.

The rules are those of the Hugging Face library (``datasets/data_files.py`` and ``datasets/utils/metadata.py`` 4.x,
https://huggingface.co/docs/hub/datasets-data-files-configuration), for the kinds of files that are read here. Code in a
repository is never run.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from core.data.folders import ending_of, kind_by_name
from core.errors import UserError, error
from core.spec.hub_data import HubData

DEFAULT = "default"
CONVERTED = "refs/convert/parquet"
"""The branch on which the hub keeps a data set as Parquet files that it has made itself."""

_SPLITS = ("train", "validation", "test")
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARDED = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")
_OF_MANY = re.compile(r"(?P<before>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<behind>[^/]*)")
_MADE_BY_THE_HUB = re.compile(r"(?P<config>[^/]+)/(?:partial-)?(?P<split>[^/]+)/\d{4,5}\.parquet")
_SEPARATORS = r"[-._ 0-9]"
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a subset: its files in order, and how many rows its card claims (0 where it does not say)."""

    name: str
    files: tuple[str, ...]
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """One subset of a data set; ``is_default`` marks the one that is meant where none is named."""

    name: str
    splits: tuple[Split, ...]
    is_default: bool = False


def layout(names: Iterable[str], card: Mapping[str, Any]) -> tuple[Config, ...]:
    """The subsets of a data set and their splits, the default one first; empty where nothing in it can be read.

    Args:
        names: all its files, with slashes.
        card: the head of its README.md, as the hub or YAML gives it.
    """
    data = _data_files(names)
    found = [config for config in _stated(data, card) if config.splits] or _by_names(data)
    counts = _row_counts(card)
    counted = [
        replace(
            config,
            splits=tuple(replace(part, rows=counts.get((config.name, part.name), 0)) for part in config.splits),
        )
        for config in found
    ]
    return tuple(sorted(counted, key=lambda config: not config.is_default))


def choose(configs: Sequence[Config], wanted: HubData) -> tuple[Config, Split]:
    """The subset and the split that a name means: the default one, and “train” or the only one, where it says nothing.

    Raises:
        UserError: there is none of that name, or several might be meant.
    """
    usual = next((item.name for item in configs if item.is_default), "")
    names = [item.name for item in configs]
    config = configs[_chosen(names, wanted.config, usual, wanted, replace(wanted, config=names[0]))]
    parts = [item.name for item in config.splits]
    example = replace(wanted, config=config.name if wanted.config else "", split=parts[0])
    split = config.splits[_chosen(parts, wanted.split, "train", wanted, example)]
    return config, split


def _chosen(names: Sequence[str], name: str, usual: str, wanted: HubData, example: HubData) -> int:
    """The place of the part that is meant."""
    if name in names:
        return names.index(name)
    if not name and (len(names) == 1 or usual in names):
        return names.index(usual) if usual in names else 0
    shown = ", ".join(names[:_MOST_NAMED]) + (" and more" if len(names) > _MOST_NAMED else "")
    message = f"The data set “{wanted.id}” has several parts, and it is not clear which is meant: {shown}."
    if name:
        message = f"The data set “{wanted.id}” has no part “{name}”; it has: {shown}."
    raise UserError(error(str(wanted), message, f"Name one of them, for example {example}."))


def why_unreadable(names: Collection[str]) -> tuple[str, str]:
    """What to say about a data set that `layout` finds nothing in: why, and what to do."""
    scripts = [name for name in names if name.endswith(".py") and "/" not in name]
    if scripts:
        why = f"Its rows are made by a program of its authors ({scripts[0]}), which is never run here."
        advice = (
            f"Look whether the hub has made Parquet files of it: write @{CONVERTED} behind its name. If it has not, "
            "look for a copy of the data set in Parquet or JSONL files."
        )
        return why, advice
    seen = [PurePosixPath(name) for name in names if not name.startswith(".") and name != "README.md"]
    endings = Counter(ending_of(name) for name in seen)
    endings.pop("", None)
    if not endings:
        return "It holds no data files.", "Look at its page for where the rows are."
    common = ", ".join(ending for ending, _ in endings.most_common(3))
    why = f"It holds no files that can be read here, but files of other kinds: {common}."
    return why, "Look for a data set with JSONL, JSON, CSV, Parquet, Arrow or text files."


def missing_shards(files: Iterable[str]) -> tuple[str, ...]:
    """Files that should be there because of the others, by names such as ``train-00000-of-00003.parquet``."""
    known = set(files)
    wanted: set[str] = set()
    for name in known:
        found = _OF_MANY.fullmatch(name)
        if found and found["behind"].startswith("."):  # a digest in front of the ending differs from file to file
            count, before, behind = found["count"], found["before"], found["behind"]
            wanted |= {f"{before}-{number:05}-of-{count}{behind}" for number in range(int(count))}
    return tuple(sorted(wanted - known))


def _data_files(names: Iterable[str]) -> tuple[str, ...]:
    """The files that can be read as rows."""
    return tuple(name for name in sorted(names) if _kind(name) and name.rpartition("/")[2].lower() not in _BESIDE)


def _kind(name: str) -> str:
    return kind_by_name(PurePosixPath(name))


_BESIDE = frozenset({"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
                     "requirements.txt", "license.txt", "license.md", "readme.txt", "readme.md"})  # fmt: skip
"""What lies beside data without being any: the first ones are what the library leaves aside, too."""


def _one_kind(names: Sequence[str]) -> tuple[str, ...]:
    """Of several kinds of files that one which most of them are: the others are copies in another form."""
    kinds = Counter(_kind(name) for name in names)
    if len(kinds) < 2:
        return tuple(names)
    best = min(kinds, key=lambda kind: (-kinds[kind], kind))
    return tuple(name for name in names if _kind(name) == best)


def _stated(data: Sequence[str], card: Mapping[str, Any]) -> list[Config]:
    """The subsets that the card describes under “configs”."""
    entries = card.get("configs")
    found: list[Config] = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        name = _text(entry, "config_name") or DEFAULT
        folder = _text(entry, "data_dir").strip("./")
        inside = [item.removeprefix(f"{folder}/") for item in data if not folder or item.startswith(f"{folder}/")]
        patterns = _patterns(entry.get("data_files"))
        if patterns:
            splits = [Split(part, _one_kind(_matching(inside, globs))) for part, globs in patterns.items()]
        else:
            splits = _splits_by_names(inside)
        whole = [replace(part, files=tuple(_joined(folder, file) for file in part.files)) for part in splits]
        chosen = entry.get("default") is True or name == DEFAULT
        found.append(Config(name, tuple(part for part in whole if part.files), chosen))
    usual = next((config.name for config in found if config.is_default), found[0].name if len(found) == 1 else "")
    return [replace(config, is_default=config.name == usual) for config in found]


def _text(entry: Mapping[str, Any], name: str) -> str:
    """A text of the card; a number that YAML made of one is a text again, anything else counts as nothing."""
    value = entry.get(name)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _patterns(stated: object) -> dict[str, list[str]]:
    """Split -> patterns, from the three ways in which a card may write them."""
    if isinstance(stated, str):
        return {"train": [stated]}
    if not isinstance(stated, list):
        return {}
    if all(isinstance(item, str) for item in stated):
        return {"train": list(stated)} if stated else {}
    found: dict[str, list[str]] = {}
    for item in stated:
        paths = item.get("path") if isinstance(item, Mapping) else None
        paths = [paths] if isinstance(paths, str) else paths
        if isinstance(item, Mapping) and isinstance(paths, list):
            found.setdefault(_text(item, "split") or "train", []).extend(
                path for path in paths if isinstance(path, str)
            )
    return found


def _matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that one of the patterns matches, in the order of the patterns, each once."""
    known = list(names)
    found: dict[str, None] = {}
    for pattern in patterns:
        plain = pattern.removeprefix("./")
        compiled = re.compile(_as_expression(plain))
        found |= dict.fromkeys(name for name in known if compiled.fullmatch(name) and _is_open(name, plain))
    return list(found)


def _as_expression(pattern: str) -> str:
    """A glob as a regular expression: “*” stays inside a folder, “**” does not."""
    made, place = "", 0
    while place < len(pattern):
        letter = pattern[place]
        closing = pattern.find("]", place + 2) if letter == "[" else -1
        if pattern.startswith("**/", place):
            made, place = f"{made}(?:.*/)?", place + 3
        elif pattern.startswith("**", place):
            made, place = f"{made}.*", place + 2
        elif letter == "*":
            made, place = f"{made}[^/]*", place + 1
        elif letter == "?":
            made, place = f"{made}[^/]", place + 1
        elif closing > 0:
            inner = pattern[place + 1 : closing].replace("\\", r"\\").replace("[", r"\[")
            made, place = f"{made}[{'^' + inner[1:] if inner[:1] == '!' else inner}]", closing + 1
        else:
            made, place = made + re.escape(letter), place + 1
    return made


def _is_open(name: str, pattern: str) -> bool:
    """Whether a name holds no hidden or special part that the pattern does not hold as well."""
    for start in (".", "__"):
        here, asked = (sum(part.startswith(start) for part in text.split("/")) for text in (name, pattern))
        if here != asked:
            return False
    return True


def _by_names(data: Sequence[str]) -> list[Config]:
    """The subsets of a data set whose card says nothing about files."""
    made = [(found["config"], found["split"], found[0]) for name in data if (found := _MADE_BY_THE_HUB.fullmatch(name))]
    if not made or len(made) < len(data):
        splits = _splits_by_names(data)
        return [Config(DEFAULT, tuple(splits), is_default=True)] if splits else []
    parts: dict[str, dict[str, list[str]]] = {}
    for config, split, name in made:
        parts.setdefault(config, {}).setdefault(split, []).append(name)
    usual = next(iter(parts)) if len(parts) == 1 else DEFAULT
    return [
        Config(config, tuple(Split(split, tuple(files)) for split, files in _ordered(splits)), config == usual)
        for config, splits in parts.items()
    ]


def _splits_by_names(data: Sequence[str]) -> list[Split]:
    """Splits as the names of files and folders tell them; all is to be trained where they tell nothing."""
    seen = [name for name in data if _is_open(name, "")]
    rows = [name for name in seen if _kind(name) != "text"]  # texts are often only about the data beside them
    names = rows or [name for name in seen if not name.lower().endswith((".md", ".markdown"))]
    sharded: dict[str, list[str]] = {}
    for name in names:
        if found := _SHARDED.fullmatch(name):
            sharded.setdefault(found[1], []).append(name)
    parts = sharded or _by_keyword(names, in_folders=True) or _by_keyword(names, in_folders=False)
    parts = parts or ({"train": names} if names else {})
    return [Split(split, _one_kind(files)) for split, files in _ordered(parts)]


def _by_keyword(names: Iterable[str], *, in_folders: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        *folders, last = name.split("/")
        for split, words in _KEYWORDS.items():
            word = rf"(?:^|.*{_SEPARATORS})(?:{'|'.join(words)})"
            if in_folders:
                is_meant = any(re.fullmatch(rf"{word}(?:{_SEPARATORS}.*)?", folder) for folder in folders)
            else:
                is_meant = re.fullmatch(rf"{word}{_SEPARATORS}.*", last) is not None
            if is_meant:
                found.setdefault(split, []).append(name)
    return found


def _ordered(parts: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """The usual splits first, the others by name."""
    return sorted(parts.items(), key=lambda item: (_SPLITS.index(item[0]) if item[0] in _SPLITS else 3, item[0]))


def _row_counts(card: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """How many rows the card says that each split of each subset has."""
    stated = card.get("dataset_info")
    counts: dict[tuple[str, str], int] = {}
    for entry in stated if isinstance(stated, list) else [stated]:
        if not isinstance(entry, Mapping):
            continue
        splits = entry.get("splits")
        for part in splits if isinstance(splits, list) else ():
            rows = part.get("num_examples") if isinstance(part, Mapping) else None
            if isinstance(rows, int) and not isinstance(rows, bool) and rows > 0:
                counts[_text(entry, "config_name") or DEFAULT, _text(part, "name")] = rows
    return counts
