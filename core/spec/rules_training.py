"""Rules for the training loop and the hardware settings; what the machine really has is a fact, not a rule."""

from collections.abc import Callable, Iterable, Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.spec.extensions import known_extensions, parse_extension
from core.spec.run_spec import RunSpec
from core.spec.values import one_line


def _check_validation(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.validation or spec.data.validation_share > 0:
        return
    hold_back = Fix("Hold back 5 % of the rows", (Edit("data.validation_share", 0.05),))
    for path, words in (("training.early_stopping", "Stopping early"), ("training.evaluate_every", "Evaluating")):
        if spec.get(path) > 0:
            off = Fix("Turn it off", (Edit(path, 0),))
            message = f"{words} needs a validation loss, and there are no validation rows."
            yield warning(path, message, "Hold back some rows or name validation files.", hold_back, off)


def _check_result(spec: RunSpec) -> Iterator[Problem]:
    if spec.training.result != "best":
        return
    usual = Fix("Take the last state", (Edit("training.result", "last"),))
    if not spec.data.validation and spec.data.validation_share <= 0:
        message = "The best state is the one with the lowest validation loss, and there are no validation rows."
        hold_back = Fix("Hold back 5 % of the rows", (Edit("data.validation_share", 0.05),))
        yield warning("training.result", message, "Hold back some rows or name validation files.", hold_back, usual)
    elif not spec.training.keep_best:
        message = "The finished model is to be made of the best state, and that is not kept."
        keep = Fix("Keep the best state", (Edit("training.keep_best", value=True),))
        yield warning("training.result", message, "Keep it, or take the last state.", keep, usual)


def _check_extensions(spec: RunSpec) -> Iterator[Problem]:
    before = 0
    for text in spec.training.extensions:
        try:
            step = parse_extension(text).step
        except ValueError as failure:
            advice = "Take it out, or write the step after which the run was extended and the rate it goes on with."
            rest = tuple(str(leg) for leg in known_extensions(spec.training.extensions))
            fix = Fix("Take out what cannot be read", (Edit("training.extensions", rest),))
            yield error("training.extensions", f"One extension cannot be read: {one_line(str(failure))}.", advice, fix)
            return
        if step <= before:
            fix = Fix("Train in one go", (Edit("training.extensions", ()),))
            message = f"The extension at step {step:,} comes after one at step {before:,}."
            yield error("training.extensions", message, "Write them by rising step, each once.", fix)
            return
        before = step


def _check_samples(spec: RunSpec) -> Iterator[Problem]:
    training = spec.training
    if training.sample_every > 0 and not training.sample_prompts:
        message = "Samples are asked for during the training, but there are no prompts to answer."
        off = Fix("Turn it off", (Edit("training.sample_every", 0),))
        yield warning("training.sample_every", message, "Write a sample prompt, or turn it off.", off)
    if training.max_steps <= 0:
        return
    for path, words in (("training.evaluate_every", "evaluation"), ("training.sample_every", "sample")):
        every = spec.get(path)
        if every > training.max_steps:
            yield Problem(
                Severity.INFO,
                path,
                f"The run ends after {training.max_steps:,} steps, before the first {words} at step {every:,}.",
                "Lower it if you want one during the training.",
                (Fix("Let it be chosen", (Edit(path, 0),)),),
            )


def _check_optimizer(spec: RunSpec) -> Iterator[Problem]:
    if spec.hardware.device == "cpu" and spec.training.optimizer in ("paged_adamw", "paged_adamw_8bit"):
        yield error(
            "training.optimizer",
            "Paged optimizers need an NVIDIA GPU, and the processor is chosen as the device.",
            "Use AdamW, or train on a GPU.",
            Fix("Use AdamW", (Edit("training.optimizer", "adamw"),)),
            Fix("Train on an NVIDIA GPU", (Edit("hardware.device", "cuda"),)),
        )


def _check_preferences(spec: RunSpec) -> Iterator[Problem]:
    training = spec.training
    if spec.data.train_on == "preferences" and training.preference_loss == "orpo" and training.chosen_weight > 0:
        yield warning(
            "training.chosen_weight",
            "ORPO learns the chosen answer anyway, so its weight has no effect.",
            "Set it to 0; training.preference_beta says how much the preference counts beside it.",
            Fix("Set it to 0", (Edit("training.chosen_weight", 0.0),)),
        )


def _check_formats(spec: RunSpec) -> Iterator[Problem]:
    device, dtype = spec.hardware.device, spec.model.compute_dtype
    if device == "cuda" and dtype == "fp32" and spec.hardware.attention == "flash":
        yield warning(
            "hardware.attention",
            "Flash attention on a GPU works in 16 bits only, and float32 is chosen.",
            "Compute in bfloat16, or let the attention be chosen.",
            Fix("Choose the attention automatically", (Edit("hardware.attention", "auto"),)),
            Fix("Compute in bfloat16", (Edit("model.compute_dtype", "bf16"),)),
        )
    if device == "cpu" and dtype == "fp16":
        yield warning(
            "model.compute_dtype",
            "float16 is a format for GPUs: processors are slow at it and the range of its gradients is small.",
            "Let the format be chosen.",
            Fix("Choose the format automatically", (Edit("model.compute_dtype", "auto"),)),
        )


def _check_hardware(spec: RunSpec) -> Iterator[Problem]:
    hardware = spec.hardware
    if hardware.activation_checkpointing == "layers" and hardware.checkpointed_layers == 0:
        yield warning(
            "hardware.checkpointed_layers",
            "Some layers are to be checkpointed, but their number is 0, so none are.",
            "Say how many layers, or choose another setting.",
            Fix("Choose automatically", (Edit("hardware.activation_checkpointing", "auto"),)),
            Fix("Checkpoint all layers", (Edit("hardware.activation_checkpointing", "all"),)),
        )
    rows = spec.training.effective_batch
    if hardware.processes > rows >= 1:
        yield error(
            "hardware.processes",
            f"{hardware.processes:,} processes share the rows of a step, and there are only {rows:,} of them.",
            "Use fewer processes, or more rows a step.",
            Fix(f"Use {rows:,} processes" if rows > 1 else "Use one process", (Edit("hardware.processes", rows),)),
            Fix(f"Take {hardware.processes:,} rows a step", (Edit("training.effective_batch", hardware.processes),)),
        )


def _check_sharding(spec: RunSpec) -> Iterator[Problem]:
    """What cannot be shared is asked to be shared."""
    if spec.hardware.sharding != "base":
        return
    choose = Fix("Let it be chosen", (Edit("hardware.sharding", "auto"),))
    if spec.hardware.processes == 1:
        yield error(
            "hardware.sharding",
            "The base model is to be shared among several processes, and there is one process.",
            "Use a process for each GPU, or let it be chosen.",
            choose,
        )
        return
    if spec.adapter.method == "full":
        yield error(
            "hardware.sharding",
            "Full fine-tuning trains every weight, and only weights that stay as they are can be shared.",
            "Train an adapter, or keep a whole model in each process.",
            Fix("Train a LoRA adapter instead", (Edit("adapter.method", "lora"),)),
            choose,
        )
    elif spec.model.quantization in ("nf4", "int8"):
        bits = 4 if spec.model.quantization == "nf4" else 8
        yield error(
            "hardware.sharding",
            f"Only weights in 16 or 32 bits can be shared among processes, and {bits}-bit ones are chosen.",
            f"Keep the {bits}-bit model whole in each process, or load the weights in full precision.",
            choose,
            Fix("Load in full precision", (Edit("model.quantization", "none"),)),
        )


TRAINING_RULES: tuple[Callable[[RunSpec], Iterable[Problem]], ...] = (
    _check_validation,
    _check_result,
    _check_extensions,
    _check_samples,
    _check_optimizer,
    _check_preferences,
    _check_formats,
    _check_hardware,
    _check_sharding,
)
