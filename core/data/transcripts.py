"""Conversations written out as one text, as in Anthropic's HH-RLHF: paragraphs that begin with “Human:”."""

import re

from core.data.types import Message

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def split_transcript(text: str) -> tuple[Message, ...] | None:
    """The turns of a text that begins with “Human:”; None for any other text."""
    parts = _TURN.split(text.lstrip())
    if len(parts) < 3 or parts[0].strip() or parts[1] != "Human":
        return None
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return tuple(Message(roles[name], words.strip()) for name, words in turns if words.strip())
