"""Grids of settings, the names of their runs, and what a sweep's table makes of their events."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.events.types import PROTOCOL_VERSION, Evaluated, Hello, Step
from core.events.writer import EventWriter
from core.facts.types import Facts
from core.plan.types import Plan
from core.runs.store import create_run
from core.runs.sweep import MOST_RUNS, Axis, alpha_would_follow, described, points, read_axes
from core.runs.sweep_groups import Group, Member, find_group, group_file, group_name, list_groups, write_group
from core.runs.sweep_table import SweepRow, best_row, read_rows
from core.spec.run_spec import RunSpec

NOON = time.localtime(1_700_000_000)


def test_values_are_read_as_their_settings_want_them() -> None:
    assert read_axes(["adapter.rank=8, 16,16", "training.learning_rate=1e-4,2e-4"]) == (
        Axis("adapter.rank", (8, 16)),
        Axis("training.learning_rate", (1e-4, 2e-4)),
    )
    assert read_axes(["adapter.targets=q_proj,v_proj;all-linear"]) == (
        Axis("adapter.targets", (("q_proj", "v_proj"), ("all-linear",))),
    )
    assert read_axes(["adapter.method=lora,dora", "model.double_quant=true,false"])[1].values == (True, False)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError) as refused:
        read_axes(["adapter.rnk=8", "adapter.rank=8,x", "output.name=a,b", "training.epochs=", "adapter.alpha=8"])
    assert [problem.path for problem in refused.value.problems] == [
        "adapter.rnk", "adapter.rank", "output.name", "training.epochs",
    ]  # fmt: skip
    assert "adapter.rank" in refused.value.problems[0].advice
    with pytest.raises(UserError, match="varied twice"):
        read_axes(["adapter.rank=8", "adapter.rank=16"])


def test_every_value_meets_every_other_under_a_name_of_its_own(spec: RunSpec) -> None:
    axes = read_axes(["adapter.rank=8,16", "training.learning_rate=1e-4,2e-4"])
    found = points(spec, axes, "grid")
    assert [point.spec.output.name for point in found] == [
        "grid-r8-lr0.0001", "grid-r8-lr0.0002", "grid-r16-lr0.0001", "grid-r16-lr0.0002",
    ]  # fmt: skip
    assert [(point.spec.adapter.rank, point.spec.training.learning_rate) for point in found] == [
        (8, 1e-4), (8, 2e-4), (16, 1e-4), (16, 2e-4),
    ]  # fmt: skip
    assert described(found[0].values) == "rank 8, learning rate 0.0001"
    assert {point.spec.training.seed for point in found} == {spec.training.seed}


def test_alpha_goes_with_the_rank_unless_it_is_varied_kept_or_scaled_otherwise(spec: RunSpec) -> None:
    ranks = read_axes(["adapter.rank=8,32"])
    spec = spec.replace("adapter.rank", 16).replace("adapter.alpha", 24.0)

    def alphas(changed: RunSpec, axes: tuple[Axis, ...], **options: Any) -> list[float]:
        return [point.spec.adapter.alpha for point in points(changed, axes, "grid", **options)]

    assert alphas(spec, ranks) == [12.0, 48.0]
    assert alphas(spec, ranks, alpha_follows=False) == [24.0, 24.0]
    assert alphas(spec.replace("adapter.method", "rslora"), ranks) == [24.0, 24.0]
    assert alphas(spec, read_axes(["adapter.rank=8,32", "adapter.alpha=16"])) == [16.0, 16.0]
    assert not alpha_would_follow(spec, read_axes(["training.epochs=1,2"]))


def test_values_that_break_a_rule_are_named(spec: RunSpec) -> None:
    with pytest.raises(UserError) as refused:
        points(spec, read_axes(["training.learning_rate=1e-4,-1"]), "grid")
    (problem,) = refused.value.problems
    assert problem.message.startswith("With learning rate -1: ")
    many = (Axis("adapter.rank", tuple(range(1, MOST_RUNS + 2))),)
    with pytest.raises(UserError, match=f"at most {MOST_RUNS}"):
        points(spec, many, "grid")


def test_sweeps_are_found_again_by_name_and_get_names_of_their_own(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep"):
        find_group("last")
    assert group_name(spec, NOON) == "words"
    made = Group("words", ("adapter.rank",), (Member(tmp_path / "a", {"adapter.rank": 8}),), created=1.0)
    write_group(made)
    assert group_name(spec, NOON) == "words-2"
    write_group(replace(made, name="other", created=2.0))
    assert [group.name for group in list_groups()] == ["other", "words"]
    assert find_group("wo") == find_group("words") == made
    assert find_group("last").name == "other"
    group_file("words").write_text("{")
    assert [group.name for group in list_groups()] == ["other"]
    with pytest.raises(UserError, match="damaged"):
        find_group("words")


@pytest.fixture
def ran(spec: RunSpec, facts: Facts, plan: Plan) -> Callable[..., Member]:
    """Makes a run that has taken steps with these losses, and was evaluated with those."""

    def make(name: str, values: Mapping[str, Any], losses: list[float], evaluations: list[float]) -> Member:
        folder = create_run(spec.replace("output.name", name), facts, plan)
        if losses or evaluations:
            with EventWriter(folder.events()) as writer:
                writer.emit(Hello(PROTOCOL_VERSION, "1", "train", 1, "3.11"))
                for number, loss in enumerate(losses, 1):
                    writer.emit(Step(number, 0.1, loss, 1e-4, 0.5, 100, 40, 0.5, 1000 * number))
                for number, loss in enumerate(evaluations):
                    writer.emit(Evaluated(number, loss, 40, 0.1, best=False))
        return Member(folder.path, values)

    return make


def row_of(rows: tuple[SweepRow, ...], name: str) -> SweepRow:
    return next(row for row in rows if row.run.name == name)


def test_a_row_says_what_the_events_say(ran: Callable[..., Member]) -> None:
    losses = [float(20 - number) for number in range(15)]
    group = Group("grid", ("adapter.rank",), (ran("a", {"adapter.rank": 8}, losses, [4.0, 2.0, 3.0]),))
    (row,) = read_rows(group)
    assert row.loss == pytest.approx(sum(losses[-10:]) / 10)
    assert (row.validation_loss, row.best_validation_loss) == (3.0, 2.0)
    assert row.tokens_per_second == pytest.approx(200.0)
    assert row.memory_bytes == 15_000
    assert row.trainable == 1000


def test_the_best_is_the_lowest_of_what_can_be_compared(ran: Callable[..., Member]) -> None:
    never = ran("never", {"adapter.rank": 2}, [], [])
    low = ran("low", {"adapter.rank": 4}, [0.5], [])
    high = ran("high", {"adapter.rank": 8}, [3.0], [])
    lost = ran("lost", {"adapter.rank": 16}, [math.nan], [math.nan])
    rows = read_rows(Group("grid", ("adapter.rank",), (never, low, high, lost)))
    assert best_row(rows) is row_of(rows, "low")
    measured = ran("measured", {"adapter.rank": 32}, [2.0], [2.5])
    rows = read_rows(Group("grid", ("adapter.rank",), (never, low, high, lost, measured)))
    assert best_row(rows) is row_of(rows, "measured"), "a training loss is no match for a validation loss"
    assert best_row(rows[:1]) is None
    gone = Member(never.path.with_name("gone"), {})
    assert len(read_rows(Group("grid", (), (never, gone)))) == 1
