"""From a sample to tokens with loss marks: the one function that the engine trains with and the token view shows."""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.drafts import Draft, make_drafts
from core.data.marking import mark_tokens
from core.data.pieces import Offsets, Pieces
from core.data.templates import ChatTemplate
from core.data.tokenizer import EncodedTexts, Tokenizer
from core.data.types import TOKEN_BYTES, Encoded, Sample
from core.errors import Problem, UserError
from core.spec.sections import TrainOn


def encode_sample(
    sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> Encoded:
    """One document as tokens, and which of them carry loss.

    A conversation is written by the template once, as a whole, and tokenised once; so its tokens are exactly those
    that the model sees later. A token is trained if it begins inside an answer, or reaches into one with more than
    white space (where "… " and "yes" become the one token " yes", the answer must not vanish). The end-of-turn token
    belongs to the answer, white space behind it does not, and neither does the generation prompt in front. Running
    text, and a prompt and completion without a template, get the tokenizer's own beginning and the end token.

    Args:
        sample: the row.
        tokenizer: the model's tokenizer.
        template: what writes conversations; with the one called “none”, prompt and completion are joined as they are.
        train_on: "completions"; "last" for the last answer of a conversation alone; or "all" for everything but the
            first token and what the row exempts.
        max_length: tokens beyond this are cut off at the end.

    Raises:
        UserError: the template cannot write the conversation, or hides where its answers are.
    """
    (found,) = encode_samples([sample], tokenizer, template, train_on, max_length)
    if isinstance(found, Problem):
        raise UserError(found)
    return found


def encode_samples(
    samples: Sequence[Sample], tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> list[Encoded | Problem]:
    """`encode_sample` for many at once, which is much faster; a sample that fails gives its problem instead."""
    drafts = make_drafts(samples, template, train_on)
    rows = finish_drafts(drafts, tokenize_drafts(drafts, tokenizer), tokenizer)
    return [row if isinstance(row, Problem) else row.cut(max_length) for row in rows]


def tokenize_drafts(drafts: Sequence[Draft | Problem], tokenizer: Tokenizer) -> tuple[EncodedTexts, EncodedTexts]:
    """The library's part of the work, on all cores, while other threads may go on: chats, and running text."""
    chats, running = (_texts(drafts, running=kind) for kind in (False, True))
    return tokenizer.encode_texts(chats), tokenizer.encode_texts(running, running=True)


def _texts(drafts: Sequence[Draft | Problem], *, running: bool) -> list[str]:
    return [draft.text for draft in drafts if isinstance(draft, Draft) and draft.running is running]


def finish_drafts(
    drafts: Sequence[Draft | Problem], found: Sequence[EncodedTexts], tokenizer: Tokenizer
) -> list[Encoded | Problem]:
    """What `tokenize_drafts` found, as tokens and which of them carry loss; nothing is cut off yet.

    A draft that failed stays the problem that it is.
    """
    rows: dict[int, Encoded] = {}
    for texts in found:
        group = [draft for draft in drafts if isinstance(draft, Draft) and draft.running is texts.running]
        rows.update(zip(map(id, group), _mark(group, tokenizer.read_pieces(texts)), strict=True))
    return [draft if isinstance(draft, Problem) else rows[id(draft)] for draft in drafts]


def _mark(drafts: Sequence[Draft], pieces: Pieces) -> list[Encoded]:
    """The rows of texts that were tokenised together."""
    spans = [
        (base + start, base + stop)
        for base, draft in zip(pieces.bases, drafts, strict=True)
        for start, stop in draft.spans
    ]

    def between(start: int, stop: int) -> str:
        number = bisect.bisect_right(pieces.bases, start) - 1
        base = pieces.bases[number]
        return drafts[number].text[start - base : stop - base]

    marks = mark_tokens(pieces.starts, pieces.stops, spans, between)
    edges = list(itertools.pairwise(pieces.bounds))
    # There is nothing before the first token of a row from which it could be predicted.
    marks[[start for start, stop in edges if start < stop]] = 0
    ids, flags = pieces.ids.tobytes(), marks.tobytes()
    return [
        Encoded.packed(ids[TOKEN_BYTES * start : TOKEN_BYTES * stop], flags[start:stop], draft.place)
        for draft, (start, stop) in zip(drafts, edges, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Written:
    """A document as tokens beside its text.

    Attributes:
        text: what was tokenised.
        offsets: for each token the characters of ``text`` that it stands for; an empty span for a token that was added.
    """

    text: str
    encoded: Encoded
    offsets: Offsets


def write_sample(
    sample: Sample, tokenizer: Tokenizer, template: ChatTemplate, train_on: TrainOn, max_length: int
) -> Written:
    """`encode_sample`, and the text that the tokens stand for.

    Raises:
        UserError: as `encode_sample`.
    """
    (draft,) = make_drafts([sample], template, train_on)
    if isinstance(draft, Problem):
        raise UserError(draft)
    pieces = tokenizer.encode_pieces([draft.text], running=draft.running)
    (encoded,) = _mark([draft], pieces)
    return Written(draft.text, encoded.cut(max_length), pieces.offsets(0)[:max_length])
