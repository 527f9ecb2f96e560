"""Validation and sample answers: what they take, and that the plan says so where that is more than a step takes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from core.facts.types import DataFacts, Facts, LengthFacts
from core.plan.memory.moments import Beside, evaluation_parts, sampling_parts
from core.plan.planner import plan
from tests.core.plan.closed_form import footprint_of, size_of
from tests.core.plan.invented_facts import MACHINES, MODELS, spec
from tests.simulator.cases import Case

SMALL: Mapping[str, Any] = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 4,
    "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 8192,
}  # fmt: skip
CASES = [
    Case(SMALL, passes=((900, 300),)),
    Case(SMALL, passes=((1500,),), quantization="nf4", supervised=0.2),
    Case(SMALL, passes=((700, 100),), attention="sdpa", optimizer="adamw_8bit"),
    Case({**SMALL, "model_type": "qwen3", "head_dim": 128}, passes=((2000,),), compute_dtype="fp16"),
]


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_a_validation_pass_against_the_simulator(case: Case) -> None:
    from tests.simulator.run import simulate, simulate_evaluation

    facts = simulate(case).facts
    footprint = footprint_of(case, facts)
    counted = footprint.static - footprint.libraries + footprint.without_gradients(size_of(case))
    assert counted == pytest.approx(simulate_evaluation(case), rel=0.005)
    assert counted < footprint.allocated(size_of(case), 0)


@pytest.mark.torch
@pytest.mark.parametrize(("prompt", "answer"), [(64, 2000), (1500, 100), (400, 400)])
def test_an_answer_against_the_simulator(prompt: int, answer: int) -> None:
    from tests.simulator.run import simulate, simulate_answer

    case = Case(SMALL, passes=((256,),), quantization="nf4")
    footprint = footprint_of(case, simulate(case).facts)
    parts = sampling_parts(footprint, Beside(prompt=prompt, answer=answer))
    counted = sum(part.bytes for part in parts if part.name not in ("context", "slack", "libraries"))
    simulated = simulate_answer(case, prompt, answer)
    assert 0.995 * simulated < counted < 1.03 * simulated


def lengths(rows: int, longest: int) -> LengthFacts:
    return LengthFacts(rows, rows * longest, rows * longest, longest, longest, longest, 0, 0, {str(longest): rows})


def data(train: LengthFacts, validation: LengthFacts) -> DataFacts:
    return DataFacts((), "text", "", "none", train, validation)


def test_many_validation_rows_beside_a_step_of_one_short_row() -> None:
    asked = spec(training__effective_batch=1, model__quantization="nf4", adapter__targets=("q_proj",), adapter__rank=4)
    few = Facts(MACHINES["h100"], MODELS["1b"], data(lengths(100, 64), lengths(1, 64)))
    many = Facts(MACHINES["h100"], MODELS["1b"], data(lengths(100, 64), lengths(500, 512)))
    step, evaluation = plan(asked, few).memory, plan(asked, many).memory
    assert step is not None
    assert evaluation is not None
    assert (step.moment, evaluation.moment) == ("step", "evaluation")
    assert evaluation.peak_bytes > step.peak_bytes
    assert sum(part.bytes for part in evaluation.parts) == evaluation.peak_bytes
    assert "gradients" not in {part.name for part in evaluation.parts}


def test_a_long_answer_beside_a_step_of_one_short_row() -> None:
    asked = spec(training__effective_batch=1, model__quantization="nf4", adapter__targets=("q_proj",), adapter__rank=4)
    known = Facts(MACHINES["h100"], MODELS["8b"], data(lengths(100, 16), lengths(0, 0)))
    quiet = plan(asked, known).memory
    talking = asked.replace("training.sample_prompts", ("word " * 6000,)).replace("training.sample_tokens", 4096)
    answer = plan(talking, known).memory
    assert quiet is not None
    assert answer is not None
    assert (quiet.moment, answer.moment) == ("step", "sampling")
    assert answer.peak_bytes > quiet.peak_bytes
    assert sum(part.bytes for part in answer.parts) == answer.peak_bytes


def test_a_validation_pass_grows_with_its_tokens() -> None:
    case = Case(SMALL, passes=((256,),))
    footprint = footprint_of(case, dataclasses.replace(MODELS["1b"]))
    sizes = [
        sum(part.bytes for part in evaluation_parts(footprint, Beside(evaluated=tokens, longest=128, rows=64)))
        for tokens in (128, 512, 2048, 8192)
    ]
    assert sizes == sorted(sizes)
