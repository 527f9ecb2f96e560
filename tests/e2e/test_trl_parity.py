"""TRL's trainers as oracles: the same rows in the same order, float32, the same loss at every step."""

from pathlib import Path
from typing import Any

import pytest

from core.data.dataset import load_dataset
from core.data.order import step_rows
from core.events.types import Step
from core.facts.model_files import read_model
from core.runs.store import load_plan, load_spec
from tests.e2e.real_runs import run_inside, write_rows
from tests.e2e.test_preference_runs import write_pairs
from tests.short_models import load

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STEPS = 20
ROWS_A_STEP = 4
DPO_STEPS = 6
SAME: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "max_length": None,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": ROWS_A_STEP // 2,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch",
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "train_sampling_strategy": "sequential",
    "gradient_checkpointing": False,
    "disable_tqdm": True,
}
"""What both trainers of TRL are told."""


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
        max_steps=STEPS,
        **SAME,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tokenizer_folder),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_steps_of_dpo_equal_trl(short_starter: Path, tmp_path: Path) -> None:
    from core.engine import adapters, bootstrap

    ours = run_inside(
        short_starter,
        write_pairs(tmp_path / "pairs.jsonl", 12),
        data__train_on="preferences",
        training__max_steps=DPO_STEPS,
        training__effective_batch=ROWS_A_STEP,
        training__schedule="constant",
        training__warmup=0.0,
        training__learning_rate=5e-4,
    )
    spec = load_spec(ours.folder)
    dataset = load_dataset(spec.data, spec.training.seed, read_model(short_starter)).train
    order = [index for step in range(DPO_STEPS) for index in step_rows(len(dataset), ROWS_A_STEP, 42, step)]
    model = load(short_starter)
    bootstrap.seed_everything(42)
    wrapped = adapters.attach(model, spec.adapter, load_plan(ours.folder).targets)
    theirs = _prefer_with_trl(wrapped, [dataset[index] for index in order], tmp_path, str(short_starter))
    steps = ours.of(Step)
    for name, mine in (("loss", "loss"), ("rewards/margins", "margin")):
        assert [getattr(step, mine) for step in steps] == pytest.approx(
            [entry[name] for entry in theirs], rel=0.01, abs=2e-4
        )
    assert steps[-1].loss < 0.9 * steps[0].loss


def _prefer_with_trl(model: Any, rows: list[Any], folder: Path, tokenizer_folder: str) -> list[dict[str, float]]:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    def parts(text: Any) -> tuple[list[int], list[int]]:
        first = text.trained.index(True)
        last = len(text) - text.trained[::-1].index(True)
        assert all(text.trained[first:last])
        return list(text.tokens[:first]), list(text.tokens[first:last])

    class Trainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset  # rows are tokens already

    sides = [(parts(row.chosen), parts(row.rejected)) for row in rows]
    data = Dataset.from_dict(
        {
            "prompt_ids": [chosen[0] for chosen, _ in sides],
            "chosen_ids": [chosen[1] for chosen, _ in sides],
            "rejected_ids": [rejected[1] for _, rejected in sides],
        }
    )
    config = DPOConfig(
        output_dir=str(folder / "trl-dpo"),
        beta=0.1,
        max_steps=DPO_STEPS,
        **SAME,
    )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    trainer = Trainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "rewards/margins" in entry]
