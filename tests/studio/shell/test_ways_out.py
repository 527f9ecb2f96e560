"""A run that does not fit: the plan says so at once, and its one-click fixes follow without anybody waiting."""

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Severity
from core.plan.solve import is_unsolved, solve
from core.spec.demo import demo_spec
from tests.core.plan.invented_facts import NEW_CPU, machine

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture
def session(desk: Any, settled: Callable[[], None]) -> Any:
    """A session on a computer with 13 GiB free, with a model of 8 billion parameters in 16 bits."""
    spec = demo_spec(MODEL).replace("data.train", ()).replace("data.validation", ())
    desk.session.set_spec(spec.replace("model.quantization", "none"))
    settled()
    desk.session.hardware = machine(cpu=NEW_CPU, ram_gib=16, free_gib=13)
    desk.session.edit("training.seed", 7)  # plans again on that computer
    return desk.session


def shortage(session: Any) -> Any:
    (found,) = (problem for problem in session.problems if problem.path == "hardware.device")
    return found


def found(qtbot: Any, session: Any) -> None:
    qtbot.waitUntil(lambda: not session.ways_out.is_looking, timeout=20_000)


def test_the_fixes_come_after_the_plan_and_the_first_makes_it_fit(qtbot: Any, session: Any) -> None:
    first = shortage(session)
    assert first.severity is Severity.ERROR
    assert (first.fixes, session.ways_out.is_looking) == ((), True)
    with qtbot.waitSignal(session.ways_out.found, timeout=20_000):
        pass
    problem = shortage(session)
    assert problem.message == first.message
    assert problem.fixes[0].title.startswith("Make it fit: ")
    assert is_unsolved(session.plan.problems)  # the plan itself stays as it was made
    session.apply(problem.fixes[0].edits)
    assert session.plan.memory.verdict == "fits"
    assert not [one for one in session.problems if one.path == "hardware.device"]
    assert not session.ways_out.is_looking


def test_what_was_found_for_an_earlier_spec_is_dropped(qtbot: Any, session: Any) -> None:
    heard: list[int] = []
    session.ways_out.found.connect(lambda: heard.append(1))
    session.ways_out._solve()  # as if its spec had stood still; the answer is on its way
    session.edit("data.max_length", 4096)
    assert shortage(session).fixes == ()
    found(qtbot, session)
    assert heard == [1]
    best = solve(session.spec, session.facts).best
    assert best is not None
    assert shortage(session).fixes[0].edits == best.edits


def test_the_panel_keeps_the_place_of_the_fixes_while_they_are_looked_for(qtbot: Any, desk: Any, session: Any) -> None:
    from studio.shell.plan_panel import PlanPanel
    from studio.widgets.basics import LinkLabel

    panel = PlanPanel(desk)
    qtbot.addWidget(panel)
    panel.resize(320, 800)
    panel.show()

    def links() -> list[Any]:
        return [link for link in panel.findChildren(LinkLabel, "fix") if link.isVisible()]

    assert links() == []
    qtbot.waitUntil(lambda: bool(links()), timeout=20_000)
    before = links()
    assert before[0].text().startswith("Make it fit: ")
    assert all(link.isEnabled() for link in before)
    session.edit("training.effective_batch", 7)
    assert links() == before
    assert not any(link.isEnabled() for link in before)
    found(qtbot, session)
    assert all(link.isEnabled() for link in links())
    links()[0].click()
    assert session.plan.memory.verdict == "fits"
    assert links() == []


def test_a_model_that_is_too_large_in_any_form_is_offered_a_smaller_one(qtbot: Any, session: Any) -> None:
    session.hardware = machine(cpu=NEW_CPU, ram_gib=6, free_gib=4)
    session.edit("training.seed", 8)
    found(qtbot, session)
    (edit, *_) = shortage(session).fixes[0].edits
    assert edit.path == "model.base"
    assert "Llama" in str(edit.value)


def test_nothing_is_looked_for_when_the_run_fits(session: Any) -> None:
    session.hardware = machine(cpu=NEW_CPU, ram_gib=16, free_gib=64)
    session.edit("training.seed", 9)
    assert not session.ways_out.is_looking
    assert not is_unsolved(session.problems)


def test_a_panel_that_is_gone_hears_of_no_fixes(qtbot: Any, desk: Any, session: Any) -> None:
    """A change of look makes the window anew, whatever is still being looked for."""
    import shiboken6

    from studio.shell.plan_panel import PlanPanel

    panel = PlanPanel(desk)
    shiboken6.delete(panel)
    with qtbot.captureExceptions() as failures, qtbot.waitSignal(session.ways_out.found, timeout=20_000):
        pass
    assert failures == []
