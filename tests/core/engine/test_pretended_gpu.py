"""The engine's path on a GPU, without one: every tensor is where it has to be, and the host waits once a step.

On a machine without a GPU no other test goes this way. Numbers are not computed (`pretended_gpu/device.py`), so it
says nothing of values and speeds.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

torch = pytest.importorskip("torch")

from core.spec.sections import Optimizer  # noqa: E402
from tests.core.engine import families  # noqa: E402

HERE = Path(__file__).parent / "pretended_gpu"
COMPILER = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
THE_WAIT = (
    "reads a number",
    "step.py: norm_value, loss_value, *told = numbers.tolist()",
)
WRITTEN_OUT = ("gemma2", "gpt_oss")
"""Families whose scores no fused kernel knows."""

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(sys.platform != "linux", reason="the pretended GPU is loaded the way Linux loads things"),
    pytest.mark.skipif(COMPILER is None, reason="the pretended GPU needs a C++ compiler"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch has hooks for real GPUs"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, short_starter: Path) -> dict[str, dict[str, Any]]:
    """What each case came to."""
    assert COMPILER is not None
    device = tmp_path_factory.mktemp("pretended-gpu") / "device.so"
    root = Path(torch.__file__).parent
    libraries = [f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{root / 'lib'}"]
    source = ["-I" + str(root / "include"), str(HERE / "device.cpp"), "-o", str(device)]
    subprocess.run([COMPILER, "-std=c++20", "-shared", "-fPIC", "-O0", *source, *libraries], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(device), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    said = subprocess.run(
        [sys.executable, "-m", "tests.core.engine.pretended_gpu.work", str(short_starter)],
        cwd=HERE.parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    results = [json.loads(line) for line in said.stdout.splitlines()]
    return {result["case"]: result for result in results}


def whole(result: dict[str, Any]) -> dict[str, Any]:
    assert "error" not in result, result["trace"]
    return result


def waits(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(what, where) for what, where in result["waits"]}


def calls(result: dict[str, Any], name: str) -> int:
    return int(result["calls"].get(f"{name}.default", 0))


@pytest.mark.parametrize("name", families.NAMES)
def test_a_step_of_every_family(done: dict[str, dict[str, Any]], name: str) -> None:
    result = whole(done[f"family {name}"])
    assert waits(result) == {THE_WAIT}
    once_a_layer = 0 if name in WRITTEN_OUT else result["passes"] * result["layers"]
    assert calls(result, "torch_attn._varlen_attn") == once_a_layer
    assert calls(result, "torch_attn._varlen_attn_backward") == once_a_layer


@pytest.mark.parametrize(
    "name",
    ["fp16", "nf4", "no packing", "dropout", "dora", "rslora with LoRA+", "full", "noise", "embeddings and head"],
)
def test_a_step_with_other_settings(done: dict[str, dict[str, Any]], name: str) -> None:
    result = whole(done[name])
    assert waits(result) == {THE_WAIT}
    assert calls(result, "torch_attn._varlen_attn") == result["passes"] * result["layers"]
    assert (calls(result, "bitsandbytes.dequantize_4bit") > 0) is (name == "nf4")


@pytest.mark.parametrize("name", ["dpo", "orpo", "dpo with a trained head"])
def test_a_step_over_pairs_of_answers(done: dict[str, dict[str, Any]], name: str) -> None:
    result = whole(done[name])
    assert {tuple(wait) for wait in result["stepped"]} == {THE_WAIT}
    assert (result["passes"], result["numbers"]) == (2, 2)
    assert len(waits(result)) == 1  # of the evaluation, which fakes tell of once for each number


def test_what_is_recomputed_attends_again(done: dict[str, dict[str, Any]]) -> None:
    for name, recomputed in (("recomputed", 1), ("nf4 recomputed", 2)):
        result = whole(done[name])
        assert waits(result) == {THE_WAIT}
        assert calls(result, "torch_attn._varlen_attn") == result["passes"] * (result["layers"] + recomputed)


def test_float32_gets_no_flash_attention_and_still_waits_once(done: dict[str, dict[str, Any]]) -> None:
    result = whole(done["fp32"])
    assert waits(result) == {THE_WAIT}
    assert calls(result, "torch_attn._varlen_attn") == 0


@pytest.mark.parametrize("kind", [kind for kind in get_args(Optimizer) if kind != "auto"])
def test_a_state_saved_and_taken_over(done: dict[str, dict[str, Any]], kind: str) -> None:
    """It is saved from the host and goes on where it was; bitsandbytes waits after every tensor by itself."""
    result = whole(done[f"state {kind}"])
    assert result["stays"]
    assert result["saved"] == ["cpu"]
    theirs = {("waits for all kernels", "step.py: learner.optimizer.step()")}
    own = kind in ("adamw", "adafactor", "muon")
    assert waits(result) == ({THE_WAIT} if own else {THE_WAIT} | theirs)
    assert result["state"] > 0


def test_the_kernel_that_ran_is_read_from_the_profile(done: dict[str, dict[str, Any]]) -> None:
    assert whole(done["check llama"])["attention"] == "flash attention (varlen)"
    assert whole(done["check gemma2"])["attention"] == "plain attention (eager)"
    assert whole(done["check llama"])["head"] == "chunked"
    doctor = whole(done["doctor"])
    assert (doctor["attention"], doctor["fused"]) == ("flash attention (varlen)", True)


def test_evaluations_wait_once(done: dict[str, dict[str, Any]]) -> None:
    result = whole(done["evaluation"])
    assert len(result["waits"]) == 1
    assert calls(result, "torch_attn._varlen_attn") > 0
    assert {what for what, _ in waits(whole(done["row losses"]))} == {"copies from the GPU"}


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_answers(done: dict[str, dict[str, Any]], name: str) -> None:
    """A token is read when it is there; nothing else of ours waits."""
    own = {line for _, line in waits(whole(done[f"answer {name}"]))}
    assert {line.partition(":")[0] for line in own} == {"sampling.py"}
    assert len(own) == 3, own


def test_planted_faults_are_seen(done: dict[str, dict[str, Any]]) -> None:
    assert waits(whole(done["fault: a wait in a pass"])) > {THE_WAIT}
    assert "FakeTensorDeviceMismatchError" in done["fault: a tensor on the host"]["error"]
    assert [what for what, _ in whole(done["fault: pageable memory"])["waits"]] == ["copies to the GPU"] * 2


def test_a_whole_run_in_four_bits(done: dict[str, dict[str, Any]]) -> None:
    events = whole(done["run"])["events"]
    assert done["run"]["used"] == ["cuda:0"]
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "completed", events[-1]
    assert [kinds.count(kind) for kind in ("step", "evaluated", "sampled", "checkpoint_saved")] == [3, 2, 2, 1]
    started = next(event for event in events if event["type"] == "started")
    assert (started["attention"], started["quantization"]) == ("flash attention (varlen)", "nf4")
    (measured, _) = (event for event in events if event["type"] == "memory_measured")
    assert measured["device"] == "NVIDIA GeForce RTX 4090"
