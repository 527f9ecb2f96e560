"""What all tables of the window have in common."""

from PySide6.QtWidgets import QAbstractItemView, QTableView


def as_list(table: QTableView) -> None:
    """Makes a table a list of rows: whole rows are chosen, nothing is edited, no lines, and Tab leaves it."""
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setTabKeyNavigation(False)
