"""Notices of the engine, and what is really in use, as two short lists."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from core.events.run_state import RunState
from core.events.types import MemoryMeasured, Notice
from core.units import format_bytes, format_count, format_share
from studio.look import tokens
from studio.widgets.basics import Empty, IconLabel, label, row
from studio.words import say, tr

_MOST_NOTICES = 60


class NoticesView(QWidget):
    """What the engine found worth saying, the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Notice, ...] = ()
        self._empty = Empty("bell", tr("No notices"), tr("The engine says here what is worth knowing about the run."))
        self._box = QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(tokens.SPACE_2)
        self._box.addWidget(self._empty)
        self._rows: list[QWidget] = []

    def take(self, state: RunState) -> int:
        """Shows the run's notices and returns how many there are."""
        count = len(state.notices)
        newest = tuple(reversed(state.notices[max(0, count - _MOST_NOTICES) :]))
        if newest == self._shown:
            return count
        self._shown = newest
        for made in self._rows:
            made.hide()
            made.deleteLater()
        self._rows = []
        self._empty.setVisible(not newest)
        for notice in newest:
            warns = notice.level == "warning"
            mark = IconLabel("triangle-alert" if warns else "info", "warn" if warns else "accent")
            line = row(mark, label(say(notice.message), wrap=True, selectable=True), spacing=tokens.SPACE_2)
            line.setAlignment(mark, Qt.AlignmentFlag.AlignTop)
            line.setStretch(1, 1)
            made = QWidget()
            made.setLayout(line)
            made.setObjectName("notice")
            self._rows.append(made)
            self._box.addWidget(made)
        return count


class UsedView(QWidget):
    """What the engine observed about itself: not what was planned, but what runs."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[tuple[str, str]] = []
        self._empty = Empty("cpu", tr("Not known yet"), tr("Known once the base model is loaded and training begins."))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(tokens.SPACE_6)
        self._grid.setVerticalSpacing(tokens.SPACE_2)
        self._grid.setColumnStretch(1, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addLayout(self._grid)
        box.addWidget(self._empty)
        box.addStretch(1)

    def take(self, state: RunState) -> None:
        """Shows what the state says."""
        facts = used_of(state)
        if facts == self._shown:
            return
        self._shown = facts
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._empty.setVisible(not facts)
        for number, (title, value) in enumerate(facts):
            self._grid.addWidget(label(title, "help"), number, 0)
            self._grid.addWidget(label(value, wrap=True, selectable=True), number, 1)


def used_of(state: RunState) -> list[tuple[str, str]]:
    """Titles and values; nothing before the training begins."""
    started, hello = state.started, state.hello
    if started is None:
        return []
    weights = {"none": tr("as they are"), "nf4": tr("4 bits (NF4)"), "int8": tr("8 bits (LLM.int8)")}
    precisions = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    kernels = {"flash": tr("Flash, for each row"), "sdpa": "PyTorch SDPA", "eager": tr("Plain")}
    layers = {"plain": tr("Plain"), "compiled": tr("Compiled"), "liger": "Liger"}
    share = started.trainable / started.total if started.total else 0.0
    facts = [
        (tr("Weights of the base"), weights.get(started.quantization, started.quantization)),
        (tr("Computes in"), precisions.get(started.compute_dtype, started.compute_dtype)),
        (tr("Attention kernel"), kernels.get(started.attention, started.attention)),
        (tr("Layer kernels"), layers.get(started.kernels, started.kernels)),
        (tr("Loss"), started.loss_head),
        (tr("Layers computed again"), f"{started.checkpointed_layers:,}"),
        (
            tr("Trainable parameters"),
            tr("{n} of {total} ({share})", n=format_count(started.trainable), total=format_count(started.total),
               share=format_share(share)),
        ),
        (tr("Tokens a pass"), f"{started.micro_batch_tokens:,}"),
        (tr("Rows"), tr("{rows}, and {held} for validation", rows=f"{started.rows:,}",
                        held=f"{started.validation_rows:,}")),
    ]  # fmt: skip
    if hello is not None:
        device = hello.device_name or hello.device
        facts.insert(0, (tr("Device"), f"{device} × {hello.world_size}" if hello.world_size > 1 else device))
        facts.append((tr("Engine"), tr("Lowrank Studio {version}, PyTorch {torch}, Python {python}, process {pid}",
                                       version=hello.version, torch=hello.torch or "–", python=hello.python,
                                       pid=hello.pid)))  # fmt: skip
    if state.memory is not None:
        facts += _measured(state.memory)
    elif state.memory_peak:
        facts.append((tr("Memory peak"), format_bytes(state.memory_peak)))
    return [(title, value) for title, value in facts if value]


def _measured(memory: MemoryMeasured) -> list[tuple[str, str]]:
    """What the plan said of the memory, what it came to, and what other programs show."""
    size = format_bytes(memory.peak_bytes)
    residual = memory.residual if memory.counted_bytes else None
    if residual is None:
        words = size
    elif abs(residual) < 0.005:
        words = tr("{size}, as counted for its largest pass", size=size)
    else:
        percent = f"{abs(residual):.0%}".replace("%", " %")
        words = (
            tr("{size}, {percent} more than counted for its largest pass", size=size, percent=percent)
            if residual > 0
            else tr("{size}, {percent} less than counted for its largest pass", size=size, percent=percent)
        )
    facts = [(tr("Memory peak"), words)]
    if memory.predicted_bytes:
        facts.insert(0, (tr("Memory planned at most"), format_bytes(memory.predicted_bytes)))
    if memory.shown_bytes:
        facts.append((tr("Memory shown by the system"), format_bytes(memory.shown_bytes)))
    return facts
