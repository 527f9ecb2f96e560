"""A Model page on an empty data folder, a hub on this machine, and a GGUF file small enough to import in a moment."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.data.small_tokenizers import write_tokenizer
from tests.core.hub.conftest import hub, hub_home, own_keyring, tiny

__all__ = ["hub", "hub_home", "own_keyring", "tiny"]

WAIT_MS = 30_000
WIDTH, INNER, LAYERS, HEADS = 32, 64, 2, 4


@pytest.fixture(autouse=True)
def _jobs_end(qapp: Any) -> Iterator[None]:
    """No engine outlives its test."""
    from studio.workers.job_thread import end_jobs

    yield
    assert end_jobs() == 0, "a job did not end"


@pytest.fixture
def open_page(qtbot: Any, desk: Any) -> Iterator[Callable[[], Any]]:
    """Call it to make a Model page on the desk and show it."""
    from studio.pages.model.page import ModelPage

    pages: list[Any] = []

    def make() -> Any:
        page = ModelPage(desk)
        pages.append(page)
        qtbot.addWidget(page)
        page.resize(900, 760)
        page.show()
        page.shown()
        return page

    yield make
    for page in pages:
        page.close_page()


@pytest.fixture
def page(open_page: Callable[[], Any], settled: Callable[[], None]) -> Any:
    """A Model page, when everything has been read."""
    settled()
    return open_page()


def write_gguf(path: Path) -> Path:
    """A llama of two layers with a real tokenizer, written by the format's own library."""
    import numpy as np
    from gguf import GGUFWriter, TokenType

    tokenizer = json.loads((write_tokenizer(path.parent / "tokenizer") / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.get)
    specials = {token["content"] for token in tokenizer["added_tokens"]}
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_types([TokenType.CONTROL if name in specials else TokenType.NORMAL for name in names])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<|im_start|>"])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(names), WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        shapes |= {f"{block}.{name}.weight": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"{block}.{name}.weight": (INNER, WIDTH) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"{block}.{name}.weight": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
        shapes[f"{block}.ffn_down.weight"] = (WIDTH, INNER)
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A GGUF file that can be imported."""
    return write_gguf(tmp_path / "small.gguf")


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A model folder somewhere on the disk."""
    from tests.core.hub.conftest import whole_model

    folder = tmp_path / "elsewhere" / "my-tiny"
    folder.mkdir(parents=True)
    for name, content in whole_model().files.items():
        if "/" not in name:
            (folder / name).write_bytes(content)
    return folder
