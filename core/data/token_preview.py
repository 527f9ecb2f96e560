"""What is trained, token by token: a row as the engine will see it, by the very function that the engine uses."""

import sys
from dataclasses import dataclass

from core.data.labels import write_sample
from core.data.pieces import Offsets
from core.data.templates import ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Sample
from core.spec.sections import DataSpec


@dataclass(frozen=True, slots=True)
class TokenPreview:
    """A row as tokens; three tuples of one length.

    Attributes:
        pieces: the text of each token; together they are the text of the row, added tokens included. A character that
            takes several tokens stands with the first of them.
        ids: token ids.
        trained: whether a token carries loss; never behind the cut.
        cut_at: the first token that the length limit cuts off; None when the row is short enough.
    """

    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    cut_at: int | None

    @property
    def supervised(self) -> int:
        """Number of tokens that carry loss."""
        return sum(self.trained)


def preview_tokens(sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, spec: DataSpec) -> TokenPreview:
    """A row as the engine trains it, with what the length limit will cut off behind it.

    Args:
        sample: the row, as `core.data.preview.PreviewRow.sample` holds it.
        tokenizer: the model's (`Tokenizer.load`).
        template: what writes conversations (`core.data.templates.choose_template`).
        spec: the section ``data`` of the spec: what is trained, and the longest row.

    Raises:
        UserError: the template cannot write the row, or hides where its answers are.
    """
    written = write_sample(sample, tokenizer, template, spec.train_on, sys.maxsize)
    ids, trained = written.encoded.tokens, written.encoded.trained
    limit = spec.max_length
    cut = len(ids) > limit
    return TokenPreview(
        pieces=_pieces(written.text, ids, written.offsets, tokenizer),
        ids=ids,
        trained=(*trained[:limit], *(False for _ in trained[limit:])) if cut else trained,
        cut_at=limit if cut else None,
    )


def _pieces(text: str, ids: tuple[int, ...], offsets: Offsets, tokenizer: Tokenizer) -> tuple[str, ...]:
    """The text between the end of the token before and its own; what the tokenizer leaves out goes with the next."""
    pieces: list[str] = []
    done = 0
    for token, (start, stop) in zip(ids, offsets, strict=True):
        if start == stop:
            pieces.append(tokenizer.token_text(token))
            continue
        pieces.append(text[done : max(done, stop)])
        done = max(done, stop)
    return tuple(pieces)
