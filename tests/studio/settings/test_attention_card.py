"""The card that shows and makes the measurement of attention."""

from typing import Any

from PySide6.QtWidgets import QLabel, QProgressBar, QWidget

from core.runs.attention_bench import FUSED, PLAIN, AttentionBench, Cell, bench_path, save_bench
from studio.pages.settings.attention import AttentionCard

CELLS = (
    Cell(512, FUSED, "flash attention (CPU)", 0.5, 2**24),
    Cell(512, PLAIN, "plain attention (eager)", 1.0, 2**26),
    Cell(16384, FUSED, "flash attention (CPU)", 60.0, 2**28),
    Cell(16384, PLAIN, skipped="would need 60.0 GiB"),
)


def shown(card: QWidget) -> str:
    return "\n".join(item.text() for item in card.findChildren(QLabel) if item.isVisible())


def test_it_shows_what_was_measured_and_why_something_was_not(qtbot: Any, desk: Any) -> None:
    card = AttentionCard(desk)
    qtbot.addWidget(card)
    card.show()
    assert "Nothing was measured yet." in shown(card)
    save_bench(AttentionBench("starter", "cpu", "bf16", 9, 3, 64, 2, 1.0, CELLS), bench_path())
    card.load()
    qtbot.waitUntil(lambda: "1,024 tokens/s, 16.0 MiB" in shown(card), timeout=20_000)
    text = shown(card)
    assert "512 tokens/s, 64.0 MiB" in text
    assert "not run: would need 60.0 GiB" in text
    assert "The profiler saw flash attention (CPU)." in text


def test_without_a_model_it_says_what_is_missing_and_can_be_tried_again(qtbot: Any, desk: Any) -> None:
    told: list[tuple[str, str]] = []
    desk.complain = lambda title, text: told.append((title, text))
    card = AttentionCard(desk)
    qtbot.addWidget(card)
    card.show()
    go = card.findChild(QWidget, "measure-attention")
    assert go is not None
    card.measure()
    bar = card.findChild(QProgressBar)
    assert bar is not None
    assert bar.accessibleName() == "Measuring attention"
    assert not go.isEnabled()
    qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    assert "starter model" in told[0][1]
    assert go.isEnabled()
