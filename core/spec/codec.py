"""Specs as files, dicts and command-line assignments, and back: every problem at once, each with place and advice."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath

from core.errors import Edit, ExitCode, Problem, UserError, error
from core.paths import write_atomic
from core.spec import names, yaml_text
from core.spec.fields import FieldInfo, Kind
from core.spec.hub_data import is_hub_data, read_hub_data
from core.spec.migrations import VERSION_KEY, migrate, renamed
from core.spec.run_spec import SCHEMA_VERSION, RunSpec, field_at, fields, sections
from core.spec.template_choice import is_template_text, without_tools
from core.spec.values import ValueRefusedError, describe, expected, one_line, quote, read_assigned, read_value, to_plain

MAX_PROBLEMS = 100
HEADER = "Settings of a Lowrank Studio run. What is not written here has its default; docs/settings.md lists them all."

_PLAIN_PATH = ("~", "./", "../", ".\\", "..\\")
_NOT_A_NAME = re.compile(r"[./\\]")


def read_spec(path: Path) -> RunSpec:
    """The spec in a YAML file; relative paths in it are meant from the file's own folder and come back absolute.

    Raises:
        UserError: the file cannot be read or understood; it carries every problem found.
    """
    spec = from_mapping(yaml_text.read_mapping(path), str(path))
    return resolve_paths(spec, path.absolute().parent)


def from_mapping(data: Mapping[str, object], source: str = "") -> RunSpec:
    """The spec that nested plain data describes; paths stay as written, and missing settings take their defaults.

    Args:
        data: sections with settings, as from YAML or JSON; a ``version`` key says which schema they follow.
        source: name of the file they came from, for messages.

    Raises:
        UserError: keys are unknown or values do not fit; it carries every problem found.
    """
    edits, problems = read_edits(migrate(data, source), source)
    problems = (*yaml_text.problems_of(data), *problems)
    if problems:
        raise UserError(*problems)
    return _build(edits)


def read_edits(data: Mapping[str, object], source: str = "") -> tuple[tuple[Edit, ...], tuple[Problem, ...]]:
    """The settings that nested plain data names, in the order given, and everything that is wrong with it."""
    edits: list[Edit] = []
    problems: list[Problem] = []
    known = {section.name for section in sections()}
    for name, section in data.items():
        if name == VERSION_KEY:
            continue
        place = _place(source, yaml_text.line_of(data, name))
        if name not in known:
            message = f"{quote(str(name))}{place} is not a section of a spec."
            problems.append(error(one_line(str(name)), message, names.unknown_section(str(name))))
        elif isinstance(section, Mapping):
            _read_section(name, section, source, edits, problems)
        elif section is not None:
            message = f"The section “{name}”{place} should hold settings, but found {describe(section)}."
            advice = f"Write “{name}:” and, indented below it, lines such as “{_example(name)}”."
            problems.append(error(name, message, advice))
        if len(problems) >= MAX_PROBLEMS:
            message = f"After {MAX_PROBLEMS} problems the rest{_place(source, 0)} was not read."
            problems.append(error(source, message, "Check that this is a settings file."))
            break
    return tuple(edits), tuple(problems)


def _read_section(
    section: str, data: Mapping[str, object], source: str, edits: list[Edit], problems: list[Problem]
) -> None:
    for name, raw in data.items():
        if len(problems) >= MAX_PROBLEMS:
            return
        path = f"{section}.{name}"
        place = _place(source, yaml_text.line_of(data, name))
        try:
            info = field_at(path)
        except KeyError:
            new = renamed(path)
            advice = f"It is called “{new}” now." if new else names.unknown_setting(section, str(name))
            message = f"{quote(str(name))}{place} is not a setting of the section “{section}”."
            problems.append(error(one_line(path), message, advice))
            continue
        try:
            edits.append(Edit(path, read_value(info, raw)))
        except ValueRefusedError as refused:
            problems.append(_refusal(info, refused, place))


def _refusal(info: FieldInfo, refused: ValueRefusedError, place: str) -> Problem:
    message = f"“{info.setting.title}”{place} should be {expected(info)}, but found {refused.found}."
    advice = refused.hint or f"Write for example “{info.name}: {_shown(info)}”."
    return error(info.path, message, advice)


def _shown(info: FieldInfo) -> str:
    """An example value in the notation of YAML."""
    examples = {
        Kind.MODEL: "starter",
        Kind.FILES: "[rows.jsonl]",
        Kind.MAPPING: "{prompt: question}",
        Kind.RANKS: "{down_proj: 32}",
        Kind.WEIGHTS: "{rows.jsonl: 2}",
    }
    if info.setting.kind in examples:
        return examples[info.setting.kind]
    if isinstance(info.default, bool):
        return "true" if info.default else "false"
    if isinstance(info.default, tuple):
        return f"[{', '.join(info.default) or 'one, two'}]"
    return str(info.default) or "some text"


def _example(section: str) -> str:
    info = next(info for info in fields() if info.section == section)
    return f"{info.name}: {_shown(info)}"


def _place(source: str, line: int) -> str:
    if not source:
        return ""
    return f" in {source}:{line}" if line else f" in {source}"


def _build(edits: Iterable[Edit]) -> RunSpec:
    values: dict[str, dict[str, object]] = {section.name: {} for section in sections()}
    for edit in edits:
        section, _, name = edit.path.partition(".")
        values[section][name] = edit.value
    return RunSpec(**{section.name: section.type(**values[section.name]) for section in sections()})


def to_mapping(spec: RunSpec, *, full: bool = False) -> dict[str, object]:
    """The spec as nested plain data with its version: what differs from the defaults, or everything if ``full``."""
    data: dict[str, object] = {VERSION_KEY: SCHEMA_VERSION}
    for section in sections():
        chosen = {
            info.name: to_plain(spec.get(info.path))
            for info in fields()
            if info.section == section.name and (full or spec.get(info.path) != info.default)
        }
        if chosen:
            data[section.name] = chosen
    return data


def to_yaml(spec: RunSpec, *, full: bool = False) -> str:
    """The spec as the YAML text that `read_spec` understands."""
    return yaml_text.dump(to_mapping(spec, full=full), HEADER)


def write_spec(spec: RunSpec, path: Path) -> None:
    """Writes the spec as YAML; the file is wholly there or not at all.

    Raises:
        UserError: the file cannot be written; what was there before is still there.
    """
    try:
        write_atomic(path, to_yaml(spec))
    except OSError as failure:
        message = f"The settings cannot be written: {failure.strerror or failure}."
        advice = "Check that the folder exists, may be written to and has space, or choose another place."
        raise UserError(error(str(path), message, advice), exit_code=ExitCode.FAILED) from failure


def apply_assignments(spec: RunSpec, assignments: Iterable[str]) -> RunSpec:
    """The spec with ``path=value`` texts from the command line applied in order; paths stay as written.

    Lists take commas (names only) or YAML's ``[a, b]``; mappings take ``a=1,b=2`` or YAML's ``{a: 1, b: 2}``.

    Raises:
        UserError: a path is unknown or a value does not fit; it carries every problem found.
    """
    problems: list[Problem] = []
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        path = path.strip()
        if not sign or not path:
            message = f"{quote(assignment)} is not an assignment."
            problems.append(error("", message, "Write it as path=value, for example adapter.rank=8."))
            continue
        try:
            info = field_at(path)
        except KeyError:
            new = renamed(path)
            advice = f"It is called “{new}” now." if new else names.unknown_path(path)
            problems.append(error(one_line(path), f"There is no setting {quote(path)}.", advice))
            continue
        try:
            spec = spec.replace(path, read_assigned(info, text))
        except ValueRefusedError as refused:
            problems.append(_refusal(info, refused, ""))
    if problems:
        raise UserError(*problems)
    return spec


def resolve_paths(spec: RunSpec, folder: Path) -> RunSpec:
    """The spec with its relative file paths made absolute, as seen from ``folder``, and “~” made the home folder.

    Training and validation files and the runs folder always (but for data sets of the hub, which get the one spelling
    that `core.spec.hub_data` has for them); the base model, the adapter to go on from and the template where they are
    plainly paths (“./base”, “~/base”) or where such a file or folder exists, because both may also be names.
    """
    changes: dict[str, object] = {
        path: tuple(_data_name(text, folder) for text in spec.get(path)) for path in ("data.train", "data.validation")
    }
    # A weight is named as its file is, so it goes where the file goes.
    changes["data.weights"] = {
        _data_name(name, folder) if name in spec.data.train else name: weight
        for name, weight in spec.data.weights.items()
    }
    changes["output.folder"] = _absolute(spec.output.folder, folder)
    base = _absolute(spec.model.base, folder)
    if spec.model.base.startswith(_PLAIN_PATH) or _exists(base):
        changes["model.base"] = base
    start = _absolute(spec.adapter.start_from, folder)
    if spec.adapter.start_from.startswith(_PLAIN_PATH) or _exists(start):
        changes["adapter.start_from"] = start
    name = without_tools(spec.data.template)
    template = _absolute(name, folder)
    is_path = name.startswith(_PLAIN_PATH) or (_NOT_A_NAME.search(name) and _exists(template))
    if is_path and not is_template_text(name):
        changes["data.template"] = template + spec.data.template.removeprefix(name)
    for path, value in changes.items():
        if value != spec.get(path):
            spec = spec.replace(path, value)
    return spec


def _data_name(text: str, folder: Path) -> str:
    """A data file as an absolute path; a data set of the hub in its one spelling."""
    return str(read_hub_data(text) or text) if is_hub_data(text) else _absolute(text, folder)


def _exists(path: str) -> bool:
    return os.path.isabs(path) and os.path.exists(path)  # noqa: PTH110, PTH117 (no error for impossible names)


def _absolute(text: str, folder: Path) -> str:
    """``text`` as an absolute path; empty texts, web addresses and paths of another system stay as they are."""
    if not text.strip() or "://" in text or PureWindowsPath(text).is_absolute() or "\0" in text:
        return text
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # “~somebody” without a home folder; the rules say so
        return text
    return str(path if path.is_absolute() else folder / path)
