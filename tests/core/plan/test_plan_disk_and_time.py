"""Disk sizes exactly."""

import dataclasses

from core.plan.disk import disk_of
from core.plan.parameters import count_parameters, resolve_targets
from core.units import MIB
from tests.core.plan.invented_facts import MODELS, spec


def test_sizes_of_an_adapter_run() -> None:
    model, asked = MODELS["8b"], spec(training__keep_checkpoints=3)
    counted = count_parameters(asked.adapter, resolve_targets(asked.adapter, model), model)
    disk = disk_of(asked, model, counted, "adamw", 7)
    assert disk.adapter_bytes == 4 * 41_943_040
    assert disk.checkpoint_bytes == 12 * 41_943_040 + MIB
    assert disk.merged_bytes - 2 * model.parameters < 16 * MIB
    assert disk.run_bytes > 4 * disk.checkpoint_bytes + disk.adapter_bytes
    assert disk.free_bytes == 7


def test_sizes_of_a_full_run() -> None:
    model, asked = MODELS["1b"], spec(adapter__method="full")
    counted = count_parameters(asked.adapter, (), model)
    plain, paged = (disk_of(asked, model, counted, name, 0) for name in ("adamw", "paged_adamw_8bit"))
    assert plain.checkpoint_bytes > 12 * model.parameters > paged.checkpoint_bytes > 6 * model.parameters
    assert plain.adapter_bytes == plain.merged_bytes > 2 * model.parameters
    single = dataclasses.replace(model, dtype="F32")
    assert disk_of(asked, single, counted, "adamw", 0).merged_bytes > 4 * model.parameters
