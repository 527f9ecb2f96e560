"""The Data page alone, in sight, as most tests of it want it."""

from collections.abc import Iterator
from typing import Any

from studio.pages.data.page import DataPage


def opened(qtbot: Any, desk: Any) -> Iterator[DataPage]:
    """For a fixture: the page until its test is over."""
    made = DataPage(desk)
    made.resize(840, 900)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close_page()
