"""Did you mean …: what an unknown name most likely stands for, also when it comes from another trainer."""

import difflib
import functools
from collections.abc import Iterable, Mapping

from core.spec.run_spec import fields, sections

_CUTOFF = 0.6

FOREIGN: Mapping[str, tuple[str, str]] = {
    # name in LLaMA-Factory, Axolotl, TRL, transformers or PEFT: (our setting or "", a sentence where more is to say)
    "model_name_or_path": ("model.base", ""),
    "model_name": ("model.base", ""),
    "model_id": ("model.base", ""),
    "base_model": ("model.base", ""),
    "model_revision": ("model.revision", ""),
    "quantization_bit": ("model.quantization", "4 bits are “nf4”, 8 bits are “int8”."),
    "load_in_4bit": ("model.quantization", "4 bits are “nf4”."),
    "load_in_8bit": ("model.quantization", "8 bits are “int8”."),
    "bnb_4bit_quant_type": ("model.quantization", ""),
    "double_quantization": ("model.double_quant", ""),
    "bnb_4bit_use_double_quant": ("model.double_quant", ""),
    "bf16": ("model.compute_dtype", "Its value would be “bf16”."),
    "fp16": ("model.compute_dtype", "Its value would be “fp16”."),
    "dtype": ("model.compute_dtype", ""),
    "torch_dtype": ("model.compute_dtype", ""),
    "dataset": ("data.train", "It names files."),
    "datasets": ("data.train", "It names files."),
    "dataset_name": ("data.train", "It names files."),
    "train_file": ("data.train", ""),
    "train_files": ("data.train", ""),
    "eval_dataset": ("data.validation", "It names files."),
    "test_datasets": ("data.validation", "It names files."),
    "validation_file": ("data.validation", ""),
    "val_size": ("data.validation_share", ""),
    "val_set_size": ("data.validation_share", ""),
    "dataset_text_field": ("data.mapping", "Its value would be {text: the column's name}."),
    "chat_template": ("data.template", ""),
    "cutoff_len": ("data.max_length", ""),
    "sequence_len": ("data.max_length", ""),
    "max_seq_length": ("data.max_length", ""),
    "max_seq_len": ("data.max_length", ""),
    "model_max_length": ("data.max_length", ""),
    "block_size": ("data.max_length", ""),
    "train_on_prompt": ("data.train_on", "True is “all”, false is “completions”."),
    "train_on_inputs": ("data.train_on", "True is “all”, false is “completions”."),
    "completion_only_loss": ("data.train_on", "True is “completions”, false is “all”."),
    "assistant_only_loss": ("data.train_on", "True is “completions”, false is “all”."),
    "mask_history": ("data.train_on", "True is “last”, false is “completions”."),
    "dpo_beta": ("training.preference_beta", ""),
    "pref_beta": ("training.preference_beta", ""),
    "rl_beta": ("training.preference_beta", ""),
    "beta": ("training.preference_beta", ""),
    "orpo_alpha": ("training.preference_beta", "It is lambda in ORPO's paper."),
    "pref_loss": ("training.preference_loss", "“sigmoid” is “dpo”; “data.train_on” is “preferences” then."),
    "loss_type": ("training.preference_loss", "“sigmoid” is “dpo”; “data.train_on” is “preferences” then."),
    "rl": ("training.preference_loss", "“data.train_on” is “preferences” then."),
    "rpo_alpha": ("training.chosen_weight", ""),
    "pref_ftx": ("training.chosen_weight", ""),
    "dpo_ftx": ("training.chosen_weight", ""),
    "ref_model": ("", "The reference is the model as the run begins; adapter.start_from makes that a tuned one."),
    "sample_packing": ("data.packing", ""),
    "neat_packing": ("data.packing", "Rows of one pass never see each other."),
    "pad_to_sequence_len": ("data.packing", "There is no padding."),
    "max_samples": ("data.max_rows", ""),
    "max_train_samples": ("data.max_rows", ""),
    "finetuning_type": ("adapter.method", ""),
    "peft_type": ("adapter.method", ""),
    "use_dora": ("adapter.method", "Its value would be “dora”."),
    "peft_use_dora": ("adapter.method", "Its value would be “dora”."),
    "use_rslora": ("adapter.method", "Its value would be “rslora”."),
    "peft_use_rslora": ("adapter.method", "Its value would be “rslora”."),
    "r": ("adapter.rank", ""),
    "lora_r": ("adapter.rank", ""),
    "lora_rank": ("adapter.rank", ""),
    "lora_alpha": ("adapter.alpha", ""),
    "lora_dropout": ("adapter.dropout", ""),
    "lora_target": ("adapter.targets", "“all” is “all-linear”."),
    "target_modules": ("adapter.targets", ""),
    "lora_target_modules": ("adapter.targets", ""),
    "lora_target_linear": ("adapter.targets", "Its value would be “all-linear”."),
    "lora_modules_to_save": ("adapter.modules_to_save", ""),
    "additional_target": ("adapter.modules_to_save", ""),
    "init_lora_weights": ("adapter.start", ""),
    "pissa_init": ("adapter.start", "Its value would be “pissa”."),
    "loraplus_lr_ratio": ("adapter.b_rate_ratio", ""),
    "neftune_noise_alpha": ("training.embedding_noise", ""),
    "neftune_alpha": ("training.embedding_noise", ""),
    "layers_to_transform": ("adapter.layers", ""),
    "lora_layers_to_transform": ("adapter.layers", ""),
    "num_train_epochs": ("training.epochs", ""),
    "num_epochs": ("training.epochs", ""),
    "num_steps": ("training.max_steps", ""),
    "max_train_steps": ("training.max_steps", ""),
    "per_device_train_batch_size": (
        "training.effective_batch",
        "It counts the rows of a whole optimizer step; memory is governed by “training.micro_batch_tokens”.",
    ),
    "train_batch_size": ("training.effective_batch", "It counts the rows of a whole optimizer step."),
    "batch_size": ("training.effective_batch", "It counts the rows of a whole optimizer step."),
    "micro_batch_size": ("training.micro_batch_tokens", "It counts tokens, not rows; 0 chooses by itself."),
    "gradient_accumulation_steps": (
        "training.effective_batch",
        "It counts the rows of a whole optimizer step; the number of passes follows from it.",
    ),
    "lr": ("training.learning_rate", ""),
    "max_lr": ("training.learning_rate", ""),
    "lr_scheduler": ("training.schedule", ""),
    "lr_scheduler_type": ("training.schedule", ""),
    "scheduler": ("training.schedule", ""),
    "num_cycles": ("training.cycles", ""),
    "num_decay_steps": ("training.decay", "It is a share of all steps, such as 0.2."),
    "warmup_ratio": ("training.warmup", ""),
    "warmup_steps": ("training.warmup", "It is a share of all steps, such as 0.05."),
    "optim": ("training.optimizer", ""),
    "clip_grad": ("training.max_grad_norm", ""),
    "gradient_clipping": ("training.max_grad_norm", ""),
    "random_seed": ("training.seed", ""),
    "data_seed": ("training.seed", ""),
    "eval_steps": ("training.evaluate_every", ""),
    "eval_strategy": ("training.evaluate_every", "It counts steps."),
    "evaluation_strategy": ("training.evaluate_every", "It counts steps."),
    "evals_per_epoch": ("training.evaluate_every", "It counts steps."),
    "early_stopping_patience": ("training.early_stopping", ""),
    "save_steps": ("training.checkpoint_minutes", "It counts minutes, so that a crash costs a known time."),
    "save_strategy": ("training.checkpoint_minutes", "It counts minutes."),
    "saves_per_epoch": ("training.checkpoint_minutes", "It counts minutes."),
    "load_best_model_at_end": ("training.result", "Its value would be “best”."),
    "save_total_limit": ("training.keep_checkpoints", ""),
    "max_new_tokens": ("training.sample_tokens", ""),
    "attn_implementation": ("hardware.attention", ""),
    "flash_attn": ("hardware.attention", ""),
    "flash_attention": ("hardware.attention", "Its value would be “flash”."),
    "sdp_attention": ("hardware.attention", "Its value would be “sdpa”."),
    "torch_compile": ("hardware.kernels", "True is “compiled”."),
    "use_liger_kernel": ("hardware.kernels", "True is “liger”."),
    "enable_liger_kernel": ("hardware.kernels", "True is “liger”."),
    "use_cpu": ("hardware.device", "Its value would be “cpu”."),
    "gradient_checkpointing": ("hardware.activation_checkpointing", "True is “all”, false is “off”."),
    "disable_gradient_checkpointing": ("hardware.activation_checkpointing", "True is “off”."),
    "num_gpus": ("hardware.processes", ""),
    "world_size": ("hardware.processes", ""),
    "nproc_per_node": ("hardware.processes", ""),
    "fsdp": ("hardware.sharding", "Its value would be “base”."),
    "fsdp_config": ("hardware.sharding", "“base” shares the frozen weights; the rest is planned for you."),
    "fsdp_version": ("hardware.sharding", "“base” uses version 2."),
    "output_dir": ("output.folder", "Each run makes its own folder in it."),
    "run_name": ("output.name", ""),
    "logging_steps": ("", "Nothing replaces it: every step is recorded."),
    "report_to": ("", "Nothing replaces it: runs are recorded on this computer only."),
    "wandb_project": ("", "Nothing replaces it: runs are recorded on this computer only."),
    "plot_loss": ("", "Nothing replaces it: the loss curve is always drawn."),
    "deepspeed": ("", "Nothing replaces it: how the work is spread over the hardware is planned for you."),
    "stage": ("", "“sft” is any run, “dpo” is “data.train_on: preferences”."),
    "task_type": ("", "Nothing replaces it: every model is a causal language model."),
    "per_device_eval_batch_size": ("", "Nothing replaces it: the evaluation uses the same passes as the training."),
    "dataloader_num_workers": ("", "Nothing replaces it: the rows are tokenized once, before the training."),
    "preprocessing_num_workers": ("", "Nothing replaces it: the rows are tokenized once, before the training."),
    "overwrite_output_dir": ("", "Nothing replaces it: a run never overwrites another."),
}

_FOREIGN_CHOICES: Mapping[str, str] = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "4": "nf4",
    "4bit": "nf4",
    "int4": "nf4",
    "fp4": "nf4",
    "qlora": "nf4",
    "8": "int8",
    "8bit": "int8",
    "fa2": "flash",
    "flash_attention_2": "flash",
    "flash_attn": "flash",
    "gpu": "cuda",
    "prompt_response": "prompt_completion",
    "chatml": "messages",
    "openai": "messages",
    "chat": "messages",
    "freeze": "full",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "lion_32bit": "lion",
    "constant_with_warmup": "constant",
    "cosine_with_restarts": "cosine_restarts",
    "wsd": "warmup_stable_decay",
    "true": "all",
    "yes": "all",
    "false": "none",
    "no": "none",
}


def unknown_section(name: str) -> str:
    """What a top-level name that is no section most likely means, as a sentence of advice."""
    names = [section.name for section in sections()]
    if name.strip().casefold() in names:
        return f"Write “{name.strip().casefold()}”."
    if "." in name and name in paths():
        section, _, last = name.partition(".")
        return f"Write the section “{section}:” and, indented below it, “{last}:”."
    known = elsewhere(name)
    if known:
        return known
    close = difflib.get_close_matches(name.casefold(), names, 1, _CUTOFF)
    if close:
        return f"Did you mean the section “{close[0]}”?"
    return _close_setting(name, paths()) or f"A spec has the sections {_listed(names)}."


def unknown_setting(section: str, name: str) -> str:
    """What an unknown name inside a section most likely means, as a sentence of advice."""
    known = elsewhere(name)
    if known:
        return known
    own = [path for path in paths() if path.startswith(f"{section}.")]
    names = [path.partition(".")[2] for path in own]
    return _close_setting(name, own) or _close_setting(name, paths()) or f"“{section}” has {_listed(names)}."


def unknown_path(path: str) -> str:
    """What an unknown dotted path from the command line most likely means, as a sentence of advice."""
    section, dot, name = path.rpartition(".")
    if not dot:
        if path in {item.name for item in sections()}:
            return f"“{path}” is a section; name a setting in it, such as “{_first_of(path)}”."
        return elsewhere(path) or _close_setting(path, paths()) or unknown_section(path)
    if section in {item.name for item in sections()}:
        return unknown_setting(section, name)
    whole = difflib.get_close_matches(path.casefold(), paths(), 1, 0.75)
    if whole:
        return f"Did you mean “{whole[0]}”?"
    return elsewhere(name) or _close_setting(name, paths()) or unknown_section(section.partition(".")[0])


def elsewhere(name: str) -> str:
    """Where a setting of exactly this name lives, or what another trainer's name is called here; empty if neither."""
    wanted = name.strip().casefold().replace("-", "_").lstrip("_")
    for path in paths():
        section, _, last = path.partition(".")
        if last == wanted:
            return f"“{last}” lives in the section “{section}”: write “{path}”."
    path, note = FOREIGN.get(wanted, ("", ""))
    return f"It is called “{path}” here. {note}".rstrip() if path else note


def choice_hint(value: str, values: Iterable[str]) -> str:
    """What a value that is none of the choices most likely means, as a sentence; empty if nothing is close."""
    allowed = list(values)
    foreign = _FOREIGN_CHOICES.get(value, "")
    if foreign in allowed:
        return f"Did you mean “{foreign}”?"
    close = difflib.get_close_matches(value, allowed, 1, _CUTOFF)
    return f"Did you mean “{close[0]}”?" if close else ""


@functools.cache
def paths() -> tuple[str, ...]:
    """The dotted path of every setting."""
    return tuple(info.path for info in fields())


def _close_setting(name: str, among: Iterable[str]) -> str:
    by_name = {path.partition(".")[2]: path for path in among}
    wanted = name.strip().casefold().replace("-", "_")
    close = difflib.get_close_matches(wanted, by_name, 1, _CUTOFF)
    return f"Did you mean “{by_name[close[0]]}”?" if close else ""


def _listed(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _first_of(section: str) -> str:
    return next(path for path in paths() if path.startswith(f"{section}."))
