"""The duration and the energy of a run: loading, steps, evaluations, samples and saving, with a band around the sum."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.facts.types import DataFacts, Facts, LengthFacts, ModelFacts
from core.plan.batch import batch_of
from core.plan.choices import Decision
from core.plan.ground import DTYPE_BYTES
from core.plan.memory import Matrix
from core.plan.memory import Trained as Learned
from core.plan.time.learned import Pace, pace_of
from core.plan.time.load import load_of
from core.plan.time.rates import Rates, rates_of
from core.plan.time.stack import Stack, Trained, stack_of, trained_part
from core.plan.time.work import Manner, Work, decoding_work, evaluation_work, step_work
from core.plan.types import Batch, Duration
from core.spec.run_spec import RunSpec
from core.spec.sections import TrainingSpec

# An engine's start: Python, torch, transformers and peft, and the check of the setup; 4 to 9 s were measured.
START_SECONDS = 9.0
# Reading weights from a drive and writing states to it, bytes a second; an old hard disk does a third of it.
DISK_SPEED = 500e6
# A saved state holds each trained parameter and the optimizer's states; AdamW's are two moments in 32 bits.
SAVED_BYTES: Mapping[str, int] = {
    "adamw": 12, "adamw_8bit": 6, "lion": 8, "lion_8bit": 5, "adafactor": 4, "muon": 8,
}  # fmt: skip
SECONDS_PER_MINUTE = 60
# Bytes of a quantized weight with its scales: NF4 in blocks of 64 with 8-bit scales, and int8 with one scale a row.
STORED_WIDTH = {"nf4": 0.52, "int8": 1.0}


@dataclass(frozen=True, slots=True)
class Pieces:
    """The counted seconds of a run's parts, before any correction."""

    loading: float
    steps: float
    evaluation: float
    sampling: float
    saving: float
    reference: float = 0.0

    @property
    def computing(self) -> float:
        """What a faster or slower device changes."""
        return self.steps + self.evaluation + self.sampling + self.reference


def duration_of(spec: RunSpec, facts: Facts, decision: Decision, batch: Batch) -> Duration:
    """Expected seconds and energy of the whole run, the band around them, and what they rest on."""
    model, data, training = facts.model, facts.data, decision.training
    assert model is not None
    assert data is not None
    assert training is not None
    ground, choices, cpu = decision.ground, decision.choices, facts.hardware.cpu
    rates = rates_of(ground.gpu, cpu, choices.compute_dtype.value, choices.threads.value)
    stack = stack_of(model)
    trained = trained_part(spec.adapter, model, training.targets, training.parameters.trainable)
    manner = _manner(decision, training.trained)
    load = load_of(
        data.train, batch.tokens_per_step, batch.supervised_per_step, batch.passes_per_step, model.sliding_window
    )
    step = step_work(stack, trained, manner, load, choices.checkpointed_layers.value)
    evaluation = _evaluation(spec, data.validation, decision, model, stack, trained, manner)
    reference: list[tuple[float, Work]] = []
    if spec.data.train_on == "preferences" and spec.training.preference_loss == "dpo":
        # DPO looks at both answers once: of all validation rows, and of the rows that the steps take.
        taken = min(1.0, batch.steps / max(1, batch.steps_per_epoch))
        reference = [(taken, _evaluation(spec, data.train, decision, model, stack, trained, manner)), (1.0, evaluation)]
    counts = _evaluations(choices.evaluate_every.value, batch.steps, data), _answers(spec.training, batch.steps)
    answer = decoding_work(stack, trained, manner)
    # Processes on GPUs divide the work; those on a processor divide its cores, and the work takes as long as before.
    devices = max(1, spec.hardware.processes) if ground.gpu else 1
    raw = rates.seconds(step) / devices
    pieces = Pieces(
        loading=START_SECONDS + model.bytes_on_disk / DISK_SPEED,
        steps=batch.steps * raw,
        evaluation=counts[0] * rates.seconds(evaluation) / devices,
        sampling=counts[1] * rates.seconds(answer),
        saving=_saving(spec, trained, manner, model, batch.steps * raw, counts[0]),
        reference=sum(share * rates.seconds(work) for share, work in reference) / devices,
    )
    pace = pace_of(facts.records, ground.gpu.name if ground.gpu else cpu.name, rates.low, rates.high)
    around = pieces.loading + pieces.saving
    computing = pace.centre * pieces.computing
    energy = batch.steps * rates.watt_hours(step) + counts[0] * rates.watt_hours(evaluation)
    energy += counts[1] * rates.watt_hours(answer)
    energy += sum(share * rates.watt_hours(work) for share, work in reference)
    return Duration(
        seconds=around + computing,
        low_seconds=around + pace.low * computing,
        high_seconds=around + pace.high * computing,
        tokens_per_second=batch.tokens_per_step / (pace.centre * raw) if raw else 0.0,
        basis=_basis(rates, pace),
        watt_hours=pace.centre * energy + rates.waiting_watt_hours(around),
        measured_runs=pace.runs,
        raw_step_seconds=raw,
        parts={
            "loading": pieces.loading,
            "steps": pace.centre * pieces.steps,
            "evaluation": pace.centre * pieces.evaluation,
            "sampling": pace.centre * pieces.sampling,
            "saving": pieces.saving,
            **({"reference": pace.centre * pieces.reference} if pieces.reference else {}),
        },
    )


def _manner(decision: Decision, trained: Learned) -> Manner:
    choices, ground = decision.choices, decision.ground
    width, quantization = DTYPE_BYTES[choices.compute_dtype.value], choices.quantization.value
    return Manner(
        width=width,
        stored_width=STORED_WIDTH.get(quantization, width),
        unpacked=quantization != "none",
        varlen=ground.varlen,
        scores=ground.scores,
        # The engine keeps bitsandbytes from its kernels for single tokens on processors: they have no gradient.
        fused=ground.gpu is not None,
        optimizer=choices.optimizer.value,
        tensors=sum(count for _, count in trained.tensors),
        turning=sum(_turning(matrix) for matrix in trained.matrices if matrix.hidden),
    )


def _turning(matrix: Matrix) -> float:
    """Operations of one iteration of Muon's: the square of the shorter side, its own square, and their product."""
    short = min(matrix.rows, matrix.columns)
    return matrix.number * (4.0 * short * matrix.elements + 2.0 * short**3)


def _evaluation(
    spec: RunSpec,
    rows: LengthFacts,
    decision: Decision,
    model: ModelFacts,
    stack: Stack,
    trained: Trained,
    manner: Manner,
) -> Work:
    choices = decision.choices
    if not rows.rows:
        return Work()
    whole = batch_of(spec.training, rows, choices.micro_batch_tokens.value, packing=choices.packing.value)
    budget = max(1, choices.micro_batch_tokens.value)
    passes = max(1.0, rows.tokens / budget) if choices.packing.value else float(rows.rows)
    load = load_of(rows, rows.tokens, rows.supervised_tokens, min(passes, whole.rows), model.sliding_window)
    return evaluation_work(stack, trained, manner, load)


def _evaluations(every: int, steps: int, data: DataFacts) -> int:
    """How often the loss is measured: at the start, on the way, and at the end."""
    if not data.validation.rows or not steps:
        return 0
    return 2 + ((steps - 1) // every if every else 0)


def _answers(training: TrainingSpec, steps: int) -> int:
    """Tokens of all sample answers, each as long as it may become."""
    times = 2 + ((steps - 1) // training.sample_every if training.sample_every > 0 and steps else 0)
    return times * len(training.sample_prompts) * max(0, training.sample_tokens)


def _saving(
    spec: RunSpec, trained: Trained, manner: Manner, model: ModelFacts, seconds: float, evaluations: int
) -> float:
    """Seconds that saved states take, each evaluation's among them where the best is kept, and the result in the end.

    The state before the first step is none, and the one at the end is saved anyway.
    """
    minutes = spec.training.checkpoint_minutes
    times = 1.0 + (max(0, evaluations - 2) if spec.training.keep_best else 0)
    times += seconds // (SECONDS_PER_MINUTE * minutes) if minutes > 0 else 0
    state = trained.parameters * SAVED_BYTES[manner.optimizer.removeprefix("paged_")]
    result = 2 * model.parameters if trained.full else 4 * trained.parameters
    return (times * state + result) / DISK_SPEED


def _basis(rates: Rates, pace: Pace) -> str:
    if pace.runs == 1:
        return (
            f"Counted from {rates.source} and corrected by 1 run on this device, which took {pace.centre:.2f} times "
            "the counted time."
        )
    if pace.runs:
        return (
            f"Counted from {rates.source} and corrected by {pace.runs} runs on this device, which took "
            f"{pace.centre:.2f} times the counted time at the median."
        )
    return f"Counted from {rates.source}; no run on this device has been measured yet, so the band is wide."
