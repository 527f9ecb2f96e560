r"""The cells of a row that play a part: a column, or a template such as ``{question}\n{context}`` made of several."""

import re
from collections.abc import Sequence

from core.data.messages import MisfitError, is_nothing, to_text
from core.data.types import Row

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}")


def is_template(text: str) -> bool:
    """Whether a mapping names more than one plain column: it has a name in braces."""
    return any(found[1] is not None for found in _PLACE.finditer(text))


def template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names, each once, in order."""
    names = (found[1].strip() for found in _PLACE.finditer(template) if found[1] is not None)
    return tuple(dict.fromkeys(names))


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of ``names`` that is a column; capital letters and spaces around do not matter."""
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    return next((by_name[name.strip().lower()] for name in names if name.strip().lower() in by_name), None)


def cell(row: Row, column: str | None) -> object:
    r"""What a row holds in a column, or the text that a template makes of several; None for no column.

    In a template ``\n`` and ``\t`` are a line break and a tab, ``{{`` and ``}}`` plain braces; a missing or empty
    cell is an empty text.

    Raises:
        MisfitError: a cell that a template names holds no text.
    """
    if column is None:
        return None
    if column in row.value or not is_template(column):
        return row.value.get(column)
    columns = [str(name) for name in row.value]

    def filled(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        name = find_column(columns, (found[1],))
        value = row.value.get(name) if name is not None else None
        return "" if is_nothing(value) else to_text(value, f"the column “{found[1]}”")

    return _PLACE.sub(filled, column.replace("\\n", "\n").replace("\\t", "\t"))


def text_cell(row: Row, column: str) -> str:
    """The text in a column.

    Raises:
        MisfitError: it is missing or no text.
    """
    return to_text(cell(row, column), f"the column “{column}”")


def optional_text(row: Row, column: str | None) -> str:
    """The text in a column; empty where there is none.

    Raises:
        MisfitError: it holds something else.
    """
    if column is None or is_nothing(value := cell(row, column)):
        return ""
    return to_text(value, f"the column “{column}”")


def answer_cell(row: Row, column: str) -> str:
    """The text in a column that must say something.

    Raises:
        MisfitError: it does not.
    """
    text = text_cell(row, column)
    if not text.strip():
        raise MisfitError(f"the answer in the column “{column}” is empty.")
    return text
