"""What the engine does on a GPU, done with fakes: `python -m tests.core.engine.pretended_gpu.work MODEL [CASE …]`.

It prints a JSON line for each case; MODEL is the base of a whole run. A process of its own, with the pretended device
loaded before PyTorch; `tests/core/engine/test_pretended_gpu.py` reads what it says.
"""

import json
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import bitsandbytes  # noqa: F401 (each looks for a GPU as it is imported, and is to find none)
import peft  # noqa: F401
import torch
import transformers  # noqa: F401

from core.engine import adapters, attention_check, bootstrap, step
from core.engine.evaluation import evaluate
from core.engine.loading import checkpoint_layers, load_base
from core.engine.loss import make_loss_head
from core.engine.masters import Masters
from core.engine.noise import add_noise
from core.engine.optimizer import load_optimizer, make_optimizer, optimizer_tensors, set_learning_rate
from core.engine.passes import make_passes
from core.engine.preference import DpoObjective, OrpoObjective
from core.engine.row_losses import row_losses
from core.engine.sampling import Sampling, answer
from core.engine.scaling import LossScale
from core.engine.selfcheck import self_check
from core.spec.sections import AdapterSpec, Optimizer
from tests.core.engine import families
from tests.core.engine.pretended_gpu import whole_run
from tests.core.engine.pretended_gpu.device import GPU, Fakes, Watch, carry_over, pretend
from tests.core.engine.test_engine_passes_and_loss import rows
from tests.core.engine.test_preference import pairs

TARGETS = ("q_proj", "v_proj", "down_proj", "c_attn", "qkv_proj", "query_key_value", "fc1")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
OPTIMIZERS = tuple(kind for kind in get_args(Optimizer) if kind != "auto")
ROWS = rows(30, 4, 6, 9, 3)
PAIRS = pairs((7, 4), (3, 9), (5, 5))
OBJECTIVES = {"dpo": DpoObjective(0.1, chosen_weight=0.5), "orpo": OrpoObjective(0.1)}


@contextmanager
def on_gpu(
    family: str = "llama",
    *,
    compute: str = "bf16",
    quantization: str = "none",
    optimizer: str = "adamw",
    recomputed: int = 0,
    noise: float = 0.0,
    **adapter: Any,
) -> Iterator[tuple[Any, Watch]]:
    """A learner whose model and adapters are fakes on the GPU, and what watches it."""
    base: Any = families.build(family).to(DTYPES[compute])
    if quantization != "none":
        with tempfile.TemporaryDirectory() as folder:
            base.save_pretrained(folder)
            base = load_base(Path(folder), device=torch.device("cpu"), compute_dtype=compute, quantization=quantization)
    spec = AdapterSpec(**({"rank": 4} | adapter))
    names = [name for name, _ in base.named_modules() if name.endswith(TARGETS)]
    model = adapters.attach(base, spec, [SimpleNamespace(module=name, rank=spec.rank) for name in names])
    fakes, watch = Fakes(), Watch()
    pretend(watch)
    carry_over(fakes, model)
    add_noise(model, noise)
    with fakes, watch:
        masters = Masters(model.train(), DTYPES[compute])
        checkpoint_layers(base, recomputed)
        rule = make_optimizer(
            optimizer,
            masters.masters,
            learning_rate=1e-3,
            weight_decay=0.01,
            factors=adapters.rate_factors(spec, masters.names),
            hidden=adapters.hidden_matrices(model, masters.names),
        )
        learner = SimpleNamespace(
            device=GPU, head=make_loss_head(base), masters=masters, optimizer=rule, model=model, group=None,
            scale=LossScale(enabled=compute == "fp16"),
        )  # fmt: skip
        yield learner, watch


def take_step(packing: bool = True, **settings: Any) -> dict[str, Any]:
    with on_gpu(**settings) as (learner, watch):
        outcome = step.accumulate(learner, ROWS, make_passes(ROWS, 32, packing, GPU), 1.0)
        step.apply(learner, outcome)
        return told(watch, passes=outcome.passes, layers=learner.head.model.config.num_hidden_layers)


def prefer(kind: str, **settings: Any) -> dict[str, Any]:
    """A step over pairs, and what they come to as validation rows."""
    with on_gpu(**settings) as (learner, watch):
        passes = make_passes(PAIRS, 40, True, GPU)
        outcome = step.accumulate(learner, PAIRS, passes, 1.0, objective=OBJECTIVES[kind])
        step.apply(learner, outcome)
        stepped = list(watch.waits)
        watch.waits.clear()
        evaluate(learner.head, PAIRS, budget=40, packing=True, device=GPU, objective=OBJECTIVES[kind])
        return told(watch, stepped=stepped, passes=outcome.passes, numbers=len(outcome.told))


def check_itself(**settings: Any) -> dict[str, Any]:
    with on_gpu(**settings) as (learner, watch):
        found = self_check(learner.head, ROWS, packing=True, device=GPU)
        return told(watch, attention=found.attention, head=found.head.kind)


def ask_doctor() -> dict[str, Any]:
    watch = Watch()
    pretend(watch)
    with Fakes(), watch:
        words, fused, _ = attention_check.check(GPU, torch.bfloat16, 4, 2, 64)
        return told(watch, attention=words, fused=fused)


def measure(**settings: Any) -> dict[str, Any]:
    with on_gpu(**settings) as (learner, watch):
        watch.waits.clear()
        assert evaluate(learner.head, ROWS, budget=32, packing=True, device=GPU) is not None
        return told(watch)


def measure_rows(**settings: Any) -> dict[str, Any]:
    """The last step, from tensors to numbers, is NumPy's, which takes no fakes."""
    with on_gpu(**settings) as (learner, watch):
        try:
            row_losses(learner.head, ROWS, budget=32, packing=True, device=GPU, on_pass=lambda *_: True)
        except RuntimeError as refusal:
            if ".numpy()" not in str(refusal):
                raise
        return told(watch)


def say(**settings: Any) -> dict[str, Any]:
    """An answer; whatever token is “read” is 1, and ends it."""
    reader: Any = SimpleNamespace(decode=str)
    with on_gpu(**settings) as (learner, watch):
        for sampling in (Sampling(4), Sampling(4, temperature=0.8, top_p=0.9, top_k=5, repetition_penalty=1.1)):
            said = answer(learner.model, reader, [5, 6, 7], stop_ids=[1], sampling=sampling, device=GPU)
            assert said.tokens, said
        return told(watch)


def save_and_load(**settings: Any) -> dict[str, Any]:
    """Waits are those of the step after it, for which all is made already."""
    with on_gpu(**settings) as (learner, watch):
        take(learner)
        before = places(learner.optimizer)
        tensors, numbers = optimizer_tensors(learner.optimizer)
        masters = {name: master.cpu() for name, master in learner.masters.named()}
        kept = adapters.adapter_tensors(learner.model, dict(learner.masters.named()))
        learner.masters.load(masters)
        load_optimizer(learner.optimizer, tensors, numbers)
        after = places(learner.optimizer)
        watch.waits.clear()
        take(learner)
        saved = [*tensors.values(), *masters.values(), *kept.values()]
        return told(
            watch, state=len(before), stays=before == after, saved=sorted({str(tensor.device) for tensor in saved})
        )


def take(learner: Any) -> None:
    set_learning_rate(learner.optimizer, 1e-3)
    step.apply(learner, step.accumulate(learner, ROWS, make_passes(ROWS, 64, True, GPU), 1.0))


def places(optimizer: torch.optim.Optimizer) -> list[tuple[str, str, str]]:
    """Where each tensor of the state is, and of what type."""
    return [
        (f"{index}.{key}", str(value.device), str(value.dtype))
        for index, state in enumerate(optimizer.state.values())
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    ]


def wait_in_a_pass() -> dict[str, Any]:
    """A planted fault: every pass asks for its loss."""
    with on_gpu() as (learner, watch):
        whole = learner.head
        learner.head = SimpleNamespace(summed=lambda one: whole.summed(one) / max(whole.summed(one).item(), 1.0))
        take(learner)
        return told(watch)


def forget_a_tensor() -> dict[str, Any]:
    """A planted fault: the positions that carry loss stay on the host."""
    with on_gpu() as (learner, watch):
        (one,) = make_passes(ROWS, 64, True, GPU)
        step.accumulate(learner, ROWS, [replace(one, keep=one.keep.cpu())], 1.0)
        return told(watch)


def copy_from_pageable_memory() -> dict[str, Any]:
    """A planted fault: the host waits for a pass on its way to the GPU."""
    with on_gpu() as (_, watch):
        (one,) = make_passes(ROWS, 64, True, torch.device("cpu"))
        one.tokens.to(GPU, non_blocking=True)
        one.positions.to(GPU)
        return told(watch)


def run_whole() -> dict[str, Any]:
    """From the plan to the adapter's file, in 4 bits, with evaluations and answers."""
    settings = (
        ("model.quantization", "nf4"),
        ("training.optimizer", "paged_adamw_8bit"),
        ("training.max_steps", 3),
        ("training.effective_batch", 4),
        ("training.evaluate_every", 3),
        ("training.sample_prompts", ("2 and 1?",)),
        ("training.sample_tokens", 3),
    )
    with tempfile.TemporaryDirectory() as folder:
        events, watch = whole_run.train(Path(sys.argv[1]), Path(folder), settings)
    return told(watch, events=events, used=watch.used)


def told(watch: Watch, **more: Any) -> dict[str, Any]:
    attended = {name: count for name, count in watch.calls.items() if "attn" in name or "attention" in name}
    return {"waits": watch.waits, "attended": attended, "calls": dict(watch.calls), **more}


def cases() -> dict[str, Callable[[], dict[str, Any]]]:
    """Each thing that is done, by name."""
    steps: dict[str, dict[str, Any]] = {f"family {name}": {"family": name} for name in families.NAMES}
    steps |= {
        "fp16": {"compute": "fp16"},
        "fp32": {"compute": "fp32"},
        "nf4": {"quantization": "nf4"},
        "nf4 recomputed": {"quantization": "nf4", "recomputed": 2},
        "recomputed": {"recomputed": 1},
        "no packing": {"packing": False},
        "dropout": {"dropout": 0.1},
        "dora": {"method": "dora"},
        "rslora with LoRA+": {"method": "rslora", "b_rate_ratio": 4.0},
        "full": {"method": "full"},
        "noise": {"noise": 5.0},
        "embeddings and head": {"modules_to_save": ("embed_tokens", "lm_head")},
    }
    found: dict[str, Callable[[], dict[str, Any]]] = {
        name: partial(take_step, **settings) for name, settings in steps.items()
    }
    found |= {f"state {kind}": partial(save_and_load, optimizer=kind) for kind in OPTIMIZERS}
    found |= {f"check {name}": partial(check_itself, family=name) for name in ("llama", "gemma2")}
    found |= {f"answer {name}": partial(say, family=name) for name in ("llama", "gemma2", "gpt2")}
    found |= {kind: partial(prefer, kind) for kind in OBJECTIVES}
    found |= {"dpo with a trained head": partial(prefer, "dpo", modules_to_save=("lm_head",))}
    found |= {"doctor": ask_doctor, "run": run_whole, "evaluation": measure, "row losses": measure_rows}
    return found | {
        "fault: a wait in a pass": wait_in_a_pass,
        "fault: a tensor on the host": forget_a_tensor,
        "fault: pageable memory": copy_from_pageable_memory,
    }


def main() -> None:
    bootstrap.quiet_libraries()
    warnings.simplefilter("ignore")
    wanted = sys.argv[2:]
    for name, do in cases().items():
        if wanted and name not in wanted:
            continue
        try:
            result = do()
        except Exception as error:  # noqa: BLE001 (each case is told, the others go on)
            result = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        print(json.dumps({"case": name, **result}), flush=True)


if __name__ == "__main__":
    main()
