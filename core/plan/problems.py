"""What spec and facts together say about a run before it starts; each finding with what to do about it."""

import math
from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.facts.types import DataFacts, Facts, ModelFacts
from core.plan.types import Batch, Disk
from core.spec.run_spec import RunSpec
from core.units import format_bytes

FEW_ROWS = 50
WANTED_STEPS = 8
LENGTH_STEP = 128
CHAT_SHAPES = frozenset(("messages", "sharegpt", "alpaca", "prompt_completion", "question_answer"))


def missing_facts(spec: RunSpec, facts: Facts) -> Iterator[Problem]:
    """What is not known yet; the plan still holds all that can be said without it."""
    if facts.model is None:
        named = (
            f"The base model “{spec.model.base}” has not been read yet" if spec.model.base else "No base model is known"
        )
        yield Problem(
            Severity.INFO,
            "model.base",
            f"{named}, so parameters, memory and time are open.",
            "Choose a base model that is on this computer.",
        )
    if facts.data is None:
        named = "The training files have not been read yet" if spec.data.train else "No training files are known"
        yield Problem(
            Severity.INFO,
            "data.train",
            f"{named}, so steps and time are open, and rows of {spec.data.max_length:,} tokens are assumed for memory.",
            "Choose training files that are on this computer.",
        )
    for sentence in facts.hardware.problems:
        yield Problem(Severity.INFO, "hardware.device", sentence, "“lowrank doctor” tells more.")


def model_problems(spec: RunSpec, model: ModelFacts) -> Iterator[Problem]:
    """Base models that cannot be trained as they lie, and what the spec asks beyond what the model can do."""
    if model.path.casefold().endswith(".gguf"):
        yield error(
            "model.base",
            f"{model.path} is a GGUF file, which holds weights for running a model and not for training it.",
            f"Import it first with “lowrank models --import {model.path}”, then name the imported model.",
        )
    if model.prequantized:
        yield error(
            "model.base",
            f"The weights in {model.path} are already quantized ({model.prequantized}); training starts from plain "
            "16- or 32-bit weights, because a merge into quantized ones would lose what was learned.",
            "Take the original model and let this program quantize it with model.quantization.",
        )
    if model.remote_code and not spec.model.trust_remote_code:
        yield error(
            "model.trust_remote_code",
            f"The model in {model.path} brings its own Python code, which would run on this computer with your rights.",
            "Take a model without code, or allow it if you trust its source as much as a program you would install.",
            Fix("I trust this model: run its code", (Edit("model.trust_remote_code", value=True),)),
        )
    context, asked = model.context_length, spec.data.max_length
    if 0 < context < asked:
        yield error(
            "data.max_length",
            f"Rows of up to {asked:,} tokens are asked for, but this model reads at most {context:,} at once.",
            f"Set the longest row to {context:,} tokens or fewer.",
            Fix(f"Cut rows at {context:,} tokens", (Edit("data.max_length", context),)),
        )
    layers = spec.hardware.checkpointed_layers
    if spec.hardware.activation_checkpointing == "layers" and layers > model.num_layers:
        yield warning(
            "hardware.checkpointed_layers",
            f"{layers:,} layers are to be recomputed, but this model has {model.num_layers}; all of them will be.",
            f"Set it to {model.num_layers} or fewer.",
            Fix("Checkpoint all layers", (Edit("hardware.activation_checkpointing", "all"),)),
        )


def data_problems(spec: RunSpec, data: DataFacts, model: ModelFacts | None) -> Iterator[Problem]:
    """Rows that are cut, empty of loss or too few, and templates that had to be guessed."""
    yield from _truncation(spec, data, model)
    if data.fully_masked_rows:
        yield warning(
            "data.train_on",
            f"{data.fully_masked_rows:,} rows are left out because none of their tokens would carry loss.",
            "Check that they hold an answer, raise the longest row, or train on everything.",
            Fix("Train on everything", (Edit("data.train_on", "all"),)),
        )
    untold = spec.data.template == "auto" and data.template_name not in ("", "model", "none")
    if data.shape in CHAT_SHAPES and untold and (model is None or not model.template):
        yield warning(
            "data.template",
            f"The rows are conversations, but the base model has no chat template; the built-in “{data.template_name}” "
            "is used.",
            "Keep it, or choose the template that the model was trained with; the tuned model needs the same one.",
            Fix(f"Use “{data.template_name}”", (Edit("data.template", data.template_name),)),
        )
    rows = data.train.rows
    if rows == 0:
        yield error(
            "data.train",
            "There is no row left to train on.",
            "Check the files, the row format and how many rows are held back for validation.",
        )
    elif rows < FEW_ROWS:
        yield warning(
            "data.train",
            f"There are only {rows} rows to learn from: the model will soon know them by heart (overfitting).",
            f"Add rows, {FEW_ROWS} at the very least, or keep the run to one or two epochs.",
        )
    batch = spec.training.effective_batch
    if 0 < rows < batch:
        fewer = 2 ** max(0, math.floor(math.log2(max(1.0, rows / WANTED_STEPS))))
        yield warning(
            "training.effective_batch",
            f"A step is to learn from {batch:,} rows, but there are only {rows:,}: every epoch is a single step.",
            "Take fewer rows a step, so that the model is changed more often.",
            Fix(f"Take {fewer} rows a step", (Edit("training.effective_batch", fewer),)),
        )
    if spec.training.early_stopping > 0 and data.validation.rows == 0 and _expects_validation(spec):
        yield warning(
            "training.early_stopping",
            "Stopping early needs a validation loss, and there are 0 validation rows.",
            "Hold back more rows, or name validation files with rows in them.",
            Fix("Never stop early", (Edit("training.early_stopping", 0),)),
        )


def _expects_validation(spec: RunSpec) -> bool:
    """Without files or a share the spec's own rules already say that nothing is validated."""
    return bool(spec.data.validation) or spec.data.validation_share > 0


def _truncation(spec: RunSpec, data: DataFacts, model: ModelFacts | None) -> Iterator[Problem]:
    cut = data.train.truncated_rows
    limit = spec.data.max_length
    if not cut or limit > data.train.longest:
        return
    lost = data.train.lost_tokens
    # At most one row lost all but one token of each of the others.
    whole = limit + max(1, lost - (cut - 1))
    wanted = min(math.ceil(whole / LENGTH_STEP) * LENGTH_STEP, 2 * limit)
    context = model.context_length if model else 0
    if context:
        wanted = min(wanted, context)
    raised = () if wanted <= limit else (Fix(f"Cut at {wanted:,} tokens", (Edit("data.max_length", wanted),)),)
    yield warning(
        "data.max_length",
        f"{cut:,} of {data.train.rows:,} rows are longer than {limit:,} tokens and lose {lost:,} tokens at their end"
        + (", the ends of answers among them." if spec.data.train_on == "completions" else "."),
        "Allow longer rows, or split them in the file." if raised else "Split them: the model reads no longer rows.",
        *raised,
    )


def disk_problems(disk: Disk) -> Iterator[Problem]:
    """Too little room for the run itself, or for a merged model afterwards."""
    if disk.run_bytes > disk.free_bytes:
        yield error(
            "output.folder",
            f"The run needs about {format_bytes(disk.run_bytes)} on disk for its checkpoints and its result, but "
            f"{format_bytes(disk.free_bytes)} are free where it goes.",
            "Free some space, choose another folder, or keep fewer checkpoints.",
            Fix("Keep one checkpoint", (Edit("training.keep_checkpoints", 1),)),
        )
    elif disk.run_bytes + disk.merged_bytes > disk.free_bytes:
        yield warning(
            "output.folder",
            f"The run fits on the disk, but a merged model of {format_bytes(disk.merged_bytes)} beside it would not: "
            f"{format_bytes(disk.free_bytes)} are free.",
            "Free some space before you export a merged model, or export it to another disk.",
        )


def batch_problems(spec: RunSpec, batch: Batch) -> Iterator[Problem]:
    """A run whose learning rate never comes out of the warm-up, and the like."""
    if batch.steps == 1 and batch.rows > 0 and spec.training.max_steps != 1:
        yield warning(
            "training.epochs",
            "The whole run is 1 step, which changes the model only once.",
            "Take more epochs, more rows, or fewer rows a step.",
        )
