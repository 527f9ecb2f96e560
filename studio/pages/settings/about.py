"""What this program is: its version, its licence, the parts it is made of, and what it does with your data."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QGridLayout, QWidget

import core
from core import __version__, paths
from studio.look import tokens
from studio.state.desk import Desk
from studio.widgets.basics import Card, IconLabel, button, label, row
from studio.widgets.flow import FlowLayout
from studio.words import tr
from studio.workers.task import Report, start_task

_DISTRIBUTION = "lowrank-studio"


@dataclass(frozen=True, slots=True)
class Part:
    """A part that somebody else has made."""

    name: str
    version: str
    licence: str


def installed_parts(report: Report) -> tuple[Part, ...]:
    """The libraries that this program needs, with the licences that they state, in alphabetical order."""
    from importlib.metadata import PackageNotFoundError, metadata, requires, version

    try:
        needed = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:  # run from its folder without having been installed
        needed = []
    parts = []
    for line in needed:
        report.check()
        name = _name_of(line)
        if "extra ==" in line:
            continue
        try:
            parts.append(Part(name, version(name), _licence_of(metadata(name))))
        except PackageNotFoundError:
            parts.append(Part(name, "", ""))
    return tuple(sorted(parts, key=lambda part: part.name.lower()))


def bundled_parts() -> tuple[Part, ...]:
    """What comes with this program that is no library."""
    return (
        Part("Lucide", "", "ISC"),
        Part("The Devil’s Dictionary", "", tr("public domain")),
        Part("SmolLM2-135M-Instruct", "", "Apache-2.0"),
    )


def _name_of(requirement: str) -> str:
    import re

    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found.group(0) if found else requirement


def _licence_of(about: object) -> str:
    """The licence as short as the part states it."""
    get = about.get  # type: ignore[attr-defined]  # a message, which importlib's stubs do not say
    for field in ("License-Expression", "License"):
        text = str(get(field) or "").strip().splitlines()
        if text and len(text[0]) < 200:
            return text[0]
    classifiers = about.get_all("Classifier") or []  # type: ignore[attr-defined]  # likewise
    named = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    return ", ".join(named)


class AboutCard(Card):
    """Name, version, licence, privacy, documents, and the list of parts, which opens and closes."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("About Lowrank Studio"))
        self._desk = desk
        version = label(tr("Version {version}, Apache-2.0 licence", version=__version__), "strong", selectable=True)
        version.setObjectName("about-version")
        privacy = label(
            tr(
                "Nothing is sent anywhere: no telemetry, no account, no open port. The network is used only for what "
                "you start yourself: installing, and looking for or downloading models."
            ),
            wrap=True,
        )
        privacy.setObjectName("about-privacy")
        lock = IconLabel("lock", "good")
        said = row(spacing=tokens.SPACE_2)
        said.addWidget(lock, 0, Qt.AlignmentFlag.AlignTop)
        said.addWidget(privacy, 1)
        self._turn = button("", self._toggle, role="quiet", icon_name="list", name="show-parts")
        documents = FlowLayout()
        for title, path in _documents():
            open_it = partial(self._open, path)
            documents.addWidget(button(title, open_it, icon_name="external-link"))
        documents.addWidget(self._turn)
        self._parts = QWidget()
        self._parts.setObjectName("parts")
        self._grid = QGridLayout(self._parts)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(tokens.SPACE_4)
        self._grid.setVerticalSpacing(tokens.SPACE_1)
        self._grid.setColumnStretch(2, 1)
        self._asked = False
        self.add(version)
        self.add(said)
        self.add(documents)
        self.add(self._parts)
        self._open_parts(opened=False)

    def _toggle(self) -> None:
        self._open_parts(opened=not self._parts.isVisibleTo(self))
        if not self._asked:
            self._asked = True
            start_task(installed_parts, on_done=self._show, on_failed=_raise, parent=self)

    def _open_parts(self, *, opened: bool) -> None:
        self._parts.setVisible(opened)
        self._turn.setText(tr("Hide the parts") if opened else tr("Parts and their licences"))

    def _show(self, parts: tuple[Part, ...]) -> None:
        for place, part in enumerate((*parts, *bundled_parts())):
            licence = part.licence or tr("not stated")
            self._grid.addWidget(label(part.name, selectable=True), place, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(label(part.version, "muted"), place, 1, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(label(licence, "muted", wrap=True, selectable=True), place, 2)

    def _open(self, path: Path) -> None:
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._desk.warn(tr("This cannot be opened here."), str(path))


def _documents() -> list[tuple[str, Path]]:
    """Title and place of what there is to read; a packaged program carries it among its resources."""
    root = Path(core.__file__).resolve().parent.parent
    found = []
    known = (
        (tr("Read me"), "README.md"), (tr("Changes"), "CHANGELOG.md"), (tr("Documents"), "docs"),
        (tr("Licence"), "LICENSE"),
    )  # fmt: skip
    for title, name in known:
        place = next((path for path in (root / name, paths.resource(name)) if path.exists()), None)
        if place is not None:
            found.append((title, place))
    return found


def _raise(failure: Exception) -> None:
    raise failure
