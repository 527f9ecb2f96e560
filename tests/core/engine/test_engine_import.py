"""A GGUF file becomes a model folder, tensor by tensor, and a stopped import leaves nothing."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from core.engine.context import JobContext  # noqa: E402
from core.engine.import_gguf import import_gguf  # noqa: E402
from core.events.tail import EventTail  # noqa: E402
from core.events.types import Body, Completed, Progress, Stopped  # noqa: E402
from core.facts.model_files import read_model  # noqa: E402
from core.runs.control import place_request  # noqa: E402
from core.runs.importing import ImportPlan, create_import, plan_import  # noqa: E402
from core.runs.layout import RunFolder  # noqa: E402
from tests.core.data.small_tokenizers import write_tokenizer  # noqa: E402

pytestmark = pytest.mark.torch
WIDTH, INNER, LAYERS, HEADS = 32, 64, 3, 4


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A llama of three layers with a real tokenizer, written by the format's own library."""
    import numpy as np
    from gguf import GGUFWriter, TokenType

    tokenizer = json.loads((write_tokenizer(tmp_path / "tokenizer") / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    specials = {token["content"] for token in tokenizer["added_tokens"]}
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in specials else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<|im_start|>"])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(tokens), WIDTH), "output_norm.weight": (WIDTH,)}
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


def run(plan: ImportPlan, folder: RunFolder) -> list[Body]:
    context = JobContext(folder)
    try:
        import_gguf(context, dict(plan.arguments))
    finally:
        context.close()
    return [event.body for event in EventTail(folder.events()).read()]


def test_an_import(gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import modeling_gguf_pytorch_utils as reader

    monkeypatch.setattr("core.events.writer.PROGRESS_INTERVAL_SECONDS", 0.0)
    bar = reader.tqdm
    plan = plan_import(gguf_file)
    said = run(plan, create_import(plan))
    assert isinstance(said[-1], Completed)
    assert said[-1].result["path"] == str(plan.target)
    facts = read_model(plan.target)
    assert (facts.parameters, facts.dtype, facts.num_layers) == (plan.facts.parameters, "BF16", LAYERS)
    assert facts.bytes_on_disk >= plan.needed_bytes
    told = [body for body in said if isinstance(body, Progress)]
    assert len(told) > LAYERS * 9, "one for each tensor"
    assert [body.done for body in told] == sorted(body.done for body in told)
    assert (told[-1].done, told[-1].total) == (1.0, 1.0)
    assert reader.tqdm is bar, "the library is as it was"


def test_a_stopped_import_leaves_nothing(gguf_file: Path) -> None:
    plan = plan_import(gguf_file)
    folder = create_import(plan)
    place_request(folder, "stop")
    assert run(plan, folder)[-1] == Stopped(0, "stop", resumable=False)
    assert not list(plan.target.parent.iterdir())
