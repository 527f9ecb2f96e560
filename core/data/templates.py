"""Chat templates: which one is used, what it writes, and with which tokens an answer ends."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from core.data import jinja_environment
from core.data.tokenizer import Tokenizer
from core.data.types import Message
from core.errors import Edit, Fix, UserError, error
from core.facts.types import ModelFacts
from core.paths import resource

SETTING = "data.template"
MODEL = "model"
NONE = "none"
PLAIN = "plain"
WEIGHT = "weight"
"""The entry of `Message.extra` that says whether a turn is trained; templates never see it."""

_BOS = "{{- bos_token }}"
_JOIN = """{% for message in messages %}
{{- message.content + (eos_token | default('') if message.role == 'assistant' else '') -}}
{% endfor %}
"""
_PROBE = "Probewort"
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_REASONING = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template ready to use.

    Attributes:
        name: "model", "none", a built-in's name or a file's path.
        source: its Jinja text, fit for a model's ``chat_template.jinja``.
        variables: the special tokens that it may write, by name.
        turn_end: what it writes after an answer: the end-of-turn token, perhaps with a space before it; white space
            where that is all there is; empty if an answer ends with nothing.
        marks_answers: it has ``{% generation %}`` marks.
    """

    name: str
    source: str
    variables: Mapping[str, str]
    turn_end: str
    marks_answers: bool
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
        variables: dict[str, Any] = dict(self.variables)
        variables["messages"] = [_as_mapping(message) for message in messages]
        variables["tools"] = [dict(tool) for tool in tools] or None
        variables["documents"] = None
        variables["add_generation_prompt"] = add_generation_prompt
        try:
            return jinja_environment.render(self._compiled, variables, marks=marks, now=now)
        except jinja_environment.failures() as failure:
            reason = str(failure).strip().rstrip(".") or type(failure).__name__
            message = f"The chat template “{self.name}” cannot write this conversation: {reason}."
            advice = "Change the conversation to what the template expects, or choose another template."
            raise UserError(error(SETTING, message, advice)) from failure

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


def builtin_templates() -> Mapping[str, str]:
    """The templates that come with the application: name -> source, in alphabetical order."""
    files = sorted(resource("templates").glob("*.jinja"))
    return {path.stem: path.read_text(encoding="utf-8") for path in files}


def choose_template(choice: str, model: ModelFacts, tokenizer: Tokenizer) -> ChatTemplate:
    """The template that the setting ``data.template`` stands for.

    Args:
        choice: "auto" for the model's own, or “plain” where it has none; "none" to join texts as they are; the name
            of a built-in; or the path of a Jinja file.
        model: the base model.
        tokenizer: its tokenizer.

    Raises:
        UserError: there is no such template, or it is not valid.
    """
    if choice == "auto":
        if model.template:
            return _make(
                MODEL, model.template, tokenizer, advice=f"Set {SETTING} to “{PLAIN}” or to a file of your own."
            )
        return _make_builtin(PLAIN, builtin_templates()[PLAIN], tokenizer)
    if choice == NONE:
        return _make_builtin(NONE, _JOIN, tokenizer)
    builtins = builtin_templates()
    if choice in builtins:
        return _make_builtin(choice, builtins[choice], tokenizer)
    path = Path(choice).expanduser()
    if path.suffix in (".jinja", ".jinja2", ".j2") or path.is_file() or len(path.parts) > 1:
        return _make(choice, _read(path), tokenizer, advice="Mend the file, or choose another template.")
    names = ["auto", NONE, *builtins]
    close = difflib.get_close_matches(choice, names, n=1)
    fixes = [Fix(f"Use “{close[0]}”", (Edit(SETTING, close[0]),))] if close else []
    listed = ", ".join(f"“{name}”" for name in names)
    message = f"There is no chat template called “{choice}”."
    raise UserError(error(SETTING, message, f"Choose one of {listed}, or the path of a .jinja file.", *fixes))


def _make_builtin(name: str, source: str, tokenizer: Tokenizer) -> ChatTemplate:
    """A template of our own; it begins with the beginning-of-text token exactly where the tokenizer would add it."""
    return _make(name, _BOS + source if tokenizer.adds_bos else source, tokenizer, advice="")


def _make(name: str, source: str, tokenizer: Tokenizer, *, advice: str) -> ChatTemplate:
    import jinja2

    try:
        compiled = jinja_environment.compile_template(source)
    except (jinja2.TemplateError, RecursionError, ValueError) as failure:
        line = f" (line {failure.lineno})" if isinstance(failure, jinja2.TemplateSyntaxError) else ""
        message = f"The chat template “{name}” is not valid Jinja{line}: {str(failure).rstrip('.')}."
        fix = Fix(f"Use “{PLAIN}”", (Edit(SETTING, PLAIN),))
        raise UserError(error(SETTING, message, advice, fix)) from failure
    marks = bool(_GENERATION.search(source))
    draft = ChatTemplate(name, source, tokenizer.special, "", marks, compiled)
    return ChatTemplate(name, source, tokenizer.special, _turn_end(draft), marks, compiled)


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


def _as_mapping(message: Message) -> dict[str, Any]:
    """A message as templates expect it, which is as transformers 5 gives it to them.

    Reasoning goes by each name that templates know. What is null is left out: many would fail on it or write “None”.
    """
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    value.update((key, item) for key, item in message.extra.items() if key != WEIGHT)
    reasoning = next((value[name] for name in _REASONING if value.get(name) is not None), None)
    if reasoning is not None:
        value = {"thinking": reasoning, **value, "reasoning_content": reasoning}
    return {key: item for key, item in value.items() if item is not None}
