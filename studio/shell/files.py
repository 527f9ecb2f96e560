"""Opening and saving: spec files by dialog, and everything that is dropped or named on the command line."""

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog, QWidget

from core.errors import UserError
from core.runs.layout import RunFolder
from core.spec.codec import read_spec, write_spec
from core.spec.run_spec import RunSpec
from studio.shell.opening import Kind, kind_of
from studio.state.desk import Action, Desk
from studio.words import tr, tr_count

_SPEC_FILTER = "YAML (*.yaml *.yml)"


class Files(QObject):
    """What the menu's file entries and drops do; lives as long as its window."""

    def __init__(self, desk: Desk, window: QWidget) -> None:
        super().__init__(window)
        self._desk = desk
        self._window = window

    # --- specs

    def new_spec(self) -> None:
        """An empty spec; the one before can be had back with Undo."""
        session = self._desk.session
        session.set_spec(RunSpec())
        session.file, session.saved_spec = None, session.spec
        self._desk.tell(tr("A new spec."), actions=(Action(tr("Undo"), lambda: _undo(self._desk)),))
        self._desk.go("model")

    def choose_spec(self) -> None:
        """Asks for a spec file and opens it."""
        start = str(self._desk.session.file or Path.home())
        chosen, _ = QFileDialog.getOpenFileName(self._window, tr("Open a spec file"), start, _SPEC_FILTER)
        if chosen:
            self.open_spec(Path(chosen))

    def open_spec(self, path: Path) -> None:
        """Takes the spec in a file; a broken one is refused with everything that is wrong with it."""
        try:
            spec = read_spec(path)
        except UserError as failure:
            self._desk.show_problems(failure.problems)
            return
        session = self._desk.session
        session.set_spec(spec)
        session.file, session.saved_spec = path, spec
        self._desk.preferences.remember("recent", str(path.absolute()))
        self._desk.preferences.set("welcomed", value=True)
        self._desk.tell(tr("Opened {name}.", name=path.name), actions=(Action(tr("Undo"), lambda: _undo(self._desk)),))
        self._desk.go("model")

    def save_spec(self) -> None:
        """Writes the spec into its file; asks for one where it has none."""
        if self._desk.session.file is None:
            self.save_spec_as()
        else:
            self._write(self._desk.session.file)

    def save_spec_as(self) -> None:
        """Asks for a file and writes the spec into it."""
        start = str(self._desk.session.file or Path.home() / "spec.yaml")
        chosen, _ = QFileDialog.getSaveFileName(self._window, tr("Save the spec"), start, _SPEC_FILTER)
        if chosen:
            path = Path(chosen)
            self._write(path if path.suffix else path.with_suffix(".yaml"))

    def _write(self, path: Path) -> None:
        session = self._desk.session
        try:
            write_spec(session.spec, path)
        except UserError as failure:
            self._desk.show_problems(failure.problems)
            return
        session.file, session.saved_spec = path, session.spec
        self._desk.preferences.remember("recent", str(path.absolute()))
        session.spec_changed.emit(frozenset())
        self._desk.tell(tr("Saved as {name}.", name=str(path)))

    # --- anything

    def open_paths(self, paths: list[Path]) -> None:
        """Opens several things; data files together, everything else one after the other."""
        data = [path for path in paths if kind_of(path) is Kind.DATA]
        if data:
            self._add_data(data)
        for path in paths:
            if path not in data:
                self.open_path(path)

    def open_path(self, path: Path) -> None:
        """Opens whatever a path turns out to be."""
        kind = kind_of(path)
        desk = self._desk
        if kind is Kind.SPEC:
            self.open_spec(path)
        elif kind is Kind.RUN:
            desk.preferences.set("welcomed", value=True)
            desk.runs.watch(RunFolder(path.absolute()))
            desk.go("training")
        elif kind in (Kind.MODEL, Kind.GGUF):
            desk.preferences.set("welcomed", value=True)
            desk.session.edit("model.base", str(path.absolute()))
            if kind is Kind.MODEL:
                desk.preferences.remember("recent_models", str(path.absolute()))
            desk.go("model")
        elif kind is Kind.PACK:
            from studio.state.downloads import arrivals

            desk.preferences.set("welcomed", value=True)
            arrivals(desk).offer_pack(path.absolute())
        elif kind is Kind.DATA:
            self._add_data([path])
        elif kind is Kind.ADAPTER:
            desk.warn(
                tr("{name} holds an adapter, not a base model.", name=path.name),
                tr("Open the run that made it, or choose its base model."),
            )
        elif path.exists():
            desk.warn(
                tr("{name} cannot be opened.", name=path.name),
                tr("Open a model folder, an offline pack, a GGUF file, a data file, a spec file or a run folder."),
            )
        else:
            desk.warn(tr("{path} does not exist.", path=str(path)), tr("Check the path."))

    def _add_data(self, paths: list[Path]) -> None:
        desk = self._desk
        known = desk.session.spec.data.train
        fresh = [str(path.absolute()) for path in paths if str(path.absolute()) not in known]
        desk.preferences.set("welcomed", value=True)
        if fresh:
            desk.session.edit("data.train", (*known, *fresh))
            for name in fresh:
                desk.preferences.remember("recent_data", name)
            desk.tell(
                tr_count(len(fresh), "Added a training file.", "Added {n} training files."),
                actions=(Action(tr("Undo"), lambda: _undo(desk)),),
            )
        desk.go("data")


def _undo(desk: Desk) -> None:
    desk.session.undo()
