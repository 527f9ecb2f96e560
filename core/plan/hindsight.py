"""The plan of what really ran, as it would have been without earlier runs' records: what a measurement is held against.

Were the corrected prediction taken instead, the corrections would be measured again and never settle.
"""

from dataclasses import replace

from core.facts.types import Facts
from core.plan.planner import plan
from core.plan.types import Choices, Memory, Plan
from core.spec.run_spec import RunSpec

FORMULA = 10
"""Which way of counting the residuals and speeds of records belong to; raise it whenever the planner's memory or time
comes out otherwise than before, because a correction of one formula is wrong for another."""


def uncorrected(spec: RunSpec, facts: Facts, choices: Choices, largest_pass: int) -> Plan:
    """The plan with all choices as they were made and no records, for passes of at most ``largest_pass`` tokens.

    Args:
        spec: what was asked for.
        facts: what the plan was made from; its records are left out.
        choices: what was chosen, also where the records made the difference.
        largest_pass: tokens of the largest pass that was really seen, which is what a measured peak belongs to; the
            rows at hand often fill none.
    """
    settings = {
        "model.quantization": choices.quantization.value,
        "model.compute_dtype": choices.compute_dtype.value,
        "data.packing": "on" if choices.packing.value else "off",
        "training.optimizer": choices.optimizer.value,
        "training.micro_batch_tokens": largest_pass,
        "hardware.device": choices.device.value.partition(":")[0],
        "hardware.attention": choices.attention.value,
        "hardware.activation_checkpointing": "layers",
        "hardware.checkpointed_layers": choices.checkpointed_layers.value,
        "hardware.threads": choices.threads.value,
        "hardware.sharding": choices.sharding.value,
        "hardware.kernels": "plain",
    }
    for path, value in settings.items():
        spec = spec.replace(path, value)
    data = facts.data
    if data is not None:
        data = replace(data, train=replace(data.train, longest=min(data.train.longest, largest_pass)))
    return plan(spec, replace(facts, data=data, records=()))


def measurable_bytes(memory: Memory) -> int:
    """The part of a planned peak that a run measures of itself: its tensors on a GPU, all of it on the processor."""
    if memory.device == "cpu":
        return memory.peak_bytes
    return sum(part.bytes for part in memory.parts if part.name not in ("context", "slack"))
