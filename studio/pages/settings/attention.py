"""“Measure attention”: speed and memory of attention on this computer beside every score written out, as a job."""

from PySide6.QtWidgets import QGridLayout, QProgressBar, QWidget

from core.errors import UserError
from core.records import to_plain
from core.runs.attention_bench import FUSED, LENGTHS, PLAIN, AttentionBench, Cell, bench_path, load_bench
from core.runs.attention_shape import shape_of
from core.runs.outcome import Outcome
from core.runs.store import create_job
from core.runs.supervisor import Supervisor
from core.units import format_bytes
from studio.look import tokens
from studio.look.theme import look
from studio.state.desk import Desk
from studio.widgets.basics import Card, button, column, label, row
from studio.widgets.plots.curve_plot import CurvePlot
from studio.words import say, tr
from studio.workers.job_thread import JobThread
from studio.workers.task import start_task


class AttentionCard(Card):
    """The newest measurement, as curves and numbers; measured again with a button."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Attention"), tr("How fast attention is here and what it takes, beside every score written out.")
        )
        self.setObjectName("attention-card")
        self._desk = desk
        self._job: JobThread | None = None
        self._go = button(tr("Measure attention"), self.measure, icon_name="activity", name="measure-attention")
        self.head.addWidget(self._go)
        self._words = label("", "muted", wrap=True)
        self._bar = QProgressBar()
        self._bar.setRange(0, 100)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(tr("Measuring attention"))
        self._busy = QWidget()
        cancel = button(tr("Cancel"), self.cancel, name="cancel-attention")
        asked = label(tr("Measuring; some minutes on a processor."), "muted", wrap=True)
        busy = row(spacing=tokens.SPACE_4)
        busy.addLayout(column(asked, self._bar, spacing=tokens.SPACE_1), 1)
        busy.addWidget(cancel)
        self._busy.setLayout(busy)
        self._plot = CurvePlot(tr("Tokens a second, one layer"), x_title=tr("Tokens of a row"))
        self._plot.setMinimumHeight(look().px(200))
        self._plot.set_series(FUSED, tr("as runs attend"), 0)
        self._plot.set_series(PLAIN, tr("every score written out"), 1)
        self._table = QWidget()
        for part in (self._busy, self._words, self._plot, self._table):
            self.add(part)
        self._show(None)

    def load(self) -> None:
        """Shows what was measured last, if anything was."""
        start_task(lambda _report: load_bench(bench_path()), on_done=self._show, on_failed=self._failed, parent=self)

    def measure(self) -> None:
        """Measures in an engine of its own."""
        if self._job is not None:
            return
        self._job = JobThread(_begin)
        self._job.progressed.connect(self._progressed)
        self._job.ended.connect(self._ended)
        self._job.refused.connect(self._refused)
        self._bar.setValue(0)
        self._job.start()
        self._arrange()

    def cancel(self) -> None:
        """Ends the measuring; what was measured so far is kept."""
        if self._job is not None:
            self._job.cancel()

    def _progressed(self, fraction: float, _words: str, _done: float, _total: float, _unit: str) -> None:
        self._bar.setValue(round(100 * max(0.0, fraction)))

    def _ended(self, outcome: Outcome) -> None:
        self._job = None
        if outcome.kind not in ("completed", "stopped"):
            self._desk.complain(tr("Attention could not be measured."), say(outcome.message))
        self._arrange()
        self.load()

    def _refused(self, failure: Exception) -> None:
        self._job = None
        self._arrange()
        self._failed(failure)

    def _failed(self, failure: Exception) -> None:
        if not isinstance(failure, UserError | OSError):
            raise failure
        self._desk.complain(tr("Attention could not be measured."), str(failure))

    def _arrange(self) -> None:
        self._busy.setVisible(self._job is not None)
        self._go.setEnabled(self._job is None)

    def _show(self, bench: AttentionBench | None) -> None:
        self._arrange()
        there = bench is not None and bool(bench.cells)
        self._plot.setVisible(there)
        self._table.setVisible(there)
        if bench is None or not there:
            self._words.setText(tr("Nothing was measured yet."))
            return
        kernels = ", ".join(dict.fromkeys(cell.kernel for cell in bench.cells if cell.kernel and cell.way == FUSED))
        self._words.setText(
            tr(
                "{model}: {heads} heads of {width}, {dtype}, {device}. The profiler saw {kernels}.",
                model=bench.model,
                heads=bench.heads,
                width=bench.head_dim,
                dtype=bench.dtype,
                device=bench.device,
                kernels=kernels,
            )
        )
        for way in (FUSED, PLAIN):
            run = [cell for cell in bench.cells if cell.way == way and cell.seconds]
            self._plot.set_data(way, [float(cell.length) for cell in run], [cell.speed for cell in run])
        fresh = _numbers(bench)
        self.body.replaceWidget(self._table, fresh)
        self._table.hide()
        self._table.deleteLater()
        self._table = fresh
        fresh.show()


def _begin() -> Supervisor:
    arguments = {"bench": to_plain(shape_of()), "lengths": list(LENGTHS), "path": str(bench_path())}
    return Supervisor(create_job("bench_attention", arguments))


def _numbers(bench: AttentionBench) -> QWidget:
    """A line for each length: speed and memory both ways."""
    holder = QWidget()
    grid = QGridLayout(holder)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(tokens.SPACE_4)
    grid.setColumnStretch(1, 1)
    grid.setColumnStretch(2, 2)
    titles = (tr("Tokens of a row"), tr("as runs attend"), tr("every score written out"))
    for place, title in enumerate(titles):
        grid.addWidget(label(title, "muted"), 0, place)
    for number, length in enumerate(bench.lengths, 1):
        grid.addWidget(label(f"{length:,}"), number, 0)
        for place, way in enumerate((FUSED, PLAIN), 1):
            grid.addWidget(label(_words_of(bench.cell(length, way)), wrap=True, selectable=True), number, place)
    return holder


def _words_of(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.skipped:
        return tr("not run: {reason}", reason=say(cell.skipped))
    return tr("{speed} tokens/s, {memory}", speed=f"{cell.speed:,.0f}", memory=format_bytes(cell.peak_bytes))
