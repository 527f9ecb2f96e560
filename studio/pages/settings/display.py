"""What the window is drawn with: the check-up's line that only the window itself can write."""

from PySide6.QtGui import QFontDatabase, QFontInfo, QGuiApplication

from core.runs.checkup import Finding
from studio.words import language, tr

_CHINESE = "zh_CN"


def display_finding() -> Finding:
    """Screen, scale and font, and whether the font has the letters of the window's language."""
    screen = QGuiApplication.primaryScreen()
    size, scale = screen.size(), screen.devicePixelRatio()
    family = QFontInfo(QGuiApplication.font()).family()
    words = tr(
        "{width}×{height} at {scale} %, by {platform}, letters of {family}",
        width=size.width(),
        height=size.height(),
        scale=round(scale * 100),
        platform=QGuiApplication.platformName(),
        family=family,
    )
    if language() == _CHINESE and not _has_chinese():
        remedy = tr("Install a font with Chinese letters, such as Noto Sans CJK (on Debian: fonts-noto-cjk).")
        return Finding("warn", tr("Display"), tr("{words}; no font here has Chinese letters", words=words), remedy)
    return Finding("ok", tr("Display"), words)


def _has_chinese() -> bool:
    return bool(QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese))
