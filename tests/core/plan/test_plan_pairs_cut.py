"""Pairs of answers that are cut: each answer is, by itself, and so the limit is that of one with its prompt."""

import dataclasses

from core.facts.types import Facts
from core.plan.planner import plan
from core.plan.search import longest_row
from tests.core.plan.invented_facts import MACHINES, MODELS, data, lengths, spec

CUT = dataclasses.replace(
    lengths(rows=1000, mean=300, longest=700, truncated=40, lost=9000), longest_document=512, longest_uncut=900
)
PREFERRING = spec(data__train_on="preferences", data__max_length=512, training__learning_rate=1e-5)


def known(rows: object = CUT, **model: object) -> Facts:
    return Facts(MACHINES["rtx4090"], dataclasses.replace(MODELS["1b"], **model), data(rows))  # type: ignore[arg-type]


def test_the_longest_pair_is_the_one_that_is_there() -> None:
    assert longest_row(PREFERRING, known()) == 700
    # Cut at 512, and nobody knows how long pairs would be with a higher limit.
    assert longest_row(PREFERRING.replace("data.max_length", 600), known()) == 1200
    assert longest_row(PREFERRING.replace("data.max_length", 256), known()) == 512


def test_what_is_cut_is_an_answer_and_the_limit_that_of_one() -> None:
    (problem,) = [one for one in plan(PREFERRING, known()).problems if one.path == "data.max_length"]
    assert problem.message.startswith("An answer of 40 of ")
    assert "pairs is longer than 512 tokens with its prompt and cut at the end" in problem.message
    assert "The longest answer has 900 tokens with its prompt: allow longer ones" in problem.advice
    (fix,) = problem.fixes
    assert fix.edits[0].value == 1024, "and not what both answers have together"
    raised = PREFERRING.replace("data.max_length", 1024)
    assert not [one for one in plan(raised, known()).problems if one.path == "data.max_length"]


def test_a_model_that_reads_no_more_gets_shorter_pairs() -> None:
    (problem,) = [one for one in plan(PREFERRING, known(context_length=512)).problems if one.path == "data.max_length"]
    assert problem.fixes == ()
    assert "more than the model reads: shorten such pairs" in problem.advice
