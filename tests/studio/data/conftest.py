"""The real window on its Data page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio.data.report_window import ReportWindow, faulty_rows, write_jsonl


@pytest.fixture
def window(qapp: Any, qtbot: Any, starter_home: Path) -> Iterator[ReportWindow]:
    """The application, shown without a screen, with the starter model at hand."""
    from studio.app import Studio
    from studio.workers.task import end_tasks

    made = Studio(qapp)
    made.preferences.set("welcomed", value=True)
    made.show()
    made.window.resize(1280, 800)
    made.window.show_page("data")
    qtbot.waitUntil(lambda: made.desk.session.hardware is not None, timeout=20_000)
    yield ReportWindow(qtbot, made)
    made.window.close()
    made.close()
    made.window.deleteLater()
    qapp.processEvents()
    assert end_tasks() == 0, "a task did not end"


@pytest.fixture
def faulty(window: ReportWindow, tmp_path: Path) -> Path:
    """The file with known faults, chosen and looked through."""
    path = write_jsonl(tmp_path / "faulty.jsonl", faulty_rows())
    window.choose(path, validation_share=0.0)
    window.wait_report()
    return path
