"""Two hundred conversations as people and programs write them, and seventy real chat templates to write them with."""

import random
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.types import Message
from tests.core.data.real_packages import TEMPLATES, fetched

COUNT = 200
_WORDS = (
    "Grüße", "東京", "🎉", "<b>&amp;</b>", "“so”", "x_1 = {'a': [1]}", "\n", "\n\n", "  ", "{{ name }}", "{% raw %}",
    "naïve", "don't", "\\n", '"quoted"', "1/3", "C:\\dir", "<|im_end|>", "</s>", "[INST]", "<think>", "مرحبا",
    "é\u0301", "$x^2$",
)  # fmt: skip
_TOOLS: tuple[Mapping[str, Any], ...] = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in “a place” <now>",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "Größe & co"},
                    "days": {"type": "integer", "description": "how many"},
                    "unit": {"type": "string", "enum": ["c", "f"], "description": "which"},
                },
                "required": ["place"],
            },
        },
    },
)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation and the tools that it may call."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


def chats() -> tuple[Chat, ...]:
    """The conversations, always the same: with and without system text, reasoning, tools, and a last answer."""
    source = random.Random(20)
    return tuple(_chat(source, number) for number in range(COUNT))


def marked_chats() -> tuple[Chat, ...]:
    """Forty conversations in which every content is a word of its own that begins with who says it: s, u, c, t or a."""
    found = []
    for number in range(40):
        calls = number % 4 == 1
        turns = [Message("system", f"s{number}said")] if number % 3 == 0 else []
        for turn in range(1 + number % 3):
            turns.append(Message("user", f"u{number}said{turn}"))
            if calls:
                turns += _marked_call(f"{number}said{turn}")
            turns.append(Message("assistant", f"a{number}said{turn}"))
        found.append(Chat(tuple(turns), _TOOLS if calls else ()))
    return tuple(found)


def _marked_call(words: str) -> list[Message]:
    function = {"name": "weather", "arguments": {"place": f"c{words}"}}
    call = {"id": "call00001", "type": "function", "function": function}
    asked = Message("assistant", "", {"content": None, "tool_calls": [call]})
    return [asked, Message("tool", f"t{words}", {"name": "weather", "tool_call_id": "call00001"})]


def _chat(source: random.Random, number: int) -> Chat:
    turns = [Message("system", _text(source))] if number % 3 == 0 else []
    has_tools = number % 4 == 1
    for _ in range(source.randint(1, 3)):
        turns.append(Message("user", _text(source)))
        if has_tools and source.random() < 0.7:
            turns += _call(source, number)
        turns.append(_answer(source, number))
    if number % 10 == 9:
        turns.pop()
    return Chat(tuple(turns), _TOOLS if has_tools else ())


def _answer(source: random.Random, number: int) -> Message:
    text = _text(source)
    if number % 5 == 2:
        return Message("assistant", text, {"reasoning_content": _text(source)})
    if number % 5 == 3:
        return Message("assistant", f"<think>\n{_text(source)}\n</think>\n\n{text}")
    return Message("assistant", text)


def _call(source: random.Random, number: int) -> list[Message]:
    arguments = {"place": _text(source), "days": source.randint(1, 9)}
    call = {"id": f"call{number:05d}", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    silent = source.random() < 0.5
    extra: dict[str, Any] = {"tool_calls": [call]}
    if silent:
        extra["content"] = None
    asked = Message("assistant", "" if silent else _text(source), extra)
    return [asked, Message("tool", '{"degrees": -3.5}', {"name": "weather", "tool_call_id": call["id"]})]


def _text(source: random.Random) -> str:
    words = [source.choice(_WORDS) if source.random() < 0.3 else _word(source) for _ in range(source.randint(1, 12))]
    return " ".join(words).strip() or "Yes."


def _word(source: random.Random) -> str:
    return "".join(source.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(source.randint(1, 9)))


def real_templates(work: Path) -> dict[str, str]:
    """The templates that llama.cpp keeps of published models, by file name; unpacked into ``work``."""
    bundle = "package/llama/gitRelease.bundle"
    with tarfile.open(fetched(TEMPLATES)) as packed:
        packed.extract(bundle, work, filter="data")
    clone = work / "llama.cpp"
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", work / bundle, clone], check=True, capture_output=True)
    subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", "models/templates"], cwd=clone, check=True)
    found = sorted((clone / "models" / "templates").glob("*.jinja"))
    return {path.stem: path.read_text(encoding="utf-8") for path in found}
