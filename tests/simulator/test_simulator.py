"""The simulator: against a step that is really taken, deep models from shallow ones, and every setting it knows."""

from dataclasses import replace

import pytest

from core.spec.sections import AdapterSpec
from tests.simulator.cases import Case
from tests.simulator.depth import simulate_deep
from tests.simulator.run import simulate, take

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(300)]

TINY = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
REAL = Case(TINY, compute_dtype="fp32", kind="cpu", attention="sdpa", passes=((40, 24), (32,)))
DEEP = Case("llama-3.2-1b", checkpointed=9, passes=((512, 512), (512,)))


@pytest.fixture(scope="module")
def _constants_are_there() -> None:
    """The first step of a process makes 16 bytes of constants that libraries keep for good."""
    take(REAL)


@pytest.mark.usefixtures("_constants_are_there")
@pytest.mark.parametrize(
    "case",
    [
        REAL,
        replace(REAL, checkpointed=2, supervised=0.3),
        replace(REAL, adapter=AdapterSpec(method="full")),
        replace(REAL, adapter=AdapterSpec(method="dora", dropout=0.05), compute_dtype="bf16"),
        replace(REAL, attention="eager", passes=((64,),)),
    ],
    ids=["lora", "checkpointed", "full", "dora", "eager"],
)
def test_a_step_really_taken_keeps_the_same_ledger(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.engine import loss

    monkeypatch.setattr(loss, "_prefers_rows", lambda _: False)  # the processor takes the way of the other devices
    real, simulated = take(case), simulate(case)
    assert real.static == simulated.static
    assert real.peak_bytes == simulated.peak_bytes
    assert dict(real.highest) == dict(simulated.highest)


@pytest.mark.parametrize(
    "case",
    [DEEP, replace(DEEP, adapter=AdapterSpec(method="full")), replace(DEEP, quantization="int8", layers=12)],
    ids=["lora", "full", "int8"],
)
def test_a_deep_model_is_known_from_a_shallow_one_to_the_byte(case: Case) -> None:
    whole, deep = simulate(case), simulate_deep(case)
    assert deep.operations < whole.operations
    assert deep.peak_bytes == whole.peak_bytes
    assert deep.static == whole.static


def test_settings_move_memory_the_way_they_must() -> None:
    base = Case("llama-3-8b", passes=((2048,),))
    plain = simulate_deep(base)
    halves, all_layers = (simulate_deep(replace(base, checkpointed=count)) for count in (16, 32))
    assert plain.peak_bytes > halves.peak_bytes > all_layers.peak_bytes
    nf4, simple, int8 = (
        simulate_deep(replace(base, quantization=kind, double_quant=double)).static["weights"]
        for kind, double in (("nf4", True), ("nf4", False), ("int8", True))
    )
    assert nf4 < simple < int8 < plain.static["weights"]
    assert simulate_deep(replace(base, checkpointed=32, supervised=0.1)).peak_bytes < all_layers.peak_bytes
    assert simulate_deep(replace(base, attention="eager")).peak_bytes > plain.peak_bytes
    saved = simulate_deep(replace(base, adapter=AdapterSpec(modules_to_save=("lm_head",))))
    assert saved.static["masters"] == plain.static["masters"] + 4 * 4096 * 128256
    dora = simulate_deep(replace(base, adapter=AdapterSpec(method="dora")))
    assert dora.peak_bytes > plain.peak_bytes
    wide = replace(base, adapter=AdapterSpec(rank=128))  # bitsandbytes keeps small tensors as they are
    full, narrow, paged = (
        simulate_deep(replace(wide, optimizer=name)).static["optimizer"]
        for name in ("adamw", "adamw_8bit", "paged_adamw")
    )
    assert full > 3 * narrow > 0
    assert paged < narrow
