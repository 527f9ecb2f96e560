"""A training run's moving parts, built in the order in which they depend on each other."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from core.data.dataset import Dataset, load_dataset
from core.data.templates import ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.engine import adapters, bootstrap
from core.engine.attention_proof import why_not_flash
from core.engine.collecting import keep_for_good
from core.engine.context import JobContext
from core.engine.distributed import Group
from core.engine.kernels.fused_layers import fuse_layers
from core.engine.layer_forms import Layers
from core.engine.loading import checkpoint_layers, load_base
from core.engine.loss import LossHead, make_loss_head
from core.engine.masters import Masters
from core.engine.memory import Meter
from core.engine.noise import add_noise
from core.engine.objective import BY_TOKENS, Objective
from core.engine.optimizer import make_optimizer
from core.engine.pace import Pace
from core.engine.preference import objective_of
from core.engine.scaling import LossScale
from core.engine.selfcheck import SelfCheck, self_check
from core.engine.spread import spread
from core.engine.start import read_start
from core.errors import FailureKind, JobError
from core.events.types import Notice
from core.facts.model_files import read_model
from core.facts.types import DataFacts, Facts, ModelFacts
from core.plan.types import Batch, Curve, Parameters, Plan
from core.runs.identity import identity_of
from core.runs.place import Place
from core.runs.saved_states import Counters, Identity
from core.runs.store import load_facts, load_plan, load_spec
from core.spec.rules_adapter import changes_base
from core.spec.run_spec import RunSpec

_GO_ON = "plan it anew and go on all the same with “lowrank resume RUN --accept-changes”"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked and planned, with everything a start needs known to be there."""

    spec: RunSpec
    facts: Facts
    plan: Plan
    model: ModelFacts
    data: DataFacts
    batch: Batch
    curve: Curve
    parameters: Parameters


@dataclass(slots=True)
class Session:
    """Everything the loop touches.

    Attributes:
        meter: what memory was taken when.
        counters: what a step replaces.
        saved_at: when the state was saved last, on the clock that stands still while the computer sleeps.
        pace: how fast this attempt goes.
        group: the processes that share the work; None when this one is alone.
        spread: whether they share the base as well, so that each pass is work of all of them.
        layers: the form in which the layers compute.
        objective: what is learned by.
    """

    context: JobContext
    order: Order
    device: torch.device
    tokenizer: Tokenizer
    template: ChatTemplate
    dataset: Dataset
    model: nn.Module
    head: LossHead
    masters: Masters
    optimizer: torch.optim.Optimizer
    scale: LossScale
    identity: Identity
    packing: bool
    attention: str
    meter: Meter
    counters: Counters = field(default_factory=Counters)
    saved_at: float = field(default_factory=time.monotonic)
    pace: Pace = field(default_factory=Pace)
    group: Group | None = None
    spread: bool = False
    layers: Layers = field(default_factory=Layers)
    objective: Objective = BY_TOKENS

    @property
    def leads(self) -> bool:
        """Whether this process writes the saved states, samples and results of the run."""
        return self.group is None or self.group.place.leads


def read_order(context: JobContext) -> Order:
    """The run folder's spec, facts and plan.

    Raises:
        JobError: the plan cannot be started.
    """
    folder = context.folder
    spec, facts, plan = load_spec(folder), load_facts(folder), load_plan(folder)
    parts = (facts.model, facts.data, plan.batch, plan.curve, plan.parameters)
    model, data, batch, curve, parameters = parts
    if model is None or data is None or batch is None or curve is None or parameters is None or not plan.can_start:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            "The plan in this folder cannot be started: something was missing or did not fit when it was made.",
            "Make the plan again; “lowrank plan” names what is missing.",
        )
    return Order(spec, facts, plan, model, data, batch, curve, parameters)


def build(context: JobContext) -> Session:
    """Reads the data, loads the model, adds the adapters and proves the setup on a small piece of both."""
    order = read_order(context)
    choices = order.plan.choices
    place = context.place
    device = _device(order, place)
    bootstrap.use_device(device)
    group = Group(place, device) if place.size > 1 else None
    meter = Meter(device)
    threads = choices.threads.value
    bootstrap.use_threads(threads // place.local_size or min(threads, 1))  # shared by all processes of the machine
    if order.spec.hardware.deterministic:
        bootstrap.be_deterministic()
    if device.type == "cpu" and context.owns_process:
        bootstrap.lower_priority()

    with context.phase("data", "Reading the data and turning it into tokens"):
        tokenizer, template, dataset = _read_data(context, order)
    with context.phase("load", f"Loading {Path(order.model.path).name}"):
        bootstrap.quiet_libraries()
        model = load_base(
            Path(order.model.path),
            device=device,
            compute_dtype=choices.compute_dtype.value,
            quantization=choices.quantization.value,
            double_quant=order.spec.model.double_quant,
            kernel=choices.attention.value,
            trust_remote_code=order.spec.model.trust_remote_code,
            in_files=group is not None and choices.sharding.value == "base",
        )
    with context.phase("adapt", "Adding the adapters and checking the setup"):
        session = _assemble(context, order, device, group, meter, tokenizer, template, dataset, model)
    if context.owns_process:
        keep_for_good()
    return session


def _device(order: Order, place: Place) -> torch.device:
    """The planned device; of several processes on one machine, each has a GPU of its own."""
    device = torch.device(order.plan.choices.device.value)
    if device.type != "cuda":
        return device
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not found:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            "The plan uses an NVIDIA GPU, but this PyTorch build finds none.",
            "Set hardware.device to cpu, or install a PyTorch build with CUDA; “lowrank doctor” says which is needed.",
        )
    if place.local_size > found:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            f"{place.local_size} processes share the work on this machine, but it has {found} NVIDIA GPUs.",
            "Start as many processes as there are GPUs.",
        )
    return device if place.size == 1 else torch.device("cuda", place.local_rank)


def _read_data(context: JobContext, order: Order) -> tuple[Tokenizer, ChatTemplate, Dataset]:
    folder = Path(order.model.path)
    now = read_model(folder)
    if now.fingerprint != order.model.fingerprint:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            f"The base model in {folder} is not the one the plan was made for: its files have changed.",
            f"Put the files back, or {_GO_ON}.",
        )
    tokenizer = Tokenizer.load(folder)
    template = choose_template(order.spec.data.template, order.model, tokenizer)
    dataset = load_dataset(
        order.spec.data,
        order.spec.training.seed,
        order.model,
        tokenizer=tokenizer,
        on_progress=lambda done, total: context.progress("data", done, total, "rows"),
    )
    if dataset.facts.fingerprint != order.data.fingerprint:
        raise JobError(
            FailureKind.PLAN_MISMATCH,
            f"The training data is not what the plan was made for: {_changed_data(order.data, dataset.facts)}",
            f"Put it back, or {_GO_ON}.",
        )
    return tokenizer, template, dataset


def _changed_data(planned: DataFacts, now: DataFacts) -> str:
    """What of the data is not as it was, by name where it is a file."""
    before = {file.path: file.sha256 for file in planned.files}
    names = [Path(file.path).name for file in now.files if before.get(file.path) != file.sha256]
    if names:
        return f"{', '.join(names)} changed."
    return "the template, the tokenizer or the way in which files are read has changed."


def _recompute(context: JobContext, order: Order, base: nn.Module) -> None:
    """Has as many layers recomputed in the backward pass as the plan says, and tells when there are fewer."""
    planned = order.plan.choices.checkpointed_layers.value
    if checkpoint_layers(base, planned) < min(planned, order.model.num_layers):
        message = "This model's layers cannot be recomputed one by one, so more memory is needed than planned."
        context.emit(Notice("warning", "no_activation_checkpointing", message))


def _assemble(
    context: JobContext,
    order: Order,
    device: torch.device,
    group: Group | None,
    meter: Meter,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    dataset: Dataset,
    base: nn.Module,
) -> Session:
    choices, training = order.plan.choices, order.spec.training
    bootstrap.seed_everything(training.seed)  # right before the adapters are made: their start depends on nothing else
    _require_start(context, order)
    leads = group is None or group.place.leads
    if group is not None and not leads:
        group.meet()  # the first process keeps how its adapters began, and the others begin with the same
    model = adapters.attach(base, order.spec.adapter, order.plan.targets, context.folder.start, keep=leads)
    if group is not None and leads:
        group.meet()
    if changes_base(order.spec.adapter):
        bootstrap.seed_everything(training.seed)  # a start that is read draws nothing, one that is made does
    add_noise(model, training.embedding_noise)
    if device.type == "cpu" or group is None or choices.sharding.value != "base":
        fuse_layers(model)  # with weights that are spread over GPUs it was never seen, and PEFT's own passes are used
    spreads = _spread(context, order, base, group, device)
    masters = Masters(model, bootstrap.torch_dtype(choices.compute_dtype.value))
    adapters.check_counts(masters.count, order.parameters.trainable)
    if order.spec.adapter.start_from and order.spec.adapter.method != "full":
        source = Path(order.spec.adapter.start_from)
        adapters.take_over(model, masters, source, context.folder.start, keep=leads)
    _recompute(context, order, base)
    checked = _checked(context, order, base, dataset, device)
    if checked.head.kind == "stock" and make_loss_head(base).kind == "chunked":
        message = "This model's loss head does more than a projection, so its own head is used; it needs more memory."
        context.emit(Notice("info", "stock_head", message))
    if choices.attention.value == "flash" and choices.attention.by_user and "flash" not in checked.attention:
        raise JobError(
            FailureKind.UNSUPPORTED,
            f"Flash attention was asked for, but {checked.attention} ran for this model on this device.",
            "Set hardware.attention to auto, or use 16-bit compute on a GPU of the Ampere generation or newer.",
        )
    if choices.attention.value == "flash":
        _explain_attention(context, base, checked, device)
    model.train()
    return Session(
        context=context,
        order=order,
        device=device,
        tokenizer=tokenizer,
        template=template,
        dataset=dataset,
        model=model,
        head=checked.head,
        masters=masters,
        optimizer=make_optimizer(
            choices.optimizer.value,
            masters.masters,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            factors=adapters.rate_factors(order.spec.adapter, masters.names),
            hidden=adapters.hidden_matrices(model, masters.names),
        ),
        scale=LossScale(enabled=choices.compute_dtype.value == "fp16"),
        identity=_identity(order, tokenizer, masters),
        packing=choices.packing.value and checked.packing,
        attention=checked.attention,
        meter=meter,
        counters=Counters(micro_batch_tokens=choices.micro_batch_tokens.value),
        group=group,
        spread=spreads,
        objective=objective_of(order.spec),
    )


def _checked(context: JobContext, order: Order, base: nn.Module, dataset: Dataset, device: torch.device) -> SelfCheck:
    """What the self-check has found out, and a word about rows that would see each other.

    Raises:
        JobError: the two answers of a pair would see each other: they share a pass, whatever was chosen.
    """
    pairs = order.spec.data.train_on == "preferences"
    packs = order.plan.choices.packing.value or pairs
    checked = self_check(make_loss_head(base), dataset.train, packing=packs, device=device)
    if pairs and not checked.packing:
        raise JobError(
            FailureKind.UNSUPPORTED,
            "The two answers of a pair would see each other in this model: its attention is its own, or it carries "
            "state along a pass.",
            "Learn from the chosen answers alone with “data.train_on: completions”, or take another base model.",
        )
    if packs and not checked.packing:
        message = "Rows would see each other in a shared pass of this model, so each row gets a pass of its own."
        context.emit(Notice("warning", "packing_off", message))
    return checked


def _spread(context: JobContext, order: Order, base: nn.Module, group: Group | None, device: torch.device) -> bool:
    """Spreads the base over the processes where the plan says so; returns whether it is spread."""
    if order.plan.choices.sharding.value != "base":
        return False
    if group is None:
        message = (
            "The plan spreads the base model over several processes, but this one is alone and holds all of it, which "
            "needs more memory than planned."
        )
        context.emit(Notice("warning", "base_not_spread", message))
        return False
    layers = spread(base, group, device)
    message = (
        f"The weights of {layers} layers are spread over {group.place.size} processes: each holds its share, and a "
        "layer is whole only while it computes."
    )
    context.emit(Notice("info", "base_spread", message))
    return True


def _explain_attention(context: JobContext, base: nn.Module, checked: SelfCheck, device: torch.device) -> None:
    """Says so where the plan promised flash attention and the profiler saw something else, with the reason if known."""
    config = getattr(base, "config", None)
    why = why_not_flash(
        checked.proof,
        softcap=bool(getattr(config, "attn_logit_softcapping", None)),
        sinks=getattr(config, "model_type", "") == "gpt_oss",
        window=bool(getattr(config, "sliding_window", None)),
        device=device.type,
    )
    if why:
        message = f"The plan counts on flash attention, but the profiler saw this run: {checked.attention}. {why}"
        context.emit(Notice("warning", "attention_not_flash", message))


def _identity(order: Order, tokenizer: Tokenizer, masters: Masters) -> Identity:
    """What decides the numbers of a run; a saved state continues exactly where all of it is the same."""
    shapes = [(name, list(tensor.shape)) for name, tensor in masters.named()]
    return identity_of(order.spec, order.facts, order.plan, tokenizer=tokenizer.fingerprint, trained=_hash(shapes))


def _require_start(context: JobContext, order: Order) -> None:
    """Refuses to make up how adapters began when there are saved states that rest on it."""
    folder = context.folder
    if changes_base(order.spec.adapter) and any(folder.checkpoints.glob("step-*")):
        read_start(folder.start)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
