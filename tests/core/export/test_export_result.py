"""A run's result handed on: everything that stands against it is said first, and what is copied is whole or absent."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from core.errors import ExitCode, UserError
from core.export.copying import ExportCancelledError, copy_result
from core.export.merge import merge_adapter
from core.export.objections import KIND
from core.export.places import TARGET, default_target, unused_place
from core.export.result import ExportPlan, export_kinds, plan_export
from core.export.sizes import bytes_in
from core.facts.types import CpuFacts, Facts, HardwareFacts
from core.paths import models_dir, write_json
from core.records import to_plain
from core.runs.layout import RunFolder
from core.runs.process_record import write_process
from core.runs.process_tree import identify
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec
from tests.core.export.tiny_models import Tuned
from tests.core.plan.invented_facts import MODELS

HARDWARE = HardwareFacts(CpuFacts("A CPU", 2, 4), (), 8 << 30, 4 << 30, 1 << 40, "Linux")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a base model that lies somewhere and an adapter in two folders."""
    folder = RunFolder(tmp_path / "runs" / "words")
    folder.adapter.mkdir(parents=True)
    base = tmp_path / "base"
    base.mkdir()
    model = dataclasses.replace(MODELS["135m"], path=str(base), linears=())
    write_json(folder.facts, to_plain(Facts(HARDWARE, model)))
    folder.spec.write_text(to_yaml(RunSpec().replace("model.base", str(base)), full=True), encoding="utf-8")
    (folder.adapter / "adapter_config.json").write_text("{}")
    (folder.adapter / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder.adapter / "more").mkdir()
    (folder.adapter / "more" / "words.txt").write_text("words")
    return folder


def problem_of(plan: ExportPlan) -> tuple[str, ExitCode]:
    assert not plan.can_start
    with pytest.raises(UserError) as caught:
        plan.require()
    assert caught.value.problems == plan.problems
    assert caught.value.exit_code is plan.exit_code
    return f"{plan.problems[0].path}: {plan.problems[0].message}", plan.exit_code


# ------------------------------------------------------------------------------------------------------------- copies


def test_an_adapter_is_copied_with_progress(run: RunFolder, tmp_path: Path) -> None:
    plan = plan_export(run, "adapter", tmp_path / "out" / "adapter")
    assert plan.can_start
    assert not plan.is_job
    assert plan.bytes_needed == 2 + 25_600 + 5
    assert plan.free_bytes > plan.bytes_needed
    told: list[tuple[int, int]] = []
    assert copy_result(plan, lambda done, total: told.append((done, total))) == plan.bytes_needed
    assert told == sorted(told)
    assert told[-1] == (plan.bytes_needed, plan.bytes_needed)
    copied = {path.relative_to(plan.target): path.read_bytes() for path in plan.target.rglob("*") if path.is_file()}
    assert copied == {
        path.relative_to(run.adapter): path.read_bytes() for path in run.adapter.rglob("*") if path.is_file()
    }


def test_a_cancelled_copy_leaves_nothing(run: RunFolder, tmp_path: Path) -> None:
    plan = plan_export(run, "adapter", tmp_path / "out" / "adapter")
    answers = iter([False, True])
    with pytest.raises(ExportCancelledError):
        copy_result(plan, None, lambda: next(answers))
    assert list((tmp_path / "out").iterdir()) == []
    assert copy_result(plan) == plan.bytes_needed  # and it can be done again


def test_a_copy_that_the_disk_refuses_leaves_nothing(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_export(run, "adapter", tmp_path / "out" / "adapter")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copystat", full)
    with pytest.raises(UserError, match="No space left on device"):
        copy_result(plan)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_target_that_appears_meanwhile_is_not_overwritten(run: RunFolder, tmp_path: Path) -> None:
    plan = plan_export(run, "adapter", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="could not be copied"):
        copy_result(plan)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_whole_model_is_copied_and_has_no_adapter(run: RunFolder, tmp_path: Path) -> None:
    (run.adapter / "adapter_config.json").unlink()
    shutil.rmtree(tmp_path / "base")  # nobody needs it
    assert plan_export(run, "merged", tmp_path / "out").can_start
    assert not plan_export(run, "merged", tmp_path / "out").is_job
    words, code = problem_of(plan_export(run, "adapter", tmp_path / "out"))
    assert words.startswith(KIND)
    assert "trained every weight" in words
    assert code is ExitCode.BAD_SPEC
    offers = {offer.kind: offer for offer in export_kinds(run)}
    assert not offers["adapter"].possible
    assert "no adapter" in offers["adapter"].reason
    assert not offers["gguf_adapter"].possible
    assert offers["merged"].possible


# ------------------------------------------------------------------------------------------------------------- merges


def test_a_merge_is_planned_to_the_byte(run: RunFolder, llama: Tuned, tmp_path: Path) -> None:
    facts = json.loads(run.facts.read_text())
    facts["model"]["path"] = str(llama.base)
    write_json(run.facts, facts)
    shutil.rmtree(run.adapter)
    shutil.copytree(llama.adapter, run.adapter)
    plan = plan_export(run, "merged", tmp_path / "merged")
    assert plan.can_start
    assert plan.is_job
    report = merge_adapter(*(Path(str(plan.arguments[name])) for name in ("base", "adapter", "target")))
    weights = sum((plan.target / name).stat().st_size for name in report.files)
    assert plan.bytes_needed == pytest.approx(weights, rel=0.1)  # the headers of so small a file count
    words, _ = problem_of(plan_export(run, "merged", tmp_path / "merged"))
    assert "already exists" in words


def test_a_merge_without_its_base(run: RunFolder, tmp_path: Path) -> None:
    words, _ = problem_of(plan_export(run, "merged", tmp_path / "base" / "merged"))
    assert "config.json" in words or "model" in words  # the base is an empty folder
    assert any("base model's folder" in p.message for p in plan_export(run, "merged", tmp_path / "base" / "x").problems)
    shutil.rmtree(tmp_path / "base")
    words, code = problem_of(plan_export(run, "merged", tmp_path / "out"))
    assert f"no longer at {tmp_path / 'base'}" in words
    advice = plan_export(run, "merged", tmp_path / "out").problems[0].advice
    assert str(models_dir()) in advice, "how to point to it"
    assert code is ExitCode.FAILED
    assert plan_export(run, "adapter", tmp_path / "out").can_start
    offers = {offer.kind: offer for offer in export_kinds(run)}
    assert offers["adapter"].possible
    assert not offers["merged"].possible
    assert "no longer at" in offers["merged"].reason


# --------------------------------------------------------------------------------------------------- what is refused


def test_a_run_without_result_or_still_going_on(run: RunFolder, tmp_path: Path) -> None:
    key = identify(os.getpid())
    assert key is not None
    write_process(run, key, first_seq=0, log_start=0)
    words, code = problem_of(plan_export(run, "adapter", tmp_path / "out"))
    assert "still going on" in words
    assert code is ExitCode.FAILED
    assert not any(offer.possible for offer in export_kinds(run))
    run.process.unlink()
    shutil.rmtree(run.adapter)
    plan = plan_export(run, "merged", tmp_path / "out")
    assert "no result yet" in problem_of(plan)[0]
    assert plan.bytes_needed == 0
    assert all("no result yet" in offer.reason for offer in export_kinds(run))


def test_targets_that_will_not_do(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("x")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for target, words in (
        (file, "already exists"),
        (tmp_path, "is not empty"),
        (dangling, "already exists"),
        (file / "below", "is a file"),
        (run.path / "exports", "own folder"),
        (run.adapter / "deep" / "er", "own folder"),
    ):
        said, code = problem_of(plan_export(run, "adapter", target))
        assert said.startswith(TARGET)
        assert words in said
        assert code is ExitCode.BAD_SPEC
    empty = tmp_path / "empty"
    empty.mkdir()
    assert plan_export(run, "adapter", empty).can_start


def test_a_target_that_may_not_be_written(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)  # root may write everywhere
    assert "no permission" in problem_of(plan_export(run, "adapter", locked / "out"))[0]


def test_a_disk_without_room(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
    words, code = problem_of(plan_export(run, "adapter", tmp_path / "out"))
    assert "25 KiB" in words
    assert code is ExitCode.DOES_NOT_FIT


def test_everything_wrong_is_said_at_once(run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    plan = plan_export(run, "merged", run.path / "out")
    assert [problem.path for problem in plan.problems] == [TARGET, str(run.path)]


# ------------------------------------------------------------------------------------------------------------- names


def test_where_exports_go(run: RunFolder, lowrank_home: Path) -> None:
    target = default_target(run, "merged")
    assert target == lowrank_home / "exports" / "words" / "merged"
    assert unused_place(target, run, "merged") == target
    target.mkdir(parents=True)
    assert unused_place(target, run, "merged") == target
    (target / "x").write_text("x")
    assert unused_place(target, run, "merged").name == "merged-2"
    assert bytes_in(target) == 1
