"""The window: rail, pages, plan panel and status bar; opens what is dropped, obeys shortcuts, remembers its place."""

from functools import partial
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMainWindow, QMenu, QStackedWidget, QVBoxLayout, QWidget

from studio.look import tokens
from studio.look.theme import look
from studio.pages.page import Page
from studio.shell.files import Files
from studio.shell.focus import next_stop, tab_stops
from studio.shell.notices import NoticeStack
from studio.shell.pages import WITH_PLAN, make_page
from studio.shell.plan_panel import PlanPanel
from studio.shell.plan_strip import PlanStrip
from studio.shell.rail import Rail
from studio.shell.run_panel import RunPanel
from studio.shell.start import start_blocker
from studio.shell.status_bar import StatusBar
from studio.shell.welcome import WelcomePage
from studio.state.desk import Action, Desk, Notice
from studio.state.queue_entry import add_to_queue
from studio.state.shortcuts import PAGES, SHORTCUTS
from studio.words import tr, tr_count

_LEAST = QSize(960, 600)
_FIRST = QSize(1280, 800)
WELCOME = "welcome"


class PageStack(QStackedWidget):
    """The pages. Each scrolls where the window is low, so none of them, shown or not, keeps it from being so."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Less than any page is happy with."""
        return QSize(look().px(320), look().px(200))


class MainWindow(QMainWindow):
    """The one window. It is made anew when language, theme or text size change; the desk stays."""

    def __init__(self, desk: Desk, page: str = "") -> None:
        """``page`` is in front; by default the one of the last time."""
        super().__init__()
        self.desk = desk
        self.files = Files(desk, self)
        self.pages: dict[str, QWidget] = {}
        self.page = ""
        self.setWindowTitle("Lowrank Studio")
        self.setMinimumSize(_LEAST)
        self.setAcceptDrops(True)
        self._menu = self._make_menu()
        self.rail = Rail(desk, self._menu)
        self._stack = PageStack()
        self._side = self._make_side()
        self._strip = self._make_strip()
        self.status = StatusBar(desk)
        self._lay_out()
        self.notices = NoticeStack(self._stack)
        self._wire()
        self._restore_place()
        self.show_page(page or self._first_page())

    # --- making

    def _make_side(self) -> QStackedWidget:
        self.plan_panel = PlanPanel(self.desk)
        self.run_panel = RunPanel(self.desk, flat=False)
        side = QStackedWidget()
        side.setObjectName("planPanel")
        side.setFixedWidth(look().px(tokens.PLAN_WIDTH))
        side.addWidget(self.plan_panel)
        side.addWidget(self.run_panel)
        return side

    def _make_strip(self) -> QStackedWidget:
        self.plan_strip = PlanStrip(self.desk)
        self.run_strip = RunPanel(self.desk, flat=True)
        strip = QStackedWidget()
        strip.setObjectName("planStrip")
        strip.addWidget(self.plan_strip)
        strip.addWidget(self.run_strip)
        strip.setFixedHeight(strip.sizeHint().height())
        return strip

    def _lay_out(self) -> None:
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        middle.addWidget(self.rail)
        middle.addWidget(self._stack, 1)
        middle.addWidget(self._side)
        centre = QWidget()
        box = QVBoxLayout(centre)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addLayout(middle, 1)
        box.addWidget(self._strip)
        box.addWidget(self.status)
        self.setCentralWidget(centre)

    def _make_menu(self) -> QMenu:
        menu = QMenu(self)
        entries = (
            (tr("New spec"), "new"),
            (tr("Open spec…"), "open"),
            (tr("Save spec"), "save"),
            (tr("Save spec as…"), "save-as"),
            ("", ""),
            (tr("Undo"), "undo"),
            (tr("Redo"), "redo"),
            ("", ""),
            (tr("Welcome page"), "welcome"),
            (tr("Close the window"), "quit"),
        )
        keys = {item.action: item.keys for item in SHORTCUTS}
        for title, action in entries:
            if not action:
                menu.addSeparator()
                continue
            made = menu.addAction(title, partial(self.perform, action))
            if action in keys:
                made.setText(f"{title}\t{QKeySequence(keys[action]).toString(QKeySequence.SequenceFormat.NativeText)}")
        self._recent = menu.addMenu(tr("Open recent"))
        menu.aboutToShow.connect(self._fill_recent)
        return menu

    def _fill_recent(self) -> None:
        self._recent.clear()
        recent = [Path(name) for name in self.desk.preferences.now.recent if Path(name).is_file()]
        for path in recent:
            self._recent.addAction(str(path), partial(self.files.open_spec, path))
        self._recent.setEnabled(bool(recent))

    def _wire(self) -> None:
        desk = self.desk
        self.rail.chosen.connect(self.show_page)
        desk.went.connect(self.show_page)
        desk.opened.connect(self.files.open_path)
        desk.notified.connect(self.show_notice)
        desk.runs.current_changed.connect(self._follow_run)
        desk.runs.current_ended.connect(self._run_ended)
        self.plan_panel.start_asked.connect(self.start)
        self.plan_panel.queue_asked.connect(self.add_to_queue)
        self.plan_strip.start_asked.connect(self.start)
        self.plan_strip.queue_asked.connect(self.add_to_queue)
        desk.queue.added.connect(self._queued)
        desk.queue.broken_off.connect(self._offer_queue)
        self.run_panel.show_asked.connect(self._show_training)
        for item in SHORTCUTS:
            shortcut = QShortcut(QKeySequence(item.keys), self)
            shortcut.activated.connect(lambda action=item.action: self.perform(action))

    # --- doing

    def perform(self, action: str) -> None:
        """Does what a shortcut or menu entry names."""
        if action.startswith("page-"):
            self.show_page(action.removeprefix("page-"))
            return
        deeds = {
            "start": self.start,
            "add-to-queue": self.add_to_queue,
            "new": self.files.new_spec,
            "open": self.files.choose_spec,
            "save": self.files.save_spec,
            "save-as": self.files.save_spec_as,
            "undo": self.desk.session.undo,
            "redo": self.desk.session.redo,
            "next-part": self._next_part,
            "welcome": lambda: self.show_page(WELCOME),
            "quit": self.close,
        }
        deeds[action]()

    def show_page(self, name: str) -> None:
        """Brings a page to the front, making it first if need be."""
        if name == self.page:
            return
        before = self.pages.get(self.page)
        if isinstance(before, Page):
            before.hidden()
        if name not in self.pages:
            made = WelcomePage(self.desk) if name == WELCOME else make_page(name, self.desk)
            self.pages[name] = made
            self._stack.addWidget(made)
        self.page = name
        page = self.pages[name]
        focus: QWidget | None = self.focusWidget()
        moves_focus = focus is not None and (self._stack.isAncestorOf(focus) or focus in self.rail.items.values())
        self._stack.setCurrentWidget(page)
        self.rail.show_page(name)
        if moves_focus and name in self.rail.items:
            self.rail.items[name].setFocus(Qt.FocusReason.OtherFocusReason)
        if name not in self.rail.items:
            page.setFocus()
        if name in PAGES:
            self.desk.preferences.set("page", name)
        if isinstance(page, Page):
            page.shown()
        self._arrange()

    def start(self) -> None:
        """Starts the run that the plan describes."""
        if self.desk.runs.is_live:
            self.show_page("training")
            return
        blocker = start_blocker(self.desk)
        prepared = self.desk.session.prepared()
        if blocker or prepared is None:
            self.desk.warn(tr("The training cannot start yet."), blocker)
            return
        self.desk.preferences.set("welcomed", value=True)
        if self.desk.runs.start(prepared) is not None:
            self.show_page("training")

    def add_to_queue(self) -> None:
        """Lets the run that the plan describes wait in the queue."""
        add_to_queue(self.desk)

    def _queued(self, names: list[str]) -> None:
        self.desk.runs.refresh()
        show = Action(tr("Show the queue"), lambda: self.desk.go("queue"))
        start = Action(tr("Start the queue"), self.desk.queue.start)
        actions = (show,) if self.desk.queue.now.state == "going" else (start, show)
        self.desk.tell(tr("{run} waits in the queue.", run=", ".join(names)), actions=actions)

    def _offer_queue(self) -> None:
        waiting = self.desk.queue.now.queue
        count = len(waiting.waiting) + (waiting.running is not None)
        self.desk.warn(
            tr_count(count, "The queue broke off, with one run to go.", "The queue broke off, with {n} runs to go."),
            tr("It goes on from the last saved state when you start it."),
            actions=(
                Action(tr("Go on"), self.desk.queue.start),
                Action(tr("Show the queue"), lambda: self.desk.go("queue")),
            ),
        )

    def show_notice(self, notice: Notice) -> None:
        """Shows a message over the page."""
        self.notices.show_notice(notice)

    def close_pages(self) -> None:
        """Ends what the pages have running, before the window is thrown away."""
        for page in self.pages.values():
            if isinstance(page, Page):
                page.close_page()

    def _show_training(self) -> None:
        self.show_page("training")

    def _follow_run(self) -> None:
        self._arrange()

    def _run_ended(self) -> None:
        self._arrange()
        run = self.desk.runs.current
        if run is None or self.page == "training":
            return
        if run.outcome is None:
            self.desk.show_problems(run.problems)
            return
        from studio.words import say

        show = (Action(tr("Show"), self._show_training),)
        tell = self.desk.tell if run.outcome.kind in ("completed", "stopped") else self.desk.complain
        words = {"run": run.name, "title": say(run.outcome.title), "message": say(run.outcome.message)}
        tell(tr("{run}: {title}. {message}", **words), say(run.outcome.hint), actions=show)

    def _parts(self) -> list[QWidget]:
        """What Tab and F6 go through: the rail, the page with the messages over it, the plan, the status bar."""
        return [self.rail, self._stack, *(side for side in (self._side, self._strip) if side.isVisible()), self.status]

    def _next_part(self) -> None:
        """F6: from the rail to the page to the plan panel and round again."""
        parts = self._parts()
        focus = QApplication.focusWidget()
        at = next((index for index, part in enumerate(parts) if focus and part.isAncestorOf(focus)), -1)
        for step in range(1, len(parts) + 1):
            stops = tab_stops(parts[(at + step) % len(parts)])
            if stops:
                item = self.rail.items.get(self.page)  # of the rail, the page that is in front
                (item if item in stops else stops[0]).setFocus(Qt.FocusReason.TabFocusReason)
                return

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802 (Qt's name)
        """Tab and Shift+Tab go through the parts in order."""
        stop = next_stop(self._parts(), QApplication.focusWidget(), forward=forward)
        if stop is None:
            return super().focusNextPrevChild(forward)
        reason = Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
        stop.setFocus(reason)
        return True

    # --- place and shape

    def _arrange(self) -> None:
        """Decides between panel and strip, plan and live run."""
        live = self.desk.runs.is_live
        wanted = self.page in WITH_PLAN or (live and self.page != WELCOME)
        narrow = self.width() < look().px(tokens.NARROW)
        self._side.setVisible(wanted and not narrow)
        self._strip.setVisible(wanted and narrow)
        for holder in (self._side, self._strip):
            holder.setCurrentIndex(1 if live else 0)

    def _first_page(self) -> str:
        now = self.desk.preferences.now
        if not now.welcomed and not self.desk.session.spec.model.base:
            return WELCOME
        return now.page if now.page in PAGES else "model"

    def _restore_place(self) -> None:
        now = self.desk.preferences.now
        self.resize(_FIRST)
        if len(now.geometry) == 4:
            left, top, width, height = now.geometry
            self.setGeometry(left, top, max(width, _LEAST.width()), max(height, _LEAST.height()))
            screens = [screen.availableGeometry() for screen in QApplication.screens()]
            if not any(screen.intersects(self.geometry()) for screen in screens):
                self.move(screens[0].topLeft())
        if now.maximized:
            self.setWindowState(Qt.WindowState.WindowMaximized)

    def save_place(self) -> None:
        """Remembers where the window is."""
        preferences = self.desk.preferences
        preferences.set("maximized", self.isMaximized())
        if not self.isMaximized():
            box = self.geometry()
            preferences.set("geometry", (box.x(), box.y(), box.width(), box.height()))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Begins on the rail, at the page that is in front, where nothing else has asked for the focus."""
        super().showEvent(event)
        if self.focusWidget() is None and self.page in self.rail.items:
            self.rail.items[self.page].setFocus(Qt.FocusReason.OtherFocusReason)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Folds or unfolds the plan panel."""
        super().resizeEvent(event)
        self._arrange()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Saves everything; a run goes on without the window."""
        self.save_place()
        self.close_pages()
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Files and folders may be dropped anywhere."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 (Qt's name)
        """Opens what was dropped, after the drag has ended."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        QTimer.singleShot(0, self, lambda: self.files.open_paths(paths))
