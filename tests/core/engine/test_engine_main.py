"""Which jobs of an engine see a GPU: those that may use one."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.engine.__main__ import _is_for_processor
from core.errors import UserError, error
from core.runs import store
from core.runs.child_env import child_env
from core.runs.layout import RunFolder
from core.runs.store import create_job

PROGRAM = """
import os, sys
from core.engine.__main__ import main
main(sys.argv[1:])
print(repr(os.environ.get("CUDA_VISIBLE_DEVICES")))
"""


@pytest.mark.parametrize(
    ("kind", "arguments", "hidden"),
    [
        ("chat", {"device": "cpu"}, True),
        ("chat", {"device": "cuda:1"}, False),
        ("bench_attention", {}, False),
        ("export", {}, True),
        ("import_gguf", {}, True),
    ],
)
def test_jobs_for_the_processor_see_no_gpu(
    kind: str, arguments: dict[str, object], hidden: bool, tmp_path: Path
) -> None:
    assert _is_for_processor(RunFolder(tmp_path), kind, arguments) is hidden


@pytest.mark.parametrize(("device", "hidden"), [("cpu", True), ("cuda:0", False)])
def test_a_training_sees_one_if_it_was_planned_on_one(
    device: str, hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SimpleNamespace(choices=SimpleNamespace(device=SimpleNamespace(value=device)))
    monkeypatch.setattr(store, "load_plan", lambda _: plan)
    assert _is_for_processor(RunFolder(tmp_path), "train", {}) is hidden


def test_a_plan_that_cannot_be_read_is_complained_about_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: RunFolder) -> None:
        raise UserError(error("plan.json", "It is broken.", "Plan again."))

    monkeypatch.setattr(store, "load_plan", broken)
    assert not _is_for_processor(RunFolder(tmp_path), "train", {})


def test_it_is_hidden_from_the_whole_process() -> None:
    for kind, told in (("download", "''"), ("bench_attention", "'0,1'")):
        folder = create_job(kind, {"model": "nowhere"})  # fails as soon as it has begun
        environment = {**child_env(), "CUDA_VISIBLE_DEVICES": "0,1"}
        said = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM, str(folder.path)], env=environment, capture_output=True, text=True
        )
        assert said.stdout.splitlines()[-1] == told, said.stderr
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
