"""A run with a result, made without training: a true folder on the true starter model, and a small adapter in it."""

import json
from pathlib import Path
from typing import Any

from core.facts.hardware import read_hardware
from core.facts.model_files import read_model
from core.facts.types import Facts
from core.paths import home
from core.plan.planner import plan
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome, write_outcome
from core.runs.store import create_run
from core.spec.run_spec import RunSpec

RANK, LAYERS, HIDDEN = 2, 2, 576
CARD = "# Words\n\n```python\ninputs = tokenizer.apply_chat_template(messages)\n```\n"


def finished_run(starter: Path, name: str = "words", **settings: Any) -> RunFolder:
    """A completed run; keyword names have two underscores for the dot. Under full fine-tuning it has a whole model."""
    spec = RunSpec().replace("model.base", str(starter)).replace("output.name", name).replace("adapter.rank", RANK)
    for path, value in settings.items():
        spec = spec.replace(path.replace("__", "."), value)
    facts = Facts(read_hardware(home()), read_model(starter))
    folder = create_run(spec, facts, plan(spec, facts))
    folder.adapter.mkdir()
    (folder.adapter / "README.md").write_text(CARD, "utf-8")
    if spec.adapter.method == "full":
        (folder.adapter / "config.json").write_text((starter / "config.json").read_text("utf-8"), "utf-8")
        (folder.adapter / "model.safetensors").symlink_to(starter / "model.safetensors")
    else:
        write_small_adapter(folder.adapter, starter)
    write_outcome(folder, Outcome("completed", "Trained.", step=3, steps=3, loss=2.5, seconds=60.0))
    return folder


def write_small_adapter(folder: Path, base: Path) -> None:
    """A LoRA on the query projections of the first layers, with numbers that change what the model says."""
    import numpy as np
    from safetensors.numpy import save_file

    draw = np.random.default_rng(0)
    tensors = {}
    for layer in range(LAYERS):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{prefix}.lora_A.weight"] = draw.normal(0, 0.2, (RANK, HIDDEN)).astype("float32")
        tensors[f"{prefix}.lora_B.weight"] = draw.normal(0, 0.2, (HIDDEN, RANK)).astype("float32")
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": ["q_proj"],
        "layers_to_transform": list(range(LAYERS)),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
