"""The job ``evaluate``: base against tuned on the same rows, one copy of the weights with the adapter off and on."""

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded
from core.engine.context import JobContext
from core.engine.loss import LossHead, make_loss_head
from core.engine.respondent import Respondent, load_respondent
from core.engine.row_losses import row_losses
from core.engine.sampling import Sampling, answer
from core.engine.selfcheck import self_check
from core.events.types import Completed, Notice, Stopped, Variant
from core.facts.model_files import read_model
from core.runs.evaluation_rows import Asked, Material, read_material
from core.runs.evaluation_sums import Said, answers_found, choices_found, held_found
from core.runs.evaluations import Evaluation, save_evaluation
from core.runs.layout import RunFolder
from core.runs.store import load_plan
from core.runs.targets import ChatTarget, base_of_run, tuned_of_run


class _StoppedError(Exception):
    """Somebody wants the end."""


@dataclass(slots=True)
class _Measured:
    """What one of the two models gave: a loss for each row, one for each choice, and its answers."""

    held: list[float]
    choices: list[float]
    answers: list[Said]


def evaluate(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``evaluate``: measures and writes an `Evaluation` into the run's folder.

    Args:
        context: the job's side of the protocol.
        arguments: ``run`` (folder); ``data``, ``answers`` and ``choices`` (files, empty for none; without any of them
            the run's validation rows are measured); ``rows`` (the most of each, 0 for all) and ``tokens`` (of an
            answer).
    """
    began, moment = time.monotonic(), time.time()
    folder = RunFolder(Path(arguments["run"]))
    tuned = tuned_of_run(folder)
    try:
        with context.phase("data", "Reading the rows"):
            material = _read(context, folder, tuned, arguments)
        for note in material.notes:
            context.emit(Notice("info", "evaluation_rows", note))
        found: dict[Variant, _Measured] = {}
        for target in (tuned,) if tuned.adapter is not None else (base_of_run(folder), tuned):
            found.update(_measure(context, folder, target, material, int(arguments.get("tokens", 256))))
            _give_back()
    except _StoppedError:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    record = _record(tuned, material, found, moment, time.monotonic() - began)
    with context.phase("save", "Keeping the evaluation"):
        path = save_evaluation(record, folder)
    message = f"Evaluated {folder.path.name}."
    context.emit(Completed(0, time.monotonic() - began, message, {"path": str(path)}))


def _read(context: JobContext, folder: RunFolder, tuned: ChatTarget, arguments: dict[str, Any]) -> Material:
    base = tuned.model if tuned.adapter is not None else base_of_run(folder).model
    facts = read_model(base)
    tokenizer = Tokenizer.load(base)

    def tell(done: int, total: int) -> None:
        if context.interrupted:
            raise _StoppedError
        context.progress("data", done, total, "rows")

    asked = Asked(**{name: arguments[name] for name in ("data", "answers", "choices", "rows") if name in arguments})
    template = choose_template(tuned.template, facts, tokenizer)
    return read_material(folder, asked, facts, tokenizer, template, tell)


def _measure(
    context: JobContext, folder: RunFolder, target: ChatTarget, material: Material, tokens: int
) -> Iterator[tuple[Variant, _Measured]]:
    """What each of the models that share a target's weights gives."""
    with context.phase("load", f"Loading {target.model.name}"):
        asked = load_respondent(target.arguments())
        asked.model.requires_grad_(requires_grad=False)
    choices = load_plan(folder).choices
    probe = material.scored
    head: LossHead | None = None
    packing = False
    if probe:
        wrapped: Any = asked.model
        inner = wrapped.get_base_model() if asked.has_adapter else wrapped
        checked = self_check(make_loss_head(inner), probe[:64], packing=choices.packing.value, device=asked.device)
        head, packing = checked.head, checked.packing
    for variant in target.variants:
        title = "the base model" if variant == "base" else "the tuned model"
        with asked.speaking_as(variant):
            budget = choices.micro_batch_tokens.value
            with context.phase("evaluate", f"Measuring {title}"):
                rows = material.held.rows if material.held else ()
                held = _losses(context, head, rows, budget, asked, packing=packing)
                rows = material.questions.rows if material.questions else ()
                likely = _losses(context, head, rows, budget, asked, packing=packing)
            spoken: list[Said] = []
            if material.prompts is not None:
                with context.phase("sample", f"Asking {title}"):
                    spoken = _answers(context, asked, material.prompts.tokens, tokens)
        yield variant, _Measured(held, likely, spoken)


def _losses(
    context: JobContext,
    head: LossHead | None,
    rows: tuple[Encoded, ...],
    budget: int,
    asked: Respondent,
    *,
    packing: bool,
) -> list[float]:
    if head is None or not rows:
        return []

    def go_on(done: int, total: int) -> bool:
        context.progress("evaluate", done, total, "passes")
        return not context.interrupted

    found = row_losses(head, rows, budget=budget, packing=packing, device=asked.device, on_pass=go_on)
    if found is None:
        raise _StoppedError
    return found


def _answers(context: JobContext, asked: Respondent, prompts: tuple[tuple[int, ...], ...], tokens: int) -> list[Said]:
    """Greedy answers, as ``lowrank sample`` gives them."""
    found = []
    for done, prompt in enumerate(prompts):
        context.progress("sample", done, len(prompts), "prompts")
        room = asked.facts.context_length - len(prompt) if asked.facts.context_length else tokens
        spoken = answer(
            asked.model,
            asked.tokenizer,
            prompt,
            stop_ids=asked.stop_ids,
            sampling=Sampling(max_new_tokens=min(tokens, room)),
            device=asked.device,
            keep_going=lambda: not context.interrupted,
        )
        if context.interrupted:
            raise _StoppedError
        ended = bool(spoken.tokens) and spoken.tokens[-1] in asked.stop_ids
        found.append(Said(spoken.text, cut=not ended))
    return found


def _record(
    target: ChatTarget, material: Material, found: dict[Variant, _Measured], moment: float, seconds: float
) -> Evaluation:
    base, tuned = found["base"], found["tuned"]
    held, prompts, questions = material.held, material.prompts, material.questions
    return Evaluation(
        run=target.title,
        time=moment,
        device=target.device,
        compute_dtype=target.compute_dtype,
        quantization=target.quantization,
        seconds=seconds,
        held_out=held_found(held, base.held, tuned.held) if held else None,
        answers=answers_found(prompts, base.answers, tuned.answers) if prompts else None,
        choices=choices_found(questions, base.choices, tuned.choices) if questions else None,
        notes=material.notes,
    )


def _give_back() -> None:
    """Frees a model before another one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
