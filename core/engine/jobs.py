"""Short engine jobs beside training: answering prompts."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.data.prompts import encode_prompt
from core.engine.context import JobContext
from core.engine.respondent import load_respondent
from core.engine.sampling import Sampling, answer
from core.events.types import Completed, Sampled, Stopped
from core.runs.voices import TUNED


def sample(context: JobContext, arguments: dict[str, Any]) -> None:
    """Job ``sample``: answers ``prompts`` with ``model`` and, if given, the ``adapter`` on it.

    Args:
        context: the job's side of the protocol.
        arguments: those of `load_respondent`, ``prompts``, ``max_new_tokens``, ``temperature``, ``top_p`` and ``seed``.
    """
    began = time.monotonic()
    with context.phase("load", f"Loading {Path(arguments['model']).name}"):
        asked = load_respondent(arguments)
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
                asked.model,
                asked.tokenizer,
                encode_prompt(prompt, asked.tokenizer, asked.template),
                stop_ids=asked.stop_ids,
                sampling=sampling,
                device=asked.device,
                keep_going=lambda: not context.interrupted,
            )
            body = Sampled(0, index, prompt, spoken.text, len(spoken.tokens), spoken.seconds)
            context.emit(body if asked.main == TUNED else replace(body, variant="base"))
    count = len(arguments["prompts"])
    context.emit(Completed(0, time.monotonic() - began, f"Answered {count} prompts.", {"answers": count}))
