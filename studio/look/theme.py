"""Makes an application look like the tokens say: palette, fonts and style sheet, for one scheme and text size."""

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from studio.look import tokens
from studio.look.sheet import style_sheet
from studio.look.tokens import SCHEMES, Colors, Scheme


@dataclass(frozen=True, slots=True)
class Look:
    """What is on the screen now: the scheme, its colours, and the factor of the text size."""

    scheme: Scheme
    colors: Colors
    scale: float

    def px(self, size: float) -> int:
        """A size of the tokens in pixels at the present text size."""
        return round(size * self.scale)


_STYLED = "lowrankStyle"
_current = Look("light", SCHEMES["light"], 1.0)


def look() -> Look:
    """The look that is applied now; paint code asks for it each time."""
    return _current


def colors() -> Colors:
    """The colours that are applied now."""
    return _current.colors


def system_scheme() -> Scheme:
    """What the desktop asks for; light where it does not say."""
    hints = QGuiApplication.styleHints()
    return "dark" if hints.colorScheme() == Qt.ColorScheme.Dark else "light"


def apply_look(app: QApplication, scheme: Scheme, scale: float) -> None:
    """Applies a scheme and a text size (1.0 is normal) to the whole application."""
    global _current  # noqa: PLW0603 (one application has one look)
    _current = Look(scheme, SCHEMES[scheme], scale)
    if app.property(_STYLED) is None:  # once: another style under living widgets has ended the program
        app.setProperty(_STYLED, "Fusion")
        app.setStyle("Fusion")
    font = QFont(app.font())
    font.setPixelSize(_current.px(tokens.BODY))
    app.setFont(font)
    app.setPalette(_palette(_current.colors))
    app.setStyleSheet(style_sheet(_current.colors, scale))


def mono_font(size: int = tokens.SMALL) -> QFont:
    """The system's monospaced font at a size of the tokens."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(_current.px(size))
    return font


def _palette(c: Colors) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for target, value in (
        (role.Window, c.window),
        (role.WindowText, c.text),
        (role.Base, c.panel),
        (role.AlternateBase, c.window),
        (role.ToolTipBase, c.raised),
        (role.ToolTipText, c.text),
        (role.Text, c.text),
        (role.PlaceholderText, c.muted),
        (role.Button, c.raised),
        (role.ButtonText, c.text),
        (role.BrightText, c.bad),
        (role.Link, c.accent),
        (role.Highlight, c.accent),
        (role.HighlightedText, c.accent_text),
        (role.Mid, c.line_strong),
        (role.Midlight, c.line),
        (role.Dark, c.line_strong),
        (role.Light, c.panel),
        (role.Shadow, c.line_strong),
        (role.Accent, c.accent),
    ):
        palette.setColor(target, QColor(value))
    for target in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, target, QColor(c.faint))
    return palette
