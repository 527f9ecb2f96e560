"""Folders with the true shapes of published models, written in a moment: headers in full, weights as holes of zeros."""

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.facts.blueprints import tensors_of
from core.facts.catalogue import find_entry
from core.facts.model_config import parse_config
from core.facts.tensors import Tensor


def config_of(name: str, layers: int = 0) -> dict[str, Any]:
    """The config.json of a model of the catalogue, with other layers where a number is given."""
    entry = find_entry(name)
    assert entry is not None
    config: dict[str, Any] = json.loads(json.dumps(dict(entry.config)))
    config.pop("vision_config", None)
    parsed = parse_config(config, name)
    text = config.get("text_config", config)
    if layers:
        text[next(key for key in ("num_hidden_layers", "n_layer") if key in text)] = layers
        if "layer_types" in text:
            text["layer_types"] = text["layer_types"][:layers]
    return {"architectures": [parsed.architecture], **config}


def tensors_for(config: Mapping[str, Any]) -> list[Tensor]:
    """The tensors of the model that a config describes."""
    parsed = parse_config(config, "config")
    return list(tensors_of(parsed, config, parsed.num_layers, "BF16", 2))


def write_shard(path: Path, tensors: Iterable[Tensor]) -> None:
    """A valid file of these names, shapes and formats; only the header takes room on the disk."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.bytes],
        }
        end += tensor.bytes
    blob = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(blob)) + blob)
        file.truncate(8 + len(blob) + end)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """config.json and what else a folder needs, beside its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Iterable[Tensor], shards: int = 1) -> Path:
    """A whole model, in one file or several with an index."""
    write_config(folder, config)
    listed = list(tensors)
    if shards == 1:
        write_shard(folder / "model.safetensors", listed)
        return folder
    places = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = listed[number::shards]
        write_shard(folder / name, part)
        places |= {tensor.name: name for tensor in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder
