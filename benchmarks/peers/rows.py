"""The rows that all trainers get, in the order in which ours takes them: as tokens and as conversations."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.settings import MAX_LENGTH, SEED
from core.data.dataset import load_dataset
from core.data.order import permutation
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded
from core.facts.model_files import read_model
from core.runs.starter import ensure_starter
from core.spec.sections import DataSpec
from tests.core.data.real_packages import LLAMAFACTORY, fetched

FILE = "alpaca_en_demo.json"


@dataclass(frozen=True, slots=True)
class Rows:
    """Where everything lies: the model's folder, the untouched data file, and the same rows in two other forms."""

    model: str
    data: Path
    tokens: Path
    conversations: Path


def write_rows(folder: Path, threads: int) -> Rows:
    """Fetches the rows and writes them; the model's own template is applied once and read back for the others."""
    import torch

    torch.set_num_threads(threads)
    model = ensure_starter()
    archive = fetched(LLAMAFACTORY)
    data = folder / FILE
    with tarfile.open(archive) as packed:
        found = next(item for item in packed if item.name.endswith(f"/data/{FILE}"))
        stream = packed.extractfile(found)
        if stream is None:
            raise FileNotFoundError(f"{archive} holds no {FILE}")
        data.write_bytes(stream.read())
    spec = DataSpec(train=(str(data),), validation_share=0.0, max_length=MAX_LENGTH)
    rows = load_dataset(spec, SEED, read_model(model)).train
    order = permutation(len(rows), SEED, 0)
    tokenizer = Tokenizer.load(model)
    tokens, conversations = [], []
    for place in order:
        row = rows[place]
        tokens.append(as_tokens(row))
        conversations.append({"messages": turns(tokenizer.decode(list(row.tokens), skip_special=False))})
    written = Rows(str(model), data, folder / "tokens.jsonl", folder / "conversations.json")
    written.tokens.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    written.conversations.write_text(json.dumps(conversations), encoding="utf-8")
    return written


def as_tokens(row: Encoded) -> str:
    """A row as a line of JSON: its token ids, and the same as labels where they carry loss."""
    ids = list(row.tokens)
    labels = [token if on else -100 for token, on in zip(ids, row.trained, strict=True)]
    return json.dumps({"input_ids": ids, "labels": labels})


def turns(text: str) -> list[dict[str, str]]:
    """The conversation in a text of the ChatML template."""
    found = []
    for part in text.split("<|im_start|>")[1:]:
        role, _, content = part.partition("\n")
        found.append({"role": role, "content": content.rpartition("<|im_end|>")[0]})
    return found
