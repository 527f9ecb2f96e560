"""The Adapter page on invented facts: no files are read, the plan is real."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.facts.types import ModelFacts
from core.spec.run_spec import RunSpec
from tests.core.plan.invented_facts import MACHINES, data, llama, spec

TINY = llama(64, 160, 6, 4, 2, 300)


@pytest.fixture
def page_on(qtbot: Any, lowrank_home: Any) -> Iterator[Callable[..., Any]]:
    """Call it with a model's facts (and a spec) to get a shown Adapter page; its session is `page.desk.session`."""
    from studio.pages.adapter.page import AdapterPage
    from studio.state.desk import Desk
    from studio.state.preferences import Preferences
    from studio.state.runs import Runs
    from studio.state.session import Session

    class Invented(Session):
        def _read_stale(self) -> None:
            """These facts lie in no files."""

    desks = []

    def make(model: ModelFacts | None = TINY, asked: RunSpec | None = None, machine: str = "rtx4090") -> Any:
        session = Invented(asked or spec())
        session.hardware, session.model = MACHINES[machine], model
        session.data = data() if model is not None else None
        session._replan()
        desk = Desk(session, Runs(), Preferences())
        desks.append(desk)
        page = AdapterPage(desk)
        qtbot.addWidget(page)
        page.resize(820, 1200)
        page.show()
        qtbot.waitExposed(page)
        return page

    yield make
    for desk in desks:
        desk.runs.close()
