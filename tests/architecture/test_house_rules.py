"""Rules about the source itself that no linter of ours knows."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("core", "studio", "launcher")
MORE_CODE = ("tests", "benchmarks")
TEXT = (".py", ".md", ".toml", ".yaml", ".yml", ".json", ".jsonl", ".lock", ".csv", ".txt", ".j2", ".spec")

LONGEST_FILE = 500
RARELY_LONGER_THAN = 300
LONGEST_FUNCTION = 75
# Tables, not programs: one entry after another, nothing to understand across them.
TABLES = {"core/spec/sections.py": 900}


def sources(*folders: str) -> list[Path]:
    """Every Python file below these folders, and launch.py."""
    return [ROOT / "launch.py", *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def own_texts() -> Iterator[Path]:
    """Every text file that people write here; bundled data is other people's words."""
    folders = [ROOT / name for name in (*CODE, *MORE_CODE, "docs", ".ci", "resources") if (ROOT / name).is_dir()]
    for path in [*ROOT.iterdir(), *(path for folder in folders for path in sorted(folder.rglob("*")))]:
        bundled = path.is_relative_to(ROOT / "resources" / "data")
        if path.is_file() and not bundled and (path.suffix in TEXT or path.parent.name == ".ci"):
            yield path


def test_no_file_is_long() -> None:
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in sources(*CODE, *MORE_CODE)}
    too_long = {name: count for name, count in lines.items() if count > TABLES.get(name, LONGEST_FILE)}
    assert too_long == {}
    assert set(TABLES) <= set(lines), "a table that is gone needs no exception"
    rather_long = {name: count for name, count in lines.items() if count > RARELY_LONGER_THAN}
    assert len(rather_long) <= len(lines) * 0.15, f"over {RARELY_LONGER_THAN} lines must stay rare: {rather_long}"


def test_functions_fit_a_screen() -> None:
    lengths = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in sources(*CODE)
        for node in functions(path)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_core_never_names_the_window() -> None:
    guilty = []
    for path in sorted((ROOT / "core").rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            if any(module.partition(".")[0] in ("PySide6", "pyqtgraph", "studio", "launcher") for module in modules):
                guilty.append(f"{name_of(path)}:{getattr(node, 'lineno', 0)}")
    assert guilty == []


def test_only_the_command_line_prints() -> None:
    guilty = [
        f"{name_of(path)}:{node.lineno}"
        for path in sorted((ROOT / "core").rglob("*.py"))
        if not path.is_relative_to(ROOT / "core" / "cli") and path.name != "__main__.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert guilty == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in sources(*CODE) if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in sources(*CODE) if path.parent != ROOT}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


# Letters in brackets, so that this file does not accuse itself. “me” stands for anybody in examples.
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
MACHINE = re.compile(r"(?<![\w.:/~}-])/(?:w[o]rk|r[o]ot|opt/\w+|mnt|h[o]me/(?!me\b)\w+)/|[A-Z]:\\U[s]ers\\(?!me\b)")


@pytest.mark.parametrize(
    ("pattern", "what"), [(UNFINISHED, "a note to finish something"), (MACHINE, "somebody's own machine")]
)
def test_no_text_names(pattern: re.Pattern[str], what: str) -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}"
        for path in own_texts()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], f"{what}: {found}"


def test_the_patterns_find_what_they_are_for() -> None:
    assert UNFINISHED.search("# TO" + "DO: later")
    assert not UNFINISHED.search("mastodon")
    for text in ("see /wo" + "rk/main", '"/ho' + 'me/jo/x"', "C:\\Us" + "ers\\jo"):
        assert MACHINE.search(text), text
    for text in ("core/wo" + "rk/x", "https://a.org/ho" + "me/x/y", "~/.cache/x", "/ho" + "me/me/x"):
        assert not MACHINE.search(text), text
