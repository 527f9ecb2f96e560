"""Language, theme, text size, motion and notifications: how the window looks and speaks."""

from studio.pages.settings.lines import Line
from studio.state.desk import Desk
from studio.state.preferences import TEXT_SIZES
from studio.widgets.basics import Card
from studio.widgets.controls import Segments, Switch
from studio.words import LANGUAGES, tr

_SYSTEM = "system"


class AppearanceCard(Card):
    """Edits the preferences of the desk; the window obeys them at once."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Appearance"))
        self._desk = desk
        now = desk.preferences.now
        languages = [(_SYSTEM, tr("System")), *LANGUAGES.items()]
        self.language = Segments(languages, name="language")
        self.language.choose(now.language or _SYSTEM)
        self.language.chosen.connect(self._set_language)
        self.theme = Segments(
            [("system", tr("System")), ("light", tr("Light")), ("dark", tr("Dark"))], name="theme"
        )  # fmt: skip
        self.theme.choose(now.theme)
        self.theme.chosen.connect(self._set_theme)
        sizes = [(str(size), tr("{percent} %", percent=round(size * 100))) for size in TEXT_SIZES]
        self.text_size = Segments(sizes, name="text-size")
        self.text_size.choose(str(now.text_scale))
        self.text_size.chosen.connect(self._set_size)
        self.motion = Switch(tr("Reduce motion"))
        self.motion.setObjectName("reduced-motion")
        self.motion.setChecked(now.reduced_motion)
        self.motion.clicked.connect(self._set_motion)
        self.announce = Switch(tr("Tell me when work has ended"))
        self.announce.setObjectName("announce")
        self.announce.setChecked(now.announce)
        self.announce.clicked.connect(self._set_announce)
        self.add(Line(tr("Language"), self.language))
        self.add(Line(tr("Theme"), self.theme, tr("“System” follows the light or dark setting of your desktop.")))
        self.add(Line(tr("Text size"), self.text_size))
        self.add(Line(tr("Motion"), self.motion, tr("Panels and notices appear at once instead of sliding in.")))
        words = tr("Your desktop tells you when training, the queue, an export or a download ends while you are away.")
        self.add(Line(tr("Notifications"), self.announce, words))

    def _set_language(self, code: str) -> None:
        self._desk.preferences.set("language", "" if code == _SYSTEM else code)

    def _set_theme(self, theme: str) -> None:
        self._desk.preferences.set("theme", theme)

    def _set_size(self, size: str) -> None:
        self._desk.preferences.set("text_scale", float(size))

    def _set_motion(self, checked: bool) -> None:
        self._desk.preferences.set("reduced_motion", checked)

    def _set_announce(self, checked: bool) -> None:
        self._desk.preferences.set("announce", checked)
