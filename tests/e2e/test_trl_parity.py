"""TRL's SFTTrainer as oracle: the same rows in the same order, float32, twenty steps, the same loss at every step."""

from pathlib import Path
from typing import Any

import pytest

from core.data.dataset import load_dataset
from core.data.order import step_rows
from core.events.types import Step
from core.facts.model_files import read_model
from core.runs.store import load_plan, load_spec
from tests.e2e.real_runs import run_inside, write_rows
from tests.short_models import load

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STEPS = 20
ROWS_A_STEP = 4


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_twenty_steps_equal_trl(short_starter: Path, tmp_path: Path) -> None:
    from core.engine import adapters, bootstrap

    rows = write_rows(tmp_path / "rows.jsonl", 60)
    ours = run_inside(
        short_starter,
        rows,
        training__max_steps=STEPS,
        training__effective_batch=ROWS_A_STEP,
        training__schedule="constant",
        training__warmup=0.0,
        training__learning_rate=5e-4,
        training__micro_batch_tokens=150,
    )
    passes = {step.passes for step in ours.of(Step)}
    assert 1 < min(passes) < ROWS_A_STEP, "several packed passes a step, against TRL's padded accumulation"

    spec = load_spec(ours.folder)
    dataset = load_dataset(spec.data, spec.training.seed, read_model(short_starter)).train
    order = [index for step in range(STEPS) for index in step_rows(len(dataset), ROWS_A_STEP, 42, step)]
    model = load(short_starter)
    bootstrap.seed_everything(42)
    wrapped = adapters.attach(model, spec.adapter, load_plan(ours.folder).targets)
    theirs = _train_with_trl(wrapped, [dataset[index] for index in order], tmp_path, str(short_starter))
    assert ours.losses == pytest.approx(theirs, rel=0.01)
    assert ours.losses[-1] < ours.losses[0]


def _train_with_trl(model: Any, rows: list[Any], folder: Path, tokenizer_folder: str) -> list[float]:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    labels = [[token if on else -100 for token, on in zip(row.tokens, row.trained, strict=True)] for row in rows]
    data = Dataset.from_dict({"input_ids": [list(row.tokens) for row in rows], "labels": labels})
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        max_length=None,
        max_steps=STEPS,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=ROWS_A_STEP // 2,
        learning_rate=5e-4,
        lr_scheduler_type="constant",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tokenizer_folder),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
