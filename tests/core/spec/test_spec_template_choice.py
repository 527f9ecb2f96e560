"""A chat template as part of a spec: its text is kept as it is, and never mistaken for a path."""

from pathlib import Path

import pytest

from core.spec.codec import from_mapping, read_spec, resolve_paths, to_mapping, write_spec
from core.spec.rules import check
from core.spec.run_spec import RunSpec
from core.spec.template_choice import is_template_text, template_name, without_tools

TEXT = """{#- See https://example.org/~me/a.jinja, "quoted" & ~ #}
{% for m in messages %}
\t{{- '<|' + m.role + '|>\\n' + m.content -}}   \n
{% endfor %}

"""


@pytest.mark.parametrize("text", [TEXT, "{{ messages }}", "~{{ x }}", "a/b{% raw %}", TEXT * 100, "{{ 'x' }}+tools"])
def test_the_text_of_a_template_comes_back_from_a_file_as_it_was(tmp_path: Path, text: str) -> None:
    spec = RunSpec().replace("data.template", text).replace("data.train", ("a.jsonl",))
    assert from_mapping(to_mapping(spec)).data.template == text
    path = tmp_path / "spec.yaml"
    write_spec(spec, path)
    assert read_spec(path).data.template == text
    assert resolve_paths(spec, tmp_path).data.template == text
    assert not [problem for problem in check(spec) if problem.path == "data.template"]
    assert is_template_text(text)
    assert without_tools(text) == text
    assert template_name(text) == "edited"


def test_a_file_with_tools_as_text_becomes_absolute_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.jinja").write_text(TEXT, encoding="utf-8")
    for name in ("templates/mine.jinja", "./templates/mine.jinja"):
        for suffix in ("", "+tools"):
            spec = resolve_paths(RunSpec().replace("data.template", name + suffix), tmp_path)
            assert Path(spec.data.template.removesuffix("+tools")) == folder / "mine.jinja"
            assert spec.data.template.endswith(suffix)
    for name in ("auto", "chatml", "chatml+tools", "none"):
        assert resolve_paths(RunSpec().replace("data.template", name), tmp_path).data.template == name
        assert not is_template_text(name)
    assert without_tools("auto+tools") == "auto"
