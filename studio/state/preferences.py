"""What the user likes, and where the window was: one small file in the data folder, whole or absent."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from core.paths import home, write_json
from core.records import RecordError, from_plain, to_plain

Theme = Literal["system", "light", "dark"]
TEXT_SIZES = (0.9, 1.0, 1.15, 1.3, 1.5)
_MOST_RECENT = 12


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's preferences and the window's place.

    Attributes:
        language: a code of `studio.words.LANGUAGES`; empty follows the system.
        text_scale: factor of the text size.
        geometry: left, top, width and height of the window; empty before the first start.
        page: the page that was open.
        recent: spec files, newest first.
        last_run: the folder of the run that was shown last.
        welcomed: the first-run page has been passed.
        linked_alpha: alpha moves with rank by this factor; 0 when it does not.
        announce: the desktop tells of the end of long work while the window is not in front.
        more_settings: pages whose “More settings” are open.
    """

    language: str = ""
    theme: Theme = "system"
    text_scale: float = 1.0
    geometry: tuple[int, ...] = ()
    maximized: bool = False
    page: str = "model"
    recent: tuple[str, ...] = ()
    recent_data: tuple[str, ...] = ()
    recent_models: tuple[str, ...] = ()
    last_run: str = ""
    welcomed: bool = False
    linked_alpha: float = 2.0
    more_settings: tuple[str, ...] = ()
    reduced_motion: bool = False
    announce: bool = True


class Preferences(QObject):
    """The preferences as they are, saved at each change.

    Attributes:
        changed: the name of the field that changed.
        unsaved: a sentence about why the file could not be written; the window goes on without.
    """

    changed = Signal(str)
    unsaved = Signal(str)

    def __init__(self, path: Path | None = None) -> None:
        """Reads ``path`` (by default in the data folder); a missing or damaged file means the defaults."""
        super().__init__()
        self.path = path or home() / "window.json"
        self.problem = ""
        self.now = self._read()

    def set(self, name: str, value: Any) -> None:
        """Changes one field and saves."""
        if getattr(self.now, name) == value:
            return
        self.now = replace(self.now, **{name: value})
        self._write()
        self.changed.emit(name)

    def remember(self, name: Literal["recent", "recent_data", "recent_models"], entry: str) -> None:
        """Puts an entry at the head of one of the lists of recent things."""
        rest = tuple(item for item in getattr(self.now, name) if item != entry)
        self.set(name, (entry, *rest)[:_MOST_RECENT])

    def _read(self) -> Choices:
        try:
            return from_plain(Choices, json.loads(self.path.read_text("utf-8")))
        except FileNotFoundError:
            return Choices()
        except (OSError, ValueError, RecordError) as failure:
            self.problem = f"{self.path}: {failure}"
            return Choices()

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, to_plain(self.now))
        except OSError as failure:
            self.unsaved.emit(f"{self.path}: {failure.strerror or failure}")
