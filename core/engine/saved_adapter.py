"""What a run had learned at one of its saved states, as an adapter that anyone loads; the run itself is not touched."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.engine.adapters import adapter_settings, adapter_tensors, peft_config, saved_modules
from core.engine.start import against_base, read_start, settings_against_base
from core.errors import ExitCode, UserError, error
from core.export.adapter import write_adapter
from core.runs.layout import RunFolder
from core.runs.results import result_base
from core.runs.saved_states import damage
from core.runs.store import load_facts, load_plan, load_spec
from core.spec.rules_adapter import changes_base


def read_masters(state: Path) -> dict[str, torch.Tensor]:
    """The trained tensors of a saved state in float32, by the names of the model's parameters.

    Raises:
        UserError: the state is damaged, or was removed meanwhile.
    """
    from safetensors.torch import load_file

    found = damage(state) if state.is_dir() else "it is not there any more"
    if found is not None:
        message = f"The checkpoint {state.name} cannot be used: {found}."
        raise UserError(error(str(state), message, "Choose another one."), exit_code=ExitCode.FAILED)
    tensors: dict[str, torch.Tensor] = load_file(state / "masters.safetensors")
    return tensors


def write_saved_adapter(state: Path, target: Path) -> None:
    """Writes a saved state of a run as an adapter's folder in PEFT's format.

    Which parameter has which name in such a folder only PEFT knows. It is asked with the model's shape alone, without
    memory for its weights, so this takes about a second for a model of any size.

    Args:
        state: ``<run>/checkpoints/step-…``; not of a full fine-tuning, whose states are no adapters.
        target: must not exist yet.

    Raises:
        UserError: the state or the run's files are damaged, or the base model is gone.
    """
    folder = RunFolder(state.parent.parent)
    spec, facts = load_spec(folder), load_facts(folder)
    masters = read_masters(state)
    base = result_base(folder)
    model = _shape(base, trust_remote_code=spec.model.trust_remote_code)
    targets = load_plan(folder).targets
    saved = [name for wanted in spec.adapter.modules_to_save for name in saved_modules(model, wanted)]
    wrapped = _wrapped(model, peft_config(spec.adapter, targets, saved))
    settings = adapter_settings(wrapped)
    if changes_base(spec.adapter):
        masters = against_base(masters, read_start(folder.start))
        settings = settings_against_base(settings, spec.adapter)
    write_adapter(
        target,
        tensors=adapter_tensors(wrapped, masters),
        config={**settings, "base_model_name_or_path": str(base)},
        card="",
        manifest={
            "base_path": str(base),
            "base_fingerprint": facts.model.fingerprint if facts.model is not None else "",
            "data_fingerprint": "",
        },
    )


def _shape(base: Path, *, trust_remote_code: bool) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    return model


def _wrapped(model: Any, config: Any) -> nn.Module:
    from peft import get_peft_model

    wrapped: nn.Module = get_peft_model(model, config, low_cpu_mem_usage=True)
    return wrapped
