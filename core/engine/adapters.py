"""Which parameters learn: PEFT adapters on exactly the modules that the plan names, or everything."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.engine.masters import Masters
from core.engine.start import begin, keep_start, make_start, read_start
from core.errors import FailureKind, JobError
from core.facts.architectures import TOWERS
from core.plan.types import Target
from core.spec.rules_adapter import changes_base
from core.spec.sections import AdapterSpec

_LOW_RANK, _LOW_RANK_B = ".lora_", ".lora_B."


def attach(
    model: nn.Module, spec: AdapterSpec, targets: Sequence[Target], start: Path | None = None, *, keep: bool = True
) -> nn.Module:
    """Freezes the base and adds adapters; a full fine-tuning instead frees every floating-point parameter.

    B starts at zero, so the model answers as before until the first step (LoRA, arXiv 2106.09685, section 4.1), or the
    two are a part of the weights (`core.engine.start`), and the model still answers as before.

    Args:
        model: the base.
        spec: what is asked for.
        targets: the plan's modules.
        start: the file that says, or will say, how such adapters began.
        keep: whether this process writes that file.

    Raises:
        JobError: a planned module is not in the loaded model.
    """
    if spec.method == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return model
    from peft import get_peft_model

    present = {name for name, _ in model.named_modules()}
    missing = [target.module for target in targets if target.module not in present]
    if missing:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            f"The plan trains {missing[0]}, but the loaded model has no such module ({len(missing)} are missing).",
            "Make the plan again: the model's files have changed, or its family is not known well enough. "
            "Naming the target modules by hand helps in the second case.",
        )
    saved = [name for wanted in spec.modules_to_save for name in saved_modules(model, wanted)]
    module: nn.Module = get_peft_model(model, peft_config(spec, targets, saved))
    if changes_base(spec):
        known = start is not None and start.exists()
        began = read_start(start) if start is not None and known else make_start(module, spec.start)
        begin(module, began)
        if start is not None and keep and not known:
            keep_start(began, start)
    return module


def take_over(model: nn.Module, masters: Masters, adapter: Path, kept: Path, *, keep: bool = True) -> None:
    """Gives trained parameters the weights of an adapter that the run goes on from.

    The weights are kept in the run's folder, so that the run needs the adapter's no longer.

    Args:
        model: with its adapters.
        masters: its trained parameters.
        adapter: PEFT's folder.
        kept: the file that holds, or will hold, what they begin with.
        keep: whether this process writes that file.

    Raises:
        JobError: the adapter cannot be read, or is not of the same parameters.
    """
    known = kept.exists()
    began = read_start(kept) if known else _adapter_weights(model, masters.names, adapter)
    try:
        masters.load(began)
    except (KeyError, ValueError) as error:
        message = f"The adapter in {adapter} does not fit what this run trains: {error}."
        raise JobError(FailureKind.PLAN_MISMATCH, message, "Plan the run again.") from error
    if keep and not known:
        keep_start(began, kept)


def _adapter_weights(model: nn.Module, names: Sequence[str], adapter: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter's file by the names of the model's parameters."""
    from peft import get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = adapter / "adapter_model.safetensors"
    try:
        stored: dict[str, torch.Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        message = f"The adapter that this run goes on from cannot be read ({file}: {error})."
        raise JobError(FailureKind.PLAN_MISMATCH, message, "Put it back, or begin without it.") from error
    # Which name of the file is which parameter's only PEFT knows; it is told a number for each.
    numbered = {name: torch.tensor(number) for number, name in enumerate(names)}
    renamed = get_peft_model_state_dict(model, state_dict=numbered, save_embedding_layers=False)
    return {names[int(number)]: stored[key].float() for key, number in renamed.items() if key in stored}


def saved_modules(model: nn.Module, wanted: str) -> tuple[str, ...]:
    """What PEFT is told to train in full for one name of ``modules_to_save``.

    PEFT takes every module whose path ends with the name. Where that would take parts for pictures or sound as well,
    which the plan leaves alone, the others are named in full.
    """
    hits = [name for name, _ in model.named_modules() if name.endswith(wanted)]
    inside = tuple(name for name in hits if not TOWERS.intersection(name.split(".")))
    return inside if len(inside) < len(hits) else (wanted,)


def peft_config(spec: AdapterSpec, targets: Sequence[Target], saved: Sequence[str]) -> Any:
    """PEFT's description of the adapters, with the plan's modules by their full names; ``saved`` train in full."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,  # fractions too: PEFT only divides it
        lora_dropout=spec.dropout,
        target_modules=[target.module for target in targets],
        rank_pattern=_other_ranks(spec, targets),
        use_rslora=spec.method == "rslora",
        use_dora=spec.method == "dora",
        modules_to_save=list(saved) or None,
        bias="none",
        init_lora_weights="gaussian" if spec.start == "gaussian" else True,
    )


def _other_ranks(spec: AdapterSpec, targets: Sequence[Target]) -> dict[str, int]:
    """Ranks by full module name; anchored, because PEFT matches these keys as the end of a name."""
    return {"^" + re.escape(target.module): target.rank for target in targets if target.rank != spec.rank}


def hidden_matrices(model: Any, names: Sequence[str]) -> list[bool]:
    """Which trained parameters are matrices of hidden layers: not vectors, stacked experts, embeddings or the head."""
    shapes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    head = model.get_output_embeddings()
    apart = [
        f"{name}."
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or (head is not None and module is head)
    ]
    outside = tuple(apart)
    return [shapes[name] == 2 and (_LOW_RANK in name or not name.startswith(outside)) for name in names]


def rate_factors(spec: AdapterSpec, names: Sequence[str]) -> list[float]:
    """How many times the learning rate each trained parameter learns with: LoRA+ lets B run ahead of A."""
    ahead = 1.0 if spec.method == "full" else spec.b_rate_ratio
    return [ahead if _LOW_RANK_B in name else 1.0 for name in names]


def check_counts(trained: int, planned: int) -> None:
    """Refuses to train other parameters than the ones the user was shown.

    Raises:
        JobError: the counts differ.
    """
    if trained != planned:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            f"The plan trains {planned:,} parameters, the loaded model would train {trained:,}.",
            "Please report this with the model's config.json: the counts must agree before anything is trained.",
        )


def adapter_tensors(model: nn.Module, masters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The trained tensors under the names of PEFT's adapter file, from the float32 masters."""
    from peft import get_peft_model_state_dict

    full = {name: tensor.cpu() for name, tensor in masters.items()}
    state = get_peft_model_state_dict(model, state_dict=full, save_embedding_layers=False)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def adapter_settings(model: Any) -> dict[str, Any]:
    """The adapter's configuration as plain data, ready for ``adapter_config.json``."""
    config = model.peft_config["default"].to_dict()
    config["inference_mode"] = True
    for key in ("target_modules", "exclude_modules", "modules_to_save"):
        if isinstance(config.get(key), set):
            config[key] = sorted(config[key])
    return {key: getattr(value, "value", value) for key, value in config.items()}
