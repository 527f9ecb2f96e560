"""“Catalogue”: models are found, planned with at once, and sent to the hub to be downloaded."""

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton

NAME = "Qwen/Qwen2.5-7B-Instruct"


@pytest.fixture
def page(qtbot: Any, desk: Any, settled: Callable[[], None]) -> Any:
    from studio.pages.model.page import ModelPage

    settled()
    made = ModelPage(desk)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.show()
    qtbot.mouseClick(made.places.button("catalogue"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: made.catalogue is not None and made.catalogue._counting is None, timeout=20_000)
    return made


def titles(page: Any) -> list[str]:
    return [card.key for card in page.catalogue.view.cards.cards]


def test_every_entry_is_listed_with_its_size(page: Any) -> None:
    from core.facts.catalogue import entries

    assert titles(page) == [entry.name for entry in entries()]
    card = next(card for card in page.catalogue.view.cards.cards if card.key == NAME)
    assert card.numbers == "7.6 B · 32,768 tokens · apache-2.0"
    assert page.catalogue._found.text() == f"{len(entries())} models"


def test_a_model_is_found_and_planned_with_before_it_is_here(
    qtbot: Any, desk: Any, page: Any, settled: Callable[[], None]
) -> None:
    from studio.shell.start import start_blocker

    qtbot.keyClicks(page.search, "qwen2.5 7b instruct")
    assert NAME in titles(page)
    assert len(titles(page)) <= 3
    page.catalogue.view.move_to(NAME)
    qtbot.keyClick(page.catalogue.view, Qt.Key.Key_Return)
    settled()
    assert desk.session.spec.model.base == NAME
    assert desk.session.plan.parameters.frozen == 7_615_616_512
    assert desk.session.plan.memory.peak_bytes > 4 * 1024**3
    assert "must be downloaded" in start_blocker(desk)
    assert not desk.session.plan.can_start
    shown = [item.text() for item in page.catalogue.detail.findChildren(QLabel)]
    assert "known from the catalogue; not on this computer" in shown


def test_downloading_goes_by_way_of_the_hub(qtbot: Any, desk: Any, page: Any, settled: Callable[[], None]) -> None:
    desk.session.edit("model.base", NAME)
    settled()
    asked: list[str] = []
    page.catalogue.hub_asked.disconnect(page.show_on_hub)
    page.catalogue.hub_asked.connect(asked.append)
    qtbot.waitUntil(lambda: page.catalogue.detail.findChild(QPushButton, "download-this") is not None)
    button = page.catalogue.detail.findChild(QPushButton, "download-this")
    assert button is not None
    button.click()
    assert asked == [NAME]


def test_nothing_found_offers_the_hub(qtbot: Any, page: Any) -> None:
    qtbot.keyClicks(page.search, "no such model")
    assert titles(page) == []
    assert page.catalogue._nothing.isVisibleTo(page)
