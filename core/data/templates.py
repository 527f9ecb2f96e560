"""Chat templates: which one is used, what it writes, and with which tokens an answer ends."""

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from core.data import jinja_environment
from core.data.jinja_limits import exhausted_type
from core.data.tokenizer import Tokenizer
from core.data.turn_watch import GENERATION, Turns, Watch
from core.data.types import Message
from core.errors import Edit, Fix, UserError, error
from core.facts.types import ModelFacts
from core.paths import resource
from core.spec.template_choice import AUTO, TOOLS, is_template_text

SETTING = "data.template"
MODEL = "model"
NONE = "none"
PLAIN = "plain"
EDITED = "edited"
WEIGHT = "weight"
"""The entry of `Message.extra` that says whether a turn is trained; templates never see it."""

_BOS = "{{- bos_token }}"
_JOIN = """{% for message in messages %}
{{- message.content + (eos_token | default('') if message.role == 'assistant' else '') -}}
{% endfor %}
"""
_PROBE = "Probewort"
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_FILES = (".jinja", ".jinja2", ".j2")
_REASONING = ("reasoning_content", "thinking", "reasoning")


class EndlessTemplateError(UserError):
    """A template was stopped because it takes too long."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template ready to use.

    Attributes:
        name: "model", "none", a built-in's name, a file's path, or "edited" where the spec itself holds the text; with
            "+tools" behind it where tools are written as text.
        choice: the value of the setting ``data.template`` that stands for it.
        source: its Jinja text, fit for a model's ``chat_template.jinja``.
        variables: the special tokens that it may write, by name.
        turn_end: what it writes after an answer: the end-of-turn token, perhaps with a space before it; white space
            where that is all there is; empty if an answer ends with nothing.
        inner_end: the same behind an answer that is not the last, where some templates write less.
        marks_answers: it has ``{% generation %}`` marks.
        question_end: what it writes behind a conversation to make the model answer, if that is the same for all
            conversations; None where that cannot be told.
    """

    name: str
    choice: str
    source: str
    variables: Mapping[str, str]
    turn_end: str
    inner_end: str
    marks_answers: bool
    question_end: str | None
    _compiled: Any = field(repr=False, compare=False)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = False,
        now: datetime | None = None,
        marks: tuple[str, str] = ("", ""),
    ) -> str:
        """The conversation as text.

        Args:
            messages: the turns.
            tools: descriptions of tools, for templates that know them.
            add_generation_prompt: end with what makes the model answer.
            now: the date for templates that write one; None for today.
            marks: texts to put around the parts that the template marks as generated.

        Raises:
            UserError: the template refuses the conversation or fails on it.
        """
        variables = self._variables([_as_mapping(message) for message in messages], tools)
        variables[GENERATION] = add_generation_prompt
        return self._render(variables, marks, now, None)

    def write(
        self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] = (), now: datetime | None = None
    ) -> "Writing":
        """The conversation as text, together with what `render` would make of its beginnings.

        Raises:
            UserError: as `render`.
        """
        text, watch = self._watched(messages, tools, add_generation_prompt=False, now=now)
        lengths = {} if self.question_end is None else watch.lengths()
        stop = lengths.get(len(messages))
        return Writing(text, {} if stop is None else lengths, text[stop:], self.question_end or "")

    def find_question_end(self) -> str | None:
        """What `question_end` is."""
        question, answer = Message("user", "Hello"), Message("assistant", "Hello")
        for messages in ((question,), (question, answer, question)):
            try:
                text, watch = self._watched(messages, (), add_generation_prompt=True, now=None)
            except UserError:
                continue
            stop = watch.lengths().get(len(messages))
            if stop is not None:
                return text[stop:]
        return None

    def _watched(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool,
        now: datetime | None,
    ) -> tuple[str, Watch]:
        watch = Watch()
        variables = self._variables(Turns([_as_mapping(message) for message in messages], watch), tools)
        variables[GENERATION] = add_generation_prompt
        return self._render(variables, ("", ""), now, watch), watch

    def _variables(self, turns: list[Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {**self.variables, "messages": turns, "tools": [dict(tool) for tool in tools] or None, "documents": None}

    def _render(
        self, variables: dict[str, Any], marks: tuple[str, str], now: datetime | None, watch: Watch | None
    ) -> str:
        try:
            return jinja_environment.render(self._compiled, variables, marks=marks, now=now, watch=watch)
        except jinja_environment.failures() as failure:
            reason = str(failure).strip().rstrip(".") or type(failure).__name__
            message = f"The chat template “{self.name}” cannot write this conversation: {reason}."
            advice = "Change the conversation to what the template expects, or choose another template."
            kind = EndlessTemplateError if isinstance(failure, exhausted_type()) else UserError
            raise kind(error(SETTING, message, advice)) from failure

    def stop_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The tokens that end an answer: the model's own end tokens and the one this template writes after a turn."""
        return tuple(dict.fromkeys([*tokenizer.eos_ids, *self._end_of_turn(tokenizer)]))

    def ends_turns(self, tokenizer: Tokenizer) -> bool:
        """Whether an answer ends with a token at which generation can stop."""
        end = tokenizer.encode(self.turn_end.strip())[:1] if self.turn_end.strip() else []
        return bool(end) and end[0] in self.stop_ids(tokenizer)

    def _end_of_turn(self, tokenizer: Tokenizer) -> list[int]:
        end = self.turn_end.strip()
        first = tokenizer.encode(end)[:1] if end else []
        return first if first and first[0] in tokenizer.added_tokens() else []


@dataclass(frozen=True, slots=True)
class Writing:
    """A conversation as text, and what is known of its beginnings.

    Attributes:
        text: all of it.
    """

    text: str
    _lengths: Mapping[int, int]
    _end: str
    _question_end: str

    def beginning(self, turns: int, *, add_generation_prompt: bool) -> str | None:
        """What the template writes for the first so many turns; None where only rendering can tell."""
        length = self._lengths.get(turns)
        if length is None:
            return None
        return self.text[:length] + (self._question_end if add_generation_prompt else self._end)


def builtin_templates() -> Mapping[str, str]:
    """The templates that come with the application: name -> source, in alphabetical order."""
    files = sorted(resource("templates").glob("*.jinja"))
    return {path.stem: path.read_text(encoding="utf-8") for path in files}


def choose_template(choice: str, model: ModelFacts, tokenizer: Tokenizer) -> ChatTemplate:
    """The template that the setting ``data.template`` stands for.

    Args:
        choice: "auto" for the model's own, or “plain” where it has none; "none" to join texts as they are; the name
            of a built-in; the path of a Jinja file; or the text of a template. "+tools" behind one of the first four
            takes it with tools written as text.
        model: the base model.
        tokenizer: its tokenizer.

    Raises:
        UserError: there is no such template, or it is not valid.
    """
    variables = tokenizer.special
    if is_template_text(choice):
        return _make(EDITED, choice, choice, variables, advice="Mend the text, or choose another template.")
    if choice.endswith(TOOLS):
        return with_tools(choose_template(choice.removesuffix(TOOLS), model, tokenizer))
    builtins = builtin_templates()
    name = PLAIN if choice == AUTO and not model.template else choice
    if name == AUTO:
        advice = f"Set {SETTING} to “{PLAIN}” or to a file of your own."
        return _make(MODEL, choice, model.template, variables, advice=advice)
    if name == NONE or name in builtins:
        # A template of our own begins with the beginning-of-text token exactly where the tokenizer would add it.
        source = (_BOS if tokenizer.adds_bos else "") + builtins.get(name, _JOIN)
        return _make(name, choice, source, variables, advice="")
    path = Path(choice).expanduser()
    if path.suffix in _FILES or path.is_file() or len(path.parts) > 1:
        advice = "Mend the file, or choose another template."
        return _make(choice, choice, _read(path), variables, advice=advice)
    names = [AUTO, NONE, *builtins]
    close = difflib.get_close_matches(choice, names, n=1)
    fixes = [Fix(f"Use “{close[0]}”", (Edit(SETTING, close[0]),))] if close else []
    listed = ", ".join(f"“{name}”" for name in names)
    message = f"There is no chat template called “{choice}”."
    raise UserError(error(SETTING, message, f"Choose one of {listed}, or the path of a .jinja file.", *fixes))


def plain_template(template: ChatTemplate) -> ChatTemplate:
    """The built-in “plain” for the same model, without a beginning-of-text token: to see what it can write."""
    return _make(PLAIN, PLAIN, builtin_templates()[PLAIN], template.variables, advice="")


def with_tools(template: ChatTemplate) -> ChatTemplate:
    """The template behind a preface that writes descriptions, calls and results of tools as plain text.

    Descriptions open the system turn, or the first turn of the user where the template has no system turn; calls stand
    inside the answers, and results are turns of the user. The preface is part of the source, so that it goes wherever
    the template goes.
    """
    source = _tools_preface(in_system=_has_system_turn(template)) + template.source
    choice = source if is_template_text(template.choice) else template.choice + TOOLS
    return _make(template.name + TOOLS, choice, source, template.variables, advice="")


@functools.cache
def _tools_preface(*, in_system: bool) -> str:
    preface = resource("template_parts", "tools_as_text.jinja").read_text(encoding="utf-8").rstrip()
    return f"{{%- set tools_in_system = {'true' if in_system else 'false'} %}}{preface}"


def _has_system_turn(template: ChatTemplate) -> bool:
    probe = (Message("system", _PROBE), Message("user", "Hello"), Message("assistant", "Hello"))
    try:
        return _PROBE in template.render(probe)
    except UserError:
        return False


def _make(name: str, choice: str, source: str, variables: Mapping[str, str], *, advice: str) -> ChatTemplate:
    import jinja2

    try:
        compiled = jinja_environment.compile_template(source)
    except (jinja2.TemplateError, RecursionError, ValueError) as failure:
        line = f" (line {failure.lineno})" if isinstance(failure, jinja2.TemplateSyntaxError) else ""
        message = f"The chat template “{name}” is not valid Jinja{line}: {str(failure).rstrip('.')}."
        fix = Fix(f"Use “{PLAIN}”", (Edit(SETTING, PLAIN),))
        raise UserError(error(SETTING, message, advice, fix)) from failure
    marks = bool(_GENERATION.search(source))
    draft = ChatTemplate(name, choice, source, variables, "", "", marks, None, compiled)
    end = _turn_end(draft)
    return replace(draft, turn_end=end, inner_end=_inner_end(draft) or end, question_end=draft.find_question_end())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        message = f"There is no template file “{path}”."
        raise UserError(error(SETTING, message, "Check the path, or choose a built-in template.")) from None
    except UnicodeDecodeError as failure:
        message = f"The template file “{path}” is not UTF-8 text (byte {failure.start})."
        raise UserError(error(SETTING, message, "Save it as UTF-8.")) from None
    except OSError as failure:
        message = f"The template file “{path}” cannot be read: {failure.strerror}."
        raise UserError(error(SETTING, message, "Check the path and the permissions.")) from failure


def _turn_end(template: ChatTemplate) -> str:
    """What follows an answer, found by writing one."""
    probe = (Message("user", "Hello"), Message("assistant", _PROBE))
    try:
        text = template.render(probe)
    except UserError:
        return ""
    _, found, rest = text.rpartition(_PROBE)
    if not found:
        return ""
    return rest.rstrip() or rest


def _inner_end(template: ChatTemplate) -> str:
    """What stands between an answer and the next question: what does not stand before the first question as well."""
    question, answer = Message("user", "Hello"), Message("assistant", _PROBE)
    try:
        first = template.render((question,)).partition("Hello")[0]
        rest = template.render((question, answer, question)).partition(_PROBE)[2].partition("Hello")[0]
    except UserError:
        return ""
    return rest[: len(rest) - shared_length(first[::-1], rest[::-1])].rstrip()


def shared_length(one: str, other: str) -> int:
    """With how many characters both texts begin in the same way."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def _as_mapping(message: Message) -> dict[str, Any]:
    """A message as templates expect it, which is as transformers 5 gives it to them.

    Reasoning goes by each name that templates know. What is null is left out: many would fail on it or write “None”.
    """
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if not message.extra:
        return value
    value.update((key, item) for key, item in message.extra.items() if key != WEIGHT)
    reasoning = next((value[name] for name in _REASONING if value.get(name) is not None), None)
    if reasoning is not None:
        value = {"thinking": reasoning, **value, "reasoning_content": reasoning}
    return {key: item for key, item in value.items() if item is not None}
