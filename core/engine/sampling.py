"""Answers from the model as it is now, greedy or sampled, without disturbing the training's sources of chance."""

import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.data.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: text without special tokens, the new token ids, and the time it took."""

    text: str
    tokens: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy.
        top_k: draw from so many of the likeliest tokens; 0 from all.
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 leaves them.
    """

    max_new_tokens: int = 80
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0
    repetition_penalty: float = 1.0


def answer(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    *,
    stop_ids: Sequence[int],
    sampling: Sampling,
    device: torch.device,
    keep_going: Callable[[], bool] | None = None,
    on_token: Callable[[int], None] | None = None,
) -> Answer:
    """Generates one answer to a tokenised prompt.

    Args:
        model: a causal language model (with or without adapters).
        tokenizer: turns the answer into text.
        prompt: token ids that end with the generation prompt.
        stop_ids: tokens that end the answer; they are not part of the text.
        sampling: length and choice of tokens.
        device: where the model is.
        keep_going: asked after every token; False ends the answer early.
        on_token: told every token as it comes, the one that ends the answer included.
    """
    began = time.monotonic()
    ids = torch.tensor([list(prompt)], dtype=torch.long, device=device)
    with _generation(model), torch.no_grad(), torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(sampling.seed)
        output = model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_settings(stop_ids, sampling),
            stopping_criteria=[_AfterToken(keep_going, on_token)] if keep_going or on_token else None,
        )
    fresh = tuple(int(token) for token in output[0, len(prompt) :])
    said = fresh[:-1] if fresh and fresh[-1] in stop_ids else fresh
    return Answer(tokenizer.decode(list(said)).strip(), fresh, time.monotonic() - began)


def _settings(stop_ids: Sequence[int], sampling: Sampling) -> Any:
    from transformers import GenerationConfig

    greedy = sampling.temperature <= 0
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=not greedy,
        temperature=None if greedy else sampling.temperature,
        top_p=None if greedy else sampling.top_p,
        top_k=None if greedy else sampling.top_k,
        repetition_penalty=sampling.repetition_penalty,  # said outright: else the model's own default would count
        eos_token_id=list(stop_ids) or None,
        pad_token_id=stop_ids[0] if stop_ids else 0,
        use_cache=True,
    )


class _AfterToken:
    """A stopping criterion, because those are called after every token: passes it on, and asks whether to go on."""

    def __init__(self, keep_going: Callable[[], bool] | None, on_token: Callable[[int], None] | None) -> None:
        self._keep_going = keep_going
        self._on_token = on_token

    def __call__(self, input_ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        if self._on_token is not None:
            self._on_token(int(input_ids[0, -1]))
        ends = self._keep_going is not None and not self._keep_going()
        return torch.full((input_ids.shape[0],), ends, dtype=torch.bool, device=input_ids.device)


@contextmanager
def _generation(model: nn.Module) -> Any:
    """Eval mode with a cache, put back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
