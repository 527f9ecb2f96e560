"""What a run leaves behind works elsewhere: plain PEFT loads the adapter, plain transformers the merged model."""

from pathlib import Path
from typing import Any

import pytest

from core.events.tail import EventTail
from core.events.types import Completed, Sampled
from core.runs.store import create_job
from core.runs.supervisor import Supervisor
from tests.e2e.real_runs import Finished, prompts, run_inside, write_rows
from tests.short_models import FEWEST_LAYERS, TOKENS, load, save

pytestmark = [pytest.mark.torch, pytest.mark.slow]

TARGETS = ("q_proj", "o_proj", "down_proj")


def job(work: str, **arguments: Any) -> list[Any]:
    """Runs a real engine job to its end and returns its events' bodies."""
    folder = create_job(work, arguments)  # type: ignore[arg-type]
    supervisor = Supervisor(folder)
    supervisor.start()
    outcome = supervisor.wait()
    assert outcome.kind == "completed", f"{outcome}\n{folder.log.read_text(encoding='utf-8')[-3000:]}"
    return [event.body for event in EventTail(folder.events()).read()]


def merge(finished: Finished, base: Path, target: Path) -> Path:
    events = job("export", kind="merged", base=str(base), adapter=str(finished.folder.adapter), target=str(target))
    assert isinstance(events[-1], Completed)
    return target


def greedy(model: Any, tokenizer: Any, prompt: str, tokens: int) -> list[int]:
    import torch

    chat = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        spoken = model.generate(**ids, max_new_tokens=tokens, do_sample=False)
    return spoken[0, ids["input_ids"].shape[1] :].tolist()


@pytest.fixture(scope="module")
def tuned(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """A model in float32 (so that merging rounds nothing) after a short 4-bit training."""
    folder = tmp_path_factory.mktemp("tuned")
    rows = write_rows(folder / "rows.jsonl", 32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(folder / "home"))
        finished = run_inside(
            short_starter,
            rows,
            model__quantization="nf4",
            model__compute_dtype="bf16",
            training__max_steps=8,
            training__effective_batch=8,
            training__learning_rate=2e-3,
        )
    return finished, short_starter


@pytest.fixture(scope="module")
def merged_folder(tuned: tuple[Finished, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(tmp_path_factory.mktemp("home")))
        return merge(*tuned, tmp_path_factory.mktemp("merge") / "merged")


def test_the_merged_model_says_what_the_adapter_says(tuned: tuple[Finished, Path], merged_folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    finished, base = tuned
    tokenizer = AutoTokenizer.from_pretrained(merged_folder)
    with_adapter = PeftModel.from_pretrained(load(base), finished.folder.adapter).eval()
    merged = AutoModelForCausalLM.from_pretrained(merged_folder).eval()
    plain = load(base).eval()
    answers = [
        (greedy(with_adapter, tokenizer, prompt, 16), greedy(merged, tokenizer, prompt, 16)) for prompt in prompts(20)
    ]
    assert [adapter for adapter, _ in answers] == [joined for _, joined in answers]
    before = [greedy(plain, tokenizer, prompt, 16) for prompt in prompts(4)]
    assert before != [joined for _, joined in answers[:4]], "the training changed nothing that anybody could see"


def test_the_change_is_alpha_over_rank_times_b_times_a(tuned: tuple[Finished, Path], merged_folder: Path) -> None:
    from safetensors.torch import load_file

    finished, base = tuned
    merged = load_file(merged_folder / "model.safetensors")
    before = load_file(base / "model.safetensors")
    adapter = load_file(finished.folder.adapter / "adapter_model.safetensors")
    changed = 0
    for key, a in adapter.items():
        if ".lora_A." not in key:
            continue
        module = key.removeprefix("base_model.model.").partition(".lora_A")[0]
        b = adapter[key.replace("lora_A", "lora_B")]
        delta = merged[f"{module}.weight"] - before[f"{module}.weight"]
        wanted = (16.0 / 8) * b @ a
        assert float(wanted.abs().max()) > 0
        assert float((delta - wanted).abs().max()) < 1e-6
        changed += 1
    assert changed == FEWEST_LAYERS * 7
    untouched = [key for key in before if "norm" in key or "embed" in key]
    assert all((merged[key] == before[key]).all() for key in untouched)


def test_the_engine_answers_with_the_adapter_as_plain_peft_does(tuned: tuple[Finished, Path]) -> None:
    from peft import PeftModel
    from transformers import AutoTokenizer

    finished, base = tuned
    prompt = prompts(1)[0]
    events = job(
        "sample", model=str(base), adapter=str(finished.folder.adapter), prompts=[prompt], max_new_tokens=12,
        compute_dtype="fp32", device="cpu",
    )  # fmt: skip
    said = [body for body in events if isinstance(body, Sampled)]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(load(base), finished.folder.adapter).eval()
    theirs = tokenizer.decode(greedy(model, tokenizer, prompt, 12), skip_special_tokens=True).strip()
    assert said[0].text == theirs
    assert said[0].variant == "tuned"


def test_four_architectures_with_the_same_weights_learn_the_same(transplants: dict[str, Path], tmp_path: Path) -> None:
    """o_proj and down_proj exist alike in all four, so the adapters coincide and so must the losses."""
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    curves = {
        name: run_inside(folder, rows, training__max_steps=4, adapter__targets=("o_proj", "down_proj")).losses
        for name, folder in transplants.items()
    }
    for name, losses in curves.items():
        assert losses == pytest.approx(curves["llama"], rel=1e-4), name


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral", "phi3"])
def test_every_architecture_trains_all_linear_layers_and_merges(
    transplants: dict[str, Path], tmp_path: Path, name: str
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    rows = write_rows(tmp_path / "rows.jsonl", 4)  # the same in every step
    finished = run_inside(transplants[name], rows, training__max_steps=4)
    assert finished.losses[-1] < finished.losses[0]
    merged = AutoModelForCausalLM.from_pretrained(merge(finished, transplants[name], tmp_path / "merged")).eval()
    adapted = PeftModel.from_pretrained(load(transplants[name]), finished.folder.adapter).eval()
    ids = torch.randint(3, TOKENS, (1, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-3, atol=1e-3)


def test_a_full_fine_tuning_leaves_a_model_in_the_bases_precision(short_starter: Path, tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = save(load(short_starter).to(torch.bfloat16), short_starter, tmp_path / "base")
    rows = write_rows(tmp_path / "rows.jsonl", 8)
    finished = run_inside(
        base, rows, adapter__method="full", model__compute_dtype="bf16", training__max_steps=2,
        training__learning_rate=1e-4,
    )  # fmt: skip
    with safe_open(finished.folder.adapter / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    assert "lm_head.weight" not in names, "tied embeddings were written twice"
    model = AutoModelForCausalLM.from_pretrained(finished.folder.adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished.folder.adapter)
    assert len(greedy(model, tokenizer, "Hello", 4)) <= 4
