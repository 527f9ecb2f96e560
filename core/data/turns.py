"""A conversation as data: which of its keys say who speaks and what, and the ways in which its turns are listed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "claude": "assistant",
    "gpt4": "assistant",
    "gpt-4": "assistant",
    "gpt-3.5": "assistant",
    "llm": "assistant",
    "function_call": "assistant",
    "function-call": "assistant",
    "functioncall": "assistant",
    "tool_call": "assistant",
    "tool_calls": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "tool_output": "tool",
    "function_response": "tool",
    "function-response": "tool",
    "function_result": "tool",
    "usr": "user",
    "customer": "user",
    "sys": "system",
}
_ROLE_KEYS = ("role", "from")
_RARE_ROLE_KEYS = ("speaker", "author", "sender")
_CONTENT_KEYS = ("content", "value", "text")
_DEEPEST = 100


def is_plain_text(value: object) -> bool:
    """Whether something is a text that holds no JSON list or object: what nearly every cell of a table is."""
    return isinstance(value, str) and value.lstrip()[:1] not in ("[", "{")


def parsed(value: object) -> object:
    """What a text that holds a JSON list or object says; anything else as it is."""
    if isinstance(value, str) and not is_plain_text(value):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return value if is_too_deep(found) else found
    return value


def is_too_deep(value: object) -> bool:
    """Whether data is nested deeper than any row with a meaning, so deep that what works on it might give up."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for item in level:
            for child in item.values() if isinstance(item, dict) else item:
                if isinstance(child, dict | list | tuple):
                    inner.append(child)  # noqa: PERF401 (with two loops inside each other a list takes twice as long)
        if not inner:
            return False
        level = inner
    return True


def is_turn(value: object) -> bool:
    """Whether something looks like one turn of a conversation."""
    if not isinstance(value, Mapping):
        return False
    return any(key in value for key in _ROLE_KEYS) or (
        any(key in value for key in _RARE_ROLE_KEYS) and any(key in value for key in _CONTENT_KEYS)
    )


def turn_keys(turn: Mapping[str, Any]) -> tuple[str, str]:
    """Where a turn says who speaks, and where it says what."""
    role = next((key for key in (*_ROLE_KEYS, *_RARE_ROLE_KEYS) if key in turn), "role")
    usual = "value" if role == "from" else "content"
    return role, next((key for key in (usual, *_CONTENT_KEYS) if key in turn), usual)


def listed(value: object) -> object:
    """The turns of a conversation that is written another way than as a list of them; any other value as it is.

    Columns that hold a list each are how Hugging Face datasets write lists of records. Lists in a list are the things
    that one speaker said before the other answered; they become one turn.
    """
    if isinstance(value, list | tuple) and value and all(_is_burst(item) for item in value):
        return [_joined(burst) for burst in value]
    if not isinstance(value, Mapping) or not is_turn(value):
        return value
    role, content = turn_keys(value)
    roles, contents = value.get(role), value.get(content)
    if not isinstance(roles, list) or not isinstance(contents, list) or len(roles) != len(contents):
        return value
    whole = {name: column for name, column in value.items() if isinstance(column, list) and len(column) == len(roles)}
    return [dict(zip(whole, cells, strict=True)) for cells in zip(*whole.values(), strict=True)]


def _is_burst(value: object) -> bool:
    """Whether something is what one speaker said in several messages."""
    if not isinstance(value, list | tuple) or not value or not all(is_turn(turn) for turn in value):
        return False
    role, content = turn_keys(value[0])
    same = all(turn.get(role) == value[0][role] for turn in value)
    return same and all(isinstance(turn.get(content), str) for turn in value)


def _joined(burst: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    _, content = turn_keys(burst[0])
    return {**burst[0], content: "\n".join(turn[content] for turn in burst)}


def speaker_roles(turns: Sequence[Any]) -> Mapping[str, str]:
    """Who of two speakers with names of their own is the user, and who answers; nothing where there are no such names.

    Whoever speaks first asks. Only ``speaker``, ``author`` and ``sender`` may hold a name; a ``role`` is a role.
    """
    names: list[str] = []
    for turn in turns:
        key = turn_keys(turn)[0] if isinstance(turn, Mapping) else "role"
        name = turn.get(key) if isinstance(turn, Mapping) else None
        if key not in _RARE_ROLE_KEYS or not isinstance(name, str) or role_of(name) is not None:
            return {}
        if name not in names:
            names.append(name)
    return dict(zip(names, ("user", "assistant"), strict=False)) if len(names) <= 2 else {}


def role_of(name: object) -> str | None:
    """The role that a word stands for; None for a word that stands for none."""
    return _ROLES.get(name.strip().lower()) if isinstance(name, str) else None
