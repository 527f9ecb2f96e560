"""Which attention to measure: the heads of a model, in the format and on the device that its plan chooses."""

import time

from core.errors import UserError, error
from core.facts.hardware import read_hardware
from core.facts.locate import find_model
from core.facts.model_files import read_model
from core.facts.types import Facts
from core.paths import home
from core.plan.planner import plan
from core.runs.attention_bench import AttentionBench
from core.runs.starter import has_starter, starter_folder
from core.spec.run_spec import RunSpec


def shape_of(name: str = "") -> AttentionBench:
    """A measurement that is still empty.

    Args:
        name: a model's name or folder; the starter model if empty.

    Raises:
        UserError: the model is not there.
    """
    if not name and not has_starter():
        raise UserError(
            error(
                "--model",
                "The starter model, whose heads would be measured, is not here yet.",
                "Name another model with --model, or fetch it with “lowrank models --fetch starter”.",
            )
        )
    path = find_model(name) if name else starter_folder()
    model = read_model(path)
    choices = plan(RunSpec().replace("model.base", str(path)), Facts(read_hardware(home()), model)).choices
    return AttentionBench(
        model=path.name,
        device=choices.device.value,
        dtype=choices.compute_dtype.value,
        heads=model.num_heads,
        kv_heads=model.num_kv_heads,
        head_dim=model.head_dim,
        threads=choices.threads.value,
        time=time.time(),
    )
