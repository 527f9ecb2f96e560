"""Turns as people write them, in a dozen dialects, as the one `Message` that templates understand."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.data.source import elide
from core.data.templates import WEIGHT
from core.data.turns import listed, parsed, role_of, speaker_roles, turn_keys
from core.data.types import Message

_CALLS = ("function_call", "function-call", "functioncall", "tool_call", "tool_calls")
_SPEAKERS = ("user", "assistant", "system", "tool")
_CALL_PARTS = ("tool_call", "tool_calls", "function_call")
_WEIGHTS = ("weight", "loss", "loss_weight", "train")
_REASONING_PARTS = ("reasoning", "thinking")


class MisfitError(Exception):
    """A row does not fit its shape; the message is the sentence that says why."""


def is_nothing(value: object) -> bool:
    """Whether a cell is empty: null, or the NaN that pandas writes for it."""
    return value is None or (isinstance(value, float) and value != value)


def to_text(value: object, what: str) -> str:
    """A cell as text; numbers and truth values are written out.

    Raises:
        MisfitError: it is missing or structured, or holds characters that no file can hold.
    """
    if isinstance(value, str) and value.isascii():
        return value
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise MisfitError(f"{what} holds bytes that are not UTF-8 text.") from None
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise MisfitError(f"{what} holds half of a character pair (a lone surrogate), which is no text.") from None
        return value
    if is_nothing(value):
        raise MisfitError(f"{what} is missing ({'null' if value is None else 'NaN'}).")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    kind = "a list" if isinstance(value, list | tuple) else "an object" if isinstance(value, Mapping) else "no text"
    raise MisfitError(f"{what} is {kind}, and a text was expected.")


def to_messages(value: object, what: str) -> tuple[Message, ...]:
    """A list of turns in the OpenAI or the ShareGPT dialect, also as JSON text.

    Raises:
        MisfitError: it is no such list, or one of its turns makes no sense.
    """
    turns = listed(parsed(value))
    if not isinstance(turns, list | tuple):
        raise MisfitError(f"{what} is not a list of messages.")
    if not turns:
        raise MisfitError(f"{what} is an empty list.")
    roles = speaker_roles(turns)
    return tuple(
        _plain_message(turn) or _read_message(turn, f"message {number} of {what}", roles)
        for number, turn in enumerate(turns, start=1)
    )


def plain_messages(value: object) -> tuple[Message, ...] | None:
    """`to_messages` for a list of turns of which none needs a closer look; None for anything else."""
    if type(value) is not list:
        return None
    found = [_plain_message(turn) for turn in value]
    return None if None in found else tuple(found)  # type: ignore[arg-type]  # there is no None among them


def to_tools(value: object) -> tuple[Mapping[str, Any], ...]:
    """Tool descriptions in the OpenAI form, also from JSON text; none where there is nothing.

    Raises:
        MisfitError: they are no list of objects.
    """
    tools = parsed(value)
    if tools is None or tools in ("", [], {}):
        return ()
    tools = [tools] if isinstance(tools, Mapping) else tools
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise MisfitError("“tools” is not a list of tool descriptions.")
    written = isinstance(value, str)
    return tuple(_wrapped(tool if written else _without_none(tool)) for tool in tools)


def _plain_message(turn: object) -> Message | None:
    """What most turns are, in less than half the time; None for one that has to be looked at closer."""
    if type(turn) is dict and len(turn) == 2:
        role, content = turn.get("role"), turn.get("content")
        if role in _SPEAKERS and type(content) is str and (role != "assistant" or content.strip()):
            return Message(role, content) if content.isascii() or _is_writable(content) else None
    return None


def _is_writable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_message(turn: object, what: str, roles: Mapping[str, str]) -> Message:
    if not isinstance(turn, Mapping):
        raise MisfitError(f"{what} is not an object with a role and a content.")
    keys = turn_keys(turn)
    role = role_of(turn.get(keys[0])) or roles.get(str(turn.get(keys[0])))
    if role is None:
        known = "system, user, assistant or tool"
        raise MisfitError(f"{what} has the role {_shown(turn.get(keys[0]))}; expected {known}.")
    extra = {
        name: _without_none(item)
        for name, item in turn.items()
        if name not in keys and name not in _WEIGHTS and item not in (None, [], {})
    }
    content = turn.get(keys[1])
    if str(turn[keys[0]]).strip().lower() in _CALLS:
        extra["tool_calls"], content = _calls(parsed(content), what), None
    elif "tool_calls" in extra:
        extra["tool_calls"] = _calls(parsed(extra["tool_calls"]), what)
    weight = _weight(turn, what)
    if weight is not None:
        extra[WEIGHT] = weight
    text = _content(content, role, extra, what)
    if role == "assistant" and not text.strip() and "tool_calls" not in extra:
        raise MisfitError(f"{what} is an empty answer.")
    return Message(role, text, extra)


def _shown(value: object) -> str:
    """A value as a sentence quotes it, whatever it is and however long."""
    return elide(json.dumps(value, default=str, ensure_ascii=False))


def _content(value: object, role: str, extra: dict[str, Any], what: str) -> str:
    if value is None and role == "assistant" and "tool_calls" in extra:
        # Templates tell a call from an answer by a content that is not there.
        extra["content"] = None
        return ""
    if isinstance(value, list | tuple):
        text = "".join(_part(part, extra, what) for part in value)
        if not text and "tool_calls" in extra:
            extra["content"] = None
        return text
    return to_text(value, f"the content of {what}")


def _part(part: object, extra: dict[str, Any], what: str) -> str:
    """One part of a content list: text is kept, reasoning moves to its own place, anything else is refused."""
    if isinstance(part, str):
        return to_text(part, f"the content of {what}")
    if not isinstance(part, Mapping):
        raise MisfitError(f"the content of {what} has a part that is neither a text nor an object.")
    kind = part.get("type", "text")
    text = next((part[name] for name in ("text", "value", "content") if part.get(name) is not None), None)
    if kind in _REASONING_PARTS:
        extra["reasoning_content"] = extra.get("reasoning_content", "") + to_text(text, f"the reasoning of {what}")
        return ""
    if kind in _CALL_PARTS:
        called = part if text is None else parsed(text)
        extra["tool_calls"] = [*extra.get("tool_calls", ()), *_calls(called, what)]
        return ""
    if kind not in ("text", "input_text", "output_text"):
        raise MisfitError(f"the content of {what} has a part of type “{elide(str(kind))}”; only text can be trained.")
    return to_text(text, f"the content of {what}")


def _calls(value: object, what: str) -> list[dict[str, Any]]:
    """Tool calls in the form that templates read: a function's name and its arguments as an object."""
    items = value if isinstance(value, list | tuple) else [value]
    calls = []
    for item in items:
        function = item.get("function", item) if isinstance(item, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise MisfitError(f"{what} has a tool call without the name of a function.")
        arguments = _plain(function.get("arguments", function.get("parameters", {})))
        call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        identity = item.get("id") if isinstance(item, Mapping) else None
        calls.append({"id": identity, **call} if isinstance(identity, str) else call)
    return calls


def _wrapped(tool: Any) -> Mapping[str, Any]:
    return tool if "function" in tool or "type" in tool else {"type": "function", "function": tool}


def _weight(turn: Mapping[str, Any], what: str) -> int | None:
    name = next((name for name in _WEIGHTS if turn.get(name) is not None), None)
    if name is None:
        return None
    value = turn[name]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return int(value)
    raise MisfitError(f"{what} has the {name} {_shown(value)}; only 0 and 1 are possible.")


def _plain(value: Any) -> Any:
    """Structured data; what was written as JSON text keeps its nulls, for there they are meant."""
    return parsed(value) if isinstance(value, str) else _without_none(value)


def _without_none(value: Any) -> Any:
    """Plain data without the empty members that column formats fill in, and without what JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_without_none(item) for item in value]
    return value if isinstance(value, str | bool | int | float | None) else str(value)
