"""Whatever the bytes are: facts or sentences, never another exception, never much memory."""

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.facts.gguf_header import read_gguf_header
from core.facts.model_files import read_model
from core.facts.safetensors_header import read_header

LIMIT = 16 * 1024 * 1024
quick = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def survives(read, path):
    """Reads, lets sentences pass, and measures."""
    tracemalloc.start()
    try:
        with contextlib.suppress(UserError):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT


@quick
@given(blob=st.binary(max_size=300))
def test_random_bytes(tmp_path, blob):
    for name, read in (("a.safetensors", read_header), ("a.gguf", read_gguf_header), ("b.gguf", read_model)):
        (tmp_path / name).write_bytes(blob)
        survives(read, tmp_path / name)


@quick
@given(blob=st.binary(max_size=300), version=st.sampled_from([2, 3]))
def test_random_bytes_after_an_honest_start(tmp_path, blob, version):
    path = tmp_path / "a.gguf"
    path.write_bytes(b"GGUF" + version.to_bytes(4, "little") + blob)
    survives(read_model, path)
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(blob).to_bytes(8, "little") + blob)
    survives(read_header, path)


@quick
@given(data=st.data())
def test_mutated_gguf(tmp_path, build, data):
    blob = bytearray(build.gguf(build.gguf_llama, build.gguf_llama_shapes()))
    header_end = blob.rindex(b"rope_freqs") + 60
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header_end))
        junk = data.draw(st.binary(min_size=1, max_size=8))
        blob[at : at + len(junk)] = junk
    path = tmp_path / "a.gguf"
    path.write_bytes(blob[: data.draw(st.sampled_from([len(blob), header_end, 40]))])
    survives(read_model, path)


@quick
@given(data=st.data())
def test_mutated_safetensors(tmp_path, build, data):
    folder = tmp_path / "m"
    if not folder.exists():
        build.model(folder)
        (tmp_path / "good").write_bytes((folder / "model.safetensors").read_bytes())
    blob = bytearray((tmp_path / "good").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 2600))
        junk = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"99", b"[]", b"-1", b'"', b"null"]))
        blob[at : at + len(junk)] = junk
    (folder / "model.safetensors").write_bytes(blob)
    survives(read_model, folder)


@quick
@given(data=st.data())
def test_configs_with_any_values(tmp_path, build, data):
    folder = tmp_path / "m"
    if not folder.exists():
        build.model(folder)
    names = [
        *build.llama,
        *("rope_scaling", "rope_parameters", "text_config", "quantization_config", "auto_map", "layer_types"),
        *("sliding_window", "head_dim", "num_nextn_predict_layers", "multi_query", "is_encoder_decoder"),
    ]
    changes = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=4))
    if data.draw(st.booleans()):
        changes["quantization_config"] = {"quant_method": "gptq", "bits": data.draw(json_values)}
    (folder / "config.json").write_text(json.dumps({**build.llama, **changes}))
    survives(read_model, folder)


@quick
@given(names=st.lists(st.text("model.layers0123456789.weightbias.qkv_proj.embed_tokens", max_size=40), max_size=6))
def test_tensors_with_any_names(tmp_path, build, names):
    config = {"model_type": "llamoid", "architectures": ["LlamoidForCausalLM"]}
    shapes = {"model.embed_tokens.weight": (4, 2), "model.layers.0.x_proj.weight": (2, 2)}
    survives(read_model, build.model(tmp_path / "m", config, shapes | dict.fromkeys(names, (2, 3))))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.json"])
@quick
@given(value=json_values)
def test_tokenizer_settings_with_any_values(tmp_path, build, name, value):
    folder = tmp_path / "m"
    if not folder.exists():
        build.model(folder)
    (folder / name).write_text(json.dumps({"chat_template": value}))
    survives(read_model, folder)
