"""A chat template in the language of Go's text/template, which Ollama wants, made from what the Jinja one writes.

No list of known families is needed: a template that puts fixed texts around the turns is known completely by those
texts, and they are found by having it write conversations with words that stand nowhere else. The result is then held
against the template itself on other conversations; one that does more (tools, dates, trimmed thoughts) is found out.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.data.templates import ChatTemplate
from core.data.types import Message
from core.errors import UserError

_SYSTEM, _ASKED, _ANSWERED, _AGAIN = "Quittenbaum", "Probewort", "Sisterwort", "Wiedersagen"
_DAYS = (datetime(2001, 2, 3, tzinfo=UTC), datetime(2019, 10, 28, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class TurnTexts:
    """What a chat template writes around the turns of a conversation.

    Attributes:
        opening: before the first question, where nobody gives a system text.
        before_system, after_system: around a system text; what follows it leads to the first question.
        to_answer: between a question and its answer in the past.
        ask: behind the last question, to make the model answer.
        to_question: between an answer and the next question.
    """

    opening: str
    before_system: str | None
    after_system: str
    to_answer: str
    ask: str
    to_question: str

    def write(self, messages: Sequence[Message]) -> str:
        """What Ollama will write for a conversation that begins with a system text or a question and ends with one."""
        begins = messages[0].role == "system" and self.before_system is not None
        text = f"{self.before_system}{messages[0].content}{self.after_system}" if begins else self.opening
        turns = [message for message in messages if message.role != "system"]
        for message, following in itertools.zip_longest(turns, turns[1:]):
            text += message.content
            if message.role == "user":
                text += self.ask if following is None else self.to_answer
            elif following is not None:
                text += self.to_question
        return text


def turn_texts(template: ChatTemplate, bos: str = "") -> TurnTexts | str:
    """The texts around the turns; a sentence that says why there are none where the template does more than that.

    Args:
        template: what the model was trained with.
        bos: a beginning-of-text token that the runtime itself puts in front, so the template must not.
    """
    try:
        found = _probe(template, bos)
        if isinstance(found, str):
            return found
        for day, conversation in itertools.product(_DAYS, _conversations(found)):
            wanted = _without(template.render(conversation, add_generation_prompt=True, now=day), bos)
            if found.write(conversation) != wanted:
                return "The chat template does more than to put fixed texts around the turns."
    except UserError as failure:
        return f"The chat template could not be asked: {failure.problems[0].message}"
    return found


def _probe(template: ChatTemplate, bos: str) -> TurnTexts | str:
    system, asked = Message("system", _SYSTEM), Message("user", _ASKED)
    answered, again = Message("assistant", _ANSWERED), Message("user", _AGAIN)

    def written(*messages: Message) -> str:
        return _without(template.render(messages, add_generation_prompt=True, now=_DAYS[0]), bos)

    opening, found, ask = written(asked).partition(_ASKED)
    _, found_again, rest = written(asked, answered, again).partition(_ASKED)
    to_answer, found_answer, rest = rest.partition(_ANSWERED)
    to_question, found_question, _ = rest.partition(_AGAIN)
    if not (found and found_again and found_answer and found_question):
        return "The chat template leaves out parts of a conversation."
    try:
        before, found_system, rest = written(system, asked).partition(_SYSTEM)
    except UserError:  # some refuse a system text
        return TurnTexts(opening, None, "", to_answer, ask, to_question)
    after = rest.partition(_ASKED)[0]
    return TurnTexts(opening, before if found_system else None, after, to_answer, ask, to_question)


def _conversations(texts: TurnTexts) -> list[tuple[Message, ...]]:
    """Conversations unlike those that were asked first: longer ones, with line breaks and marks of Jinja and Go."""
    turns = [
        Message("user", "Why is it so?\nTwo lines."),
        Message("assistant", 'Because of "this" & <that>.'),
        Message("user", "And {{ this }}?"),
        Message("assistant", "日本語 é"),
        Message("user", "Last"),
    ]
    system = Message("system", "Be brief.\n\nBe kind.")
    found = [tuple(turns[:count]) for count in (1, 3, 5)]
    if texts.before_system is not None:
        found += [(system, *conversation) for conversation in found]
    return found


def _without(text: str, bos: str) -> str:
    return text.removeprefix(bos) if bos else text


def go_template(texts: TurnTexts) -> str:
    """The text of Ollama's TEMPLATE: every text is a quoted string, so that no line break is added or lost.

    Ollama gives ``.System`` (its Modelfile's or the conversation's own) and ``.Messages``, one for each turn
    (ollama/docs/template.md). An answer that comes last is one that the model is to go on with.
    """
    opening = _said(texts.opening)
    if texts.before_system is not None:
        system = f"{_said(texts.before_system)}{{{{ .System }}}}{_said(texts.after_system)}"
        opening = f"{{{{- if .System }}}}{system}{{{{ else }}}}{opening}{{{{ end }}}}"
    return (
        f"{opening}\n"
        "{{- range $i, $_ := .Messages }}\n"
        "{{- $last := eq (len (slice $.Messages $i)) 1 }}\n"
        '{{- if eq .Role "assistant" }}{{ .Content }}'
        f"{{{{ if not $last }}}}{_said(texts.to_question)}{{{{ end }}}}\n"
        '{{- else if ne .Role "system" }}{{ .Content }}'
        f"{{{{ if $last }}}}{_said(texts.ask)}{{{{ else }}}}{_said(texts.to_answer)}{{{{ end }}}}\n"
        "{{- end }}\n"
        "{{- end }}"
    )


def _said(text: str) -> str:
    # A JSON string is a Go string, but for what lies outside the basic plane, which is written as it is.
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
