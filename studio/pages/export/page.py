"""The page “Export”: choose a run, a format and a folder, and see the export through."""

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QComboBox, QScrollArea, QVBoxLayout, QWidget

from core.facts.locate import STARTER
from core.units import format_bytes
from studio.look import tokens
from studio.pages.export.format_cards import Formats
from studio.pages.export.options_card import OptionsCard
from studio.pages.export.past_card import PastCard
from studio.pages.export.progress_card import ProgressCard
from studio.pages.export.target_card import TargetCard
from studio.pages.page import Page
from studio.state.desk import Desk
from studio.state.export_facts import ExportKind
from studio.state.exports import exports_of
from studio.state.results import ResultRun
from studio.widgets.basics import Empty, button, label, row
from studio.widgets.controls import CalmList
from studio.words import say, tr


class ExportPage(Page):
    """Choices on top, then the folder (or the progress), then what this session has exported."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            desk, tr("Export"), tr("Take the result of a run out of here, in a form that other programs load.")
        )
        self.exports = exports_of(desk)
        self._content = self._make_content()
        self._empty = Empty(
            "package",
            tr("Nothing to export yet"),
            tr("An export takes the result of a run that has finished, or was stopped after it had saved something."),
            button(tr("Go to Training"), lambda: desk.go("training"), role="primary", name="go-training"),
        )
        self.add(self._content)
        self.add(self._empty, 1)
        self.body.addStretch(0)
        self.exports.changed.connect(self._refresh)
        self.exports.moved.connect(self._moved)
        self.exports.ended.connect(self._ended_now)
        self.exports.results.changed.connect(self._list_runs)
        self._list_runs()
        self._ended()

    def _make_content(self) -> QWidget:
        self._runs = CalmList()
        self._runs.setObjectName("run")
        self._runs.setAccessibleName(tr("Run"))
        self._runs.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._runs.setMinimumContentsLength(10)
        self._runs.activated.connect(self._run_chosen)
        self._facts = label("", "muted", wrap=True)
        self._formats = Formats()
        self._formats.chosen.connect(self._kind_chosen)
        self._options = OptionsCard(self.exports, self.desk)
        self._target = TargetCard(self.exports)
        self._progress = ProgressCard(self.exports)
        caption = label(tr("Run"), "strong")
        caption.setBuddy(self._runs)
        choosing = row(caption, self._runs, self._facts, spacing=tokens.SPACE_3)
        choosing.setStretch(1, 1)
        choosing.setStretch(2, 1)
        self._past = QVBoxLayout()
        self._past.setSpacing(tokens.SPACE_3)
        self._past_title = label(tr("Exported in this session"), "caption")
        content = QWidget()
        box = QVBoxLayout(content)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(tokens.SPACE_4)
        box.addLayout(choosing)
        for item in (self._formats, self._options, self._target, self._progress, self._past_title):
            box.addWidget(item)
        box.addLayout(self._past)
        box.addStretch(1)
        return content

    def shown(self) -> None:
        """Free space and folders may have changed meanwhile."""
        self.exports.watched = True
        if self.exports.live is None:
            self.exports.look()

    def hidden(self) -> None:
        """From now on a notice tells of the end."""
        self.exports.watched = False

    def close_page(self) -> None:
        """An export goes on without the page."""
        self.exports.watched = False

    # --- what changed

    def _list_runs(self) -> None:
        results = self.exports.results
        self._runs.clear()
        for run in results.all:
            self._runs.addItem(run.name, str(run.path))
            self._runs.setItemData(self._runs.count() - 1, str(run.path), Qt.ItemDataRole.ToolTipRole)
        has_runs = bool(results.all)
        self._content.setVisible(has_runs or bool(self.exports.past) or self.exports.live is not None)
        self._empty.setVisible(results.known and not self._content.isVisibleTo(self))
        self._refresh()

    def _refresh(self) -> None:
        exports = self.exports
        chosen = exports.results.find(exports.run)
        self._runs.setCurrentIndex(self._runs.findData(str(exports.run)) if exports.run is not None else -1)
        self._facts.setText(_facts(chosen) if chosen is not None else "")
        outlook = exports.outlook
        for offer in outlook.offers if outlook is not None else ():
            size = outlook.sizes.get(offer.kind, 0) if outlook is not None else 0
            self._formats.show_offer(offer.kind, format_bytes(size) if size else "", say(offer.reason))
        self._formats.choose(exports.kind)
        self._formats.setEnabled(exports.live is None)
        self._options.refresh()
        self._target.refresh()
        self._moved()

    def _moved(self) -> None:
        is_live = self.exports.live is not None
        self._progress.refresh()
        if is_live == self._progress.isVisibleTo(self._content):
            return
        had_focus = self._target.isAncestorOf(self.focusWidget()) if self.focusWidget() is not None else False
        self._target.setVisible(not is_live)
        self._options.refresh()
        self._progress.setVisible(is_live)
        if is_live and had_focus:
            self._progress.cancel.setFocus()

    def _ended_now(self) -> None:
        count = self._past.count()
        self._ended()
        if self._past.count() > count:
            QTimer.singleShot(0, self, self._show_newest)

    def _show_newest(self) -> None:
        item, area = self._past.itemAt(0), self.findChild(QScrollArea)
        newest = item.widget() if item is not None else None
        if newest is not None and area is not None:
            area.ensureWidgetVisible(newest, 0, tokens.SPACE_4)

    def _ended(self) -> None:
        while (item := self._past.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for number, exported in enumerate(self.exports.past):
            self._past.addWidget(PastCard(self.desk, exported, opened=number == 0))
        self._past_title.setVisible(bool(self.exports.past))
        self._refresh()

    # --- what the user does

    def _run_chosen(self, _index: int) -> None:
        run = next((item for item in self.exports.results.all if str(item.path) == self._runs.currentData()), None)
        if run is not None:
            self.exports.choose_run(run.path)

    def _kind_chosen(self, kind: ExportKind) -> None:
        self.exports.choose_kind(kind)


def _facts(run: ResultRun) -> str:
    from core.spec.run_spec import field_at

    summary = run.summary
    base = summary.base.replace("\\", "/").rstrip("/").rpartition("/")[2] or summary.base
    titles = {choice.value: choice.title for choice in field_at("adapter.method").setting.choices}
    values = {
        "method": say(titles.get(summary.method, summary.method)),
        "base": tr("the starter model") if base == STARTER else base,
        "step": f"{summary.step:,}",
        "steps": f"{summary.steps:,}",
    }
    if summary.loss is None:
        return tr("{method} on {base} · {step} of {steps} steps", **values)
    loss = f"{summary.loss:.3f}"
    return tr("{method} on {base} · {step} of {steps} steps · loss {loss}", loss=loss, **values)
