"""Every kind of export from one run: planned to the byte, made by the engine's job, or refused with all reasons."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.engine.context import JobContext
from core.engine.export_job import export
from core.errors import ExitCode
from core.events.tail import EventTail
from core.events.types import Body, Completed, Progress, Stopped
from core.export.memory import MEMORY
from core.export.objections import ADAPTER_PRECISIONS, KIND, PRECISION, REPO, TOKEN
from core.export.places import PUBLISHER, TARGET
from core.export.result import GGUF_KINDS, KINDS, ExportKind, ExportOptions, export_kinds, plan_export
from core.export.sizes import bytes_in
from core.facts.types import CpuFacts, Facts, HardwareFacts
from core.paths import write_json
from core.records import to_plain
from core.runs.control import place_request
from core.runs.layout import RunFolder
from core.runs.store import create_job
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec
from tests.core.export.gguf.llama_models import make_model, tune
from tests.core.plan.invented_facts import MODELS

HARDWARE = HardwareFacts(CpuFacts("A CPU", 2, 4), (), 8 << 30, 4 << 30, 1 << 40, "Linux")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny llama with a tokenizer, and a LoRA on it. Never write to them."""
    folder = tmp_path_factory.mktemp("made")
    base = make_model(folder / "base", "llama")
    return base, tune(base, folder / "adapter").adapter


@pytest.fixture
def run(made: tuple[Path, Path], tmp_path: Path, lowrank_home: Path) -> RunFolder:
    base, adapter = made
    folder = RunFolder(tmp_path / "runs" / "words")
    folder.path.mkdir(parents=True)
    shutil.copytree(adapter, folder.adapter)
    model = dataclasses.replace(MODELS["135m"], path=str(base), linears=())
    write_json(folder.facts, to_plain(Facts(HARDWARE, model)))
    folder.spec.write_text(to_yaml(RunSpec().replace("model.base", str(base)), full=True), encoding="utf-8")
    return folder


def work(arguments: Mapping[str, object], *, stop: bool = False) -> list[Body]:
    """The job in this process, and all that it said."""
    folder = create_job("export", arguments)
    if stop:
        place_request(folder, "stop")
    context = JobContext(folder)
    try:
        export(context, dict(arguments))
    finally:
        context.close()
    return [event.body for event in EventTail(folder.events()).read()]


def paths(run: RunFolder, kind: ExportKind, place: Path | None = None, **options: Any) -> list[str]:
    return [problem.path for problem in plan_export(run, kind, place, ExportOptions(**options)).problems]


JOBS: tuple[ExportKind, ...] = ("merged", "gguf", "gguf_adapter", "ollama", "lm_studio")


@pytest.mark.torch
@pytest.mark.parametrize("kind", JOBS)
def test_a_kind_is_made_where_and_as_large_as_it_was_planned(
    kind: ExportKind, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.events.writer.PROGRESS_INTERVAL_SECONDS", 0.0)
    plan = plan_export(run, kind, tmp_path / "out")
    plan.require()
    assert plan.is_job
    said = work(plan.arguments)
    done = said[-1]
    assert isinstance(done, Completed), said
    assert (done.result["path"], done.result["bytes"]) == (str(plan.target), bytes_in(plan.target))
    # a GGUF header is estimated with 64 KiB to spare, and cards and safetensors headers are not counted
    assert -4096 < plan.bytes_needed - bytes_in(plan.target) < 70_000 < bytes_in(plan.target) * 3
    told = [body for body in said if isinstance(body, Progress)]
    assert told
    assert {body.unit for body in told} == {"bytes"}
    assert told[-1].done == told[-1].total
    assert TARGET in [problem.path for problem in plan_export(run, kind, plan.place).problems], "it is taken now"


@pytest.mark.torch
@pytest.mark.parametrize("kind", JOBS)
def test_a_kind_that_is_stopped_leaves_nothing(kind: ExportKind, run: RunFolder, tmp_path: Path) -> None:
    plan = plan_export(run, kind, tmp_path / "out")
    assert work(plan.arguments, stop=True)[-1] == Stopped(0, "stop", resumable=False)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_where_each_kind_is_written(run: RunFolder, lowrank_home: Path, tmp_path: Path) -> None:
    usual = lowrank_home / "exports" / "words"
    assert plan_export(run, "gguf").target == usual / "gguf" / "words-Q8_0.gguf"
    assert plan_export(run, "gguf_adapter").target == usual / "gguf_adapter" / "words-lora-F16.gguf"
    own = plan_export(run, "gguf", tmp_path / "my model.gguf", ExportOptions("Q4_0"))
    assert own.target == own.place == tmp_path / "my model.gguf"
    assert own.arguments["precision"] == "q4_0"
    assert plan_export(run, "lm_studio", tmp_path).target == tmp_path / PUBLISHER / "words-Q8_0-GGUF"
    (usual / "gguf").mkdir(parents=True)
    (usual / "gguf" / "words-Q8_0.gguf").touch()
    assert plan_export(run, "gguf").target == usual / "gguf-2" / "words-Q8_0.gguf"
    other = plan_export(run, "gguf", options=ExportOptions("q4_0"))
    assert other.target == usual / "gguf" / "words-Q4_0.gguf", "another precision goes beside it"


def test_lm_studio_finds_it_where_it_is_installed(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".lmstudio").mkdir()
    assert plan_export(run, "lm_studio").place == tmp_path / ".lmstudio" / "models"


@pytest.mark.torch
@pytest.mark.parametrize("kind", JOBS)
def test_a_kind_that_takes_more_memory_than_is_free_is_refused(
    kind: ExportKind, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.memory.free_memory", lambda: 100 << 20)
    plan = plan_export(run, kind, tmp_path / "out")
    assert [problem.path for problem in plan.problems] == [MEMORY]
    assert "of memory, and 100.0 MiB are free" in plan.problems[0].message
    assert plan.exit_code is ExitCode.DOES_NOT_FIT
    assert plan_export(run, "adapter", tmp_path / "copy").can_start, "a copy takes none"


@pytest.mark.torch
@pytest.mark.parametrize("precision", ADAPTER_PRECISIONS)
def test_an_adapter_is_written_in_each_precision_that_is_offered(
    precision: str, run: RunFolder, tmp_path: Path
) -> None:
    plan = plan_export(run, "gguf_adapter", tmp_path, ExportOptions(precision))
    assert isinstance(work(plan.arguments)[-1], Completed)
    refused = plan_export(run, "gguf_adapter", tmp_path, ExportOptions("q8_0"))
    assert [problem.path for problem in refused.problems] == [PRECISION]


def test_precisions_that_cannot_be(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.export.gguf.quantize.find_llama", lambda: None)
    for kind in GGUF_KINDS:
        assert paths(run, kind, precision="q9_9") == [PRECISION]
        refused = plan_export(run, kind, options=ExportOptions("q4_k_m"))
        assert "llama.cpp" in refused.problems[0].message
        assert refused.exit_code is ExitCode.BAD_SPEC
    assert paths(run, "gguf_adapter", precision="q4_0") == [PRECISION]
    assert all(paths(run, "gguf_adapter", precision=name) == [] for name in ADAPTER_PRECISIONS)


def test_a_smaller_precision_takes_less(run: RunFolder) -> None:
    sizes = [plan_export(run, "gguf", options=ExportOptions(name)).bytes_needed for name in ("f32", "f16", "q8_0")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_the_hub_needs_a_name_a_token_and_the_network(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.export.objections.token_text", lambda: "")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert paths(run, "hub") == [REPO, TOKEN]
    assert paths(run, "hub", repo="just-a-name") == [REPO, TOKEN]
    assert "a..b" in str(plan_export(run, "hub", options=ExportOptions(repo="me/a..b")).problems[0])
    monkeypatch.setattr("core.export.objections.token_text", lambda: "hf_" + "x" * 30)
    good = plan_export(run, "hub", options=ExportOptions(repo="me/words"))
    assert good.can_start
    assert (good.writes, good.is_job) == ("adapter", False)
    assert good.upload_arguments == {"kind": "hub", "target": str(good.target), "repo": "me/words", "private": True}
    merged = plan_export(run, "hub", options=ExportOptions(repo="me/words", content="merged", is_private=False))
    assert (merged.writes, merged.is_job, merged.upload_arguments["private"]) == ("merged", True, False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert paths(run, "hub", repo="me/words") == ["HF_HUB_OFFLINE"]


def test_without_the_base_only_the_adapter_goes_and_it_cannot_be_checked(run: RunFolder, tmp_path: Path) -> None:
    facts = run.facts.read_text().replace(str(tmp_path), "/nowhere")
    run.facts.write_text(facts)
    gone = dataclasses.replace(MODELS["135m"], path=str(tmp_path / "gone"), linears=())
    write_json(run.facts, to_plain(Facts(HARDWARE, gone)))
    run.spec.write_text(to_yaml(RunSpec().replace("model.base", str(tmp_path / "gone")), full=True), encoding="utf-8")
    offers = {offer.kind: offer for offer in export_kinds(run)}
    assert [kind for kind in KINDS if offers[kind].possible and kind != "hub"] == ["adapter"]
    for kind in JOBS:
        assert "no longer at" in offers[kind].reason
        plan = plan_export(run, kind)
        assert any("no longer at" in problem.message for problem in plan.problems)
        assert plan.bytes_needed == 0
    plan = plan_export(run, "adapter")
    assert plan.can_start
    assert plan.verify_arguments is None


def test_a_family_that_no_gguf_file_can_hold_says_so(run: RunFolder, made: tuple[Path, Path], tmp_path: Path) -> None:
    base = Path(shutil.copytree(made[0], tmp_path / "strange"))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(
        json.dumps(config | {"model_type": "novel", "architectures": ["NovelForCausalLM"]})
    )
    model = dataclasses.replace(MODELS["135m"], path=str(base), linears=())
    write_json(run.facts, to_plain(Facts(HARDWARE, model)))
    offers = {offer.kind: offer for offer in export_kinds(run)}
    for kind in (*GGUF_KINDS, "gguf_adapter"):
        assert not offers[kind].possible
        assert not plan_export(run, kind).can_start
    assert "novel" in offers["gguf"].reason.lower()


def test_a_whole_model_has_no_adapter_for_anything(run: RunFolder, made: tuple[Path, Path]) -> None:
    shutil.rmtree(run.adapter)
    shutil.copytree(made[0], run.adapter)
    offers = {offer.kind: offer.possible for offer in export_kinds(run)}
    assert not offers["adapter"]
    assert not offers["gguf_adapter"]
    assert offers["gguf"]
    assert paths(run, "gguf_adapter") == [KIND]
    plan = plan_export(run, "gguf")
    assert (plan.arguments["base"], plan.arguments["adapter"]) == (str(run.adapter), "")
    assert plan.bytes_needed > 0


def test_a_disk_without_room_for_the_file_and_what_lies_beside_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = plan_export(run, "gguf").bytes_needed
    spare = 16 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, needed + spare))
    assert plan_export(run, "gguf").can_start
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, needed + spare - 1))
    plan = plan_export(run, "gguf")
    assert [problem.path for problem in plan.problems] == [TARGET]
    assert plan.exit_code is ExitCode.DOES_NOT_FIT


@pytest.mark.torch
def test_adapters_are_combined_and_take_the_runs_place(run: RunFolder, made: tuple[Path, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    both = tmp_path / "both"
    said = work({"kind": "combined", "target": str(both), "parts": [[str(run.adapter), 0.5], [str(made[1]), 0.5]]})
    assert isinstance(said[-1], Completed), said
    plan = plan_export(run, "merged", tmp_path / "out", source=both)
    assert plan.arguments["adapter"] == str(both)
    work(plan.arguments)
    work(plan_export(run, "merged", tmp_path / "alone").arguments)
    mixed, alone = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "alone"))
    for name, tensor in alone.items():
        torch.testing.assert_close(mixed[name], tensor, atol=1e-5, rtol=1e-4)  # half and half of the same
