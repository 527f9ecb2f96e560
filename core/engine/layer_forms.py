"""In which form the decoder layers compute: plain, compiled or with fused kernels; how one is tried and held to plain.

A form may be used only if losses and gradients of real passes agree with the plain layers', but for rounding. Rounding
apart, nothing of what is learned depends on it, so saved states continue in any form, and so do runs of several
processes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from core.engine.attention import documents
from core.engine.loss import LossHead
from core.engine.masters import Masters
from core.engine.passes import Pass

ROUNDS = 2
"""How often the passes are timed after a first round; the fastest counts."""
_SEED = 1
_LOSS_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 1e-2}
_GRADIENT_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1e-1, torch.float16: 5e-2}


class Form(Protocol):
    """A way for a model's layers to compute."""

    name: str

    def obstacle(self) -> str:
        """Why it cannot be tried here, as a sentence; empty when it can."""

    def on(self) -> None:
        """Has the layers compute in this form."""

    def off(self) -> None:
        """Has them compute as they are."""

    def settle(self) -> None:
        """Tells it that the trial is over."""

    def complaint(self) -> str:
        """Why it should be given up, as a sentence; empty while all is well."""


@dataclass(slots=True)
class Layers:
    """The form in use; None for plain layers.

    Attributes:
        ratio: how many times as fast as plain layers it was on trial; 0 where that was not measured.
    """

    form: Form | None = None
    ratio: float = 0.0

    @property
    def name(self) -> str:
        """What the form is called."""
        return "plain" if self.form is None else self.form.name


class Learner(Protocol):
    """What a trial touches."""

    device: torch.device
    head: LossHead
    masters: Masters


@dataclass(frozen=True, slots=True)
class Taken:
    """What passes came to: losses, gradients of the trained parameters on the host, and seconds."""

    losses: tuple[float, ...]
    gradients: tuple[torch.Tensor | None, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A form after its trial.

    Attributes:
        obstacle: why it is not used, as a sentence; empty where it may be.
        difference: of its gradients to the plain layers', as a share.
        seconds: of the passes; 0 where they were not timed.
        preparing: seconds of the first round, compiling included.
    """

    form: Form
    obstacle: str = ""
    difference: float = 0.0
    seconds: float = 0.0
    preparing: float = 0.0


def take(learner: Learner, passes: Sequence[Pass]) -> Taken:
    """Forward and backward passes as in a step, whose gradients are taken away; chance is as it was afterwards."""
    devices = [learner.device] if learner.device.type == "cuda" else []
    losses = []
    learner.masters.clear_gradients()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(_SEED)
        _wait(learner.device)
        began = time.perf_counter()
        for one in passes:
            with documents(one.documents):
                loss = learner.head.summed(one)
                (loss / max(1, one.num_supervised)).backward()
            losses.append(loss.detach())
        _wait(learner.device)
        seconds = time.perf_counter() - began
    gradients = tuple(None if grad is None else grad.cpu() for grad in learner.masters.take_gradients())
    return Taken(tuple(float(loss) for loss in losses), gradients, seconds)


def time_passes(learner: Learner, passes: Sequence[Pass]) -> float:
    """Seconds of the passes in the present form, the fastest of `ROUNDS`."""
    return min(take(learner, passes).seconds for _ in range(ROUNDS))


def try_form(learner: Learner, form: Form, passes: Sequence[Pass], plain: Taken, *, timed: bool) -> Tried:
    """Compares a form with the plain layers; the layers are plain again afterwards.

    Args:
        learner: the model and its trained parameters, layers plain, in training mode.
        form: what is tried.
        passes: real ones.
        plain: what the plain layers made of them.
        timed: whether to measure how fast it is.
    """
    obstacle = form.obstacle()
    if obstacle:
        return Tried(form, obstacle)
    try:
        form.on()
        found = take(learner, passes)
        difference = _difference(found.gradients, plain.gradients)
        obstacle = _disagreement(found, plain, difference, _dtype_of(learner))
        seconds = time_passes(learner, passes) if timed and not obstacle else 0.0
    except Exception as failure:  # noqa: BLE001 (compilers fail in every way there is; the run says it and goes on)
        return Tried(form, why(failure))
    finally:
        learner.masters.clear_gradients()
        form.off()
    return Tried(form, obstacle, difference, seconds, found.seconds)


def why(failure: BaseException) -> str:
    """A failure as one short sentence."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"It failed with {type(failure).__name__}: {lines[0][:200].rstrip('.') if lines else 'no message'}."


def _disagreement(found: Taken, plain: Taken, difference: float, dtype: torch.dtype) -> str:
    pairs = zip(found.losses, plain.losses, strict=True)
    lost = max((abs(a - b) / max(abs(b), 1e-6) for a, b in pairs), default=0.0)
    if not lost <= _LOSS_TOLERANCE[dtype]:  # also where one of them is no number
        return f"Its losses differ from those of plain layers by {100 * lost:.2g} %."
    if not difference <= _GRADIENT_TOLERANCE[dtype]:
        return f"Its gradients differ from those of plain layers by {100 * difference:.2g} %."
    return ""


def _difference(found: Sequence[torch.Tensor | None], truth: Sequence[torch.Tensor | None]) -> float:
    """Norm of the difference of all gradients over the norm of the true ones; infinite where one has others."""
    apart = whole = 0.0
    for ours, theirs in zip(found, truth, strict=True):
        if (ours is None) != (theirs is None):
            return float("inf")
        if ours is not None and theirs is not None:
            apart += float((ours - theirs).square().sum())
            whole += float(theirs.square().sum())
    if not whole:
        return 0.0 if not apart else float("inf")
    return float((apart / whole) ** 0.5)


def _dtype_of(learner: Learner) -> torch.dtype:
    """The type activations have: that of the norms and embeddings, which no quantization touches."""
    return next((p.dtype for p in learner.head.model.parameters() if p.dtype in _LOSS_TOLERANCE), torch.float32)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
