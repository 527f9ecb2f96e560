"""What the files of the chosen model say, as names and values; words that a newcomer may not know are explained."""

from collections.abc import Iterator
from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QGridLayout

from core.facts.types import ModelFacts
from core.units import format_bytes, format_count
from studio.look import tokens
from studio.widgets.basics import Card, Elided, Pill, label, row, tool_button
from studio.words import tr

Line = tuple[str, str, str, str]
"""Object name, title, value, and an explanation of the title where it needs one."""


class HeadCard(Card):
    """What the model is called, its family, and where it lies."""

    def __init__(self, facts: ModelFacts, name: str) -> None:
        super().__init__(margin=tokens.SPACE_3)
        self.body.setSpacing(0)
        title = Elided(name, "section", mode=Qt.TextElideMode.ElideMiddle)
        title.setObjectName("model-name")
        head = row(title, Pill(facts.family, "accent"))
        head.setStretch(0, 1)
        self.add(head)
        if not facts.here:
            self.add(label(tr("known from the catalogue; not on this computer"), "muted", wrap=True))
            return
        place = Elided(facts.path, "muted", mode=Qt.TextElideMode.ElideMiddle)
        folder = Path(facts.path) if Path(facts.path).is_dir() else Path(facts.path).parent
        show = tool_button("folder-open", tr("Show the folder"), lambda: _open(folder), name="show-folder")
        where = row(place, show)
        where.setStretch(0, 1)
        self.add(where)


class FactsCard(Card):
    """The facts of one model."""

    def __init__(self, facts: ModelFacts) -> None:
        super().__init__()
        self.setAccessibleName(tr("Facts about the model"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(tokens.SPACE_4)
        grid.setVerticalSpacing(tokens.SPACE_1 + 2)
        grid.setColumnStretch(1, 1)
        for number, (object_name, title_text, value, tip) in enumerate(fact_lines(facts)):
            left = label(title_text, "help-term" if tip else "help")
            if tip:
                left.setToolTip(f"<p>{tip}</p>")
            right = label(value, wrap=True, selectable=True)
            right.setObjectName(f"fact-{object_name}")
            right.setAccessibleName(f"{title_text}: {value}")
            top = Qt.AlignmentFlag.AlignTop
            grid.addWidget(left, number, 0, top | Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(right, number, 1, top)
        self.add(grid)


def fact_lines(facts: ModelFacts) -> Iterator[Line]:
    """The lines in their order."""
    yield "architecture", tr("Architecture"), facts.architecture, ""
    yield (
        "parameters",
        tr("Parameters"),
        tr("{short} ({exact})", short=format_count(facts.parameters), exact=f"{facts.parameters:,}"),
        tr("The numbers that the model has learned. More of them know more, and need more memory and time."),
    )
    yield (
        "layers",
        tr("Layers"),
        tr("{n}, each {hidden} wide", n=facts.num_layers, hidden=f"{facts.hidden_size:,}"),
        tr("A text passes one layer after another. The width, or hidden size, is how many numbers stand for a token."),
    )
    yield (
        "heads",
        tr("Attention heads"),
        _heads(facts),
        tr("Each head looks at the text before a token in its own way. Fewer heads for keys and values save memory."),
    )
    yield (
        "context",
        tr("Context"),
        tr("{n} tokens", n=f"{facts.context_length:,}") if facts.context_length else tr("not stated"),
        tr("The longest text that the model reads at once. A token is about four letters of English."),
    )
    yield "vocabulary", tr("Vocabulary"), _vocabulary(facts), tr("How many different tokens the model knows.")
    yield (
        "disk",
        tr("Size on disk") if facts.here else tr("To download"),
        tr("{size} in {format}", size=format_bytes(facts.bytes_on_disk), format=facts.dtype),
        tr("BF16 and F16 take two bytes a parameter, F32 four."),
    )
    if facts.prequantized:
        yield "quantized", tr("Quantized"), facts.prequantized, ""
    yield "licence", tr("Licence"), facts.licence or tr("not stated: ask its authors before you share results"), ""
    yield (
        "template",
        tr("Chat template"),
        tr("from {file}", file=facts.template_origin or "tokenizer_config.json")
        if facts.template
        else tr("none: this model was not made for conversations, so one of the built-in templates is used for them"),
        tr("How a conversation is written down for the model. Training and use must agree on it."),
    )


def _heads(facts: ModelFacts) -> str:
    if facts.num_kv_heads == facts.num_heads:
        return tr("{n} of {size}", n=facts.num_heads, size=facts.head_dim)
    return tr("{n} of {size}, {kv} for keys and values", n=facts.num_heads, size=facts.head_dim, kv=facts.num_kv_heads)


def _vocabulary(facts: ModelFacts) -> str:
    count = f"{facts.vocab_size:,}"
    if facts.tied_embeddings:
        return tr("{n} tokens, one table for input and output", n=count)
    return tr("{n} tokens, separate tables for input and output", n=count)


def _open(folder: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
