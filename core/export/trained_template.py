"""Which chat template a model speaks: the one that its adapter was trained with, else the base's own."""

from pathlib import Path

from core.export.adapter import TEMPLATE_FILE
from core.facts.json_files import read_text
from core.facts.model_texts import read_template


def trained_template(base: Path, adapter: Path | None) -> str:
    """The template's source text; empty where there is none.

    Raises:
        UserError: a file that would hold it is broken.
    """
    if adapter is not None and (adapter / TEMPLATE_FILE).is_file():
        return read_text(adapter / TEMPLATE_FILE)
    return read_template(base)[0]
