"""TRL's SFTTrainer on a GPU: `python -m benchmarks.peers.trl_gpu MODEL ROWS STEPS RESULT VARIANT…`.

Variants: ``padded`` and ``packed`` (its best: “bfd”, padding-free), each also as ``…-liger`` and ``…-nf4``. Packed rows
attend by PyTorch's own varlen kernel, which is flash attention 2, as the package flash-attn would have it; its bounds
come from TRL's collator. All variants in one process, one after another, each with its own model; a JSON line each.
"""

import gc
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import ALPHA, LEARNING_RATE, MAX_LENGTH, RANK, SEED

VARLEN = "varlen_of_torch"
WARM_STEPS = 4
"""Steps that are not timed."""
PACKED_ROWS, PADDED_ROWS, PADDED_PASSES = 8, 20, 2


def register_varlen() -> None:
    """Makes packed rows attend by the kernel that ours attend by."""
    from torch.nn.attention.varlen import varlen_attn
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: Any = None, **named: Any) -> Any:
        bounds = named.get("cu_seq_lens_q")
        if bounds is None:
            return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **named)
        longest = named["max_length_q"]
        q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
        told: dict[str, Any] = {"scale": scaling, "window_size": (-1, 0)}
        if "enable_gqa" in (varlen_attn.__kwdefaults__ or {}):
            told["enable_gqa"] = True
        return varlen_attn(q, k, v, bounds, bounds, longest, longest, **told)[None], None

    AttentionInterface.register(VARLEN, attend)
    AttentionMaskInterface.register(VARLEN, lambda *_, **__: None)


def train(variant: str, model_folder: str, rows: list[dict[str, Any]], steps: int, scratch: Path) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    packed = variant.startswith("packed")
    four_bits = None
    if "nf4" in variant:
        four_bits = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        model_folder,
        dtype=torch.bfloat16,
        device_map={"": 0},
        quantization_config=four_bits,
        attn_implementation=VARLEN if packed else "sdpa",
    )
    config = SFTConfig(
        output_dir=str(scratch / variant),
        bf16=True,
        max_length=MAX_LENGTH,
        packing=packed,
        packing_strategy="bfd",
        max_steps=steps,
        per_device_train_batch_size=PACKED_ROWS if packed else PADDED_ROWS,
        gradient_accumulation_steps=1 if packed else PADDED_PASSES,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        warmup_steps=0,
        weight_decay=0.0,
        seed=SEED,
        gradient_checkpointing=False,
        use_liger_kernel="liger" in variant,
        logging_steps=steps,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    counts: list[tuple[Any, Any]] = []
    clock: dict[str, float] = {}

    class Watch(TrainerCallback):
        def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step in (WARM_STEPS, steps):
                torch.cuda.synchronize()
                clock["began" if state.global_step == WARM_STEPS else "ended"] = time.perf_counter()
                clock["count_began" if state.global_step == WARM_STEPS else "count_ended"] = len(counts)

    class Counting(SFTTrainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            mask = inputs.get("attention_mask")
            tokens = inputs["input_ids"].numel() if mask is None else mask.sum()
            counts.append((tokens, (inputs["labels"] != -100).sum()))
            return super().training_step(model, inputs, *rest, **named)

    trainer = Counting(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model_folder),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Watch()],
    )
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    timed = counts[int(clock["count_began"]) : int(clock["count_ended"])]
    seconds = clock["ended"] - clock["began"]
    found = {
        "name": f"TRL {variant}",
        "tokens_per_second": sum(int(tokens) for tokens, _ in timed) / seconds,
        "supervised_per_second": sum(int(marked) for _, marked in timed) / seconds,
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "step_tokens": sum(int(tokens) for tokens, _ in timed) / (steps - WARM_STEPS),
        "loss": trainer.state.log_history[-1].get("train_loss"),
    }
    del trainer, model
    gc.collect()
    torch.cuda.empty_cache()
    return found


def main() -> None:
    model, rows_file, steps, result, *variants = sys.argv[1:]
    warnings.filterwarnings("ignore")
    register_varlen()
    rows = [json.loads(line) for line in Path(rows_file).read_text(encoding="utf-8").splitlines()]
    for variant in variants:
        try:
            found = train(variant, model, rows, int(steps), Path(result).parent)
        except Exception as failure:  # noqa: BLE001 (the others still count)
            found = {"name": f"TRL {variant}", "problem": f"{type(failure).__name__}: {str(failure)[:300]}"}
        with Path(result).open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
