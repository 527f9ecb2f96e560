"""The page over a real run of the starter model: what was planned, trained, measured, saved and answered."""

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from core.paths import resource
from core.spec.run_spec import RunSpec
from studio.pages.training.page import TrainingPage

pytestmark = [pytest.mark.slow, pytest.mark.torch]

WAIT = 240_000
SETTINGS = {
    "model.base": "starter",
    "data.train": (str(resource("data", "devils-dictionary.jsonl")),),
    "data.validation": (str(resource("data", "devils-dictionary-held-back.jsonl")),),
    "data.max_length": 64,
    "data.max_rows": 16,
    "training.max_steps": 4,
    "training.effective_batch": 2,
    "training.evaluate_every": 2,
    "training.sample_prompts": ("What is a friend?",),
    "training.sample_tokens": 6,
}


def test_a_real_run_fills_the_page(starter_home: Any, desk: Any, settled: Any, qtbot: Any) -> None:
    spec = RunSpec()
    for path, value in SETTINGS.items():
        spec = spec.replace(path, value)
    desk.session.set_spec(spec)
    settled()
    page = TrainingPage(desk)
    qtbot.addWidget(page)
    page.resize(824, 900)
    page.show()
    page.shown()
    assert page.setup.schedule.curve.curve == desk.session.plan.curve
    prepared = desk.session.prepared()
    assert prepared is not None
    run = desk.runs.start(prepared)
    assert run is not None
    qtbot.waitUntil(lambda: run.state.step >= 1 or not run.is_live, timeout=WAIT)
    save = page.findChild(QWidget, "run-save")
    qtbot.waitUntil(lambda: save.isEnabled() or not run.is_live, timeout=WAIT)
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: run.outcome is not None, timeout=WAIT)
    assert run.outcome.kind == "completed", run.outcome
    feed, loss = page.run.curves.feed, page.run.curves.plots.loss
    qtbot.waitUntil(lambda: not feed.is_behind, timeout=WAIT)
    assert [loss.count(key) for key in ("raw", "smooth", "validation")] == [4, 4, 3]
    assert run.state.checkpoints, "what was asked for was saved"
    assert page.findChild(QWidget, "answer-base").text()
    assert page.findChild(QWidget, "answer-tuned").text()
    used = dict(page.run.used._shown)
    assert {"Attention kernel", "Trainable parameters", "Weights of the base"} <= set(used)
    assert page.findChild(QWidget, "metric-validation").text() != "–"
    page.hidden()
    page.close_page()
