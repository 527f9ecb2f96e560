"""Text can be read on every ground in both schemes: WCAG's contrast, at least 4.5 for text and 3 for graphics."""

from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QLineEdit, QPlainTextEdit

from studio.look.theme import apply_look
from studio.look.tokens import SCHEMES, Colors, Scheme

TEXT, GRAPHICS = 4.5, 3.0
GROUNDS = ("window", "panel", "raised", "hover")
FAINT_MEANS_NOTHING = 2.5
"""`faint` marks what is disabled, or an icon beside words that say the same."""


def luminance(color: str) -> float:
    """Relative luminance of #RRGGBB, 0 to 1 (WCAG 2.2)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The ratio of two colours, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def pairs(c: Colors) -> dict[str, tuple[str, str, float]]:
    """What stands on what, and how much it must stand out."""
    found = {}
    for ground in GROUNDS:
        for ink in ("text", "muted"):
            found[f"{ink} on {ground}"] = (getattr(c, ink), getattr(c, ground), TEXT)
        found[f"faint on {ground}"] = (c.faint, getattr(c, ground), FAINT_MEANS_NOTHING)
    for ground in ("window", "panel", "raised"):
        for ink in ("accent", "good", "warn", "bad"):
            found[f"{ink} on {ground}"] = (getattr(c, ink), getattr(c, ground), TEXT)
    for tone in ("good", "warn", "bad", "accent"):
        soft = getattr(c, f"{tone}_soft")
        found[f"text on {tone}_soft"] = (c.text, soft, TEXT)
        found[f"muted on {tone}_soft"] = (c.muted, soft, TEXT)
        found[f"{tone} on {tone}_soft"] = (getattr(c, tone), soft, TEXT)
    for ground in ("accent", "accent_hover"):
        found[f"accent_text on {ground}"] = (c.accent_text, getattr(c, ground), TEXT)
    for number, color in enumerate(c.series):
        found[f"series {number + 1} on panel"] = (color, c.panel, GRAPHICS)
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_everything_stands_out(scheme: Scheme) -> None:
    weak = {
        name: round(contrast(ink, ground), 2)
        for name, (ink, ground, least) in pairs(SCHEMES[scheme]).items()
        if contrast(ink, ground) < least
    }
    assert weak == {}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", [QLineEdit, QPlainTextEdit])
def test_what_an_empty_field_asks_for_can_be_read(qapp: Any, scheme: Scheme, kind: type) -> None:
    apply_look(qapp, scheme, 1.0)
    field = kind()
    field.setPlaceholderText("IIIIIIII")
    field.resize(200, 40)
    field.ensurePolished()
    QApplication.processEvents()
    seen = field.grab().toImage()
    inside = [seen.pixelColor(x, y).name() for x in range(5, 150) for y in range(6, 34)]
    assert max(contrast(color, SCHEMES[scheme].panel) for color in set(inside)) >= TEXT


def test_the_measure_is_the_known_one() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)
