"""The page “Queue”: what waits, a new sweep, and what sweeps have found."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from studio.look import tokens
from studio.pages.page import Page
from studio.pages.queue.results import Results
from studio.pages.queue.sweep_form import SweepForm
from studio.pages.queue.waiting import Waiting
from studio.state.desk import Action, Desk
from studio.widgets.basics import button
from studio.widgets.controls import Segments
from studio.widgets.scrolled import ScrolledContent
from studio.words import tr

VIEWS = ("waiting", "sweep", "results")


class QueuePage(Page):
    """Runs one after another."""

    scrolls = False

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Queue"), tr("Runs that are trained one after another, also while you sleep."))
        self.waiting = Waiting(desk)
        self.form = SweepForm(desk)
        self.results = Results(desk)
        titles = (tr("Runs"), tr("New sweep"), tr("Sweeps"))
        self.views = Segments(tuple(zip(VIEWS, titles, strict=True)), name="queue-view")
        self.views.name_it(tr("Shown"))
        self.views.chosen.connect(self.show_view)
        self._stack = QStackedWidget()
        self._stack.addWidget(_scrolling(self.waiting))
        self._stack.addWidget(_scrolling(self.form))
        self._stack.addWidget(_scrolling(self.results))
        self.head.addWidget(button(tr("All runs"), lambda: desk.go("runs"), icon_name="history", name="queue-all-runs"))
        self.add(self.views)
        self.add(self._stack, 1)
        self.form.made.connect(self._made)
        self.results.make_asked.connect(lambda _checked=False: self.show_view("sweep"))
        desk.runs.listed.connect(self._listed)
        desk.queue.changed.connect(self._listed)
        self.show_view(str(desk.memory.get("queue", VIEWS[0])))

    def show_view(self, name: str) -> None:
        """Brings one of the `VIEWS` to the front."""
        self.desk.memory["queue"] = name
        self.views.choose(name)
        self._stack.setCurrentIndex(VIEWS.index(name))
        if name == "results":
            self.results.show_group()

    def shown(self) -> None:
        """Reads the newest state."""
        self.desk.queue.refresh()
        self.desk.runs.refresh()
        self._listed()

    def _listed(self) -> None:
        if self.isVisible() and self.views.value() == "results" and self.results.is_settled:
            self.results.show_group()

    def _made(self, name: str) -> None:
        self.show_view("waiting")
        start = Action(tr("Start the queue"), self.desk.queue.start)
        self.desk.tell(tr("The runs of the sweep {name} wait in the queue.", name=name), actions=(start,))


def _scrolling(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    holder = ScrolledContent()
    holder.setObjectName("pageBody")
    box = QVBoxLayout(holder)
    box.setContentsMargins(0, 0, tokens.SPACE_2, 0)
    box.addWidget(content)
    area.setWidget(holder)
    return area
