"""What a chat template adds of its own to a row, so that nobody is surprised by text that stands in no file."""

import re

from core.data.spans import RENDERED_AT
from core.data.templates import ChatTemplate, shared_length
from core.data.types import Message
from core.errors import UserError

_WORD = re.compile(r"[^\W\d_]{2,}")
_SENTENCE = 5
"""As many words make a sentence; marks such as “<|start_header_id|>system” have fewer."""
_SYSTEM = "Wortlaut-der-Anweisung"
_TURNS = (Message("user", "Frage"), Message("assistant", "Antwort"))
LONGEST_SHOWN = 2_000


def added_system_text(template: ChatTemplate) -> str:
    """The text that the template writes as a system turn where a conversation has none; empty if it writes nothing.

    Found by writing one conversation with a system text and without: what stands around that text stands in both, and
    what is between is the template's own. Also found is what a template writes around every system text, such as the
    date of Llama 3.1, as long as it writes that without a system text, too.
    """
    own, given = _written(template, _TURNS), _written(template, (Message("system", _SYSTEM), *_TURNS))
    before, found, behind = given.partition(_SYSTEM)
    is_around = found and own.startswith(before) and own.endswith(behind) and len(own) >= len(before) + len(behind)
    if is_around:
        text = own[len(before) : len(own) - len(behind)].strip() or _without_mark(before, template)
    else:
        text = _before_first_turn(template, own)
    return text[:LONGEST_SHOWN]


def _written(template: ChatTemplate, messages: tuple[Message, ...]) -> str:
    try:
        return template.render(messages, now=RENDERED_AT)
    except UserError:
        return ""


def _before_first_turn(template: ChatTemplate, own: str) -> str:
    """What stands before the first question and not before the second one, if it is more than marks."""
    front = own.partition(_TURNS[0].content)[0]
    again = _written(template, (*_TURNS, Message("user", "Und"))).partition(_TURNS[1].content)[2].partition("Und")[0]
    text = front[: len(front) - shared_length(front[::-1], again[::-1])]
    return text.strip() if len(_WORD.findall(text)) >= _SENTENCE else ""


def _without_mark(opening: str, template: ChatTemplate) -> str:
    """The words in front of a system text, without the mark of its turn; empty where there are only marks."""
    bare = _written(template, (Message("system", _SYSTEM), _TURNS[0])).partition(_TURNS[0].content)[0]
    # The mark of the next turn begins as that of this one does; what comes behind it are words.
    mark = bare.partition(_SYSTEM)[2]
    head = opening.removeprefix(template.variables.get("bos_token", ""))
    start = max((shared_length(head, mark[place:]) for place in range(len(mark))), default=0)
    _, line, words = head[start:].partition("\n")
    return words.strip() if line else ""
