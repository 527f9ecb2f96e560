"""TRL's SFTTrainer: `python -m benchmarks.peers.trl_sft JOB padded|packed`, in TRL's own environment.

Padded is the default; packed with “bfd” is its best. Sequential order, so that the padded batches are ours.
"""

import json
import sys
from pathlib import Path

from benchmarks.peers.recorder import Recorder
from benchmarks.peers.settings import (
    ALPHA,
    LEARNING_RATE,
    MAX_LENGTH,
    PACKED_ROWS,
    PADDED_ROWS,
    RANK,
    ROWS_A_STEP,
    SEED,
    Job,
)  # fmt: skip


def main() -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    job, packed = Job.read(sys.argv[1]), sys.argv[2] == "packed"
    torch.set_num_threads(job.threads)
    recorder = Recorder("TRL packed" if packed else "TRL padded")
    rows = [json.loads(line) for line in Path(job.rows).read_text(encoding="utf-8").splitlines()]
    rows_a_pass = PACKED_ROWS if packed else PADDED_ROWS
    config = SFTConfig(
        output_dir=job.folder,
        use_cpu=True,
        bf16=True,
        max_length=MAX_LENGTH,
        packing=packed,
        packing_strategy="bfd",
        max_steps=job.steps,
        per_device_train_batch_size=rows_a_pass,
        gradient_accumulation_steps=2 if packed else ROWS_A_STEP // PADDED_ROWS,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        warmup_steps=0,
        seed=SEED,
        train_sampling_strategy="random" if packed else "sequential",
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.bfloat16, attn_implementation="sdpa")
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job.model),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[recorder.callback],
    )
    trainer.train()
    recorder.finish(job.result, "trl", "transformers", "peft", "torch")


if __name__ == "__main__":
    main()
