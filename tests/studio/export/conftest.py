"""Pages to export from, and jobs that end with the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtWidgets import QAbstractButton

WAIT_MS = 60_000


@pytest.fixture
def page(qtbot: Any, desk: Any) -> Iterator[Callable[[], Any]]:
    """Makes and shows the page when the runs have been listed and looked at; the test makes its runs first."""
    from studio.pages.export.page import ExportPage
    from studio.workers.job_thread import end_jobs

    def make() -> Any:
        made = ExportPage(desk)
        qtbot.addWidget(made)
        made.resize(1112, 740)
        made.show()
        if not desk.runs.known:
            desk.runs.begin()
        exports = made.exports
        exports.verify = False  # a check loads models and takes many seconds; tests that are about it turn it on
        made.findChild(QAbstractButton, "verify-export").setChecked(False)
        qtbot.waitUntil(lambda: exports.results.known and not exports.is_looking, timeout=WAIT_MS)
        return made

    yield make
    assert end_jobs() == 0, "a job did not end"
