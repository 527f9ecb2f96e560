"""The plan: every number and every automatic choice of a run, made before it starts; the engine re-derives nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from core.errors import Problem, Severity

T = TypeVar("T")
Verdict = Literal["fits", "tight", "does_not_fit", "unknown"]


@dataclass(frozen=True, slots=True)
class Chosen(Generic[T]):
    """A value and why it was taken; `by_user` when the spec said so outright."""

    value: T
    reason: str
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One module that gets an adapter of its own rank; ``parameters`` counts A, B and DoRA's magnitudes."""

    module: str
    rank: int
    in_features: int
    out_features: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """Exact counts: trained, frozen, both together (the base once, plus what is added)."""

    trainable: int
    frozen: int
    total: int

    @property
    def share(self) -> float:
        """Trainable part of the total, 0 to 1."""
        return self.trainable / self.total if self.total else 0.0


WHOLE_BASE = Chosen("off", "With 1 process there is nobody to share the base model with.")
PLAIN_LAYERS = Chosen("plain", "Plain until the time that the run takes is known.")
_LAST = Chosen("last", "The last state has learned from 100 % of the steps.")


@dataclass(frozen=True, slots=True)
class Choices:
    """Every automatic choice, resolved.

    Attributes:
        device: "cuda:0" or "cpu".
        quantization: "none", "nf4" or "int8".
        compute_dtype: "bf16", "fp16" or "fp32".
        attention: "flash", "sdpa" or "eager"; flash means per document, never across.
        checkpointed_layers: how many blocks are recomputed in the backward pass.
        micro_batch_tokens: budget of tokens for one pass; one longer row may exceed it alone.
        packing: whether several rows share a pass.
        threads: processor threads of the engine.
        result: "last" or "best": which state the finished model is made of.
        sharding: "base" where several processes share the frozen weights, else "off".
        kernels: how layers compute: "plain", "compiled", "liger", or "measured": what the run finds to be the fastest.
    """

    device: Chosen[str]
    quantization: Chosen[str]
    compute_dtype: Chosen[str]
    attention: Chosen[str]
    checkpointed_layers: Chosen[int]
    micro_batch_tokens: Chosen[int]
    packing: Chosen[bool]
    optimizer: Chosen[str]
    threads: Chosen[int]
    evaluate_every: Chosen[int]
    result: Chosen[str] = _LAST
    sharding: Chosen[str] = WHOLE_BASE
    kernels: Chosen[str] = PLAIN_LAYERS


@dataclass(frozen=True, slots=True)
class Batch:
    """How rows become steps. A step always learns from `effective_batch` rows (the last of an epoch may have fewer).

    Attributes:
        tokens_per_step: expected mean, prompts included.
        supervised_per_step: expected mean of tokens that carry loss.
        passes_per_step: expected number of forward/backward passes.
    """

    rows: int
    effective_batch: int
    steps_per_epoch: int
    steps: int
    tokens_per_step: float
    supervised_per_step: float
    passes_per_step: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning rate over the run; `core.plan.schedule.learning_rate` evaluates it.

    Attributes:
        cycles: how often the rate falls, with restarts.
        decay_steps: in how many steps at the end a stable rate falls.
        steps: where it ends, counted from the start of the run.
        start: the step at which this curve begins; before that, `earlier` holds. Above 0 in an extended run.
    """

    kind: Literal["cosine", "linear", "constant", "cosine_restarts", "warmup_stable_decay"]
    peak: float
    warmup_steps: int
    steps: int
    cycles: int = 1
    decay_steps: int = 0
    start: int = 0
    earlier: "Curve | None" = None

    @property
    def highest(self) -> float:
        """The highest peak of the whole run."""
        return max(self.peak, self.earlier.highest if self.earlier is not None else 0.0)


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One component of the peak, for the stacked bar; ``name`` is stable and `title` is for people."""

    name: str
    title: str
    bytes: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of the run on the device that trains.

    Attributes:
        peak_bytes: the most likely peak, which must fit; the sum of `parts`.
        low_bytes, high_bytes: the band around it, from measured residuals.
        limit_bytes: what the device has; `free_bytes`: what of it is free now.
        shown_bytes: what nvidia-smi or the system's monitor will show for the process, the allocator's cache included.
        moment: when the peak is reached: "step", "evaluation", "sampling" or "loading"; empty while unknown.
        measured_runs: how many earlier runs on this device the band rests on.
    """

    device: str
    parts: tuple[MemoryPart, ...]
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    limit_bytes: int
    free_bytes: int
    verdict: Verdict
    shown_bytes: int = 0
    moment: str = ""
    measured_runs: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """What the run and its exports will take, and what is free where the run goes.

    Attributes:
        gguf_bytes: size of a GGUF export by its type, such as "Q8_0".
        download_bytes: the base model's files while they are not on this computer; they go to the cache of downloads.
    """

    checkpoint_bytes: int
    adapter_bytes: int
    merged_bytes: int
    run_bytes: int
    free_bytes: int
    gguf_bytes: Mapping[str, int] = field(default_factory=dict)
    download_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Duration:
    """Expected time, with its band and what it is based on.

    Attributes:
        watt_hours: energy of the device that trains, 0 where its power is not known.
        measured_runs: how many earlier runs on this device the speed was learned from.
        raw_step_seconds: a mean step as it is counted, before any correction by earlier runs.
        parts: seconds of "loading", "steps", "evaluation", "sampling" and "saving", and DPO's "reference" where it
            has one; their sum is `seconds`.
    """

    seconds: float
    low_seconds: float
    high_seconds: float
    tokens_per_second: float
    basis: str
    watt_hours: float = 0.0
    measured_runs: int = 0
    raw_step_seconds: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will happen. Parts that need facts nobody has yet are None; `problems` says what is missing."""

    choices: Choices
    parameters: Parameters | None
    targets: Sequence[Target]
    batch: Batch | None
    curve: Curve | None
    memory: Memory | None
    disk: Disk | None
    duration: Duration | None
    problems: tuple[Problem, ...]
    template: str = ""
    notes: Mapping[str, str] | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that block the start."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def can_start(self) -> bool:
        """Whether nothing blocks the start."""
        return not self.errors and self.batch is not None and self.parameters is not None

    @property
    def lacks_only_room(self) -> bool:
        """Whether all that blocks the start is too little memory or disk space, which another moment may bring."""
        errors = self.errors
        return bool(errors) and all(self._is_lack_of_room(problem) for problem in errors)

    def _is_lack_of_room(self, problem: Problem) -> bool:
        memory = self.memory is not None and self.memory.verdict == "does_not_fit" and problem.path == "hardware.device"
        disk = self.disk is not None and self.disk.run_bytes > self.disk.free_bytes and problem.path == "output.folder"
        return memory or disk
