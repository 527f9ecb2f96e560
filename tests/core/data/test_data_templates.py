import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.jinja_limits import at_most
from core.data.prompts import encode_prompt
from core.data.templates import ChatTemplate, builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Message
from core.errors import UserError
from core.facts.types import ModelFacts
from tests.core.data.real_like_templates import ALL, BARE, BRACKETS, MARKED, TRIMMED

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": "é<"}}}
CHATS: dict[str, tuple[Message, ...]] = {
    "short": (Message("user", "Hi & <b>"), Message("assistant", "  Yo 🎉\n")),
    "long": (
        Message("system", "Be good."),
        Message("user", "One"),
        Message("assistant", "<think>\nhm\n</think>\n\n1"),
        Message("user", "Two"),
        Message("assistant", "2", {"reasoning_content": "two…"}),
        Message("user", "Three", {"name": "Ann"}),
        Message("assistant", "3", {"thinking": "3?"}),
    ),
    "tools": (
        Message("user", "Call"),
        Message("assistant", "", {"tool_calls": [CALL], "content": None}),
        Message("tool", "42"),
        Message("assistant", "It is 42."),
    ),
    "open": (Message("user", "Only a question"),),
}
TOOLS = ({"type": "function", "function": {"name": "f", "description": "ü", "parameters": {"type": "object"}}},)

GROW = "{% set n = namespace(x=[1], y=9) %}{% for i in range(99) %}"

WithTemplate = Callable[[str], ModelFacts]


def template(source: str, model_with: WithTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    return choose_template("auto", model_with(source), tokenizer)


def refused(choice: str, model: ModelFacts, tokenizer: Tokenizer) -> str:
    with pytest.raises(UserError) as caught:
        choose_template(choice, model, tokenizer)
    assert caught.value.problems[0].path == "data.template"
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("chat", sorted(CHATS))
@pytest.mark.parametrize("prompt", [False, True])
def test_templates_write_what_transformers_writes(
    name: str, chat: str, prompt: bool, model_with: WithTemplate, bos_tokenizer: Tokenizer
) -> None:
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    messages, tools = CHATS[chat], TOOLS if chat == "tools" else ()
    whole = [{"role": turn.role, "content": turn.content, **turn.extra} for turn in messages]
    plain = [{key: item for key, item in turn.items() if item is not None} for turn in whole]  # as apply_chat_template
    expected: str | None
    try:
        texts, _ = render_jinja_template(
            [plain],
            tools=[dict(tool) for tool in tools] or None,
            chat_template=ALL[name],
            add_generation_prompt=prompt,
            **bos_tokenizer.special,
        )
        expected = texts[0]
    except (TemplateError, TypeError):
        expected = None
    ours = template(ALL[name], model_with, bos_tokenizer)
    if expected is None:
        with pytest.raises(UserError):
            ours.render(messages, tools=tools, add_generation_prompt=prompt)
    else:
        assert ours.render(messages, tools=tools, add_generation_prompt=prompt) == expected


def test_choices(model: ModelFacts, model_with: WithTemplate, tokenizer: Tokenizer, tmp_path: Path) -> None:
    own = choose_template("auto", model, tokenizer)
    assert (own.name, own.source) == ("model", model.template)
    assert choose_template("auto", model_with(""), tokenizer).name == "plain"
    assert choose_template("chatml", model, tokenizer).name == "chatml"
    path = tmp_path / "mine.jinja"
    path.write_bytes(b"\xef\xbb\xbf" + BARE.encode())
    mine = choose_template(str(path), model, tokenizer)
    assert (mine.name, mine.source) == (str(path), BARE)
    joined = choose_template("none", model, tokenizer)
    assert joined.render([Message("user", "a "), Message("assistant", "b")]) == "a b<|im_end|>"


def test_bad_choices_say_what_to_do(
    model: ModelFacts, model_with: WithTemplate, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    message = refused("chatlm", model, tokenizer)
    assert "“chatlm”" in message
    assert "“plain”" in message
    assert "no template file" in refused(str(tmp_path / "none.jinja"), model, tokenizer)
    (tmp_path / "bad.jinja").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(str(tmp_path / "bad.jinja"), model, tokenizer)
    (tmp_path / "folder.jinja").mkdir()
    assert "cannot be read" in refused(str(tmp_path / "folder.jinja"), model, tokenizer)
    assert "(line 2)" in refused("auto", model_with("\n{% for x in %}"), tokenizer)
    assert "not valid Jinja" in refused("auto", model_with("{% generation %}"), tokenizer)
    assert "not valid Jinja" in refused("auto", model_with("{{ x | no_such_filter }}"), tokenizer)


def test_builtins_end_turns_and_begin_texts_once(
    tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model: ModelFacts
) -> None:
    assert {"alpaca", "chatml", "deepseek", "gemma", "llama2", "llama3", "mistral"} <= set(builtin_templates())
    assert {"phi3", "phi4", "plain", "vicuna", "zephyr"} <= set(builtin_templates())
    chat = [Message("system", "S"), Message("user", "Q"), Message("assistant", "A")]
    for name in builtin_templates():
        found = choose_template(name, model, tokenizer)
        text = found.render(chat)
        prompt = found.render(chat[:2], add_generation_prompt=True)
        assert text.startswith(prompt)
        assert text[len(prompt) :].strip() == "A" + found.turn_end
        assert found.turn_end
        assert all(part in text for part in "SQA")
        begun = choose_template(name, model, bos_tokenizer)
        assert begun.render(chat) == "<s>" + text
        assert bos_tokenizer.encode(begun.render(chat)).count(3) == 1


def test_the_plain_template_reads_well(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    found = choose_template("auto", model_with(""), tokenizer)
    chat = [Message("user", "Hi"), Message("assistant", "Yo")]
    assert found.render(chat) == "### User:\nHi\n\n### Assistant:\nYo<|im_end|>\n\n"
    assert found.render(chat[:1], add_generation_prompt=True) == "### User:\nHi\n\n### Assistant:\n"


def test_stop_tokens(tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    ends = {
        "<|im_end|>": (2,),
        "</turn>": (2,),
        " <|endoftext|>\n": (2, 0),
        "<|endoftext|><s>": (2, 0),
        "": (2,),
    }
    for end, ids in ends.items():
        source = "{% for m in messages %}{{ m.content }}" + end + "{% endfor %}"
        found = template(source, model_with, tokenizer)
        assert found.stop_ids(tokenizer) == ids
        assert found.ends_turns(tokenizer) == (end not in ("", "</turn>"))
    assert template(BRACKETS, model_with, bos_tokenizer).turn_end == "<|im_end|>"
    assert template(TRIMMED, model_with, tokenizer).turn_end == "<|im_end|>"
    assert template(BARE, model_with, tokenizer).turn_end == "\n\n"
    assert template("no messages at all", model_with, tokenizer).turn_end == ""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "loops more than"),
        (
            "{% for a in range(9999) %}{{ ([-10**9]|map('turn-of-a-loop')|list)[1:] }}{{ 'x' * 9999 }}{% endfor %}",
            "a text of more than",
        ),
        ("{% for a in range(10**9) %}{% endfor %}", "range"),
        ("{{ 'a' * 10**12 }}", "characters"),
        ("{{ [1] * 10**12 }}", "items"),
        ("{{ 9 ** (9 ** 9) }}", "power"),
        ("{{ ((9 ** 99) ** 99) ** 99 }}", "power"),
        (
            "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "charac",
        ),
        (
            "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            "charac",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(30) }}", "loops more than"),
        ("{% for a in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}", "recursion"),
        (GROW + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}", "items"),
        (GROW + "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}{{ n.x | tojson }}", "items"),
        (GROW + "{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x == n.x }}", "items"),
        (GROW + "{% set n.x = (n.x + n.x) | batch(2) | list %}{% endfor %}{{ n.x }}", "items"),
        (GROW + "{% set n.x = n.x + n.x %}{% endfor %}{{ n.x | length }}", "items"),
        (GROW + "{% set n.y = n.y * n.y %}{% endfor %}", "number"),
        ("{{ 'a' | center(10**10) }}{{ 'a'.center(10**10) }}", "wider"),
        ("{{ 'a'.ljust(10**10) }}", "wider"),
        ("{{ ('a' * 1000).replace('a', 'b' * 10**6) }}", "characters"),
        ("{{ ('a' * 1000) | replace('a', 'b' * 10**6) }}", "characters"),
        ("{{ ('a' * 1000) | indent(10**9) }}", "wider"),
        ("{{ ('\n' * 100000) | indent('a' * 10000) }}", "characters"),
        ("{{ ('a' * 10**6).join(range(100000)) }}", "joins what is no list"),
        ("{{ ('a' * 10**6).join(['b'] * 100000) }}", "characters"),
        ("{{ (['b'] * 100000) | join('a' * 10**6) }}", "characters"),
        ("{{ ('a' * 10**7).split('a') }}", "items"),
        ("{{ '%0999999999d' % 1 }}", "any width"),
        ("{{ '%0999999999d' | format(1) }}", "any width"),
        ("{{ '{:0999999999}'.format(1) }}", "any width"),
        ("{{ '{:{}}'.format(1, 10**9) }}", "any width"),
        ("{{ 'ab'.translate({97: 'x' * 10**7, 98: 'y' * 10**7 * 6}) }}", "characters"),
        ("{{ [1, 2] | slice(10**9) | list }}", "wider"),
        ("{{ [1, 2] | batch(10**9, 'x') | list }}", "wider"),
        ("{{ messages | tojson(indent=10**9) }}", "wider"),
        ("{{ ([[1] * 100] * 100) | sum(start=[]) }}", "no numbers"),
        ("{{ lipsum(10**9) }}", "undefined"),
        ("{% for a in range(19999) %}{{ 'a' * 10**6 }}{% endfor %}", "characters"),
        ("{% for a in range(19999) %}" + "a" * 10_000 + "{% endfor %}", "characters"),
        ("{% set x %}{% for a in range(19999) %}{{ 'a' * 10**6 }}{% endfor %}{% endset %}", "characters"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ messages.__init__.__globals__ }}", "unsafe"),
        ("{{ namespace(_x=1) }}", "underscore"),
        ("{% set n = namespace() %}{% set n._x = 1 %}", "underscore"),
        ("{{ raise_exception('only jokes.') }}", "only jokes."),
        ("{{ messages[9].role.name }}", "no element 9"),
        ("{{ messages[0].content + 1 }}", "concatenate"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ messages[0].tool_calls[0] }}", "no attribute 'tool_calls'"),
        ("{{ strftime_now(5) }}", "cannot write"),
        ("{% include 'x' %}", "loader"),
        ("{{ messages | tojson | from_json_please }}", "not valid Jinja"),
    ],
)
def test_hostile_templates_are_stopped(
    source: str, said: str, model_with: WithTemplate, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.data.jinja_limits._MOST_TURNS", 20_000)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        template(source, model_with, tokenizer).render([Message("user", "x")])
    assert said in str(caught.value)
    assert time.process_time() - began < 5


def test_a_template_has_only_so_much_time(
    model_with: WithTemplate, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "{% for a in range(99999) %}{% set x = ('a' * 1000000) | upper %}{% endfor %}"
    began = time.monotonic()
    with at_most(0.3):
        found = template(slow, model_with, tokenizer)
        with pytest.raises(UserError, match="takes too long"):
            found.render([Message("user", "x")])
        with pytest.raises(UserError, match="takes too long"):
            template("quick", model_with, tokenizer).render([Message("user", "all the time is used up")])
    assert time.monotonic() - began < 5
    assert template("quick", model_with, tokenizer).render([Message("user", "x")]) == "quick"
    monkeypatch.setattr("core.data.jinja_limits._MOST_SECONDS", 0.2)
    with pytest.raises(UserError, match="takes too long"):
        found.render([Message("user", "x")])


def test_marks_surround_generated_parts(model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    found = template(MARKED, model_with, tokenizer)
    assert found.marks_answers
    chat = [Message("user", "Q"), Message("assistant", "A")]
    assert found.render(chat, marks=("[", "]")) == found.render(chat).replace("A<|im_end|>", "[A<|im_end|>]")


def test_prompts_end_where_the_answer_begins(tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model: ModelFacts) -> None:
    own = choose_template("auto", model, tokenizer)
    expected = tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert encode_prompt("Hi", tokenizer, own) == expected
    assert encode_prompt([Message("user", "Hi")], tokenizer, own) == expected
    none = choose_template("none", model, bos_tokenizer)
    assert encode_prompt("Hi", bos_tokenizer, none) == [3, *bos_tokenizer.encode("Hi")]
    assert encode_prompt("<s>Hi", bos_tokenizer, none) == [3, *bos_tokenizer.encode("Hi")]
    assert encode_prompt("Hi", tokenizer, none) == tokenizer.encode("Hi")
    for empty in ("", []):
        with pytest.raises(UserError, match="prompt is empty"):
            encode_prompt(empty, tokenizer, own)


def test_random_templates_fail_in_words_only(model_with: WithTemplate, tokenizer: Tokenizer) -> None:
    source = random.Random(5)
    texts = list(ALL.values())
    rendered: dict[str, Any] = {"yes": 0, "no": 0}
    for _ in range(150):
        text = source.choice(texts)
        start = source.randrange(len(text))
        cut = (
            text[:start]
            + source.choice(["", "{", "}}", "{%", "(", "|", "0", "'"])
            + text[start + source.randrange(4) :]
        )
        try:
            template(cut, model_with, tokenizer).render(CHATS[source.choice(sorted(CHATS))])
            rendered["yes"] += 1
        except UserError:
            rendered["no"] += 1
    assert min(rendered.values()) > 10
