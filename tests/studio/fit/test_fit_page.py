"""The page “What fits”: offers that are taken, limits that hold, cards that are searched."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton

from core.facts.types import CpuFacts, HardwareFacts
from core.plan.planner import plan
from core.spec.demo import demo_spec
from core.units import GIB, format_bytes

LARGE = "meta-llama/Llama-3.1-8B-Instruct"
SMALLEST = "The smallest card that fits:"
SMALL_COMPUTER = HardwareFacts(
    CpuFacts("A processor", 4, 8, avx2=True, avx512_bf16=True), (), 16 * GIB, 13 * GIB, 500 * GIB, "Linux"
)


@pytest.fixture
def page(qtbot: Any, desk: Any, settled: Callable[[], None]) -> Any:
    """The page in front, on a computer with 16 GiB, with a model of the catalogue and rows of 2,048 tokens."""
    from studio.pages.fit.page import FitPage

    spec = demo_spec(LARGE).replace("data.train", ()).replace("data.validation", ())
    desk.session.set_spec(spec.replace("data.max_length", 2048).replace("model.quantization", "none"))
    settled()
    desk.session.hardware = SMALL_COMPUTER
    desk.session.edit("training.seed", 7)  # plans again on that computer
    made = FitPage(desk)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.show()
    made.shown()
    qtbot.waitUntil(lambda: made.is_settled, timeout=20_000)
    return made


def words(page: Any, name: str) -> str:
    return str(page.findChildren(QLabel, name)[-1].text())  # rows that were replaced may not be gone yet


def test_the_cheapest_set_makes_the_run_fit(qtbot: Any, desk: Any, page: Any) -> None:
    session = desk.session
    assert session.plan.memory.verdict == "does_not_fit"
    best = page.offers._shown.best
    assert best is not None
    qtbot.mouseClick(page.offers.best, Qt.MouseButton.LeftButton)
    assert session.plan.memory.verdict == "fits"
    assert session.plan.memory.peak_bytes == best.peak_bytes
    qtbot.waitUntil(lambda: page.is_settled and page.offers._shown.fits, timeout=20_000)
    assert words(page, "fit-sentence") == "The run fits as it is."
    assert page.offers.best.isHidden()


def test_each_offer_says_its_peak_and_does_what_it_says(qtbot: Any, desk: Any, page: Any) -> None:
    offers = page.offers._shown.offers
    assert len(offers) >= 2
    before = desk.session.spec
    for number, offer in enumerate(offers):
        button = page.offers._rows.findChild(QPushButton, f"fit-offer-{number}")
        texts = [item.text() for item in page.offers.findChildren(QLabel)]
        assert any(format_bytes(offer.peak_bytes) in text for text in texts), offer
        button.click()
        qtbot.waitUntil(lambda: not desk.session.is_reading, timeout=20_000)  # another base is read first
        assert desk.session.plan.memory.peak_bytes == offer.peak_bytes
        assert (desk.session.plan.memory.verdict == "fits") == offer.fits
        assert desk.session.undo()
        assert desk.session.spec == before
        qtbot.waitUntil(lambda: not desk.session.is_reading and page.is_settled, timeout=20_000)


def test_the_largest_values_fit_and_more_does_not(qtbot: Any, desk: Any, page: Any) -> None:
    desk.session.edit("model.quantization", "nf4")
    qtbot.waitUntil(lambda: page.is_settled, timeout=20_000)
    facts, spec = desk.session.facts, desk.session.spec
    limits = {limit.path: limit for limit in page.limits._shown}
    assert set(limits) == {"data.max_length", "adapter.rank", "training.micro_batch_tokens"}
    for path, limit in limits.items():
        assert limit.largest is not None, path
        memory = plan(spec.replace(path, limit.largest), facts).memory
        assert memory is not None
        assert memory.verdict == "fits"
    rank = limits["adapter.rank"].largest
    assert f"{rank:,}" in words(page, "fit-largest-rank")
    page.limits._rows.findChild(QPushButton, "fit-take-rank").click()
    assert desk.session.spec.adapter.rank == rank


def test_nothing_fits_is_said(qtbot: Any, desk: Any, page: Any) -> None:
    desk.session.hardware = dataclasses.replace(SMALL_COMPUTER, ram_free_bytes=GIB)
    desk.session.edit("training.seed", 8)
    qtbot.waitUntil(lambda: page.is_settled, timeout=20_000)
    assert words(page, "fit-largest-rank") == "none fits"
    assert page.limits._rows.findChild(QPushButton, "fit-take-rank") is None


def test_cards_are_found_by_name_and_size(qtbot: Any, desk: Any, page: Any) -> None:
    from core.plan.cards import CARDS

    assert page.cards.model.rowCount() == len(CARDS)
    smallest = words(page, "fit-smallest")
    first = next(plan for plan in page.cards.model.plans if smallest.startswith(f"{SMALLEST} {plan.card.name}, "))
    assert first.fits
    smaller = [plan for plan in page.cards.model.plans if plan.card.gigabytes < first.card.gigabytes]
    assert not [plan for plan in smaller if plan.fits and plan.card.kind != "laptop" and plan.card.supported]
    page.cards.search.setFocus()
    qtbot.keyClicks(page.cards.search, "4090, H100")
    qtbot.waitUntil(lambda: page.is_settled and page.cards.model.rowCount() < 8, timeout=20_000)
    names = {plan.card.name for plan in page.cards.model.plans}
    assert any("4090" in name for name in names)
    assert all("4090" in name or "H100" in name for name in names)
    page.cards.search.clear()
    qtbot.keyClicks(page.cards.search, "no such card")
    qtbot.waitUntil(lambda: not page.cards.trouble.isHidden(), timeout=20_000)
    assert "no such card" in page.cards.trouble.text()


def test_without_a_model_the_page_says_what_to_do(qtbot: Any, desk: Any) -> None:
    from studio.pages.fit.page import FitPage

    made = FitPage(desk)
    qtbot.addWidget(made)
    made.shown()
    went: list[str] = []
    desk.went.connect(went.append)
    button = made.findChild(QPushButton, "fit-go-model")
    assert button is not None
    button.click()
    assert went == ["model"]
    assert made._stack.currentIndex() == 0
