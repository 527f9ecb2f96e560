"""An export that is done: where it lies, how large it is, how to load it, and what can be done with it next."""

import time
from collections.abc import Iterator

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit, QPushButton

from core.units import format_bytes, format_duration
from studio.look import tokens
from studio.look.theme import mono_font
from studio.pages.export.format_cards import title_of
from studio.pages.export.report_list import ReportList
from studio.state.chat_choice import ChatChoice
from studio.state.chats import chats_of
from studio.state.desk import Desk
from studio.state.export_facts import Exported
from studio.widgets.basics import Card, Elided, IconLabel, button, column, label, row
from studio.widgets.flow import FlowLayout
from studio.words import tr


class PastCard(Card):
    """One export of this session. The newest one shows its code at once, the others on demand."""

    def __init__(self, desk: Desk, exported: Exported, *, opened: bool) -> None:
        super().__init__()
        self.desk, self.exported = desk, exported
        title = _title(exported)
        report = exported.verification
        is_good = report is None or report.verdict == "passed"
        self.setAccessibleName(title)
        facts = tr(
            "{size} · written in {time} · {clock}",
            size=format_bytes(exported.bytes),
            time=format_duration(exported.seconds),
            clock=time.strftime("%H:%M", time.localtime(exported.ended)),
        )
        heading = row(
            IconLabel("circle-check" if is_good else "triangle-alert", "good" if is_good else "warn", 18),
            Elided(title, "strong"),
        )
        heading.setStretch(1, 1)
        where = Elided(str(exported.path), "muted", mode=Qt.TextElideMode.ElideMiddle)
        self.add(heading)
        self.add(column(where, label(facts, "muted", wrap=True), spacing=tokens.SPACE_1))
        self._code = _code_view(exported.code)
        self.add(ReportList(report))
        words = tr("Copy command") if exported.is_command else tr("Copy code")
        self._copy = button(words, self._copy_code, icon_name="copy", name="copy-code")
        self._modelfile = button(tr("Copy Modelfile"), self._copy_modelfile, icon_name="copy", name="copy-modelfile")
        self._turn = button(tr("Show the code"), self._turn_code, icon_name="file-code", name="turn-code")
        actions = FlowLayout()
        for made in self._buttons():
            actions.addWidget(made)
        self.add(actions)
        self.add(self._code)
        self._show_code(shown=opened)

    def _buttons(self) -> Iterator[QPushButton]:
        """What can be done with this kind of export."""
        yield button(tr("Open folder"), self._open, icon_name="folder-open", name="open-folder")
        if self.exported.url:
            yield button(tr("Open its page"), self._open_page, icon_name="external-link", name="open-page")
        if self.exported.kind in ("adapter", "merged"):
            yield button(tr("Try it"), self._try, icon_name="message-square", name="try-it")
        if self.exported.kind == "ollama":
            yield self._modelfile
        yield self._turn
        yield self._copy

    def _show_code(self, *, shown: bool) -> None:
        has_code = bool(self.exported.code)
        self._code.setVisible(shown and has_code)
        self._copy.setVisible(has_code)
        self._turn.setVisible(has_code)
        if self.exported.is_command:
            self._turn.setText(tr("Hide the command") if shown else tr("Show the command"))
        else:
            self._turn.setText(tr("Hide the code") if shown else tr("Show the code"))

    def _turn_code(self) -> None:
        self._show_code(shown=not self._code.isVisibleTo(self))

    def _copy_code(self) -> None:
        QGuiApplication.clipboard().setText(self.exported.code)
        _confirm(self._copy, tr("Copied"))

    def _copy_modelfile(self) -> None:
        path = self.exported.path / "Modelfile"
        try:
            QGuiApplication.clipboard().setText(path.read_text("utf-8"))
        except OSError as failure:
            self.desk.warn(tr("{path} cannot be read.", path=str(path)), failure.strerror or str(failure))
            return
        _confirm(self._modelfile, tr("Copied"))

    def _open(self) -> None:
        path = self.exported.path
        folder = path.parent if self.exported.kind in ("gguf", "gguf_adapter") else path
        if not path.exists():
            self.desk.warn(tr("{path} is no longer there.", path=str(path)))
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
            self.desk.warn(tr("No program opens folders here."), str(folder))

    def _open_page(self) -> None:
        if not QDesktopServices.openUrl(QUrl(self.exported.url)):
            self.desk.warn(tr("No program opens web pages here."), self.exported.url)

    def _try(self) -> None:
        exported = self.exported
        if exported.kind == "adapter":
            chats_of(self.desk).choose(ChatChoice("run", exported.run))
        else:
            chats_of(self.desk).choose(ChatChoice("model", exported.path))
        self.desk.go("try")


def _title(exported: Exported) -> str:
    run = exported.run.name
    if exported.kind == "adapter":
        return tr("Adapter of “{run}”", run=run)
    if exported.kind == "merged":
        return tr("Merged model of “{run}”", run=run)
    if exported.kind == "hub" and not exported.url:
        return tr("“{run}” for the Hugging Face Hub, not uploaded", run=run)
    return tr("“{run}” as {format}", run=run, format=title_of(exported.kind))


def _code_view(code: str) -> QPlainTextEdit:
    made = QPlainTextEdit(code)
    made.setReadOnly(True)
    made.setFont(mono_font())
    made.setObjectName("code")
    made.setAccessibleName(tr("Code that loads the export"))
    made.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    made.setTabChangesFocus(True)
    lines = code.count("\n") + 1
    scroll_bar = made.horizontalScrollBar().sizeHint().height()
    made.setFixedHeight(lines * made.fontMetrics().lineSpacing() + 2 * tokens.SPACE_3 + scroll_bar)
    return made


def _confirm(pressed: QPushButton, text: str) -> None:
    """Says on the button itself, for a moment, that it has worked."""
    from PySide6.QtCore import QTimer

    before = pressed.text()
    if before == text:
        return
    pressed.setText(text)
    QTimer.singleShot(1500, pressed, lambda: pressed.setText(before))
