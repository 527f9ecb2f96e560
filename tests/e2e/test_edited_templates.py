"""An edited chat template goes wherever the tuned model goes, into every place where other programs look for it."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from core.export.adapter import read_manifest
from core.facts.model_files import read_model
from core.runs.targets import tuned_of_run
from tests.e2e.real_runs import run_inside, write_rows
from tests.e2e.test_merged_models import merge

pytestmark = [pytest.mark.torch, pytest.mark.slow]

EDITED = """{#- Edited by a user: “no system turn”. #}
{% for message in messages %}
{{- '<|im_start|>' + message.role + ' says\n' + message.content + '<|im_end|>\n' -}}
{% endfor %}
{% if add_generation_prompt %}
{{- '<|im_start|>assistant says\n' -}}
{% endif %}
"""


def assert_speaks_as_trained(folder: Path) -> None:
    """The model's own programs read the edited template from a model folder: ours, transformers, and gguf's writer."""
    from gguf.vocab import SpecialVocab
    from transformers import AutoTokenizer

    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == EDITED
    assert read_model(folder).template == EDITED
    assert AutoTokenizer.from_pretrained(folder).chat_template == EDITED
    assert SpecialVocab(folder).chat_template == EDITED


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")  # the plan says it to the user
@pytest.mark.parametrize("held_in_settings", [False, True])
def test_adapters_merged_models_and_whole_models_carry_the_edited_template(
    short_starter: Path, tmp_path: Path, held_in_settings: bool, caplog: Any
) -> None:
    caplog.set_level(logging.ERROR, logger="gguf")
    if held_in_settings:  # as most models have it: inside the tokenizer's settings
        settings = json.loads((short_starter / "tokenizer_config.json").read_text(encoding="utf-8"))
        own = read_model(short_starter).template
        base = tmp_path / "base"
        base.mkdir()
        for path in short_starter.iterdir():
            if path.name not in ("tokenizer_config.json", "chat_template.jinja"):
                (base / path.name).symlink_to(path)
        (base / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": own}), encoding="utf-8")
    else:
        base = short_starter
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    finished = run_inside(base, rows, training__max_steps=2, data__template=EDITED)
    adapter = finished.folder.adapter
    assert (adapter / "chat_template.jinja").read_text(encoding="utf-8") == EDITED
    manifest = read_manifest(adapter)
    assert manifest is not None
    assert manifest.template == EDITED
    assert manifest.spec["data"]["template"] == EDITED  # type: ignore[index]
    assert tuned_of_run(finished.folder).template == str(adapter / "chat_template.jinja")
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert "edited for this run" in card
    assert "says" not in card, "the text itself has no place in a table of settings"
    assert_speaks_as_trained(merge(finished, base, tmp_path / "merged"))
    whole = run_inside(
        base, rows, adapter__method="full", training__max_steps=2, training__learning_rate=1e-4, data__template=EDITED
    )
    assert_speaks_as_trained(whole.folder.adapter)
