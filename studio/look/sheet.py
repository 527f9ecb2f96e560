"""The style sheet, written from the tokens. Widgets choose a look by the dynamic property “role”."""

from collections.abc import Callable

from studio.look import tokens
from studio.look.tokens import Colors

Px = Callable[[float], int]
"""From a size of the tokens to pixels at the present text size."""


def style_sheet(c: Colors, scale: float) -> str:
    """The whole application's style sheet for one scheme and text size."""

    def px(size: float) -> int:
        return round(size * scale)

    return f"""
* {{ outline: none; }}
QWidget {{ color: {c.text}; }}
QToolTip {{ background: {c.raised}; color: {c.text}; border: 1px solid {c.line_strong}; padding: 6px 8px; }}
{_texts(c, px)}
{_frames(c)}
{_buttons(c, px)}
{_inputs(c, px)}
{_lists(c, px)}
{_bars(c)}
"""


def _texts(c: Colors, px: Px) -> str:
    return f"""
QLabel {{ background: transparent; }}
QLabel[role="title"] {{ font-size: {px(tokens.TITLE)}px; font-weight: 600; }}
QLabel[role="section"] {{ font-size: {px(tokens.SECTION)}px; font-weight: 600; }}
QLabel[role="strong"] {{ font-weight: 600; }}
QLabel[role="muted"] {{ color: {c.muted}; font-size: {px(tokens.SMALL)}px; }}
QLabel[role="help"] {{ color: {c.muted}; }}
QLabel[role="good"] {{ color: {c.good}; font-weight: 600; }}
QLabel[role="warn"] {{ color: {c.warn}; font-weight: 600; }}
QLabel[role="bad"] {{ color: {c.bad}; font-weight: 600; }}
QLabel[role="caption"] {{ color: {c.muted}; font-size: {px(tokens.SMALL - 1)}px; font-weight: 600;
    letter-spacing: 1px; }}
QLabel[role="big"] {{ font-size: {px(26)}px; font-weight: 600; }}
QLabel[role="link"] {{ color: {c.accent}; }}
QLabel[role="link"]:disabled {{ color: {c.faint}; }}
QLabel[role="link"]:hover, QLabel[role="link"]:focus {{ text-decoration: underline; }}
QLabel[role="key"] {{ background: {c.window}; border: 1px solid {c.line_strong}; border-radius: 4px; padding: 2px 8px;
    font-size: {px(tokens.SMALL)}px; font-weight: 600; }}
QLabel[role="term"] {{ border-bottom: 1px dotted {c.faint}; }}
QLabel[role="help-term"] {{ color: {c.muted}; border-bottom: 1px dotted {c.faint}; }}
"""


def _frames(c: Colors) -> str:
    return f"""
QMainWindow, QWidget#page, QWidget#pageBody, QStackedWidget {{ background: {c.window}; }}
QScrollArea {{ background: transparent; border: none; }}
QAbstractScrollArea[role="reading"] {{ background: transparent; border: 2px solid transparent;
    border-radius: {tokens.CARD_RADIUS - 1}px; }}
QAbstractScrollArea[role="reading"]:focus {{ border-color: {c.accent}; }}
QScrollArea > QWidget > QWidget#pageBody {{ background: {c.window}; }}
QWidget#rail {{ background: {c.panel}; border-right: 1px solid {c.line}; }}
QWidget#planPanel {{ background: {c.panel}; border-left: 1px solid {c.line}; }}
QWidget#planPanel QWidget#planBody {{ background: {c.panel}; }}
QWidget#planStrip {{ background: {c.panel}; border-top: 1px solid {c.line}; }}
QWidget#statusBar {{ background: {c.panel}; border-top: 1px solid {c.line}; }}
QFrame[role="card"] {{ background: {c.panel}; border: 1px solid {c.line}; border-radius: {tokens.CARD_RADIUS}px; }}
QFrame[role="card"][chosen="true"] {{ border: 1px solid {c.accent}; background: {c.accent_soft}; }}
QFrame[role="inset"] {{ background: {c.window}; border: 1px solid {c.line}; border-radius: {tokens.RADIUS}px; }}
QFrame[role="line"] {{ background: {c.line}; max-height: 1px; min-height: 1px; border: none; }}
QFrame[role="notice"] {{ background: {c.raised}; border: 1px solid {c.line_strong};
    border-radius: {tokens.CARD_RADIUS}px; }}
QFrame[role="note-good"] {{ background: {c.good_soft}; border: none; border-radius: {tokens.RADIUS}px; }}
QFrame[role="note-info"] {{ background: {c.accent_soft}; border: none; border-radius: {tokens.RADIUS}px; }}
QFrame[role="note-warn"] {{ background: {c.warn_soft}; border: none; border-radius: {tokens.RADIUS}px; }}
QFrame[role="note-bad"] {{ background: {c.bad_soft}; border: none; border-radius: {tokens.RADIUS}px; }}
QFrame[role="card"] QStackedWidget, QFrame[role="inset"] QStackedWidget {{ background: transparent; }}
QSplitter::handle {{ background: transparent; }}
"""


def _buttons(c: Colors, px: Px) -> str:
    height = px(tokens.CONTROL) - 2
    return f"""
QPushButton {{ background: {c.raised}; border: 1px solid {c.line_strong}; border-radius: {tokens.RADIUS}px;
    min-height: {height}px; padding: 0 12px; }}
QPushButton:hover {{ background: {c.hover}; }}
QPushButton:pressed {{ background: {c.line}; }}
QPushButton:disabled {{ color: {c.faint}; background: {c.window}; border-color: {c.line}; }}
QPushButton:focus {{ border: 2px solid {c.accent}; padding: 0 11px; min-height: {height - 2}px; }}
QPushButton:checked {{ background: {c.accent_soft}; border-color: {c.accent}; color: {c.text}; }}
QPushButton[role="primary"] {{ background: {c.accent}; border: 1px solid {c.accent}; color: {c.accent_text};
    font-weight: 600; }}
QPushButton[role="primary"]:hover {{ background: {c.accent_hover}; }}
QPushButton[role="primary"]:disabled {{ background: {c.line}; border-color: {c.line}; color: {c.faint}; }}
QPushButton[role="primary"]:focus {{ border: 2px solid {c.text}; }}
QPushButton[role="danger"] {{ color: {c.bad}; }}
QPushButton[role="danger"]:disabled {{ color: {c.faint}; }}
QPushButton[role="quiet"], QToolButton {{ background: transparent; border: 1px solid transparent;
    border-radius: {tokens.RADIUS}px; }}
QPushButton[role="quiet"]:hover, QToolButton:hover {{ background: {c.hover}; }}
QPushButton[role="quiet"]:focus, QToolButton:focus {{ border: 2px solid {c.accent}; }}
QPushButton[role="quiet"]:disabled {{ color: {c.faint}; }}
QPushButton[role="link"] {{ background: transparent; border: none; color: {c.accent}; padding: 0 2px;
    min-height: {px(20)}px; text-align: left; }}
QPushButton[role="link"]:hover {{ text-decoration: underline; }}
QPushButton[role="link"]:focus {{ border: none; text-decoration: underline; }}
QPushButton[role="rail"] {{ background: transparent; border: 2px solid transparent; border-radius: {tokens.RADIUS}px;
    text-align: left; padding: 0 8px; min-height: {max(tokens.RAIL_ITEM - 6, px(20) + 6)}px; color: {c.muted}; }}
QPushButton[role="rail"]:hover {{ background: {c.hover}; color: {c.text}; }}
QPushButton[role="rail"]:checked {{ background: {c.accent_soft}; color: {c.text}; font-weight: 600; }}
QPushButton[role="rail"]:focus {{ border: 2px solid {c.accent}; padding: 0 8px; }}
QPushButton[role="segment"] {{ border-radius: 0; margin-left: -1px; padding: 0 12px; }}
QPushButton[role="segment"][place="first"] {{ border-top-left-radius: {tokens.RADIUS}px;
    border-bottom-left-radius: {tokens.RADIUS}px; margin-left: 0; }}
QPushButton[role="segment"][place="last"] {{ border-top-right-radius: {tokens.RADIUS}px;
    border-bottom-right-radius: {tokens.RADIUS}px; }}
QPushButton[role="segment"][place="only"] {{ border-radius: {tokens.RADIUS}px; margin-left: 0; }}
QPushButton[role="segment"]:checked {{ font-weight: 600; }}
QToolButton {{ padding: 4px; }}
QToolButton::menu-indicator {{ image: none; }}
"""


def _inputs(c: Colors, px: Px) -> str:
    height = px(tokens.CONTROL) - 2
    return f"""
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox {{ background: {c.panel}; border: 1px solid {c.line_strong};
    border-radius: {tokens.RADIUS}px; min-height: {height}px; padding: 0 8px; selection-background-color: {c.accent};
    selection-color: {c.accent_text}; }}
QPlainTextEdit, QTextEdit, QTextBrowser {{ background: {c.panel}; border: 1px solid {c.line_strong};
    border-radius: {tokens.RADIUS}px; padding: 4px 6px; selection-background-color: {c.accent};
    selection-color: {c.accent_text}; }}
QLineEdit, QPlainTextEdit, QTextEdit {{ placeholder-text-color: {c.muted}; }}
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus, QPlainTextEdit:focus, QTextEdit:focus,
QTextBrowser:focus {{ border: 2px solid {c.accent}; }}
QTextEdit[role="flowing"], QTextEdit[role="flowing"]:focus {{ background: transparent; border: none; padding: 0; }}
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {{ padding: 0 7px;
    min-height: {height - 2}px; }}
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled, QPlainTextEdit:disabled {{
    color: {c.faint}; background: {c.window}; }}
QLineEdit[state="bad"], QSpinBox[state="bad"], QDoubleSpinBox[state="bad"], QComboBox[state="bad"] {{
    border-color: {c.bad}; }}
QSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::up-button, QDoubleSpinBox::down-button {{ width: 0;
    border: none; }}
QComboBox::drop-down {{ border: none; width: 24px; }}
QComboBox QAbstractItemView {{ background: {c.raised}; border: 1px solid {c.line_strong}; padding: 4px;
    selection-background-color: {c.accent_soft}; selection-color: {c.text}; outline: none; }}
QCheckBox, QRadioButton {{ background: transparent; spacing: 8px; min-height: {px(24)}px; }}
QCheckBox:focus, QRadioButton:focus {{ color: {c.accent}; }}
QSlider:horizontal {{ min-height: {px(22)}px; }}
QSlider::groove:horizontal {{ height: 4px; background: {c.line_strong}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {c.accent}; border-radius: 2px; }}
QSlider::handle:horizontal {{ background: {c.panel}; border: 2px solid {c.accent}; width: 12px; height: 12px;
    margin: -6px 0; border-radius: 8px; }}
QSlider::handle:horizontal:focus {{ background: {c.accent}; border: 2px solid {c.text}; }}
QSlider::sub-page:horizontal:disabled, QSlider::handle:horizontal:disabled {{ border-color: {c.faint};
    background: {c.faint}; }}
QSlider::handle:horizontal:disabled {{ background: {c.panel}; }}
"""


def _lists(c: Colors, px: Px) -> str:
    return f"""
QListView, QTableView, QTreeView {{ background: {c.panel}; border: 1px solid {c.line};
    border-radius: {tokens.CARD_RADIUS}px; alternate-background-color: {c.window}; gridline-color: {c.line};
    selection-background-color: {c.accent_soft}; selection-color: {c.text}; }}
QTableView {{ border-radius: {tokens.RADIUS}px; }}
QListView:focus, QTableView:focus, QTreeView:focus {{ border: 2px solid {c.accent}; }}
QListView::item, QTableView::item, QTreeView::item {{ padding: 4px 8px; border: none; }}
QListView::item:hover, QTableView::item:hover, QTreeView::item:hover {{ background: {c.hover}; }}
QListView::item:selected, QTableView::item:selected, QTreeView::item:selected {{ background: {c.accent_soft};
    color: {c.text}; }}
QHeaderView {{ background: transparent; border: none; }}
QHeaderView::section {{ background: {c.panel}; color: {c.muted}; border: none; border-bottom: 1px solid {c.line};
    padding: 6px 8px; font-size: {px(tokens.SMALL)}px; font-weight: 600; }}
QHeaderView::section:vertical {{ border: none; font-weight: 400; }}
QHeaderView::up-arrow, QHeaderView::down-arrow {{ subcontrol-position: center right; width: 8px; right: 2px; }}
#fit-table QHeaderView::section {{ padding-right: 14px; }}
#fit-table::item {{ padding-right: 14px; }}
QTableCornerButton::section {{ background: {c.panel}; border: none; }}
QMenu {{ background: {c.raised}; border: 1px solid {c.line_strong}; padding: 4px; }}
QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 4px; }}
QMenu::item:selected {{ background: {c.accent_soft}; }}
QMenu::item:disabled {{ color: {c.faint}; }}
QMenu::separator {{ height: 1px; background: {c.line}; margin: 4px 8px; }}
QMenu::icon {{ padding-left: 8px; }}
QTabBar::tab {{ background: transparent; color: {c.muted}; padding: 6px 12px; border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {c.text}; border-bottom: 2px solid {c.accent}; font-weight: 600; }}
QTabBar::tab:focus {{ color: {c.accent}; }}
QTabWidget::pane {{ border: none; }}
"""


def _bars(c: Colors) -> str:
    return f"""
QProgressBar {{ background: {c.line}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px;
    color: transparent; }}
QProgressBar::chunk {{ background: {c.accent}; border-radius: 3px; }}
QAbstractScrollArea::corner {{ background: transparent; border: none; }}
QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {c.line_strong}; border-radius: 4px; min-height: 28px; margin: 1px; }}
QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
QScrollBar::handle:horizontal {{ background: {c.line_strong}; border-radius: 4px; min-width: 28px; margin: 1px; }}
QScrollBar::handle:hover {{ background: {c.faint}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent;
    border: none; width: 0; height: 0; }}
"""
