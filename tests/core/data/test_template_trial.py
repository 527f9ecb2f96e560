"""A template tried while it is written: what comes of it, or the line and the words that say what is wrong."""

import time
from collections.abc import Callable

import pytest

from core.data import template_trial
from core.data.template_trial import EXAMPLE, Trial, choice_of, try_template
from core.data.templates import builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Message, Sample
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.small_tokenizers import CHATML

WithTemplate = Callable[[str], ModelFacts]
LINES = "{% for m in messages %}\n{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}\n"


def trial(text: str, model: ModelFacts, tokenizer: Tokenizer, sample: Sample = EXAMPLE) -> Trial:
    return try_template(text, sample, model, tokenizer, DataSpec())


def test_a_good_template_shows_the_row_as_it_will_be_trained(model: ModelFacts, tokenizer: Tokenizer) -> None:
    found = trial(CHATML, model, tokenizer)
    assert (found.problem, found.line, found.is_valid) == (None, 0, True)
    assert found.preview is not None
    text = "".join(found.preview.pieces)
    assert text == choose_template(CHATML, model, tokenizer).render(EXAMPLE.messages)
    trained = "".join(piece for piece, mark in zip(found.preview.pieces, found.preview.trained, strict=True) if mark)
    assert trained == "Paris.<|im_end|>Rome.<|im_end|>"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("{% for m in messages %}\n{{ m.content }}\n{% endfr %}", 3, "endfr"),
        ("{{ messages }}\n\n{{ 'open }}", 3, "unexpected char"),
        (LINES + "\n{{ messages[99].content.x }}", 6, "no element 99"),
        (LINES + "{{ raise_exception('not today') }}", 5, "not today"),
        ("{% macro f(x) %}\n{{ x.y.z }}\n{% endmacro %}\n" + LINES + "{{ f(1) }}", 2, "no attribute 'y'"),
        ("{{ 1 // 0 }}", 1, "zero"),
        ("{{ messages.__class__.__mro__ }}", 1, "unsafe"),
        ("just words", 0, "neither"),
        ("", 0, "neither"),
        ("{{ x }}" * 40_000, 0, "characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    text: str, line: int, said: str, model: ModelFacts, tokenizer: Tokenizer
) -> None:
    found = trial(text, model, tokenizer)
    assert found.preview is None
    assert found.problem is not None
    assert found.problem.path in ("data.template", "example")
    assert said in found.problem.message
    assert found.problem.advice
    assert found.line == line


def test_a_row_that_is_refused_leaves_the_template_valid(model: ModelFacts, tokenizer: Tokenizer) -> None:
    strict = "{% if messages[0].role == 'system' %}\n{{ raise_exception('no system text') }}\n{% endif %}" + LINES
    found = trial(strict, model, tokenizer)
    assert found.is_valid
    assert found.line == 2
    plain = Sample("f:1", (Message("user", "Hi"), Message("assistant", "Yo")))
    assert trial(strict, model, tokenizer, plain).problem is None
    assert not trial("{% endfor %}", model, tokenizer).is_valid


def test_a_trial_ends_in_time(model: ModelFacts, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_trial, "TRIAL_SECONDS", 0.3)
    slow = "{% for a in range(99999) %}{% set x = ('a' * 1000000) | upper %}{% endfor %}{{ messages }}"
    began = time.monotonic()
    found = trial(slow, model, tokenizer)
    assert time.monotonic() - began < 5
    assert found.problem is not None
    assert "takes too long" in found.problem.message
    assert found.is_valid


def test_a_known_text_goes_by_its_name(
    model_with: WithTemplate, tokenizer: Tokenizer, bos_tokenizer: Tokenizer
) -> None:
    assert choice_of(CHATML, model_with(CHATML), tokenizer) == "auto"
    assert choice_of(CHATML + " ", model_with(CHATML), tokenizer) == CHATML + " "
    for name in builtin_templates():
        for kind in (tokenizer, bos_tokenizer):
            source = choose_template(name, model_with(CHATML), kind).source
            assert choice_of(source, model_with(CHATML), kind) == name
    assert choice_of(LINES, model_with("{% broken"), tokenizer) == LINES
