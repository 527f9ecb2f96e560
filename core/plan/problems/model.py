"""What stands against a base model, and formats that do not suit it."""

import re
from collections.abc import Iterator

from core.errors import Edit, Fix, Problem, Severity, error, warning
from core.facts.types import ModelFacts
from core.plan.choices import decide
from core.plan.problems.case import Case
from core.units import format_bytes

OVERFLOWING = ("gemma", "t5")
"""Families whose activations pass 65,504, the largest float16: Gemma 2, 3 and 4 (transformers issue 36822, “Gemma 3 is
broken with fp16”; Unsloth's notes on Gemma 3) and T5 (issue 4586 there). They were trained in bfloat16 only."""

LEAST_GAIN = 0.02
"""Quantized weights that lower the peak by less are not worth their time: unpacking costs a fifth of a step."""

_CHAT_NAME = re.compile(r"(?i)(?:^|[^a-z])(?:instruct|chat|it|assistant)(?:[^a-z]|$)")


def missing_facts(case: Case) -> Iterator[Problem]:
    """What is not known yet; the plan still holds all that can be said without it."""
    spec, facts = case.spec, case.facts
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
        waiting = spec.data.train and facts.model is not None and not facts.model.here
        yield Problem(
            Severity.INFO,
            "data.train",
            f"{named}, so steps and time are open, and rows of {spec.data.max_length:,} tokens are assumed for memory.",
            "They are read once the base model is on this computer, because its tokenizer counts them."
            if waiting
            else "Choose training files that are on this computer.",
        )
    for sentence in facts.hardware.problems:
        yield Problem(Severity.INFO, "hardware.device", sentence, "“lowrank doctor” tells more.")


def model_problems(case: Case) -> Iterator[Problem]:
    """Base models that cannot be trained as they lie, and what the spec asks beyond what the model can do."""
    spec, model = case.spec, case.model
    if model is None:
        return
    if not model.here:
        yield error(
            "model.base",
            f"The base model “{model.path}” is not on this computer, or not all of it; this plan is made from the "
            "sizes that the catalogue knows of it.",
            f"Download it on the Model page or with “lowrank models --download {model.path}”; the run can start then.",
        )
    if model.assumptions:
        yield Problem(
            Severity.INFO,
            "model.base",
            f"Parts of this model had to be guessed, so memory is estimated with a wider band: "
            f"{' '.join(model.assumptions)}",
            "Compare the plan with what the first steps of the run really take.",
        )
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
    yield from _overflow(case, model)
    yield from _pointless_quantization(case)


def is_chat_model(model: ModelFacts) -> bool:
    """Whether its name says that it was tuned to answer; base models often carry a template, too."""
    return bool(model.template and _CHAT_NAME.search(model.path.replace("\\", "/").rstrip("/").rpartition("/")[2]))


def _overflow(case: Case, model: ModelFacts) -> Iterator[Problem]:
    if case.decision.choices.compute_dtype.value != "fp16" or not model.family.casefold().startswith(OVERFLOWING):
        return
    gpu = case.decision.ground.gpu
    wide = "bf16" if gpu is not None and gpu.capability >= (8, 0) else "fp32"
    name = "bfloat16" if wide == "bf16" else "float32"
    edit = Edit("model.compute_dtype", wide)
    fixes = (Fix(f"Compute in {name}", (edit,)),) if case.still_fits(edit) else ()
    yield warning(
        "model.compute_dtype",
        f"Models of the family “{model.family}” reach numbers above 65,504, the largest that float16 holds, so the "
        "loss may become infinite.",
        f"Compute in {name}." if fixes else "Take a smaller model, one of another family, or a newer GPU.",
        *fixes,
    )


def _pointless_quantization(case: Case) -> Iterator[Problem]:
    """Weights in 4 or 8 bits that hardly lower the peak, as with models that are tiny beside their activations."""
    spec, memory = case.spec, case.decision.memory
    if spec.model.quantization not in ("nf4", "int8") or memory.verdict not in ("fits", "tight") or case.full:
        return
    edit = Edit("model.quantization", "none")
    plain = decide(case.with_edits((edit,)), case.facts).memory
    gain = plain.peak_bytes - memory.peak_bytes
    if plain.verdict != "fits" or gain >= LEAST_GAIN * memory.peak_bytes:
        return
    bits = 4 if spec.model.quantization == "nf4" else 8
    whole = format_bytes(plain.peak_bytes)
    if gain > 0:
        lowered = f"Weights in {bits} bits lower the peak of this run by {format_bytes(gain)} of {whole} only"
    else:
        lowered = f"Weights in {bits} bits do not lower the peak of this run, {whole}"
    yield Problem(
        Severity.INFO,
        "model.quantization",
        f"{lowered}, and unpacking them takes time in every pass.",
        "Load them in full precision: it is faster, and exact.",
        (Fix("Load in full precision", (edit,)),),
    )
