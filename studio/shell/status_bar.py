"""The status bar: the device, its memory and its work right now, what is going on, and whether the spec is saved."""

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from core.facts.types import DeviceUse, HardwareFacts
from core.units import format_bytes
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import Elided, label
from studio.words import LANGUAGES, language, tr
from studio.workers.task import Task, start_task

_SAMPLE_MS = 2000
_GPU_EVERY = 3  # nvidia-smi takes a while; it is asked at every third sample


class StatusBar(QWidget):
    """The line at the foot of the window."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._task: Task | None = None
        self._count = 0
        self.setObjectName("statusBar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(look().px(tokens.STATUS_HEIGHT))
        self._device = Elided("", "muted")
        self._device.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self._device.setObjectName("status-device")
        self._doing = Elided("", "muted")
        self._saved = label("", "muted")
        self._saved.setObjectName("status-saved")
        box = QHBoxLayout(self)
        box.setContentsMargins(tokens.SPACE_4, 0, tokens.SPACE_4, 0)
        box.setSpacing(tokens.SPACE_4)
        box.addWidget(self._device)
        box.addWidget(self._doing, 1)
        box.addWidget(self._saved)
        box.addWidget(label(LANGUAGES[language()], "muted"))
        self._timer = QTimer(self)
        self._timer.setInterval(_SAMPLE_MS)
        self._timer.timeout.connect(self.sample)
        self._timer.start()
        desk.session.spec_changed.connect(self._show_saved)
        desk.session.facts_changed.connect(self._hardware_changed)
        desk.runs.current_changed.connect(self._show_doing)
        desk.runs.current_moved.connect(self._show_doing)
        desk.runs.current_ended.connect(self._show_doing)
        self._show_saved()
        self._show_doing()
        self._hardware_changed("hardware")

    def sample(self) -> None:
        """Asks for the memory in use, in the background."""
        hardware = self._desk.session.hardware
        if hardware is None or self._task is not None or not self.isVisible():
            return
        self._count += 1
        if hardware.gpus and self._count % _GPU_EVERY:
            return
        at_work = self._desk.runs.is_live
        self._task = start_task(
            lambda _report: read_usage(hardware, at_work=at_work),
            on_done=self._show_usage,
            on_failed=self._not_read,
            parent=self,
        )

    def _hardware_changed(self, what: str) -> None:
        hardware = self._desk.session.hardware
        if what == "hardware" and hardware is not None:
            self._show_usage(usage_of(hardware))

    def _show_usage(self, usage: DeviceUse) -> None:
        self._task = None
        words = [
            tr(
                "{device} · {used} of {total} in use",
                device=usage.name,
                used=format_bytes(usage.used_bytes),
                total=format_bytes(usage.total_bytes),
            )
        ]
        if usage.busy is not None:
            words.append(tr("{n} % busy", n=usage.busy))
        if usage.celsius is not None:
            words.append(f"{usage.celsius} °C")
        if usage.watts is not None:
            words.append(f"{usage.watts:.0f} W")
        self._device.set_text(" · ".join(words))

    def _not_read(self, failure: Exception) -> None:
        self._task = None
        self._timer.stop()  # what fails once fails every two seconds
        raise failure

    def _show_saved(self, _paths: object = None) -> None:
        session = self._desk.session
        name = session.file.name if session.file is not None else tr("unnamed spec")
        if session.file is None:
            self._saved.setText(tr("Draft kept"))
        else:
            self._saved.setText(tr("{name}, changed", name=name) if session.unsaved else tr("{name}, saved", name=name))

    def _show_doing(self) -> None:
        run = self._desk.runs.current
        if run is not None and run.is_live:
            from studio.shell.run_panel import progress_of

            self._doing.set_text(f"{run.name} · {progress_of(run)[0]}")
        else:
            self._doing.set_text(tr("idle"))


def usage_of(hardware: HardwareFacts) -> DeviceUse:
    """The memory of the device that would train, from facts."""
    if hardware.gpus:
        best = max(hardware.gpus, key=lambda gpu: gpu.free_bytes)
        return DeviceUse(best.name, best.total_bytes - best.free_bytes, best.total_bytes)
    total = hardware.ram_total_bytes
    return DeviceUse(tr("Processor"), total - hardware.ram_free_bytes, total)


def read_usage(hardware: HardwareFacts, *, at_work: bool) -> DeviceUse:
    """The same, asked of the system now; runs in a thread.

    Args:
        hardware: what there is.
        at_work: a run is going on, so that the fullest GPU is the one that trains; else it would be the emptiest.
    """
    from dataclasses import replace

    if hardware.gpus:
        from core.facts.nvidia import read_use

        gpus = read_use()
        if not gpus:
            return usage_of(hardware)
        return max(gpus, key=lambda gpu: gpu.used_bytes if at_work else gpu.total_bytes - gpu.used_bytes)
    import psutil

    from core.facts.cgroups import read_limits

    limits = read_limits()
    free: int = psutil.virtual_memory().available
    if limits.memory_free_bytes is not None:
        free = min(free, limits.memory_free_bytes)
    return usage_of(replace(hardware, ram_free_bytes=free))
