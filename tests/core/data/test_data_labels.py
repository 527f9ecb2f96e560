from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.labels import encode_sample, encode_samples
from core.data.spans import RENDERED_AT
from core.data.templates import ChatTemplate, builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, Message, Sample
from core.errors import Problem, UserError
from core.facts.types import ModelFacts
from tests.core.data.real_like_templates import ALL, BARE, BRACKETS, MARKED, PREFILLED, STARTER, THINKING, TRIMMED

WithTemplate = Callable[[str], ModelFacts]
END = "<|im_end|>"

# Content as people write it: no control tokens, and it does not begin with white space, which the line break of a
# generation prompt may swallow into a token of its own.
words = st.text(st.characters(codec="utf-8", exclude_characters="<|"), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and text
)
chats = st.lists(st.tuples(words, words), min_size=1, max_size=4)


def chat(pairs: Sequence[tuple[str, str]], system: str = "") -> tuple[Message, ...]:
    turns = [Message("system", system)] if system else []
    for question, answer in pairs:
        turns += [Message("user", question), Message("assistant", answer)]
    return tuple(turns)


def trained_text(row: Encoded, tokenizer: Tokenizer) -> str:
    kept = [token for token, trained in zip(row.tokens, row.trained, strict=True) if trained]
    return tokenizer.decode(kept, skip_special=False)


def encode(
    messages: Sequence[Message],
    template: ChatTemplate,
    tokenizer: Tokenizer,
    train_on: Any = "completions",
    max_length: int = 4096,
    **more: Any,
) -> Encoded:
    return encode_sample(Sample("f:1", tuple(messages), **more), tokenizer, template, train_on, max_length)


def own(source: str, model_with: WithTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    return choose_template("auto", model_with(source), tokenizer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(pairs=chats, system=st.one_of(st.just(""), words))
@pytest.mark.parametrize("name", ["starter", "brackets", "thinking", "marked", "trimmed", *sorted(builtin_templates())])
def test_exactly_the_answers_and_their_ends_are_trained(
    name: str, pairs: list[tuple[str, str]], system: str, tokenizer: Tokenizer, model_with: WithTemplate
) -> None:
    choice = name if name not in ALL else "auto"
    template = choose_template(choice, model_with(ALL.get(name, "")), tokenizer)
    messages = chat(pairs, system)
    row = encode(messages, template, tokenizer)
    text = template.render(messages, now=RENDERED_AT)
    assert list(row.tokens) == tokenizer.encode(text)
    assert not row.trained[0]
    # Some templates have a space in front of the answer; the others write it right after their prompt.
    before = " " if name in ("brackets", "llama2", "mistral", "vicuna") else ""
    wrapped = "<think>\n\n</think>\n\n" if name == "thinking" else ""
    earlier = [before + answer + template.turn_end for _, answer in pairs[:-1]]
    last = before + wrapped + pairs[-1][1] + template.turn_end
    assert trained_text(row, tokenizer) == "".join([*earlier, last])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(pairs=chats, limit=st.integers(1, 120))
def test_cutting_takes_from_the_end_alone(
    pairs: list[tuple[str, str]], limit: int, tokenizer: Tokenizer, model_with: WithTemplate
) -> None:
    template = own(STARTER, model_with, tokenizer)
    whole = encode(chat(pairs), template, tokenizer)
    cut = encode(chat(pairs), template, tokenizer, max_length=limit)
    assert cut.tokens == whole.tokens[:limit]
    assert cut.trained == whole.trained[:limit]
    assert cut.lost_tokens == max(0, len(whole.tokens) - limit)
    assert len(cut.tokens) == len(cut.trained)


def test_training_on_everything(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(STARTER, model_with, tokenizer)
    row = encode(chat([("q", "a")]), template, tokenizer, "all")
    assert not row.trained[0]
    assert all(row.trained[1:])
    messages = (*chat([("q", "not this")], "s"), Message("user", "r"), Message("assistant", "this"))
    exempt = (*messages[:2], Message("assistant", "not this", {"weight": 0}), *messages[3:])
    row = encode(exempt, template, tokenizer, "all")
    text = trained_text(row, tokenizer)
    assert "not this" not in text
    assert "this<|im_end|>\n" in text
    assert trained_text(encode(exempt, template, tokenizer), tokenizer) == "this<|im_end|>"


def test_training_on_the_last_answer(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(STARTER, model_with, tokenizer)
    pairs = [("q", "first"), ("r", "second"), ("s", "third")]
    assert trained_text(encode(chat(pairs), template, tokenizer, "last"), tokenizer) == "third<|im_end|>"
    exempt = (*chat(pairs)[:-1], Message("assistant", "third", {"weight": 0}))
    assert trained_text(encode(exempt, template, tokenizer, "last"), tokenizer) == "second<|im_end|>"
    open_end = (*chat(pairs), Message("user", "and?"))
    assert trained_text(encode(open_end, template, tokenizer, "last"), tokenizer) == "third<|im_end|>"
    assert encode([Message("user", "q")], template, tokenizer, "last").supervised == 0
    pair = Sample("f:1", prompt="What?", completion=" This.")
    assert encode_sample(pair, tokenizer, template, "last", 99) == encode_sample(
        pair, tokenizer, template, "completions", 99
    )


def test_a_conversation_without_answers_trains_nothing(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(STARTER, model_with, tokenizer)
    assert encode([Message("user", "q")], template, tokenizer).supervised == 0
    row = encode([*chat([("q", "a")]), Message("user", "and?")], template, tokenizer)
    assert trained_text(row, tokenizer) == "a<|im_end|>"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (THINKING, ["one<|im_end|>", "<think>\nsum\n</think>\n\ntwo<|im_end|>"]),
        (PREFILLED, ["\n\none<|im_end|>", "\n\ntwo<|im_end|>"]),
        (MARKED, ["one<|im_end|>", "two<|im_end|>"]),
    ],
)
def test_templates_that_rewrite_earlier_turns(
    source: str, expected: list[str], tokenizer: Tokenizer, model_with: WithTemplate
) -> None:
    template = own(source, model_with, tokenizer)
    # The contents also stand in the questions, so looking for them would find the wrong place.
    messages = chat([("one two", "<think>\nhm\n</think>\n\none"), ("two one", "<think>\nsum\n</think>\n\ntwo")])
    if source is MARKED:
        messages = chat([("one two", "one"), ("two one", "two")])
    row = encode(messages, template, tokenizer)
    assert trained_text(row, tokenizer) == "".join(expected)


def test_templates_without_an_end_token_train_their_blank_line(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(BARE, model_with, tokenizer)
    # In this vocabulary “ a” is one token, which swallows the prompt's last space, and “ b” is two.
    assert trained_text(encode(chat([("q", "a"), ("r", "b")]), template, tokenizer), tokenizer) == " a\n\nb\n\n"


def test_templates_that_hide_the_answers_are_refused(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    backwards = "{% for m in messages | reverse %}{{ m.role[0] }}{{ m.content | upper }}{% endfor %}"
    with pytest.raises(UserError, match="mixes the answers") as caught:
        encode(chat([("q", "a"), ("r", "b")]), own(backwards, model_with, tokenizer), tokenizer)
    assert caught.value.problems[0].path == "f:1"
    row = encode(chat([("q", "a")]), own(backwards, model_with, tokenizer), tokenizer, "all")
    assert tokenizer.decode(row.tokens) == "aAuQ"


def test_templates_that_refuse_a_row_name_it(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(BRACKETS, model_with, tokenizer)
    samples = [
        Sample("f:1", chat([("q", "a")])),
        Sample("f:2", (Message("user", "q"), Message("user", "r"), Message("assistant", "a"))),
        Sample("f:3", chat([("q", "\ud800")])),
        Sample("f:4", prompt="q", completion="a"),
    ]
    found = encode_samples(samples, tokenizer, template, "completions", 100)
    assert [isinstance(item, Problem) for item in found] == [False, True, True, False]
    assert isinstance(found[1], Problem)
    assert (found[1].path, "Roles must alternate" in found[1].message) == ("f:2", True)
    assert isinstance(found[2], Problem)
    assert "surrogate" in found[2].message


def test_tools_are_trained_or_refused(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    messages = (
        Message("user", "q"),
        Message("assistant", "", {"tool_calls": [call], "content": None}),
        Message("tool", "1"),
        Message("assistant", "done"),
    )
    tools = ({"type": "function", "function": {"name": "f"}},)
    row = encode(messages, own(THINKING, model_with, tokenizer), tokenizer, tools=tools)
    text = trained_text(row, tokenizer)
    assert '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>' in text
    assert text.endswith("done<|im_end|>")
    assert "tool_response" not in text
    for sample, said in ((messages, "calls of tools"), (chat([("q", "a")]), "descriptions of tools")):
        with pytest.raises(UserError, match=said):
            encode(sample, own(STARTER, model_with, tokenizer), tokenizer, tools=tools)


def test_trimmed_answers_are_found(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    row = encode(chat([("q", " a \n"), ("r", "b")]), own(TRIMMED, model_with, tokenizer), tokenizer)
    assert trained_text(row, tokenizer) == "a<|im_end|>b<|im_end|>"


def test_white_space_that_joins_the_prompt_is_not_trained(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(STARTER, model_with, tokenizer)
    row = encode(chat([("q", "\n\n  a")]), template, tokenizer)
    assert list(row.tokens) == tokenizer.encode(template.render(chat([("q", "\n\n  a")])))
    assert trained_text(row, tokenizer).lstrip() == "a<|im_end|>"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(prompt=words, completion=words, gap=st.sampled_from(["", " ", "\n"]))
def test_pairs_without_a_template(
    prompt: str, completion: str, gap: str, tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model: ModelFacts
) -> None:
    for chosen in (tokenizer, bos_tokenizer):
        template = choose_template("none", model, chosen)
        sample = Sample("f:1", prompt=prompt + gap, completion=completion)
        row = encode_sample(sample, chosen, template, "completions", 4096)
        begin = [3] if chosen is bos_tokenizer else []
        assert list(row.tokens) == [*begin, *chosen.encode(prompt + gap + completion), 2]
        text = trained_text(row, chosen)
        # A token that holds the end of the prompt and the beginning of the answer is trained, or short answers vanish.
        assert text.endswith(completion + END) or (completion + END).endswith(text.lstrip("\ufffd"))
        assert row.trained[-1]


def test_running_text(tokenizer: Tokenizer, bos_tokenizer: Tokenizer, model: ModelFacts) -> None:
    for train_on in ("completions", "all"):
        row = encode_sample(Sample("f:1", completion="some text"), tokenizer, own_any(model, tokenizer), train_on, 99)
        assert list(row.tokens) == [*tokenizer.encode("some text"), 2]
        assert row.trained == (False, *([True] * (len(row.tokens) - 1)))
    template = choose_template("chatml", model, bos_tokenizer)
    row = encode_sample(Sample("f:1", completion="some text"), bos_tokenizer, template, "completions", 99)
    assert row.tokens[0] == 3
    assert row.trained == (False, *([True] * (len(row.tokens) - 1)))


def own_any(model: ModelFacts, tokenizer: Tokenizer) -> ChatTemplate:
    return choose_template("auto", model, tokenizer)


def test_pairs_go_through_the_template_like_chats(tokenizer: Tokenizer, model: ModelFacts) -> None:
    template = choose_template("auto", model, tokenizer)
    pair = encode_sample(Sample("f:1", prompt="q", completion="a"), tokenizer, template, "completions", 99)
    assert pair == encode(chat([("q", "a")]), template, tokenizer, max_length=99)


def test_batches_equal_single_rows(tokenizer: Tokenizer, model_with: WithTemplate) -> None:
    template = own(STARTER, model_with, tokenizer)
    samples = [
        Sample("f:1", chat([("q", "a")])),
        Sample("f:2", completion="running text"),
        Sample("f:3", chat([("long " * 50, "answer")])),
        Sample("f:4", prompt="p", completion="c"),
    ]
    expected = [encode_sample(sample, tokenizer, template, "completions", 50) for sample in samples]
    assert encode_samples(samples, tokenizer, template, "completions", 50) == expected
    assert encode_samples([], tokenizer, template, "completions", 50) == []
