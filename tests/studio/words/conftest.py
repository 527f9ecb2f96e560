"""The words of the window in Chinese for a test, and English again after it."""

from collections.abc import Iterator

import pytest

from studio.words import set_language


@pytest.fixture
def chinese() -> Iterator[None]:
    set_language("zh_CN")
    yield
    set_language("en")
