"""The first run: settings that teach the starter model something visible on the bundled rows in a few minutes.

The command ``demo`` and the window's first page start from the same spec.
"""

from typing import Any

from core.paths import resource
from core.spec.presets import apply_preset
from core.spec.run_spec import RunSpec

PRESET = "quick-cpu"
STEPS = 45
PROMPTS = (
    'Define "Internet" as a devil\'s dictionary would.',
    'Define "Smartphone" as a devil\'s dictionary would.',
    'Define "Influencer" as a devil\'s dictionary would.',
    'Define "Achievement" as a devil\'s dictionary would.',  # held back; the others are no part of the book
)


def demo_spec(base: str, steps: int = STEPS) -> RunSpec:
    """The settings of the demo for a base model, on the bundled rows.

    Raises:
        UserError: the bundled preset is missing.
    """
    spec = apply_preset(PRESET, RunSpec())
    changes: dict[str, Any] = {
        "model.base": base,
        "model.quantization": "nf4",
        "data.train": (str(resource("data", "devils-dictionary.jsonl")),),
        "data.validation": (str(resource("data", "devils-dictionary-held-back.jsonl")),),
        "data.max_length": 640,  # the longest row has 571
        "data.max_rows": 0,
        "adapter.rank": 16,
        "adapter.alpha": 32.0,
        "training.learning_rate": 1e-3,
        "training.effective_batch": 16,
        "training.warmup": 0.05,
        "training.max_steps": steps,
        "training.evaluate_every": -(-steps // 4),
        "training.sample_prompts": PROMPTS,
        "training.sample_tokens": 48,
        "output.name": "demo",
    }
    for path, value in changes.items():
        spec = spec.replace(path, value)
    return spec
