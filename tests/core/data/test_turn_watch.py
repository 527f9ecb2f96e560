"""What a template writes for the first turns of a conversation is told from one rendering, or not told at all."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.data.spans import RENDERED_AT
from core.data.templates import ChatTemplate, builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Message
from core.errors import UserError
from core.facts.types import ModelFacts
from tests.core.data.real_chats import chats, real_templates
from tests.core.data.real_like_templates import ALL
from tests.core.data.small_tokenizers import model_of

WithTemplate = Callable[[str], ModelFacts]

LOOP = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
ASKED = "{% if add_generation_prompt %}assistant:{% endif %}"

AHEAD = {
    "length": "{{ messages | length }}" + LOOP,
    "last": "{% for m in messages %}{{ m.content }}{% if loop.last %}!{% endif %}{% endfor %}",
    "last by name": "{% for m in messages %}{{ m.content }}{{ loop['last'] }}{% endfor %}",
    "last by filter": "{% for m in messages %}{{ m.content }}{{ loop | attr('last') }}{% endfor %}",
    "next": "{% for m in messages %}{{ m.content }}{{ loop.nextitem is defined }}{% endfor %}",
    "left": "{% for m in messages %}{{ m.content }}{{ loop.revindex }}{% endfor %}",
    "many": "{% for m in messages %}{{ m.content }}{{ loop | length }}{% endfor %}",
    "back": "{{ messages[-1].content }}" + LOOP,
    "second": "{{ messages[1].content }}" + LOOP,
    "behind": "{% for m in messages %}{{ m.content }}{{ messages[loop.index].role }}{% endfor %}",
    "reversed": "{% for m in messages[::-1] %}{{ m.content }}{% endfor %}" + LOOP,
    "first two": "{% for m in messages[:2] %}{{ m.content }}{% endfor %}",
    "some": "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}" + LOOP,
    "copied": "{{ messages.copy()[-1].content }}" + LOOP,
    "counted": "{{ messages.count(messages[0]) }}" + LOOP,
    "compared": "{{ messages == [messages[0]] }}" + LOOP,
    "contained": "{{ {'role': 'user', 'content': 'three'} in messages }}" + LOOP,
    "added": "{% for m in messages + [messages[0]] %}{{ m.content }}{% endfor %}",
    "added behind": "{% for m in [messages[0]] + messages %}{{ m.content }}{% endfor %}",
    "doubled": "{% for m in messages * 2 %}{{ m.content }}{% endfor %}",
    "written": "{{ messages }}" + LOOP,
    "joined": "{{ messages ~ '' }}" + LOOP,
    "formatted": "{{ '%s' % messages }}" + LOOP,
    "as JSON": "{{ messages | tojson }}" + LOOP,
    "as text": "{{ messages | string }}" + LOOP,
    "as list": "{{ (messages | list)[-1].content }}" + LOOP,
    "turned": "{{ (messages | reverse | list)[0].content }}" + LOOP,
    "mapped": "{{ messages | map(attribute='content') | join }}" + LOOP,
    "in a macro": "{% macro all(m) %}{% for n in m %}{{ n.content }}{% endfor %}{% endmacro %}{{ all(messages) }}",
    "kept for the end": "{% set n = namespace(text='') %}{% for m in messages %}{% set n.text = n.text + m.content %}"
    "{% endfor %}{{ n.text }}",
    "said at the end": LOOP + "{{ messages[0].content }}",
    "asked before": ASKED + LOOP,
    "asked within": "{% for m in messages %}{{ m.content }}{{ add_generation_prompt }}{% endfor %}",
    "ended early": "{% for m in messages %}{{ m.role }}{% if m.content == 'two' %}{% break %}{% endif %}{% endfor %}",
}
"""Templates that look at turns behind the one at work, each in another way, and some that only seem to."""

SERVED = {
    "plain": LOOP + ASKED,
    "an end": LOOP + "end" + ASKED,
    "first turns": "{% set others = messages[1:] %}{{ messages[0].role }}"
    "{% for m in others %}{{ m.content }}{% endfor %}" + ASKED,
    "more than one": "{% if messages[1:] %}more{% endif %}" + LOOP + ASKED,
    "before": "{% for m in messages %}{{ m.content }}{{ messages[loop.index0 - 1].role if loop.index0 }}{% endfor %}",
    "tail": LOOP + "{% if add_generation_prompt and not undefined_name %}{{ 'a' ~ 'b' + 'c' }}{% endif %}",
    "counted so far": "{% set n = namespace(n=0) %}{% for m in messages %}{% set n.n = n.n + 1 %}{{ n.n }}{% endfor %}",
}
"""Templates that do not, so that one rendering is enough."""


def own(source: str, model_with: WithTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    return choose_template("auto", model_with(source), tokenizer)


def conversations() -> Iterator[tuple[Message, ...]]:
    source = random.Random(4)
    words = ("one", "two", "three", "", " four ", "five\nsix", "ü")
    for number in range(60):
        turns = [Message("system", "Be brief.")] if number % 3 == 0 else []
        for _ in range(source.randint(1, 4)):
            turns += [Message("user", source.choice(words)), Message("assistant", source.choice(words))]
        yield tuple(turns[: source.randint(1, len(turns))])


def compare(template: ChatTemplate, messages: tuple[Message, ...]) -> Counter[bool]:
    """How many beginnings were told and how many were not; those that were told are what rendering them gives."""
    found: Counter[bool] = Counter()
    try:
        whole = template.render(messages, now=RENDERED_AT)
    except UserError:
        with pytest.raises(UserError):
            template.write(messages, now=RENDERED_AT)
        return found
    written = template.write(messages, now=RENDERED_AT)
    assert written.text == whole
    for turns in range(len(messages) + 1):
        for asked in (False, True):
            told = written.beginning(turns, add_generation_prompt=asked)
            found[told is not None] += 1
            if told is not None:
                assert told == template.render(messages[:turns], add_generation_prompt=asked, now=RENDERED_AT)
    return found


@pytest.mark.parametrize("name", [*ALL, *builtin_templates()])
def test_beginnings_are_what_rendering_them_gives(name: str, model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    source = ALL.get(name) or builtin_templates()[name]
    template = own(source, model_with, tokenizer)
    found = sum((compare(template, messages) for messages in conversations()), Counter[bool]())
    assert found.total() > 10
    assert name in ("thinking", "dated", "marked", "prefilled") or found[True] > found[False]


@pytest.mark.parametrize("name", SERVED)
def test_one_rendering_is_enough(name: str, model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    template = own(SERVED[name], model_with, tokenizer)
    for messages in conversations():
        found = compare(template, messages)
        assert found[False] <= 4, "of no turn, and of one where the template asks for those behind the first"


@pytest.mark.parametrize("name", AHEAD)
def test_a_look_ahead_is_noticed(name: str, model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    for tail in ("", ASKED):
        template = own(AHEAD[name] + tail, model_with, tokenizer)
        for messages in conversations():
            compare(template, messages)
    turns = tuple(Message("user", word) for word in ("one", "two", "three", "four"))
    found = compare(own(AHEAD[name] + ASKED, model_with, tokenizer), turns)
    assert found[True] <= 4, "no more than what can be told of the last turns"


@pytest.mark.slow
def test_beginnings_of_real_templates(
    tokenizer_folder: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = 0
    for source in real_templates(tmp_path_factory.mktemp("templates")).values():
        template = choose_template("auto", model_of(tokenizer_folder, source), tokenizer)
        found = sum((compare(template, chat.messages) for chat in chats() if not chat.tools), Counter[bool]())
        told += found[True] > found[False]
    assert told >= 15, "Llama 3, Gemma 2, Qwen 2.5, Phi 3.5, Kimi K2 and others write one turn after another"
