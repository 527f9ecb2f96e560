"""The same tokens through the trained model and through the export: logits of one after those of the other.

No two models are in memory at once: what the first says is kept, the first is let go, and the second is loaded.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.prompts import encode_prompt
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.export.verification.limits import Limits
from core.export.verification.records import Check
from core.facts.model_files import read_model

if TYPE_CHECKING:
    import numpy as np

PROMPTS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How much is 12 times 12?",
    "请用一句话介绍你自己。",
)
GREEDY_TOKENS = 8
_MOST_PROMPT_TOKENS = 96


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says: the ids that were asked, and the logits behind each (tokens, vocabulary) in float32."""

    ids: tuple[tuple[int, ...], ...]
    logits: "tuple[np.ndarray[Any, Any], ...]"


def prompt_ids(base: Path, template: str) -> tuple[tuple[int, ...], ...]:
    """The prompts as the training would have written them.

    Raises:
        UserError: the base's tokenizer or the template cannot be used.
    """
    tokenizer = Tokenizer.load(base)
    chosen = choose_template(template or "auto", read_model(base), tokenizer)
    return tuple(tuple(encode_prompt(prompt, tokenizer, chosen)[-_MOST_PROMPT_TOKENS:]) for prompt in PROMPTS)


@contextmanager
def loaded(folder: Path, adapter: Path | None, dtype: Any) -> Iterator[Any]:
    """A model as plain transformers loads it, with an adapter as plain PEFT puts it on; memory is given back."""
    import warnings

    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False).to(dtype)
    try:
        yield model.eval()
    finally:
        del model
        gc.collect()


def ask(model: Any, ids: Sequence[Sequence[int]]) -> Said:
    """What a loaded model says behind every token."""
    import torch

    with torch.inference_mode():
        found = tuple(model(torch.tensor([list(some)]), use_cache=False).logits[0].float().numpy() for some in ids)
    return Said(tuple(tuple(some) for some in ids), found)


def ask_further(model: Any, ids: Sequence[Sequence[int]]) -> Said:
    """The same after the model has gone on by itself, taking the likeliest token each time."""
    import torch

    longer = [list(some) for some in ids]
    with torch.inference_mode():
        for some in longer:
            for _ in range(GREEDY_TOKENS):
                some.append(int(model(torch.tensor([some]), use_cache=False).logits[0, -1].argmax()))
    return ask(model, longer)


def compare_answers(trained: Said, found: Said, limits: Limits) -> Iterator[Check]:
    """The checks on what both say."""
    import numpy as np

    lost = float(np.mean([divergence(one, other) for one, other in zip(trained.logits, found.logits, strict=True)]))
    words = "The next tokens are as likely as for the trained model."
    if lost > limits.divergence:
        words = "The next tokens are not as likely as for the trained model."
    yield Check("answers", lost <= limits.divergence, f"divergence {lost:.1e}", f"{limits.divergence:g}", words)
    apart = max(float(abs(one - other).max()) for one, other in zip(trained.logits, found.logits, strict=True))
    if limits.logit is not None:
        near = apart <= limits.logit
        words = "No logit is far from the trained model's." if near else "Logits are far from the trained model's."
        yield Check("logits", near, f"{apart:.3f}", f"{limits.logit:g}", words)
    same = np.concatenate(
        [
            (one.argmax(-1) == other.argmax(-1))[-GREEDY_TOKENS:]
            for one, other in zip(trained.logits, found.logits, strict=True)
        ]
    )
    share = float(same.mean())
    words = f"The likeliest token is the same at {int(same.sum())} of {same.size} places of answers."
    yield Check("greedy", share >= limits.greedy, "", "", words)


def divergence(wanted: "np.ndarray[Any, Any]", found: "np.ndarray[Any, Any]") -> float:
    """Mean Kullback-Leibler divergence of the next token's distributions, in nats."""
    import numpy as np

    def logs(logits: Any) -> Any:
        moved = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        return moved - np.log(np.exp(moved).sum(-1, keepdims=True))

    one, other = logs(wanted), logs(found)
    return max(0.0, float((np.exp(one) * (one - other)).sum(-1).mean()))
