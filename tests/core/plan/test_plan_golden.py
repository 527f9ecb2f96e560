"""Whole plans for invented machines and models, word for word: a change of any number or sentence shows in the diff.

`LOWRANK_UPDATE_GOLDEN=1 pytest tests/core/plan/test_plan_golden.py` writes them anew; read the diff before it goes in.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.facts.types import Facts
from core.plan.planner import plan
from core.plan.types import Plan
from core.records import from_plain, to_plain
from core.spec.fields import Kind
from core.spec.run_spec import RunSpec, fields
from tests.core.plan.invented_facts import MACHINES, MODELS, data, facts, gpt2, spec

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "plans"


def shortened(made: Plan) -> dict[str, object]:
    """A plan as plain data with its hundreds of targets counted instead of listed."""
    plain: dict[str, object] = to_plain(made)
    listed = plain["targets"]
    assert isinstance(listed, list)
    plain["targets"] = {"count": len(listed), "first": listed[:1], "last": listed[-1:]}
    return plain


@pytest.mark.parametrize("model_name", MODELS)
@pytest.mark.parametrize("machine_name", MACHINES)
def test_plans_are_as_they_were(machine_name: str, model_name: str) -> None:
    path = GOLDEN / f"{machine_name}-{model_name}.json"
    made = json.loads(json.dumps(shortened(plan(spec(), facts(machine_name, model_name)))))
    if os.environ.get("LOWRANK_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    golden = json.loads(path.read_text("utf-8"))
    assert made.keys() == golden.keys()
    for name, value in golden.items():
        assert made[name] == value, name


def test_no_golden_plan_is_left_over() -> None:
    expected = {f"{machine}-{model}.json" for machine in MACHINES for model in MODELS}
    assert {path.name for path in GOLDEN.iterdir()} == expected


ADAPTERS: tuple[dict[str, object], ...] = (
    {},
    {"adapter__method": "full"},
    {"adapter__method": "dora", "adapter__rank_pattern": {"down_proj": 8}},
)


@pytest.mark.parametrize("asked", ADAPTERS)
@pytest.mark.parametrize(
    "known", [facts(), facts("t4", "70b"), Facts(MACHINES["cpu24"]), Facts(MACHINES["h100"], gpt2())]
)
def test_plans_survive_being_written_and_read(known: Facts, asked: dict[str, object]) -> None:
    made = plan(spec(**asked), known)
    written = json.loads(json.dumps(to_plain(made), allow_nan=False))
    read = from_plain(Plan, written)
    assert to_plain(read) == to_plain(made)
    if not any(problem.fixes for problem in made.problems):
        assert read == made


def test_the_same_question_has_the_same_answer() -> None:
    assert plan(spec(), facts()) == plan(spec(), facts())


def _values(kind: Kind, choices: tuple[str, ...]) -> st.SearchStrategy[object]:
    if kind is Kind.CHOICE:
        return st.sampled_from(choices)
    if kind is Kind.FLAG:
        return st.booleans()
    if kind is Kind.INTEGER:
        return st.integers(-3, 10**7)
    if kind is Kind.NUMBER:
        return st.floats()
    if kind is Kind.NAMES:
        return st.lists(st.sampled_from(["all-linear", "q_proj", "mlp", "lm_head", "embed_tokens", "no"])).map(tuple)
    if kind is Kind.RANKS:
        return st.dictionaries(st.sampled_from(["q_proj", "0.up_proj", "99.up_proj", "x"]), st.integers(-1, 2000))
    if kind in (Kind.MAPPING, Kind.WEIGHTS):
        return st.just({})
    if kind in (Kind.FILES, Kind.PARAGRAPHS):
        return st.lists(st.text(max_size=3), max_size=2).map(tuple)
    return st.sampled_from(["", "all", "last 2", "last 999", "0-1", "none", "x"])


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    made = RunSpec()
    for info in draw(st.lists(st.sampled_from(fields()), max_size=12)):
        choices = tuple(choice.value for choice in info.setting.choices)
        made = made.replace(info.path, draw(_values(info.setting.kind, choices)))
    return made


@given(specs(), st.sampled_from(sorted(MACHINES)), st.sampled_from([*MODELS.values(), gpt2(), None]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_spec_whatever_makes_the_planner_fail(asked: RunSpec, machine_name: str, model, with_data: bool) -> None:
    made = plan(asked, Facts(MACHINES[machine_name], model, data() if with_data else None))
    assert made.memory is not None
    assert sum(part.bytes for part in made.memory.parts) == made.memory.peak_bytes
    assert (made.parameters is None) == (made.disk is None)
    json.dumps(to_plain(made), allow_nan=False)
    if made.can_start:
        assert made.batch is not None
        assert made.batch.steps > 0
        assert made.memory.verdict in ("fits", "tight")
