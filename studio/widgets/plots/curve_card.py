"""A card around a plot: buttons for the scale and the whole history, and a menu that also writes files."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from studio.look import tokens
from studio.widgets.basics import Card, button, row, tool_button
from studio.widgets.plots import curve_files
from studio.widgets.plots.curve_plot import CurvePlot
from studio.words import tr
from studio.workers.task import Report, start_task

_FILTERS = {"png": "PNG (*.png)", "svg": "SVG (*.svg)", "csv": "CSV (*.csv)"}


class CurveCard(Card):
    """A plot with its buttons.

    Attributes:
        plot: the plot.
        saved: the path of a file that was written.
        failed: a sentence about a file that could not be written.
    """

    saved = Signal(object)
    failed = Signal(str)

    def __init__(self, plot: CurvePlot, file_name: str, *controls: QWidget) -> None:
        """``file_name`` is offered when a file is written; ``controls`` stand before the buttons."""
        super().__init__(margin=tokens.SPACE_3)
        self.plot = plot
        self.file_name = file_name
        self.log = button(
            tr("Log scale"), role="quiet", name="plot-log", tip=tr("Equal factors at equal distances (L)")
        )
        self.log.setCheckable(True)
        self.log.clicked.connect(lambda: plot.set_log(self.log.isChecked()))
        plot.log_changed.connect(self.log.setChecked)
        self.all = tool_button("maximize", tr("Show the whole history (Home)"), plot.show_all, name="plot-all")
        self.more = tool_button("download", tr("Save the picture or the numbers"), self._show_menu, name="plot-save")
        plot.menu_asked.connect(self._open_menu)
        self.add(row(*controls, None, self.log, self.all, self.more))
        self.add(plot, 1)

    def _show_menu(self) -> None:
        self._open_menu(self.more.mapToGlobal(QPoint(0, self.more.height())))

    def _open_menu(self, at: QPoint) -> None:
        self.menu().popup(at)

    def menu(self) -> QMenu:
        """Everything one can do with the plot, for mouse and keyboard."""
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        plot, view = self.plot, self.plot.scene.view
        _add(menu, tr("Show the whole history"), plot.show_all)
        _add(menu, tr("Follow the newest steps"), plot.follow)
        _add(menu, tr("Log scale"), lambda: plot.set_log(not view.log), checked=view.log)
        if len(plot.scene.series) > 1:
            menu.addSeparator()
            for item in plot.scene.named():
                _add(menu, item.label, self._turner(item.key), checked=not item.hidden)
        menu.addSeparator()
        for kind, text in (
            ("png", tr("Save as PNG…")),
            ("svg", tr("Save as SVG…")),
            ("csv", tr("Save all points as CSV…")),
        ):
            _add(menu, text, lambda kind=kind: self.ask_and_save(kind)).setEnabled(bool(plot.scene.named()))  # type: ignore[misc]
        return menu

    def _turner(self, key: str) -> Callable[[], None]:
        return lambda: self.plot.set_hidden(key, hidden=not self.plot.scene.series[key].hidden)

    def ask_and_save(self, kind: str) -> None:
        """Asks where, and writes a "png", "svg" or "csv" there."""
        start = str(Path.home() / f"{self.file_name}.{kind}")
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save the curves"), start, _FILTERS[kind])
        if chosen:
            path = Path(chosen)
            self.save(path if path.suffix.lower() == f".{kind}" else path.with_name(f"{path.name}.{kind}"))

    def save(self, path: Path) -> None:
        """Writes a file of the kind that its ending says; `saved` or `failed` tells how it went."""
        if path.suffix.lower() == ".csv":
            table = curve_files.table_of(self.plot.scene)

            def work(report: Report) -> None:
                curve_files.write_csv(table, path, report.check)

            start_task(work, on_done=lambda _: self.saved.emit(path), on_failed=self._refused, parent=self)
            return
        try:
            (self.plot.export_svg if path.suffix.lower() == ".svg" else self.plot.export_png)(path)
        except OSError as failure:
            self._refused(failure)
        else:
            self.saved.emit(path)

    def _refused(self, failure: Exception) -> None:
        if not isinstance(failure, OSError):
            raise failure
        self.failed.emit(tr("The curves could not be saved: {reason}.", reason=failure.strerror or failure))


def _add(menu: QMenu, text: str, perform: Callable[[], object], *, checked: bool | None = None) -> QAction:
    action = QAction(text, menu)
    if checked is not None:
        action.setCheckable(True)
        action.setChecked(checked)
    action.triggered.connect(lambda _checked=False: perform())
    menu.addAction(action)
    return action
