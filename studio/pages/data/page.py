"""The Data page: files on top, what is wrong with them, rows as they are trained, what it all comes to, settings."""

from core.errors import Problem
from studio.forms.form import MoreSettings, rows_of
from studio.pages.data.files_card import FilesCard
from studio.pages.data.lengths_card import LengthsCard
from studio.pages.data.problem_list import ProblemList, is_about_a_file
from studio.pages.data.report_card import ReportCard
from studio.pages.data.rows_card import RowsCard
from studio.pages.data.template_card import TemplateCard
from studio.pages.page import Page
from studio.state.desk import Desk
from studio.widgets.basics import Card
from studio.words import tr

_ELSEWHERE = ("data.train", "data.validation", "data.validation_share", "data.template")
_BESIDE_THEIR_ROW = frozenset(("data.max_length", "data.train_on", "data.template", "data.validation_share"))


class DataPage(Page):
    """Which files are trained, what is in them, and what becomes of each row."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, tr("Data"), tr("What the model learns from, and exactly which tokens it learns."))
        self.files = FilesCard(desk)
        self.problems = ProblemList(desk)
        self.report = ReportCard(desk)
        self.rows = RowsCard(desk)
        self.lengths = LengthsCard(desk)
        settings = Card(tr("Settings"))
        self.template = TemplateCard(desk, self.rows.current)
        for setting in rows_of(desk, "data", advanced=False, without=_ELSEWHERE):
            settings.add(setting)
        self.more = MoreSettings(desk, "data", rows_of(desk, "data", advanced=True, without=_ELSEWHERE))
        for part in (
            self.files,
            self.problems,
            self.report,
            self.rows,
            self.template,
            self.lengths,
            settings,
            self.more,
        ):
            self.add(part)
        self.body.addStretch(1)
        self.files.shown.connect(self.rows.show_file)
        self.problems.asked.connect(self._show_row)
        self.rows.problems_changed.connect(self._list_problems)
        desk.session.facts_changed.connect(self._facts_changed)
        self.rows.show_file(self.files.current)
        self._list_problems()

    def close_page(self) -> None:
        """Reads no further."""
        self.rows.close_file()
        self.report.close_card()
        self.template.close_card()

    def _facts_changed(self, _name: str) -> None:
        self._list_problems()

    def _list_problems(self) -> None:
        """Problems of the whole set, and those of the file on show while the whole set is not known."""
        session = self.desk.session
        listed: list[Problem] = [item for item in session.data_problems if item.path not in _BESIDE_THEIR_ROW]
        known = {item.path for item in listed}
        if not any(is_about_a_file(item) for item in listed):
            listed += [item for item in self.rows.problems if item.path not in known]
        self.problems.show_problems(listed)

    def _show_row(self, file: str, line: int) -> None:
        path = next((item for item in self.files.files if item == file or _same(item, file)), "")
        if path:
            self.files.show_file(path)
            self.rows.show_line(line)


def _same(one: str, other: str) -> bool:
    from pathlib import Path

    return Path(one).expanduser().absolute() == Path(other)
