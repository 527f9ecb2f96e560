"""Short engine jobs beside training: answering prompts and merging an adapter."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from core.data.prompts import encode_prompt
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.engine import bootstrap
from core.engine.context import JobContext
from core.engine.loading import load_base
from core.engine.sampling import Sampling, answer
from core.events.types import Completed, Sampled, Stopped
from core.export.merge import MergeCancelledError, merge_adapter
from core.facts.model_files import read_model


def sample(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``sample``: answers ``prompts`` with ``model`` and, if given, the ``adapter`` on it.

    Args:
        context: the job's side of the protocol.
        arguments: ``model`` (folder), ``adapter`` (folder or None), ``prompts``, ``device``, ``compute_dtype``,
            ``quantization``, ``threads``, ``template`` (choice or path), ``max_new_tokens``, ``temperature``, ``top_p``
            and ``seed``.
    """
    began = time.monotonic()
    folder, device = Path(arguments["model"]), torch.device(arguments.get("device", "cpu"))
    bootstrap.use_threads(int(arguments.get("threads", 0)))
    bootstrap.quiet_libraries()
    with context.phase("load", f"Loading {folder.name}"):
        facts = read_model(folder)
        tokenizer = Tokenizer.load(folder)
        template = choose_template(arguments.get("template", "auto"), facts, tokenizer)
        model = load_base(
            folder,
            device=device,
            compute_dtype=arguments.get("compute_dtype", "fp32"),
            quantization=arguments.get("quantization", "none"),
            trust_remote_code=bool(arguments.get("trust_remote_code", False)),
        )
        if arguments.get("adapter"):
            model = _with_adapter(model, Path(arguments["adapter"]))
    sampling = Sampling(
        max_new_tokens=int(arguments.get("max_new_tokens", 200)),
        temperature=float(arguments.get("temperature", 0.0)),
        top_p=float(arguments.get("top_p", 1.0)),
        seed=int(arguments.get("seed", 0)),
    )
    with context.phase("sample", "Answering"):
        for index, prompt in enumerate(arguments["prompts"]):
            if context.interrupted:
                context.emit(Stopped(0, "stop", resumable=False))
                return
            spoken = answer(
                model,
                tokenizer,
                encode_prompt(prompt, tokenizer, template),
                stop_ids=template.stop_ids(tokenizer),
                sampling=sampling,
                device=device,
                keep_going=lambda: not context.interrupted,
            )
            body = Sampled(0, index, prompt, spoken.text, len(spoken.tokens), spoken.seconds)
            context.emit(body if arguments.get("adapter") else replace(body, variant="base"))
    count = len(arguments["prompts"])
    context.emit(Completed(0, time.monotonic() - began, f"Answered {count} prompts.", {"answers": count}))


def merge(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``merge``: writes base and adapter as one model. ``base``, ``adapter`` and ``target`` are folders."""
    began = time.monotonic()
    target = Path(arguments["target"])
    try:
        with context.phase("export", f"Merging into {target.name}"):
            report = merge_adapter(
                Path(arguments["base"]),
                Path(arguments["adapter"]),
                target,
                on_progress=lambda done, total: context.progress("export", done, total, "bytes"),
                cancelled=lambda: context.interrupted,
            )
    except MergeCancelledError:
        context.emit(Stopped(0, "stop", resumable=False))
        return
    message = f"Merged {report.modules} modules into {target.name}."
    context.emit(Completed(0, time.monotonic() - began, message, {"path": str(target), "bytes": report.bytes}))


def _with_adapter(model: torch.nn.Module, adapter: Path) -> torch.nn.Module:
    from peft import PeftModel

    wrapped: torch.nn.Module = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = parameter.data.to(dtype)
    return wrapped
