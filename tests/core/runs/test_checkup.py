"""What the doctor says of a computer, and that each thing that is wrong turns its line red with a remedy."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.facts.nvidia import Holder
from core.facts.types import CpuFacts, GpuFacts, HardwareFacts
from core.runs import checkup
from core.runs.checkup import Finding, check_all, report_text
from core.units import GIB

ATTENTION = {"ran": "flash attention", "fused": True, "difference": 0.01, "tokens": 256}
FOUR_BITS = {"kernel": "bitsandbytes Linear4bit", "difference": 0.004}
TORCH = {"version": "2.13.0", "cuda_build": "", "cuda_works": False, "problem": ""}
GPU = GpuFacts(0, "RTX 4070", (8, 9), 12 * GIB, 10 * GIB, "580.1")
Doctor = Callable[..., dict[str, Finding]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, lowrank_home: Path) -> Doctor:
    """Checks a computer that the test describes; ``answers`` are those of the processes that are asked."""

    def examine(
        answers: Mapping[str, Any] | None = None, *, gpus: tuple[GpuFacts, ...] = (), ram: int = 16 * GIB
    ) -> dict[str, Finding]:
        said = {"torch_check": TORCH, "attention_check": ATTENTION, "four_bit_check": FOUR_BITS, **(answers or {})}

        def ask(arguments: tuple[str, ...], _on_wait: object) -> Any:
            answer = said[arguments[1].rpartition(".")[2]]
            if isinstance(answer, str):
                raise checkup._NoAnswerError(answer)
            return answer

        cpu = CpuFacts("a processor", 4, 8, avx2=True, avx512_bf16=False, amx_bf16=False)
        hardware = HardwareFacts(cpu, gpus, 32 * GIB, ram, 100 * GIB, "Linux", ())
        monkeypatch.setattr("core.facts.hardware.read_hardware", lambda _folder: hardware)
        monkeypatch.setattr(checkup, "_ask", ask)
        return {finding.subject: finding for finding in check_all()}

    return examine


def test_a_computer_without_gpu_can_train(doctor: Doctor) -> None:
    found = doctor()
    assert [name for name, finding in found.items() if finding.level == "bad"] == []
    assert found["GPU"].level == "warn"
    assert "NF4 in blocks of 64 works: bitsandbytes Linear4bit" in found["4-bit weights"].text
    assert found["Attention"].level == "ok"


@pytest.mark.parametrize(
    ("answers", "subject", "words"),
    [
        ({"torch_check": "No module named torch"}, "PyTorch", "It cannot be used: No module named torch"),
        ({"four_bit_check": "no kernel image"}, "4-bit weights", "They cannot be used: no kernel image"),
        ({"four_bit_check": {**FOUR_BITS, "difference": 0.9}}, "4-bit weights", "wrong products"),
    ],
)
def test_what_is_broken_is_red_with_a_remedy(
    doctor: Doctor, answers: Mapping[str, Any], subject: str, words: str
) -> None:
    finding = doctor(answers)[subject]
    assert finding.level == "bad"
    assert words in finding.text
    assert finding.remedy


def test_plain_attention_is_a_warning(doctor: Doctor) -> None:
    found = doctor({"attention_check": {**ATTENTION, "fused": False}})
    assert found["Attention"].level == "warn"


def test_a_gpu_that_pytorch_cannot_use_says_how_to_mend_it(doctor: Doctor) -> None:
    without = doctor(gpus=(GPU,))["CUDA"]
    assert (without.level, "built for the processor only" in without.text) == ("bad", True)
    assert "--torch-index" in without.remedy
    old = doctor({"torch_check": {**TORCH, "cuda_build": "13.0", "problem": "driver too old"}}, gpus=(GPU,))["CUDA"]
    assert "driver too old" in old.text
    assert "Update the NVIDIA driver" in old.remedy
    works = doctor({"torch_check": {**TORCH, "cuda_build": "13.0", "cuda_works": True}}, gpus=(GPU,))
    assert works["CUDA"].level == "ok"
    assert "RTX 4070" in works["GPU 0"].text


def test_in_a_package_the_remedies_are_those_of_a_package(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    found = doctor({"four_bit_check": "no kernel image"}, gpus=(GPU,))
    assert "Install the package that was built for CUDA" in found["CUDA"].remedy
    assert "Install the package again" in found["4-bit weights"].remedy
    assert not [finding for finding in found.values() if "launch.py" in finding.remedy]


def test_the_report_names_no_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, data = tmp_path / "home" / "anna", tmp_path / "disk of anna" / "studio"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOWRANK_HOME", str(data))
    text = report_text(
        (
            Finding("bad", "Data folder", f"{data} cannot be written.", f"Look at {home / 'x'}."),
            Finding("ok", "Python", f"3.11 ({sys.executable})"),
        )
    )
    assert "anna" not in text
    assert text.startswith(
        "bad   Data folder: DATA cannot be written.\n      Look at ~/x.\nok    Python: 3.11 (PYTHON/"
    )


def test_who_holds_a_gpus_memory_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No other program" in doctor(gpus=(GPU,))["GPU memory"].text
    monkeypatch.setattr(checkup, "read_holders", lambda: (Holder(7, "blender", 9 * GIB), Holder(8, "python", 0)))
    roomy = doctor(gpus=(GPU,))["GPU memory"]
    assert (roomy.level, roomy.text) == ("ok", "Held by blender (7) 9.0 GiB, python (8).")
    full = GpuFacts(0, "RTX 4070", (8, 9), 12 * GIB, 1 * GIB, "580.1")
    crowded = doctor(gpus=(full,))["GPU memory"]
    assert crowded.level == "warn"
    assert crowded.remedy


def test_too_little_memory_names_the_largest_programs(doctor: Doctor) -> None:
    finding = doctor(ram=GIB)["Memory"]
    assert finding.level == "warn"
    assert "most is held by" in finding.text
    assert "GiB)" in finding.text or "MiB)" in finding.text


@pytest.mark.torch
def test_a_product_with_four_bits_is_what_its_weights_say(monkeypatch: pytest.MonkeyPatch) -> None:
    import bitsandbytes.functional as functional
    import torch

    from core.engine.four_bit_check import check

    kernel, away = check(torch.device("cpu"), torch.bfloat16)
    assert kernel == "bitsandbytes Linear4bit"
    assert away < checkup.FARTHEST / 4
    right = functional.dequantize_4bit
    monkeypatch.setattr(functional, "dequantize_4bit", lambda *told, **more: right(*told, **more) * 1.5)
    assert check(torch.device("cpu"), torch.bfloat16)[1] > checkup.FARTHEST


@pytest.mark.torch
@pytest.mark.parametrize("module", ["core.engine.torch_check", "core.engine.four_bit_check cpu bf16"])
def test_the_asked_processes_answer(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *module.split()], capture_output=True, text=True, timeout=300, check=True
    )
    assert any(line.startswith("TOLD {") for line in done.stdout.splitlines())
