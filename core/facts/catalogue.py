"""Common base models that need not be on this computer to be planned with: ``resources/models/catalogue.json``.

The file holds what each model's own config.json says about its shapes. `Entry.facts` builds the tensors from it
(`core.facts.blueprints`) and sends them down the same road as the headers of a downloaded model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.facts.blueprints import tensors_of
from core.facts.linears import read_layout, repeated
from core.facts.model_config import parse_config
from core.facts.model_files import describe
from core.facts.safetensors_header import Weights
from core.facts.types import ModelFacts
from core.paths import resource

_TEMPLATE = "{# The model's own chat template comes with its files. #}"
# torch's words for number formats -> safetensors' words and bytes of one number.
_FORMATS = {"bfloat16": ("BF16", 2), "float16": ("F16", 2), "float32": ("F32", 4)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: what the Hugging Face Hub calls it; also what ``model.base`` says to choose it.
        title: the model's own name; a base model and its instruct version share one.
        licence: as the model card states it.
        gated: the Hub asks for an account that has accepted the licence.
        template: the built-in chat template whose marks the model's own one uses, such as "chatml"; "own" for one that
            has no built-in counterpart; empty where the model has none.
        config: settings as in config.json.
    """

    name: str
    title: str
    licence: str
    gated: bool
    template: str
    config: Mapping[str, Any]

    @property
    def family(self) -> str:
        """``model_type`` of its config."""
        return str(self.config["model_type"])

    @property
    def context(self) -> int:
        """The longest row it can read, in tokens; 0 where its positions set no limit."""
        return parse_config(self.config, self.name).context_length

    @property
    def facts(self) -> ModelFacts:
        """What `core.facts.model_files.read_model` would say of the downloaded model, as far as planning needs it.

        There are no files behind these facts: ``here`` is false, there are no weight files and no fingerprint, and in
        the place of the chat template's text stands a remark that there is one.
        """
        return _facts(self.name)


def entries() -> tuple[Entry, ...]:
    """All models of the catalogue, families together."""
    return tuple(_table().values())


def find_entry(name: str) -> Entry | None:
    """The model that the Hub calls ``name``, whatever the case of its letters; None where the catalogue lacks it."""
    wanted = name.strip()
    known = _table()
    return known.get(wanted) or _lower().get(wanted.casefold())


def facts_of(entry: Entry) -> ModelFacts:
    """The facts of any entry, built anew; `Entry.facts` remembers those of the catalogue's own."""
    config = parse_config(entry.config, entry.name)
    dtype, element_bytes = _FORMATS.get(entry.config.get("dtype", ""), ("", 2))
    tensors = tensors_of(config, entry.config, 1, dtype, element_bytes)
    layout = repeated(read_layout(tensors, config.family), config.family, config.num_layers)
    tied = config.family.tied if config.tied is None else config.tied
    return describe(
        Path(entry.name),
        config,
        layout,
        Weights(tensors, (), layout.parameters * element_bytes),
        [],
        [],
        tied=tied,
        licence=entry.licence,
        template=_TEMPLATE if entry.template else "",
        template_origin="tokenizer_config.json" if entry.template else "",
        here=False,
    )


@cache
def _table() -> Mapping[str, Entry]:
    rows = json.loads(resource("models", "catalogue.json").read_text("utf-8"))["models"]
    found = {}
    for row in rows:
        for name, template in row["names"].items():
            config = row["config"] | row.get("changes", {}).get(name, {})
            found[name] = Entry(name, row["title"], row["licence"], row.get("gated", False), template, config)
    return found


@cache
def _lower() -> Mapping[str, Entry]:
    return {name.casefold(): entry for name, entry in _table().items()}


@cache
def _facts(name: str) -> ModelFacts:
    return facts_of(_table()[name])
