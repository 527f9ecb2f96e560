"""Real weights, tuned and written as GGUF, answer in a real llama.cpp as PEFT does: the starter and its transplants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.data.tokenizer import Tokenizer
from core.export.gguf import write_gguf, write_gguf_adapter
from core.export.gguf.runtime import LlamaModel
from core.export.verification.answers import divergence
from tests.core.export.gguf.llama_models import llama_library

pytestmark = [pytest.mark.torch, pytest.mark.slow]

PROMPTS = (
    "<|im_start|>user\nWhat is the capital of France? 🦙<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nAnswer like a pirate.<|im_end|>\n<|im_start|>user\nDefine “cat”, n.<|im_end|>\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
)
HOSTILE = (
    "  two  spaces\tand tabs\n\n\n  lines \n",
    "I've 'RE 12345 3.14 ---===!!!???",
    "naïve Ελληνικά 中文字符 日本語 한국어",
    "🦙👩\u200d👩\u200d👧 e\u0301 \u200b\ufeff",
    "<|im_end|><|im_start|>",
    "\x00\x01\x7f",
    "x" * 500,
    " ",
    "aaaa\r\n\r\nbbbb",
)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A base and an adapter on it, and what both together say to the prompts."""

    base: Path
    adapter: Path
    ids: tuple[list[int], ...]
    logits: tuple[Any, ...]


@pytest.fixture(scope="module")
def library() -> Path:
    return llama_library()


def tune(base: Path, folder: Path) -> Tuned:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    model.save_pretrained(folder)
    tokenizer = Tokenizer.load(base)
    ids = tuple(list(tokenizer.encode(prompt)) for prompt in PROMPTS)
    with torch.no_grad():
        logits = tuple(model.eval()(torch.tensor([some])).logits[0].float().numpy() for some in ids)
    return Tuned(base, folder, ids, logits)


@pytest.fixture(scope="module", params=["starter", "llama", "qwen2", "mistral", "phi3"])
def tuned(request: Any, starter: Path, transplants: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    base = starter if request.param == "starter" else transplants[request.param]
    return tune(base, tmp_path_factory.mktemp("tuned") / "adapter")


def worst(model: LlamaModel, tuned: Tuned) -> tuple[float, float]:
    """The largest difference of a logit, and the mean divergence."""
    found = [model.logits(ids) for ids in tuned.ids]
    distances = [abs(one - other).max() for one, other in zip(found, tuned.logits, strict=True)]
    lost = [divergence(other, one) for one, other in zip(found, tuned.logits, strict=True)]
    return max(distances), sum(lost) / len(lost)


def test_every_precision_says_what_peft_says(library: Path, tuned: Tuned, tmp_path: Path) -> None:
    for precision, most, most_lost in (("f32", 0.1, 1e-4), ("f16", 0.3, 1e-3), ("q8_0", 10.0, 2e-2)):
        report = write_gguf(tuned.base, tuned.adapter, tmp_path / f"{precision}.gguf", precision)
        with LlamaModel(library, report.path, threads=2) as model:
            distance, lost = worst(model, tuned)
            assert distance < most, precision
            assert lost < most_lost, precision
            if precision == "f32":
                assert [model.tokens(prompt) for prompt in PROMPTS] == list(tuned.ids)
        report.path.unlink()


def test_the_adapter_alone_does_the_same_on_the_base(library: Path, tuned: Tuned, tmp_path: Path) -> None:
    base = write_gguf(tuned.base, None, tmp_path / "base.gguf", "f32")
    adapter = write_gguf_adapter(tuned.base, tuned.adapter, tmp_path / "adapter.gguf", precision="f32")
    with LlamaModel(library, base.path, threads=2) as model:
        before, _ = worst(model, tuned)
        model.add_adapter(adapter.path)
        after, lost = worst(model, tuned)
    assert before > 0.5
    assert after < 0.1
    assert lost < 1e-4


def test_texts_become_the_same_tokens_and_answers_end(library: Path, starter: Path, tmp_path: Path) -> None:
    report = write_gguf(starter, None, tmp_path / "starter.gguf", "bf16")
    tokenizer = Tokenizer.load(starter)
    with LlamaModel(library, report.path, threads=2) as model:
        for text in HOSTILE:
            assert model.tokens(text) == list(tokenizer.encode(text)), text
        assert model.template() == (starter / "chat_template.jinja").read_text("utf-8")
        answer = model.greedy(model.tokens(PROMPTS[0]), 30)
        assert 0 < len(answer) < 30, "it ended by itself"
        assert "Paris" in tokenizer.decode(answer)
