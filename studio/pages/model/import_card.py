"""“Import GGUF…”: what the import of a file will make and take, its name and number format, and Import."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from core.errors import Problem, UserError
from core.runs.importing import ImportDtype, ImportPlan, plan_import, suggested_name
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.pages.model.halves import clear
from studio.state.downloads import Arrivals
from studio.widgets.basics import Card, Elided, IconLabel, ProblemNote, button, label, row, tool_button
from studio.widgets.controls import Segments
from studio.words import tr
from studio.workers.task import Task, start_task

_SETTLE_MS = 200


class ImportCard(Card):
    """One file that may be imported; closes when the import begins or is not wanted."""

    def __init__(self, arrivals: Arrivals, source: Path, on_close: Callable[[], object]) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self.setObjectName("import-card")
        self.setAccessibleName(tr("Import {name}", name=source.name))
        self._arrivals, self.source, self._close = arrivals, source, on_close
        self._task: Task | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._check)
        title = Elided(tr("Import {name}", name=source.name), "strong")
        away = tool_button("x", tr("Close"), on_close, name="import-close")
        head = row(IconLabel("import", "accent"), title, away)
        head.setStretch(1, 1)
        words = tr("A GGUF file holds weights for running a model. The import makes an ordinary model of it.")
        self.name = QLineEdit(suggested_name(source))
        self.name.setObjectName("import-name")
        self.name.setAccessibleName(tr("Name of the imported model"))
        self.name.textChanged.connect(self._changed)
        self.name.returnPressed.connect(self._go)
        self.dtype = Segments(
            [("bf16", "BF16"), ("fp16", "F16"), ("fp32", "F32")],
            [
                tr("16 bits with the range of 32; right for nearly every model."),
                tr("16 bits with more digits and less range."),
                tr("32 bits: twice the size, and no more exact than the file."),
            ],
            "import-dtype",
        )
        self.dtype.choose("bf16")
        self.dtype.chosen.connect(self._changed)
        self._numbers = label("", "muted", wrap=True)
        self._numbers.setObjectName("import-numbers")
        self._problems = QVBoxLayout()
        self.go = button(tr("Import"), self._go, role="primary", icon_name="import", name="import-go")
        self.go.setEnabled(False)
        self.body.setSpacing(tokens.SPACE_2)
        self.add(head)
        parts: list[QWidget] = [label(words, "muted", wrap=True), label(tr("Name"), "muted"), self.name]
        parts += [label(tr("Number format of the weights"), "muted"), self.dtype, self._numbers]
        for part in parts:
            self.add(part)
        self.add(self._problems)
        self.add(row(self.go, None))
        self._check()

    def _changed(self, _text: str) -> None:
        self.go.setEnabled(False)
        self._settle.start()

    def _check(self) -> None:
        if self._task is not None:
            self._task.cancel()
        source, name, dtype = self.source, self.name.text(), self._format()
        self._task = start_task(
            lambda _report: plan_import(source, name, dtype),
            on_done=self._possible,
            on_failed=self._impossible,
            parent=self,
        )

    def _format(self) -> ImportDtype:
        return cast("ImportDtype", self.dtype.value())

    def _possible(self, plan: ImportPlan) -> None:
        self._task = None
        self._complain(())
        words = tr(
            "{n} parameters: takes {size} on the disk, and {memory} of main memory while it is imported.",
            n=format_count(plan.facts.parameters),
            size=format_bytes(plan.needed_bytes),
            memory=format_bytes(plan.memory_bytes),
        )
        self._numbers.setText(words)
        self.go.setEnabled(True)

    def _impossible(self, failure: Exception) -> None:
        self._task = None
        self.go.setEnabled(False)
        if not isinstance(failure, UserError):
            raise failure
        self._numbers.setText("")
        self._complain(failure.problems)

    def _complain(self, problems: tuple[Problem, ...]) -> None:
        clear(self._problems)
        wrong_name = any(problem.path == "name" for problem in problems)
        self.name.setProperty("state", "bad" if wrong_name else "")
        self.name.style().polish(self.name)
        for problem in problems:
            note = ProblemNote(problem)
            note.setObjectName("import-problem")
            self._problems.addWidget(note)

    def _go(self) -> None:
        if self.go.isEnabled():
            self._arrivals.import_gguf(self.source, self.name.text().strip(), self._format())
            self._close()
