"""Every automatic choice of a run with its sentence, and what follows from them: targets, parameters and memory."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Edit, Fix, Problem, UserError, warning
from core.facts.types import Facts, ModelFacts
from core.plan.batch import count_steps
from core.plan.ground import Ground, ground_of
from core.plan.memory import Beside, Trained, memory_of, trained_of
from core.plan.parameters import count_parameters, resolve_targets, target_warnings
from core.plan.search import (
    Settings,
    fixed_layers,
    largest_pass,
    longest_row,
    optimizers,
    preferred_budget,
    quantizations,
    search,
)
from core.plan.targets import Targets
from core.plan.types import WHOLE_BASE, Choices, Chosen, Memory, Parameters
from core.spec.rules_adapter import changes_base
from core.spec.run_spec import RunSpec
from core.spec.sections import AdapterSpec
from core.units import format_bytes, format_count

EVALUATIONS = 10
BYTES_A_TOKEN = 2  # fewer than any prose has, so that a prompt's tokens are never counted too low
TEMPLATE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained, by module; ``trained`` is its part in memory."""

    targets: Targets
    parameters: Parameters
    trained: Trained


@dataclass(frozen=True, slots=True)
class Decision:
    """The choices and what they rest on; ``training`` and the settings' footprint are None without a known model."""

    choices: Choices
    ground: Ground
    settings: Settings
    training: Training | None
    memory: Memory
    problems: tuple[Problem, ...]


def decide(spec: RunSpec, facts: Facts) -> Decision:
    """Makes every automatic choice; settings that cannot be had become problems beside a choice that can."""
    ground = ground_of(spec, facts)
    problems = [*ground.problems, *_paging_without_gpu(spec, ground)]
    training = None
    if facts.model is not None:
        try:
            training = training_of(spec, facts.model)
            problems += target_warnings(spec.adapter, training.targets, facts.model)
        except UserError as refusal:
            problems += refusal.problems
    if facts.model is None or training is None:
        settings = _unsearched(spec, facts, ground)
        memory = _unknown_memory(ground)
    else:
        settings = search(spec, facts, ground, training.trained)
        memory = memory_for(
            ground, settings, facts.model, beside_of(spec, facts, settings, packing=ground.packing.value)
        )
    choices = Choices(
        device=ground.device,
        quantization=_quantization(spec, ground, settings),
        compute_dtype=ground.dtype,
        attention=ground.attention,
        checkpointed_layers=_checkpointed_layers(spec, facts, ground, settings),
        micro_batch_tokens=_micro_batch_tokens(spec, facts, ground, settings),
        packing=ground.packing,
        optimizer=_optimizer(spec, ground, settings, training),
        threads=_threads(spec, facts),
        evaluate_every=_evaluate_every(spec, facts),
        result=_result(spec, facts),
        sharding=_sharding(spec, ground, settings),
    )
    return Decision(choices, ground, settings, training, memory, tuple(problems))


def _paging_without_gpu(spec: RunSpec, ground: Ground) -> Iterator[Problem]:
    asked = spec.training.optimizer
    if ground.kind == "cpu" and asked.startswith("paged"):
        plain = asked.removeprefix("paged_")
        yield warning(
            "training.optimizer",
            "Paged optimizers move their states between a GPU and RAM, and this run has no GPU; "
            f"“{plain}” runs instead.",
            f"Choose “{plain}” or the automatic optimizer.",
            Fix(f"Use {plain}", (Edit("training.optimizer", plain),)),
        )


# Most edits leave what is trained as it is, and looking up a large model's modules takes longer than all the rest.
_trainings: dict[tuple[AdapterSpec, int], tuple[ModelFacts, Training]] = {}
_KEPT_TRAININGS = 128


def training_of(spec: RunSpec, model: ModelFacts) -> Training:
    """What the spec trains of a model; remembered for those asked for last.

    Raises:
        UserError: names, layers or ranks that the model does not have.
    """
    key = (dataclasses.replace(spec.adapter, alpha=1.0), id(model))  # alpha changes nothing here
    known = _trainings.get(key)
    if known is not None and known[0] is model:
        return known[1]
    targets = resolve_targets(spec.adapter, model)
    parameters = count_parameters(spec.adapter, targets, model)
    training = Training(targets, parameters, trained_of(spec.adapter, targets, model, parameters.trainable))
    if len(_trainings) >= _KEPT_TRAININGS:
        del _trainings[next(iter(_trainings))]
    _trainings[key] = (model, training)
    return training


def beside_of(spec: RunSpec, facts: Facts, settings: Settings, *, packing: bool) -> Beside:
    """What the run does beside its steps, as far as memory is concerned."""
    held = facts.data.validation if facts.data is not None else None
    evaluated = 0
    if held is not None and held.rows:
        budget = max(settings.micro_batch_tokens, held.longest) if packing else held.longest
        evaluated = min(budget, max(held.tokens, held.longest))
    texts = spec.training.sample_prompts
    prompt = max((len(text.encode()) for text in texts), default=0) // BYTES_A_TOKEN + TEMPLATE_TOKENS if texts else 0
    return Beside(
        evaluated,
        held.longest if held is not None else 0,
        held.rows if held is not None else 0,
        prompt,
        spec.training.sample_tokens,
    )


def memory_for(ground: Ground, settings: Settings, model: ModelFacts, beside: Beside) -> Memory:
    """The record of the settings' peak on the chosen device."""
    assert settings.footprint is not None, "memory needs a model"
    return memory_of(
        settings.footprint,
        model,
        settings.tokens,
        settings.checkpointed_layers,
        device=ground.device.value,
        limit=ground.limit_bytes,
        free=ground.free_bytes,
        beside=beside,
    )


def _unknown_memory(ground: Ground) -> Memory:
    return Memory(ground.device.value, (), 0, 0, 0, ground.limit_bytes, ground.free_bytes, "unknown")


def _unsearched(spec: RunSpec, facts: Facts, ground: Ground) -> Settings:
    longest = longest_row(spec, facts)
    budget = max(0, spec.training.micro_batch_tokens) or preferred_budget(ground, longest)
    layers = facts.model.num_layers if facts.model else spec.hardware.checkpointed_layers
    return Settings(
        quantization=quantizations(spec, facts.model)[0],
        optimizer=optimizers(spec, ground)[0],
        micro_batch_tokens=budget,
        checkpointed_layers=fixed_layers(spec, layers) or 0,
        tokens=largest_pass(spec, budget, longest, packing=ground.packing.value),
        footprint=None,
        peak=0,
        fits=False,
    )


def _of_free(peak: int, ground: Ground) -> str:
    return f"about {format_bytes(peak)} of {format_bytes(ground.free_bytes)} free"


def _quantization(spec: RunSpec, ground: Ground, settings: Settings) -> Chosen[str]:
    value = settings.quantization
    if spec.model.quantization != "auto":
        bits = {"nf4": "4 bits", "int8": "8 bits"}.get(value, "full precision")
        return Chosen(value, f"You chose {bits}.", by_user=True)
    if settings.footprint is None:
        return Chosen(value, "16 bits until the base model is known and 4 bits prove necessary.")
    if spec.adapter.method == "full":
        return Chosen(value, "Full fine-tuning changes 100 % of the weights, so they cannot be quantized.")
    if changes_base(spec.adapter):
        return Chosen(value, f"Weights that {spec.adapter.start} takes a part out of stay in 16 or 32 bits.")
    if value == "none":
        width = 8 * settings.footprint.setup.dtype_bytes
        verb = "fit" if settings.fits else "would be taken, but do not fit"
        return Chosen(value, f"{width}-bit weights {verb}: {_of_free(settings.peak, ground)}.")
    why = f"Unquantized weights would take at least {_of_free(settings.refused_peak, ground)}"
    return Chosen(value, f"{why}; 4 bits take {format_bytes(settings.peak)}.")


def _sharding(spec: RunSpec, ground: Ground, settings: Settings) -> Chosen[str]:
    asked, processes = spec.hardware.sharding, spec.hardware.processes
    if processes <= 1:
        return WHOLE_BASE
    if settings.sharers > 1:
        if asked == "base":
            return Chosen("base", f"You chose to share the base model among {processes} processes.", by_user=True)
        whole = _of_free(settings.refused_peak, ground)
        shared = f"shared among {processes} processes it takes {format_bytes(settings.peak)} in each"
        return Chosen("base", f"A whole base model in each process would take at least {whole}; {shared}.")
    if asked == "off":
        return Chosen("off", f"You chose a whole base model in each of {processes} processes.", by_user=True)
    if settings.footprint is None:
        return Chosen("off", f"Each of {processes} processes has its own until the base model is known.")
    if spec.adapter.method == "full":
        return Chosen("off", "Full fine-tuning changes 100 % of the weights, so none of them can be shared.")
    if settings.quantization != "none":
        bits = 4 if settings.quantization == "nf4" else 8
        return Chosen("off", f"Weights in {bits} bits are not shared; each of {processes} processes has its own.")
    return Chosen("off", f"Each of {processes} processes has room for its own: {_of_free(settings.peak, ground)}.")


def _checkpointed_layers(spec: RunSpec, facts: Facts, ground: Ground, settings: Settings) -> Chosen[int]:
    count = settings.checkpointed_layers
    asked = spec.hardware.activation_checkpointing
    layers = facts.model.num_layers if facts.model else 0
    if asked != "auto":
        words = {"off": "to recompute 0 layers", "all": "to recompute all layers"}
        return Chosen(count, f"You chose {words.get(asked, f'to recompute {count} layers')}.", by_user=True)
    if settings.footprint is None:
        return Chosen(count, "0 layers until the base model is known and memory proves short.")
    if count == 0:
        return Chosen(count, f"Nothing has to be recomputed: the run takes {_of_free(settings.peak, ground)}.")
    without = settings.footprint.peak(settings.tokens, 0)
    change = f"brings the peak from {format_bytes(without)} to {_of_free(settings.peak, ground)}"
    reason = f"Recomputing {count} of {layers} layers {change}" + (
        "." if settings.fits else ", which is still too much."
    )
    return Chosen(count, reason)


def _micro_batch_tokens(spec: RunSpec, facts: Facts, ground: Ground, settings: Settings) -> Chosen[int]:
    budget = settings.micro_batch_tokens
    if spec.training.micro_batch_tokens > 0:
        return Chosen(budget, f"You chose {budget:,} tokens a pass.", by_user=True)
    longest = longest_row(spec, facts)
    preferred = preferred_budget(ground, longest)
    if budget < preferred and settings.footprint is not None:
        tokens = largest_pass(spec, preferred, longest, packing=ground.packing.value)
        more = settings.footprint.peak(tokens, settings.checkpointed_layers)
        return Chosen(budget, f"{preferred:,} tokens a pass would take {_of_free(more, ground)}; {budget:,} need less.")
    if budget == longest:
        return Chosen(budget, f"The longest row has {longest:,} tokens, and rows are never split.")
    busy = "a GPU" if ground.kind == "cuda" else "the processor"
    return Chosen(budget, f"{budget:,} tokens at once keep {busy} busy; more would only need more memory.")


def _optimizer(spec: RunSpec, ground: Ground, settings: Settings, training: Training | None) -> Chosen[str]:
    value, asked = settings.optimizer, spec.training.optimizer
    if asked == value:
        return Chosen(value, f"You chose {value}.", by_user=True)
    if asked != "auto":
        return Chosen(value, f"{asked} needs a GPU to page from, and this run has 0; {value} is the same without.")
    if value != "adamw":
        return Chosen(value, f"AdamW with 32-bit states would take at least {_of_free(settings.refused_peak, ground)}.")
    if training is None:
        return Chosen(value, "AdamW keeps 8 bytes of state for each trained parameter.")
    count = format_count(training.parameters.trainable)
    return Chosen(value, f"AdamW's states for {count} trained parameters take {format_bytes(_states(settings))}.")


def _states(settings: Settings) -> int:
    return settings.footprint.optimizer if settings.footprint else 0


def _threads(spec: RunSpec, facts: Facts) -> Chosen[int]:
    if spec.hardware.threads > 0:
        return Chosen(spec.hardware.threads, f"You chose {spec.hardware.threads} threads.", by_user=True)
    cores = max(1, facts.hardware.cpu.physical_cores)
    return Chosen(cores, f"The processor has {cores} physical cores, and more threads than that slow products down.")


def _evaluate_every(spec: RunSpec, facts: Facts) -> Chosen[int]:
    asked = max(0, spec.training.evaluate_every)
    if facts.data is None:
        return Chosen(asked, f"You chose {asked} steps." if asked else "0 until the data is known.", by_user=asked > 0)
    if facts.data.validation.rows == 0:
        return Chosen(0, "There are 0 validation rows to measure.")
    if asked:
        return Chosen(asked, f"You chose every {asked:,} steps.", by_user=True)
    _, steps = count_steps(spec.training, facts.data.train.rows)
    every = max(1, math.ceil(steps / EVALUATIONS))
    return Chosen(every, f"About {EVALUATIONS} evaluations over {steps:,} steps.")


def _result(spec: RunSpec, facts: Facts) -> Chosen[str]:
    asked, patience = spec.training.result, spec.training.early_stopping
    if facts.data is not None and facts.data.validation.rows == 0:
        return Chosen("last", "There are 0 validation rows to find the best state by.", by_user=asked == "last")
    if not spec.training.keep_best:
        return Chosen("last", "You chose not to keep the best state.", by_user=True)
    if asked != "auto":
        return Chosen(asked, f"You chose the {asked} state.", by_user=True)
    if patience > 0:
        return Chosen("best", f"The last {patience} evaluations before an early end bring no progress.")
    return Chosen("last", "The last state has learned from 100 % of the steps.")
