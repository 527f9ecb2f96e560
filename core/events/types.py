"""Every event there is. Adding a field with a default is compatible; anything else raises `PROTOCOL_VERSION`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PROTOCOL_VERSION = 1

Variant = Literal["base", "tuned"]
ChatEnd = Literal["end", "length", "context", "cancelled", "failed"]
Phase = Literal[
    "load", "data", "adapt", "reference", "train", "evaluate", "sample", "save", "resume", "export", "verify", "import",
    "download",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hello:
    """Always first: who answers. A reader of another protocol version must refuse."""

    protocol: int
    version: str
    job: str
    pid: int
    python: str
    torch: str = ""
    device: str = ""
    device_name: str = ""
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A stretch of work begins; ``message`` is a sentence for people."""

    phase: Phase
    message: str


@dataclass(frozen=True, slots=True)
class PhaseFinished:
    """A stretch of work is done."""

    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the current phase is; ``total`` 0 means unknown."""

    phase: Phase
    done: float
    total: float
    unit: str


@dataclass(frozen=True, slots=True)
class Started:
    """Training is about to take its first step; what is really in use, as observed, not as planned."""

    step: int
    steps: int
    rows: int
    validation_rows: int
    trainable: int
    total: int
    quantization: str
    compute_dtype: str
    attention: str
    loss_head: str
    checkpointed_layers: int
    micro_batch_tokens: int
    kernels: str = "plain"


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step is done.

    Attributes:
        loss: sum of token losses over supervised tokens of the whole step, all ranks; with pairs of answers the mean
            of what is learned by over the pairs.
        applied: False when the step was skipped because something was not finite.
        seconds: wall time of this step.
        memory_bytes: peak so far on the device that trains (allocated on CUDA, resident on the CPU).
        preferred: of pairs of answers, the share whose chosen one is preferred; a tie counts half. None for other rows.
        margin: the mean of how much: with DPO β times how much more likely the chosen answer has become against the
            rejected one, with ORPO the logarithm of the ratio of their odds. None for other rows.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    supervised_tokens: int
    seconds: float
    memory_bytes: int
    passes: int = 1
    applied: bool = True
    preferred: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """What training has really taken so far, beside what the plan said; after a few steps and at the end.

    Attributes:
        device: the GPU's name as the driver says it, or the processor's.
        predicted_bytes: the plan's peak, as far as it is measured: without context and slack on CUDA.
        peak_bytes: the highest of ``peaks``, the saving left out: what the plan's peak is about.
        peaks: the peak while "loading", in a "step", an "evaluation", while "sampling" or "saving", as far as each has
            happened: allocated by tensors on CUDA, resident in RAM on the CPU.
        reserved_bytes: the most that the allocator held; 0 on the CPU, where nobody counts it.
        shown_bytes: the most that the system's own monitor showed for the process, or on the GPU.
        pass_tokens: tokens of the largest pass so far.
        token_seconds: seconds a token took, the first steps left out; 0 while there are no others.
        counted_bytes: what the plan would have said of passes no larger than the largest so far, earlier runs left out;
            the plan itself is about the largest pass there can be.
    """

    step: int
    device: str
    predicted_bytes: int
    peak_bytes: int
    peaks: Mapping[str, int]
    reserved_bytes: int = 0
    shown_bytes: int = 0
    pass_tokens: int = 0
    token_seconds: float = 0.0
    counted_bytes: int = 0

    @property
    def residual(self) -> float | None:
        """How far the measured peak is from what was counted for it, as a share; None without a prediction."""
        expected = self.counted_bytes or self.predicted_bytes
        return self.peak_bytes / expected - 1 if expected > 0 else None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The validation loss (token-weighted mean, or the mean over pairs) after ``step`` steps; the rest as in `Step`."""

    step: int
    loss: float
    tokens: int
    seconds: float
    best: bool = False
    preferred: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A saved state is complete on disk. ``path`` is relative to the run folder."""

    step: int
    path: str
    bytes: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Sampled:
    """The model answered a prompt. ``variant`` is "base" before any training, else "tuned"."""

    step: int
    index: int
    prompt: str
    text: str
    tokens: int
    seconds: float
    variant: Variant = "tuned"


@dataclass(frozen=True, slots=True)
class ChatReady:
    """A chat's model is loaded and answers.

    Attributes:
        voices: who can be asked; the first is the base where it can be.
        template: the name of the main voice's chat template; `system`: what that adds where nobody gives a system text.
        context_length: in tokens; 0 where it is unknown.
    """

    voices: tuple[str, ...]
    template: str
    context_length: int
    device: str
    seconds: float
    system: str = ""


@dataclass(frozen=True, slots=True)
class ChatVoice:
    """An adapter was put on a chat's model, was taken off, or could not be put on (``message`` and ``hint`` say why).

    Attributes:
        state: "ready", "gone" or "refused".
        seconds: how long that took.
        parameters: how many numbers the adapter has.
    """

    voice: str
    state: Literal["ready", "gone", "refused"]
    seconds: float = 0.0
    parameters: int = 0
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ChatPiece:
    """More of an answer: whole characters, to be put behind what came before; ``tokens`` counts all so far."""

    request: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer is over; exactly one for each request that the engine read.

    Attributes:
        text: all of it; the pieces joined, with the ends of the text trimmed.
        ended: at an end token; at the length asked for; because the model's context is full; because it was cancelled;
            or because it failed, and then ``message`` and ``hint`` say why and what to do.
        tokens: how many were made, an end token included; `prompt_tokens`: how many were read.
        seconds: from taking up the request to its end; `first_token_seconds`: to the first token, 0 without any.
    """

    request: str
    voice: str
    text: str
    ended: ChatEnd
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    first_token_seconds: float = 0.0
    message: str = ""
    hint: str = ""

    @property
    def tokens_per_second(self) -> float | None:
        """How fast the answer was written once it had begun; None where one token or none says nothing about it."""
        writing = self.seconds - self.first_token_seconds
        return (self.tokens - 1) / writing if self.tokens > 1 and writing > 0 else None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing that is not an error; ``code`` is stable, ``message`` is for people."""

    level: Literal["info", "warning"]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process lives; ``idle_seconds`` is the age of the last real progress."""

    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """Last event of a job that was asked to stop (or pause) and did; ``resumable`` when its state is saved."""

    step: int
    reason: Literal["stop", "pause", "signal"]
    resumable: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """Last event of a job that failed; see `core.errors.FailureKind`."""

    kind: str
    message: str
    hint: str
    detail: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Completed:
    """Last event of a job that did all it was asked; ``result`` holds what the kind of job promises."""

    step: int
    seconds: float
    message: str
    result: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event type that this reader does not know; kept, shown in the log, never an error."""

    type: str
    fields: Mapping[str, object]


Body = (
    Hello
    | PhaseStarted
    | PhaseFinished
    | Progress
    | Started
    | Step
    | MemoryMeasured
    | Evaluated
    | CheckpointSaved
    | Sampled
    | ChatReady
    | ChatVoice
    | ChatPiece
    | ChatAnswer
    | Notice
    | Heartbeat
    | Stopped
    | Failed
    | Completed
    | Unknown
)

TERMINAL = (Stopped, Failed, Completed)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of ``events.jsonl``: a number that grows by one in each file, Unix time, the rank, and the body."""

    seq: int
    time: float
    rank: int
    body: Body
