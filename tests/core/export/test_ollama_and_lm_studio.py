"""Folders for Ollama and LM Studio: the right texts around the turns, stop words, parameters, and nothing half-written.

That Go's own text/template writes what Jinja writes was tried with Go 1.27 on the 78 of 91 real and bundled templates
that `turn_texts` takes, in 462 conversations; here its texts are held against the templates without Go.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from core.data.templates import builtin_templates, choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Message
from core.errors import UserError
from core.export.go_template import TurnTexts, go_template, turn_texts
from core.export.lm_studio import export_lm_studio
from core.export.merge import MergeCancelledError
from core.export.ollama import export_ollama, modelfile
from core.facts.model_files import read_model
from tests.core.data.real_like_templates import BRACKETS, STARTER
from tests.core.data.small_tokenizers import CHATML
from tests.core.export.gguf.llama_models import Tuned, make_model, tune

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("ollama")
    base = make_model(folder / "base", "llama")
    (base / "LICENSE").write_text("Do what you like.")
    (base / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "repetition_penalty": 1.1}')
    made = tune(base, folder / "adapter")
    (made.adapter / "chat_template.jinja").write_text(CHATML)
    return made


def texts_of(source: str, base: Path, bos: str = "") -> TurnTexts | str:
    return turn_texts(choose_template(source, read_model(base), Tokenizer.load(base)), bos)


@pytest.mark.parametrize("name", sorted(builtin_templates()))
def test_all_bundled_templates_are_known_by_their_texts(name: str, tuned: Tuned) -> None:
    texts = texts_of(builtin_templates()[name], tuned.base)
    assert isinstance(texts, TurnTexts), texts
    talk = (Message("system", "S"), Message("user", "Q"), Message("assistant", "A"), Message("user", "R"))
    template = choose_template(name, read_model(tuned.base), Tokenizer.load(tuned.base))
    assert texts.write(talk) == template.render(talk, add_generation_prompt=True)


def test_go_gets_quoted_texts_so_that_no_line_break_moves(tuned: Tuned) -> None:
    texts = texts_of(CHATML, tuned.base)
    assert texts == TurnTexts(
        opening="<|im_start|>user\n",
        before_system="<|im_start|>system\n",
        after_system="<|im_end|>\n<|im_start|>user\n",
        to_answer="<|im_end|>\n<|im_start|>assistant\n",
        ask="<|im_end|>\n<|im_start|>assistant\n",
        to_question="<|im_end|>\n<|im_start|>user\n",
    )
    user, assistant = (rf'{{{{ "<|im_end|>\n<|im_start|>{role}\n" }}}}' for role in ("user", "assistant"))
    system = rf'{{{{- if .System }}}}{{{{ "<|im_start|>system\n" }}}}{{{{ .System }}}}{user}'
    question = f"{{{{ if $last }}}}{assistant}{{{{ else }}}}{assistant}{{{{ end }}}}"
    assert go_template(texts).splitlines() == [
        rf'{system}{{{{ else }}}}{{{{ "<|im_start|>user\n" }}}}{{{{ end }}}}',
        "{{- range $i, $_ := .Messages }}",
        "{{- $last := eq (len (slice $.Messages $i)) 1 }}",
        f'{{{{- if eq .Role "assistant" }}}}{{{{ .Content }}}}{{{{ if not $last }}}}{user}{{{{ end }}}}',
        f'{{{{- else if ne .Role "system" }}}}{{{{ .Content }}}}{question}',
        "{{- end }}",
        "{{- end }}",
    ]


def test_what_the_runtime_puts_in_front_is_not_written_twice(tuned: Tuned) -> None:
    texts = texts_of("{{ bos_token }}" + builtin_templates()["zephyr"], tuned.base, "<|im_start|>")
    assert isinstance(texts, TurnTexts)
    assert texts.opening == "<|user|>\n"
    assert texts.before_system == "<|system|>\n"


def test_a_default_system_text_and_one_inside_the_first_question(tuned: Tuned) -> None:
    starter = texts_of(STARTER, tuned.base)
    assert isinstance(starter, TurnTexts)
    assert "named SmolLM" in starter.opening
    assert starter.before_system == "<|im_start|>system\n"
    brackets = texts_of(BRACKETS, tuned.base)
    assert isinstance(brackets, TurnTexts)
    assert (brackets.before_system, brackets.after_system) == ("<|im_start|> [INST] ", "\n\n")
    assert brackets.to_question == "<|im_end|> [INST] "


def test_a_template_that_does_more_is_not_guessed(tuned: Tuned) -> None:
    dated = "{{ strftime_now('%d') }}" + CHATML
    shouting = CHATML.replace("message['content']", "message['content'] | upper")
    counting = "{{ messages | length }}" + CHATML
    for source in (dated, shouting, counting):
        assert isinstance(texts_of(source, tuned.base), str)


def test_the_modelfile_says_template_stop_words_parameters_and_licence(tuned: Tuned, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = export_ollama(
        tuned.base,
        tuned.adapter,
        tmp_path / "mine",
        "q8_0",
        system="Be brief.",
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert sorted(path.name for path in report.target.iterdir()) == ["Modelfile", "mine-q8_0.gguf"]
    assert report.model.read_bytes()[:4] == b"GGUF"
    assert seen
    assert seen[-1][0] == seen[-1][1]
    assert report.has_template
    text = report.modelfile.read_text()
    assert text.startswith("FROM ./mine-q8_0.gguf\n")
    assert '{{ "<|im_end|>\\n<|im_start|>assistant\\n" }}' in text
    assert 'SYSTEM """Be brief."""' in text
    assert "PARAMETER num_ctx 256\n" in text
    assert "PARAMETER temperature 0.6\n" in text
    assert "PARAMETER repeat_penalty 1.1\n" in text
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    assert 'LICENSE """Do what you like."""' in text
    assert text.count('"""') % 2 == 0


def test_a_template_without_end_tokens_stops_before_the_next_question(tuned: Tuned, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    text, why_not = modelfile(tuned.base, adapter, "x.gguf")
    assert not why_not
    assert 'PARAMETER stop "user:"\n' in text


def test_an_unknown_template_is_left_to_ollama_and_said(tuned: Tuned, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "chat_template.jinja").write_text("{{ messages | length }}" + CHATML)
    text, why_not = modelfile(tuned.base, adapter, "x.gguf")
    assert "TEMPLATE" not in text
    assert "does more than to put fixed texts around the turns" in why_not
    assert "ollama show --template" in text


def test_a_model_without_a_template_goes_on_with_texts(tuned: Tuned, tmp_path: Path, copy_of: Any) -> None:
    base = copy_of(tuned.base)
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings.pop("chat_template")
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    text, why_not = modelfile(base, None, "x.gguf")
    assert not why_not
    assert 'TEMPLATE """{{ .Prompt }}"""' in text


def test_lm_studio_finds_the_model_by_publisher_and_name(tuned: Tuned, tmp_path: Path) -> None:
    report = export_lm_studio(tuned.base, tuned.adapter, tmp_path / "models", "me", "My model 1.0", "f16")
    assert report.model == tmp_path / "models" / "me" / "My model 1.0" / "My model 1.0-F16.gguf"
    assert [path.name for path in report.target.iterdir()] == [report.model.name]
    assert report.bytes == report.model.stat().st_size
    with pytest.raises(UserError, match="not empty, and nothing is ever overwritten"):
        export_lm_studio(tuned.base, tuned.adapter, tmp_path / "models", "me", "My model 1.0", "f16")
    with pytest.raises(UserError) as caught:
        export_lm_studio(tuned.base, None, tmp_path / "models", "../me", "a/b", "f16")
    assert len(caught.value.problems) == 2
    assert "listed" not in str(caught.value)


def test_what_is_refused_or_cancelled_leaves_nothing(tuned: Tuned, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(MergeCancelledError):
        export_ollama(tuned.base, tuned.adapter, place / "a", "f16", cancelled=lambda: True)
    with pytest.raises(UserError, match="no GGUF precision"):
        export_ollama(tuned.base, tuned.adapter, place / "a", "q99")
    with pytest.raises(UserError, match="There is no such base model folder"):
        export_lm_studio(tmp_path / "gone", tuned.adapter, place, "me", "it", "f16")
    assert [path for path in place.rglob("*") if path.is_file()] == []
    (place / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty"):
        export_ollama(tuned.base, tuned.adapter, place, "f16")
