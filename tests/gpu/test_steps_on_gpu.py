"""A step on a GPU learns what it learns on the processor, by the kernels that it says, and waits once."""

import warnings
from pathlib import Path
from typing import Any, get_args

import pytest

torch = pytest.importorskip("torch")

from core.engine import attention_check, step  # noqa: E402
from core.engine.evaluation import evaluate  # noqa: E402
from core.engine.kernels.compiled_layers import CompiledLayers, _dismiss_compilers  # noqa: E402
from core.engine.kernels.liger_layers import LigerLayers  # noqa: E402
from core.engine.layer_forms import take, try_form  # noqa: E402
from core.engine.loading import checkpoint_layers, load_base  # noqa: E402
from core.engine.optimizer import load_optimizer, optimizer_tensors, set_learning_rate  # noqa: E402
from core.engine.passes import make_pass, make_passes  # noqa: E402
from core.engine.row_losses import row_losses  # noqa: E402
from core.engine.sampling import Sampling, answer  # noqa: E402
from core.engine.selfcheck import self_check  # noqa: E402
from core.spec.sections import Optimizer  # noqa: E402
from tests.core.engine import families  # noqa: E402
from tests.core.engine.test_engine_passes_and_loss import rows  # noqa: E402
from tests.gpu.learners import CPU, GPU, apart, gathered, learner, take_step  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
]
ROWS = rows(30, 4, 6, 9, 3)
WRITTEN_OUT = ("gemma2", "gpt_oss")
OPTIMIZERS = [kind for kind in get_args(Optimizer) if kind != "auto"]


@pytest.mark.parametrize("name", families.NAMES)
def test_float32_is_what_the_processor_computes(name: str) -> None:
    truth_loss, truth = gathered(learner(name, CPU, "fp32"), ROWS)
    loss, found = gathered(learner(name, GPU, "fp32"), ROWS)
    assert loss == pytest.approx(truth_loss, rel=1e-4)
    assert apart(found, truth) < 1e-3


@pytest.mark.parametrize("compute", ["bf16", "fp16"])
@pytest.mark.parametrize("name", families.NAMES)
def test_16_bits_are_as_far_from_float32_as_on_the_processor(name: str, compute: str) -> None:
    """Rounding differs; being further from the truth than the processor's own rounding would be a fault."""
    truth_loss, truth = gathered(learner(name, CPU, "fp32"), ROWS)
    here_loss, here = gathered(learner(name, CPU, compute), ROWS)
    loss, found = gathered(learner(name, GPU, compute), ROWS)
    assert abs(loss - truth_loss) <= 2 * abs(here_loss - truth_loss) + 2e-2 * truth_loss
    assert apart(found, truth) <= 2 * apart(here, truth) + 2e-2


@pytest.mark.parametrize("name", [name for name in families.NAMES if name not in WRITTEN_OUT])
def test_documents_of_a_pass_do_not_see_each_other(name: str) -> None:
    one = learner(name)
    _, truth = gathered(one, ROWS, packing=False)
    _, found = gathered(one, ROWS)
    assert apart(found, truth) < 5e-2


@pytest.mark.parametrize("name", families.NAMES)
def test_the_kernel_is_read_from_the_profile(name: str) -> None:
    one = learner(name)
    found = self_check(one.head, ROWS, packing=True, device=GPU)
    wanted = "plain attention (eager)" if name in WRITTEN_OUT else "flash attention (varlen)"
    assert found.attention == wanted
    assert found.packing


def test_the_doctor_sees_flash_attention() -> None:
    words, fused, apart_by = attention_check.check(GPU, torch.bfloat16, 4, 2, 64)
    assert (words, fused) == ("flash attention (varlen)", True), apart_by


def waits(do: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            do()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{one.filename}:{one.lineno}" for one in told if "synchronizing CUDA operation" in str(one.message)]


@pytest.mark.parametrize("compute", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("name", ["llama", "mistral_window", "qwen3", "gemma3", "gpt2"])
def test_a_step_waits_once(name: str, compute: str) -> None:
    one = learner(name, compute=compute)
    take_step(one, ROWS)
    found = waits(lambda: take_step(one, ROWS, budget=32))
    assert len(found) == 1, found


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_saved_state_goes_on_as_if_nothing_had_been(kind: str) -> None:
    whole = learner(compute="fp32", optimizer=kind)
    for _ in range(2):
        take_step(whole, ROWS)
    masters = {name: master.detach().cpu().clone() for name, master in whole.masters.named()}
    tensors, numbers = optimizer_tensors(whole.optimizer)
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    for _ in range(2):
        take_step(whole, ROWS)
    resumed = learner(compute="fp32", optimizer=kind)
    resumed.masters.load(masters)
    load_optimizer(resumed.optimizer, tensors, numbers)
    set_learning_rate(resumed.optimizer, 1e-2)
    for _ in range(2):
        take_step(resumed, ROWS)
    for (name, truth), (_, found) in zip(whole.masters.named(), resumed.masters.named(), strict=True):
        assert torch.equal(truth, found), name


@pytest.mark.parametrize(
    ("settings", "compute"),
    [
        ({"dropout": 0.1}, "bf16"),
        ({"method": "dora"}, "bf16"),
        ({"method": "rslora", "b_rate_ratio": 4.0}, "bf16"),
        ({"method": "full"}, "bf16"),
        ({"noise": 5.0}, "bf16"),
        ({"modules_to_save": ("embed_tokens", "lm_head")}, "bf16"),
        ({"optimizer": "adamw_8bit"}, "fp16"),
        ({"optimizer": "paged_adamw"}, "bf16"),
    ],
)
def test_what_learns_learns(settings: dict[str, Any], compute: str) -> None:
    one = learner(compute=compute, **settings)
    set_learning_rate(one.optimizer, 2e-3)
    losses = [take_step(one, ROWS) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1, losses


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "phi3"])
def test_recomputed_layers_have_the_same_gradients(name: str) -> None:
    one = learner(name, dropout=0.2)
    torch.manual_seed(3)
    _, truth = gathered(one, ROWS)
    assert checkpoint_layers(one.head.model, 2) == 2
    torch.manual_seed(3)
    _, found = gathered(one, ROWS)
    assert apart(found, truth) < 1e-2


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantized_weights_are_as_far_from_float32_as_on_the_processor(quantization: str, tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    families.build("llama", **shape).save_pretrained(tmp_path)
    truth_loss, truth = gathered(learner(device=CPU, compute="fp32", shape=shape), ROWS)
    losses, distances = [], []
    for device in (CPU, GPU):
        base = load_base(tmp_path, device=device, compute_dtype="bf16", quantization=quantization)
        loss, found = gathered(learner(device=device, base=base, shape=shape), ROWS)
        losses.append(abs(loss - truth_loss))
        distances.append(apart(found, truth))
    assert losses[1] <= 1.5 * losses[0] + 2e-2 * truth_loss
    assert distances[1] <= 1.5 * distances[0] + 2e-2


FORMS = ("llama", "mistral_window", "qwen3", "gemma3", "phi3", "granite")


PASSES = ((30, 4, 6), (5, 7), (40, 5, 6, 7, 8))


def calm(name: str, compute: str, device: torch.device = GPU) -> Any:
    """Weights so small that a rounding does not grow to something large from layer to layer."""
    one = learner(name, device, compute, shape={"hidden_size": 128, "intermediate_size": 256})
    with torch.no_grad():
        for parameter in one.head.model.parameters():
            if parameter.ndim > 1 and not parameter.requires_grad:
                parameter.mul_(0.3)
    return one


def learned(one: Any) -> Any:
    taken = take(one, [make_pass(rows(*lengths), one.device) for lengths in PASSES])
    return torch.cat([grad.float().flatten() for grad in taken.gradients if grad is not None])


@pytest.mark.parametrize("name", FORMS)
def test_fused_layers_learn_the_same(name: str) -> None:
    """To 0.1 % in float32; in bfloat16 they differ from plain layers by no more than those do from float32."""
    exact, one = calm(name, "fp32"), calm(name, "bf16")
    if why_not := LigerLayers(one.head.model).obstacle():
        pytest.skip(why_not)
    truth, plain = learned(exact), learned(one)
    for learns in (exact, one):
        LigerLayers(learns.head.model).on()
    assert apart(learned(exact), truth) < 1e-3
    assert apart(learned(one), plain) < 1.5 * apart(plain, truth) + 2e-2


@pytest.mark.parametrize(("name", "compute"), [("llama", "bf16"), ("gemma3", "bf16"), ("phi3", "fp32")])
def test_compiled_layers_learn_the_same(name: str, compute: str) -> None:
    one = calm(name, compute)
    some = [make_pass(rows(*lengths), GPU) for lengths in PASSES]
    try:
        tried = try_form(one, CompiledLayers(one.head.model, "flash"), some, take(one, some), timed=True)
    finally:
        _dismiss_compilers()
    assert tried.obstacle == ""


def test_evaluations_are_the_processors() -> None:
    here, there = learner("llama", CPU, "fp32"), learner("llama", GPU, "fp32")
    truth, found = (
        evaluate(one.head, ROWS, budget=32, packing=True, device=one.device) for one in (here, there)
    )  # fmt: skip
    assert truth is not None
    assert found is not None
    assert found.loss == pytest.approx(truth.loss, rel=1e-4)
    row_truth, row_found = (
        row_losses(one.head, ROWS, budget=32, packing=True, device=one.device, on_pass=lambda *_: True)
        for one in (here, there)
    )
    assert row_found == pytest.approx(row_truth, rel=1e-4)
    waited = waits(lambda: evaluate(there.head, ROWS, budget=32, packing=True, device=GPU))
    assert len(waited) == 1, waited


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mistral_window"])
def test_answers_are_the_processors(name: str) -> None:
    class Reader:
        def decode(self, tokens: list[int]) -> str:
            return " ".join(map(str, tokens))

    said = []
    for device in (CPU, GPU):
        model = learner(name, device, "fp32").model
        sampling = Sampling(12)
        said.append(answer(model, Reader(), [5, 6, 7, 8], stop_ids=[1], sampling=sampling, device=device).tokens)
    assert said[0] == said[1]


def test_a_norm_that_is_no_number_is_not_applied() -> None:
    one = learner()
    with torch.no_grad():
        one.masters.masters[0].view(-1)[0] = float("nan")
    one.masters.publish()
    before = [master.detach().clone() for master in one.masters.masters[1:]]
    outcome = step.accumulate(one, ROWS, make_passes(ROWS, 32, True, GPU), 1.0)
    assert not outcome.finite
    step.apply(one, outcome)
    assert all(torch.equal(a, b) for a, b in zip(before, one.masters.masters[1:], strict=True))
