"""What the run and its exports take on the disk, and what is free where the run goes."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel

from core.plan.types import Disk
from core.units import format_bytes
from studio.look import tokens
from studio.pages.export.space_bar import SpaceBar
from studio.widgets.basics import Card, label
from studio.words import tr


class DiskCard(Card):
    """One size a line; exports come beside the run, when somebody asks for them."""

    def __init__(self) -> None:
        super().__init__(tr("Disk"), tr("What the run takes where it goes, and what can be made of its result later."))
        self.setObjectName("fit-disk")
        self._space = SpaceBar()
        self.add(self._space)
        titles = {
            "run": tr("The run at its fullest"),
            "checkpoint": tr("of it each saved state"),
            "result": tr("of it the result"),
            "download": tr("Base model to download"),
            "merged": tr("Merged model"),
            "gguf": tr("GGUF file"),
        }
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_4)
        grid.setVerticalSpacing(tokens.SPACE_2)
        grid.setColumnStretch(1, 1)
        self._titles: dict[str, QLabel] = {}
        self._values: dict[str, QLabel] = {}
        for number, (name, title) in enumerate(titles.items()):
            self._titles[name] = label(title, "muted" if name in ("checkpoint", "result") else "")
            self._values[name] = label("", "strong", wrap=name == "gguf")
            self._values[name].setObjectName(f"fit-disk-{name}")
            grid.addWidget(self._titles[name], number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(self._values[name], number, 1)
        self.add(grid)

    def show_disk(self, disk: Disk | None) -> None:
        """Shows other sizes; nothing where they are not known."""
        self.setVisible(disk is not None)
        if disk is None:
            return
        self._space.show_space(disk.run_bytes, disk.free_bytes)
        gguf = (
            f"{kind} {format_bytes(size)}".replace(" ", "\N{NO-BREAK SPACE}") for kind, size in disk.gguf_bytes.items()
        )
        words = {
            "run": format_bytes(disk.run_bytes),
            "checkpoint": format_bytes(disk.checkpoint_bytes),
            "result": format_bytes(disk.adapter_bytes),
            "download": format_bytes(disk.download_bytes) if disk.download_bytes else "",
            "merged": format_bytes(disk.merged_bytes),
            "gguf": ",  ".join(gguf),
        }
        for name, text in words.items():
            self._values[name].setText(text)
            self._titles[name].setVisible(bool(text))
            self._values[name].setVisible(bool(text))
