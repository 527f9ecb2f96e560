"""What is trained, token by token: a row as the engine will see it, by the very function that the engine uses."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from core.data.drafts import conversation
from core.data.labels import write_sample
from core.data.pieces import Offsets
from core.data.sides import sides_of
from core.data.template_traits import added_system_text
from core.data.templates import SETTING, ChatTemplate
from core.data.tokenizer import Tokenizer
from core.data.types import Sample
from core.errors import Edit, Fix, Problem, Severity, warning
from core.spec.sections import DataSpec

_LONGEST_QUOTE = 160


@dataclass(frozen=True, slots=True)
class TokenPreview:
    """A row as tokens; three tuples of one length.

    Attributes:
        pieces: the text of each token; together they are the text of the row, added tokens included. A character that
            takes several tokens stands with the first of them.
        ids: token ids.
        trained: whether a token carries loss; never behind the cut.
        cut_at: the first token that the length limit cuts off; None when the row is short enough.
        notes: what the template does to the row beyond writing it out.
    """

    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    cut_at: int | None
    notes: tuple[Problem, ...] = ()

    @property
    def supervised(self) -> int:
        """Number of tokens that carry loss."""
        return sum(self.trained)


def preview_documents(
    sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, spec: DataSpec
) -> tuple[TokenPreview, ...]:
    """All that a row becomes: one document, or the two of a preference pair, the better answer first.

    Arguments and errors are those of `preview_tokens`.
    """
    return tuple(preview_tokens(side, tokenizer, template, spec) for side in sides_of(sample))


def preview_tokens(sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, spec: DataSpec) -> TokenPreview:
    """A row as the engine trains it, with what the length limit will cut off behind it; of a pair the better answer.

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
        notes=tuple(_notes(sample, written.text, ids, tokenizer, template)),
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


def _notes(
    sample: Sample, text: str, ids: tuple[int, ...], tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[Problem]:
    bos = tokenizer.bos_id
    begin = tokenizer.token_text(bos) if bos is not None else ""
    if bos is not None and ids[:2] == (bos, bos):
        message = f"The row begins with “{begin}” twice: the chat template writes it, and the row has it, too."
        yield warning(SETTING, message, "Remove it from the row, or from the template.")
    if not conversation(sample, template):
        return
    if tokenizer.adds_bos and ids[:1] != (bos,):
        message = f"The row does not begin with “{begin}”, with which every text began that this model learned from."
        yield warning(SETTING, message, "Let the template begin with {{ bos_token }}.")
    added = added_system_text(template)
    if added and added in text and not any(added in message.content for message in sample.messages):
        shown = added if len(added) <= _LONGEST_QUOTE else f"{added[:_LONGEST_QUOTE].rstrip()}…"
        shown = " ".join(shown.split())
        message = f"The chat template adds a text of its own: “{shown}”. The model reads it with the row, untrained."
        advice = "A system text in the row takes its place in most templates."
        yield Problem(Severity.INFO, SETTING, message, advice)
    if not template.ends_turns(tokenizer):
        end = template.turn_end.strip() or "nothing"
        message = (
            f"The answer ends with “{end}”, which is no token at which this model stops, so it may not know when to "
            "stop."
        )
        fix = Fix("Use “plain”", (Edit(SETTING, "plain"),))
        yield warning(SETTING, message, "Choose a template whose end token the model has.", fix)
