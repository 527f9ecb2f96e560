"""The grammar of the command line, and what it says whatever the verb."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli import parser
from core.cli.assignments import as_assignment
from core.cli.console import Console
from core.cli.progress import bar, sparkline
from core.cli.verbs import presets
from core.errors import Edit, error
from core.spec.codec import apply_assignments
from core.spec.run_spec import RunSpec
from tests.core.cli.conftest import ROOT, Said

LowRank = Callable[..., Said]


def test_help_names_every_verb(lowrank: LowRank) -> None:
    for words in ((), ("--help",), ("help",)):
        said = lowrank(*words)
        assert said.code == 0
        assert all(f"\n  {name} " in said.out for name in parser.NAMES)


@pytest.mark.parametrize("name", parser.NAMES)
def test_every_verb_explains_itself_and_takes_json(lowrank: LowRank, name: str) -> None:
    said = lowrank(name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: lowrank {name}")
    assert "--json" in said.out
    assert lowrank("help", name).out == said.out


def test_help_loads_neither_verbs_nor_libraries() -> None:
    code = "import sys; from core.cli.main import main; main(['--help']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    assert not {"torch", "numpy", "yaml", "psutil", "core.spec.sections", "core.runs.supervisor"} & loaded


@pytest.mark.parametrize(
    ("wrong", "meant"), [("plna", "plan"), ("train", "run"), ("RUN", "run"), ("merge", "export"), ("dokter", "doctor")]
)
def test_an_unknown_verb_is_told_what_it_may_mean(lowrank: LowRank, wrong: str, meant: str) -> None:
    said = lowrank(wrong)
    assert (said.code, said.out) == (2, "")
    assert f"Did you mean “lowrank {meant}”?" in said.err
    assert "The verbs are" in lowrank("xyzzy").err


def test_unknown_and_incomplete_options(lowrank: LowRank) -> None:
    assert "Did you mean “--detach”?" in lowrank("run", "--detatch", "spec.yaml").err
    assert "one argument too many" in lowrank("plan", "one.yaml", "two.yaml").err
    said = lowrank("runs", "--folder", "--json")
    assert said.code == 2
    assert "--folder" in said.json["problems"][0]["message"]
    for words in (
        ("show",),
        ("export", "x", "--kind", "zip"),
        ("demo", "--steps", "0"),
        ("sample", "x", "--tokens", "a"),
    ):
        assert lowrank(*words).code == 2


def test_json_errors_are_one_object_and_nothing_else(lowrank: LowRank) -> None:
    said = lowrank("plan", "--json", "--set", "adapter.rnk=8", "--set", "model.base=x", "--set", "data.train=y")
    assert said.err == ""
    assert said.code == said.json["exit_code"] == 2
    (problem,) = said.json["problems"]
    assert problem["severity"] == "error"
    assert "adapter.rank" in problem["advice"]
    assert lowrank("--json", "plan").json["problems"]


def test_an_internal_error_is_recorded_and_not_shown(
    lowrank: LowRank, monkeypatch: pytest.MonkeyPatch, lowrank_home: Path
) -> None:
    def fall_over(*_: object) -> None:
        raise RuntimeError("the cause")

    monkeypatch.setattr(presets, "perform", fall_over)
    said = lowrank("presets")
    (record,) = (lowrank_home / "crashes").iterdir()
    assert (said.code, said.out) == (4, "")
    assert str(record) in said.err
    assert "fall_over" in record.read_text("utf-8")
    assert lowrank("presets", "--json").json["exit_code"] == 4


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe of the shell")
def test_a_reader_that_leaves_ends_nothing_loudly() -> None:
    command = f"{sys.executable} -m core schema | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_words_survive_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LOWRANK_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "core", "plan", "--preset", "quick-cpi", "--set", "model.base=é"]
    done = subprocess.run([*command, "--set", "data.train=x"], capture_output=True, env=environment, cwd=ROOT)
    assert done.returncode == 2
    assert b'Did you mean "quick-cpu"?' in done.stderr
    machine = subprocess.run([*command, "--json"], capture_output=True, env=environment, cwd=ROOT)
    assert json.loads(machine.stdout.decode("ascii"))["exit_code"] == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Console(out=_Terminal()).bold("x") == "\x1b[1mx\x1b[0m"
    assert Console(out=io.StringIO()).bold("x") == "x"
    monkeypatch.setenv("NO_COLOR", "")
    assert Console(out=_Terminal()).bold("x") == "x"


def test_progress_is_redrawn_on_a_terminal_and_thinned_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = _Terminal(), io.StringIO()
    for stream in (terminal, file):
        console = Console(out=stream)
        console.progress("step 1")
        console.progress("step 2")
        console.line("done")
    assert terminal.getvalue().startswith("\rstep 1\r")
    assert terminal.getvalue().endswith("\rdone\n")
    assert file.getvalue() == "step 1\ndone\n"


def test_problems_show_the_option_that_mends_them() -> None:
    from core.errors import Fix

    fix = Fix("Cut rows at 512 tokens", (Edit("data.max_length", 512), Edit("adapter.targets", ("q_proj", "v_proj"))))
    stream = io.StringIO()
    Console(err=stream).problems([error("data.max_length", "It is too much.", "Take less.", fix)])
    assert "Error: data.max_length: It is too much.\n  Take less.\n" in stream.getvalue()
    assert '--set data.max_length=512 --set \'adapter.targets=["q_proj", "v_proj"]\'' in stream.getvalue()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("adapter.targets", ("q_proj", "v_proj")),
        ("adapter.modules_to_save", ()),
        ("adapter.rank_pattern", {"down_proj": 32}),
        ("model.trust_remote_code", True),
        ("training.learning_rate", 2e-5),
        ("data.train", ("/a b/c.jsonl",)),
    ],
)
def test_a_shown_assignment_means_the_edit(path: str, value: object) -> None:
    import shlex

    (word,) = shlex.split(as_assignment(Edit(path, value)))
    assert apply_assignments(RunSpec(), [word]).get(path) == value


def test_small_drawings() -> None:
    assert bar(0.5, 4) == "██░░"
    assert bar(7.0, 2) == "██"
    assert sparkline([]) == sparkline([float("nan")]) == ""
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert len(sparkline(list(range(1000)), width=40)) == 40
    assert sparkline([1.0, 1.0]) == "▁▁"
