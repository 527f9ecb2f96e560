"""A template that never comes to its end is found out by its first rows."""

import dataclasses
import json
from pathlib import Path

import pytest

from core.data.dataset import load_dataset
from core.errors import UserError
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec


def test_a_template_without_end_is_the_templates_fault(tmp_path: Path, model: ModelFacts) -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}" + model.template
    path = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(50)), "utf-8")
    with pytest.raises(UserError) as found:
        load_dataset(DataSpec(train=(str(path),)), 42, dataclasses.replace(model, template=endless))
    (problem,) = found.value.problems
    assert problem.path == "data.template"
    assert "loops more than" in problem.message
    assert "no more were tried" in problem.message
    assert problem.fixes
