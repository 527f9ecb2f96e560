"""What README and docs/commands.md show is what the program takes."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.cli.parser import NAMES, find_verb, parser_of, read_options
from core.spec.codec import read_spec
from core.spec.rules import check
from tests.core.cli.conftest import ROOT, Said

README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"
OTHERS = ("test", "setup", "package")  # of launch.py alone


def _shown() -> Iterator[str]:
    for page in (README, COMMANDS):
        text = page.read_text("utf-8")
        blocks = re.findall(r"^ *```\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`((?:python3 launch\.py|lowrank) [^`]+)`", text)
        for line in lines:
            words = re.sub(r"^(python3 launch\.py|py launch\.py|lowrank) ", "", line)
            if words != line and words.split()[0] not in (*OTHERS, "VERB"):
                yield words


@pytest.mark.parametrize("words", sorted(set(_shown())))
def test_shown_commands_are_understood(words: str) -> None:
    name, *rest = shlex.split(words.split(" > ", maxsplit=1)[0])
    verb = find_verb(name)
    if rest or name not in ("plan", "run"):
        read_options(parser_of(verb, verb.load()), rest)


def test_the_readme_opens_with_its_two_commands() -> None:
    assert README.read_text("utf-8").splitlines()[2:6] == [
        "```",
        "python3 launch.py demo",
        "python3 launch.py test",
        "```",
    ]


def test_every_verb_is_in_the_readme() -> None:
    text = README.read_text("utf-8")
    assert all(re.search(rf"`{name}[ `]", text) for name in NAMES)


def test_the_readmes_first_run_can_be_planned(lowrank: Callable[..., Said], tmp_path: Path, tiny_model: Path) -> None:
    text = README.read_text("utf-8")
    (spec,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (row,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "spec.yaml").write_text(spec)
    (tmp_path / "rows.jsonl").write_text(row.replace("What is a loss?", "What is number 1?") + row * 1)
    assert not [problem for problem in check(read_spec(tmp_path / "spec.yaml")) if problem.severity == "error"]
    said = lowrank("plan", tmp_path / "spec.yaml", "--set", f"model.base={tiny_model}", "--set", "data.max_length=128")
    assert said.code == 0, said.out + said.err


@pytest.mark.parametrize("page", [README, COMMANDS])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
        if target != "docs/architecture.md" or (ROOT / target).exists():
            assert (page.parent / target).exists(), target
