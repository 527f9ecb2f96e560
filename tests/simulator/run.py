"""Builds the engine's parts on the meta device and takes its real step there, with a `Ledger` counting."""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from core.data.types import Encoded
from core.engine import adapters, attention, bootstrap, step
from core.engine.distributed import Group
from core.engine.kernels import lora_linear
from core.engine.loading import checkpoint_layers
from core.engine.loss import LossHead, make_loss_head
from core.engine.masters import Masters
from core.engine.optimizer import make_optimizer
from core.engine.passes import Pass, make_pass
from core.engine.scaling import LossScale
from core.facts.types import ModelFacts
from core.plan.parameters import resolve_targets
from tests.simulator import kernels
from tests.simulator.cases import Case
from tests.simulator.facts import LAYER, facts_of_model
from tests.simulator.ledger import Ledger, Peak, Segment
from tests.simulator.models import config_of
from tests.simulator.quantized import quantize, state_tensors


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a device would have allocated.

    Attributes:
        peak: the highest point of a step that has everything: optimizer states, and gradients of earlier passes.
        static: bytes that are there between two steps, by component.
        facts: the model as the planner sees it.
        highest: the highest point of each segment of the step.
        entered: what was live when each segment began.
    """

    case: Case
    peak: Peak
    static: dict[str, int]
    facts: ModelFacts
    operations: int
    highest: Mapping[Segment, int]
    entered: Mapping[Segment, int]
    static_by_layer: Mapping[int, Mapping[str, int]]

    @property
    def peak_bytes(self) -> int:
        """Highest number of bytes allocated."""
        return self.peak.bytes

    def report(self) -> str:
        """Static bytes and the table of what was live at the peak."""
        lines = [f"{size:16,}  {name}" for name, size in self.static.items()]
        return "\n".join([*lines, self.peak.table()])


@dataclass(slots=True)
class FollowedHead:
    """A head that lets the ledger know when its loss is there and the backward pass begins."""

    head: LossHead
    ledger: Ledger

    def summed(self, one: Pass) -> torch.Tensor:
        """The head's own loss."""
        loss = self.head.summed(one)
        place = (*self.ledger.segment[:2], "loss")
        loss.register_hook(lambda _: self.ledger.enter(place))
        return loss


@dataclass(slots=True)
class Learner:
    """`core.engine.step.Learner` without a run folder."""

    device: torch.device
    model: nn.Module
    head: FollowedHead
    masters: Masters
    optimizer: torch.optim.Optimizer
    scale: LossScale
    facts: ModelFacts
    group: Group | None = None


def simulate(case: Case) -> Simulated:
    """The peak of one training step, at the case's own depth."""
    with kernels.emulated(case.kind, ampere=case.ampere) as ledger:
        return _simulated(case, ledger)


def take(case: Case) -> Simulated:
    """The same step with content, really taken on this processor; the proof of `simulate` for a small model."""
    with kernels.counted() as ledger:
        return _simulated(case, ledger)


def simulate_evaluation(case: Case) -> int:
    """The peak while the validation loss of the first pass is measured, in bytes."""
    with kernels.emulated(case.kind, ampere=case.ampere) as ledger:
        learner = build(case, ledger)
        _have_states(learner)
        one = make_pass(case.rows()[0], torch.device("meta"))
        ledger.see((one.tokens, one.positions, one.keep, one.targets))
        learner.model.eval()
        gc.collect()
        ledger.watch()
        with torch.no_grad(), attention.documents(one.documents):
            learner.head.head.summed(one)
        return ledger.peak().bytes


def simulate_answer(case: Case, prompt: int, answer: int) -> int:
    """The peak while an answer is written: the pass over the prompt, and the last token's with all keys and values."""
    with kernels.emulated(case.kind, ampere=case.ampere) as ledger:
        learner = build(case, ledger)
        _have_states(learner)
        learner.model.eval()
        highest = 0
        with torch.no_grad():
            for before, now in ((0, prompt), (prompt + answer - 1, 1)):
                cache = None
                if before:
                    cache = learner.model(input_ids=_ids(before), use_cache=True, logits_to_keep=1).past_key_values
                gc.collect()
                ledger.watch()
                made = learner.model(input_ids=_ids(now), use_cache=True, past_key_values=cache, logits_to_keep=1)
                highest = max(highest, ledger.peak().bytes)
                del made, cache
        return highest


def _ids(count: int) -> torch.Tensor:
    return torch.zeros((1, count), dtype=torch.long, device="meta")


def _simulated(case: Case, ledger: Ledger) -> Simulated:
    learner = build(case, ledger)
    _have_states(learner)
    gc.collect()
    static, by_layer = components(learner, ledger)
    ledger.watch()
    _step(learner, ledger, case.rows())
    return Simulated(
        case,
        ledger.peak(),
        static,
        learner.facts,
        ledger.operations,
        dict(ledger.highest),
        dict(ledger.entered),
        by_layer,
    )


def _have_states(learner: Learner) -> None:
    """An earlier step with gradients of zero, after which the optimizer has its states."""
    for master in learner.masters.masters:
        master.grad = torch.zeros_like(master)
    step.apply(learner, step.Outcome(0.0, 0.0, 0, 0, 0))


def build(case: Case, ledger: Ledger) -> Learner:
    """The parts of a session (`core.engine.session.build`) on the meta device."""
    base, facts = build_base(case)
    targets = resolve_targets(case.adapter, facts)
    model = adapters.attach(base, case.adapter, targets)
    if case.kind == "cuda":
        fuse(model)
    masters = Masters(model, bootstrap.torch_dtype(case.compute_dtype))
    checkpoint_layers(base, case.checkpointed)
    follow_layers(base, ledger)
    model.train()
    hidden = adapters.hidden_matrices(model, masters.names)
    optimizer = make_optimizer(case.optimizer, masters.masters, learning_rate=1e-4, weight_decay=0.01, hidden=hidden)
    head = FollowedHead(make_loss_head(base), ledger)
    return Learner(
        torch.device(ledger.device),
        model,
        head,
        masters,
        optimizer,
        LossScale(enabled=case.compute_dtype == "fp16"),
        facts,
    )


def fuse(model: nn.Module) -> None:
    """`core.engine.kernels.lora_linear.fuse_adapters`, which looks at values before it does; here there are none."""
    with patch.object(lora_linear, "agrees", lambda *_: True):
        lora_linear.fuse_adapters(model)


def build_base(case: Case) -> tuple[Any, ModelFacts]:
    """`core.engine.loading.load_base` with weights that have no content, and the facts of its files."""
    from transformers import AutoModelForCausalLM

    bootstrap.quiet_libraries()
    model = AutoModelForCausalLM.from_config(
        config_of(case.model, case.layers),
        dtype=bootstrap.torch_dtype(case.compute_dtype),
        attn_implementation=attention.register(case.attention),
    )
    model.config.use_cache = False
    facts = facts_of_model(model)
    if case.quantization != "none":
        quantize(model, case.quantization, case.double_quant, bootstrap.torch_dtype(case.compute_dtype))
    return model, facts


def _step(learner: Learner, ledger: Ledger, rows: Sequence[Sequence[Encoded]]) -> None:
    """One step of `core.engine.training`, its passes laid out as the case says."""

    def passes() -> Iterator[Pass]:
        for number, group in enumerate(rows):
            ledger.enter(("pass", number, "start"))
            made = make_pass(group, learner.device)
            ledger.see([getattr(made, one.name) for one in fields(made)] + [made.documents.offsets])
            yield made
            del made
        ledger.enter(("optimizer",))

    with ledger.during("forward"):
        outcome = step.accumulate(learner, [row for group in rows for row in group], passes(), 1.0)
    with ledger.during("optimizer"):
        step.apply(learner, outcome)


def follow_layers(model: nn.Module, ledger: Ledger) -> None:
    """Lets the ledger know whose forward or backward pass is running."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def enters(index: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if torch._C._current_graph_task_id() == -1:
                ledger.enter((*ledger.segment[:2], "forward", index))

        return hook

    def leaves(index: int) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if torch._C._current_graph_task_id() != -1:
                return
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(lambda _: _enter_backward(ledger, index))
            if index == len(layers) - 1:
                ledger.enter((*ledger.segment[:2], "head"))

        return hook

    for index, layer in enumerate(layers):
        layer.register_forward_pre_hook(enters(index))
        layer.register_forward_hook(leaves(index))


def _enter_backward(ledger: Ledger, index: int) -> None:
    ledger.enter((*ledger.segment[:2], "backward", index))


def components(learner: Learner, ledger: Ledger) -> tuple[dict[str, int], dict[int, dict[str, int]]]:
    """Labels everything that is there between two steps; returns bytes by component, and the same by layer."""
    masters = dict(zip(learner.masters.names, learner.masters.masters, strict=True))
    state = learner.optimizer.state
    named = list(learner.model.named_parameters())
    parts: dict[str, list[tuple[str, Any]]] = {
        "masters": list(masters.items()),
        "trained copies": [(name, one) for name, one in named if one.requires_grad],
        "weights": [(name, one) for name, one in named if not one.requires_grad] + state_tensors(learner.model),
        "buffers": list(learner.model.named_buffers()),
        "optimizer": [(name, list(state[one].values())) for name, one in masters.items() if one in state],
    }
    whole: dict[str, int] = {}
    layers: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys((*parts, "other"), 0))
    for part, tensors in parts.items():
        whole[part] = 0
        for name, tensor in tensors:
            size = ledger.label(tensor, part)
            whole[part] += size
            match = LAYER.search(name)
            if match:
                layers[int(match[1])][part] += size
    whole["other"] = ledger.live - sum(whole.values())
    return whole, dict(layers)
