"""Where things lie and how much room they take."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton

from core import paths
from core.data.token_cache import clear_tokens, tokens_folder
from core.units import format_bytes
from studio.look import tokens
from studio.pages.settings.move_card import MoveCard
from studio.state.desk import Desk
from studio.widgets.basics import Card, Elided, button, label, row, tool_button
from studio.words import tr
from studio.workers.task import Report, start_task

_CHECK_EVERY = 200


@dataclass(frozen=True, slots=True)
class Room:
    """What the folders take and what their disk has left, in bytes; None for a folder that is not there."""

    sizes: Mapping[str, int | None]
    free: int


def folders() -> dict[str, Path]:
    """The folders that the page shows, by name."""
    home = paths.home()
    named = {"home": home, "models": paths.models_dir(), "runs": paths.runs_dir(), "exports": home / "exports"}
    return {**named, "tokens": tokens_folder()}


def folder_size(folder: Path, report: Report) -> int | None:
    """The bytes of all files in a folder, each once, links not followed; None where there is no folder."""
    if not folder.is_dir():
        return None
    total, count = 0, 0
    seen: set[tuple[int, int]] = set()
    for where, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count % _CHECK_EVERY == 0:
                report.check()
            try:
                status = os.lstat(os.path.join(where, name))  # noqa: PTH118 (a Path for each file is four times slower)
            except OSError:  # gone meanwhile: it takes no room
                continue
            if status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_size
    return total


def measure(report: Report) -> Room:
    """The room of all folders; takes as long as the disk needs."""
    sizes = {name: folder_size(path, report) for name, path in folders().items()}
    return Room(sizes, shutil.disk_usage(paths.existing_parent(paths.home())).free)


class FoldersCard(Card):
    """Each folder with its path, its size and a button that opens it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Folders"))
        self._desk = desk
        self._free = label("", "muted")
        self._free.setObjectName("free-space")
        refresh = tool_button("refresh-cw", tr("Measure again"), self.measure, name="measure-folders")
        self.head.addWidget(self._free)
        self.head.addWidget(refresh)
        titles = {
            "home": tr("All data"), "models": tr("Models"), "runs": tr("Runs"), "exports": tr("Exports"),
            "tokens": tr("Kept tokens"),
        }  # fmt: skip
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_3)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(1, 1)
        self._sizes: dict[str, QLabel] = {}
        self._buttons: dict[str, QPushButton] = {}
        for place, (name, path) in enumerate(folders().items()):
            self._sizes[name] = label("…", "muted")
            self._sizes[name].setObjectName(f"size-{name}")
            self._buttons[name] = button(tr("Open folder"), lambda path=path: self._open(path), name=f"open-{name}")  # type: ignore[misc]  # bound early
            self._buttons[name].setAccessibleName(tr("Open the folder: {name}", name=titles[name]))
            grid.addWidget(label(titles[name]), place, 0)
            grid.addWidget(Elided(str(path), "muted", mode=Qt.TextElideMode.ElideMiddle), place, 1)
            grid.addWidget(self._sizes[name], place, 2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(self._buttons[name], place, 4)
        tip = tr("Rows that were turned into tokens before; what is deleted is made again when it is needed.")
        self._clear = button(tr("Delete"), self._clear_tokens, tip=tip, name="clear-tokens")
        self._clear.setAccessibleName(tr("Delete the kept tokens"))
        grid.addWidget(self._clear, list(folders()).index("tokens"), 3)
        self.add(grid)
        self.mover = MoveCard(desk)
        self._move = button(tr("Keep all data elsewhere…"), self.mover.ask, icon_name="hard-drive", name="move-home")
        variable = paths.HOME_VARIABLE
        if os.environ.get(variable):
            self._move.setEnabled(False)
            self._move.setToolTip(tr("The variable {variable} says where they are.", variable=variable))
        self.add(row(self._move, None))
        self.add(self.mover)

    def measure(self) -> None:
        """Measures all folders in the background."""
        start_task(measure, on_done=self._show, on_failed=self._failed, parent=self)

    def _show(self, room: Room) -> None:
        for name, size in room.sizes.items():
            self._sizes[name].setText(format_bytes(size) if size is not None else tr("not made yet"))
            self._buttons[name].setEnabled(size is not None)
        self._clear.setEnabled(bool(room.sizes["tokens"]))
        self._free.setText(tr("{size} free on this disk", size=format_bytes(room.free)))

    def _failed(self, failure: Exception) -> None:
        if not isinstance(failure, OSError):
            raise failure
        for size in self._sizes.values():
            size.setText(tr("unknown"))
        self._free.setText(tr("The disk cannot be measured: {reason}", reason=failure.strerror or str(failure)))

    def _clear_tokens(self) -> None:
        self._clear.setEnabled(False)
        start_task(
            lambda _: clear_tokens(),
            on_done=lambda _: self.measure(),
            on_failed=self._not_cleared,
            parent=self,
        )

    def _not_cleared(self, failure: Exception) -> None:
        if not isinstance(failure, OSError):
            raise failure
        self._desk.warn(tr("The kept tokens cannot be deleted."), failure.strerror or str(failure))
        self.measure()

    def _open(self, path: Path) -> None:
        if not path.is_dir() or not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._desk.warn(tr("The folder cannot be opened here."), str(path))
