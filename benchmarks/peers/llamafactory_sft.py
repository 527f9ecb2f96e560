"""LLaMA-Factory with `neat_packing`: `python -m benchmarks.peers.llamafactory_sft JOB`, in its own environment."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from benchmarks.peers.recorder import Recorder
from benchmarks.peers.settings import ALPHA, LEARNING_RATE, MAX_LENGTH, PACKED_ROWS, RANK, SEED, Job

DATASET = {
    "file_name": "rows.json",
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}


def main() -> None:
    import torch

    job = Job.read(sys.argv[1])
    torch.set_num_threads(job.threads)
    # It is imported for models that hear; the published one needs CUDA and none of it is called here.
    sound = ModuleType("torchaudio")
    sound.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = sound
    recorder = Recorder("LLaMA-Factory packed")
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]

    data = Path(job.folder) / "data"
    data.mkdir(parents=True)
    (data / "rows.json").write_bytes(Path(job.conversations).read_bytes())
    (data / "dataset_info.json").write_text(json.dumps({"rows": DATASET}), encoding="utf-8")
    run_exp(settings_of(job, data), callbacks=[recorder.callback])
    recorder.finish(job.result, "llamafactory", "transformers", "peft", "torch")


def settings_of(job: Job, data: Path) -> dict[str, object]:
    """What its YAML file would say."""
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": job.model,
        "dataset": "rows",
        "dataset_dir": str(data),
        "template": "chatml",
        "cutoff_len": MAX_LENGTH,
        "packing": True,
        "neat_packing": True,
        "finetuning_type": "lora",
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "lora_target": "all",
        "output_dir": str(Path(job.folder) / "out"),
        "use_cpu": True,
        "bf16": True,
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": True,
        "per_device_train_batch_size": PACKED_ROWS,
        "gradient_accumulation_steps": 2,
        "max_steps": job.steps,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "seed": SEED,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
    }


if __name__ == "__main__":
    main()
