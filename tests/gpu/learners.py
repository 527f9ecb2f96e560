"""The same tiny model with the same adapters, on whichever device and in whichever numbers are asked for."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch  # noqa: TID253 (imported by tests that need a GPU only)

from core.data.types import Encoded
from core.engine import adapters, loading, step
from core.engine.kernels import lora_linear
from core.engine.loss import make_loss_head
from core.engine.masters import Masters
from core.engine.noise import add_noise
from core.engine.optimizer import make_optimizer
from core.engine.passes import make_passes
from core.engine.scaling import LossScale
from core.plan.parameters import resolve_targets
from core.spec.sections import AdapterSpec
from tests.core.engine import families
from tests.simulator.facts import facts_of_model

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def learner(
    name: str = "llama",
    device: torch.device = GPU,
    compute: str = "bf16",
    optimizer: str = "adamw",
    kernel: str = "flash",
    noise: float = 0.0,
    base: Any = None,
    shape: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """What a step touches; adapters already do something, and begin the same for all devices and numbers."""
    told = families.build(name, kernel, **(shape or {}))
    spec = AdapterSpec(**{"rank": 4, **settings})
    targets = resolve_targets(spec, facts_of_model(told))
    if base is None:
        base = told.to(TYPES[compute]).to(device)
        loading._look_for_no_padding(base)
    torch.manual_seed(11)
    model = adapters.attach(base, spec, targets)
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if ".lora_" in parameter_name:
                drawn = torch.randn(parameter.shape, generator=chance) * 0.1
                parameter.copy_(drawn)
    add_noise(model, noise)
    lora_linear.fuse_adapters(model)
    masters = Masters(model.train(), TYPES[compute])
    return SimpleNamespace(
        device=device,
        head=make_loss_head(base),
        masters=masters,
        optimizer=make_optimizer(
            optimizer,
            masters.masters,
            learning_rate=1e-2,
            weight_decay=0.01,
            factors=adapters.rate_factors(spec, masters.names),
            hidden=adapters.hidden_matrices(model, masters.names),
        ),
        scale=LossScale(enabled=compute == "fp16", factor=64.0),  # as high as these large weights allow
        group=None,
        model=model,
    )


def gathered(one: Any, some: Sequence[Encoded], budget: int = 10_000, packing: bool = True) -> tuple[float, Any]:
    """Loss and gradients of a step, on the host."""
    outcome = step.accumulate(one, some, make_passes(some, budget, packing, one.device), 0.0)
    flat = torch.cat([master.grad.flatten().float().cpu() for master in one.masters.masters])
    one.masters.clear_gradients()
    return outcome.loss, flat


def take_step(one: Any, some: Sequence[Encoded], budget: int = 10_000) -> float:
    outcome = step.accumulate(one, some, make_passes(some, budget, True, one.device), 1.0)
    step.apply(one, outcome)
    return outcome.loss


def apart(found: Any, truth: Any) -> float:
    """The norm of the difference over the norm of the truth."""
    return float((found - truth).norm() / truth.norm())
