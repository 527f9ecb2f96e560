import json
import struct

import pytest

from core.errors import ExitCode, UserError
from core.facts.safetensors_header import read_header, read_weights


def message(failure):
    assert failure.value.exit_code is ExitCode.BAD_SPEC
    return str(failure.value)


def test_reads_names_shapes_and_positions(tmp_path, build):
    path = build.tensors(tmp_path / "a.safetensors", {"x": (2, 3), "y": ((4,), "F32"), "empty": (0, 5)})
    tensors = {tensor.name: tensor for tensor in read_header(path)}
    assert tensors["x"].shape == (2, 3)
    assert (tensors["x"].dtype, tensors["x"].bytes, tensors["x"].elements) == ("BF16", 12, 6)
    assert tensors["y"].offset == tensors["x"].offset + 12
    assert tensors["empty"].elements == 0


def test_agrees_with_the_reference_implementation(tmp_path):
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    path = tmp_path / "m.safetensors"
    save_file({"b": numpy.zeros((3, 2), "float16"), "a": numpy.zeros((), "int64")}, path, {"format": "pt"})
    assert {t.name: (t.shape, t.dtype) for t in read_header(path)} == {"a": ((), "I64"), "b": ((3, 2), "F16")}


def test_a_cut_file_says_how_much_is_there(tmp_path, build):
    path = build.tensors(tmp_path / "a.safetensors", {"x": (100,)})
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError) as failure:
        read_header(path)
    assert f"cut off: {whole - 50:,} of {whole:,} bytes" in message(failure)
    assert str(path) in message(failure)


ENTRY = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        (b"{not json", b"", "not valid JSON"),
        (b"[" * 100_000, b"", "not valid JSON"),
        (b"\xff\xfe", b"", "not valid JSON"),
        (b'{"\\ud800": {}}', b"", "not valid JSON"),
        (b"[1]", b"", "not a table"),
        (b"{}", b"", "no tensors"),
        (b'{"__metadata__": {}}', b"", "no tensors"),
        (b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":1}', b"0", "twice"),
        ({"a": 5}, b"", "not a table"),
        ({"a": {**ENTRY, "dtype": "Q9"}}, b"0123", "unknown number format"),
        ({"a": {**ENTRY, "dtype": ["U8"]}}, b"0123", "unknown number format"),
        ({"a": {**ENTRY, "shape": [-4]}}, b"0123", "shape and position"),
        ({"a": {**ENTRY, "shape": [True]}}, b"0123", "shape and position"),
        ({"a": {**ENTRY, "shape": "4"}}, b"0123", "shape and position"),
        ({"a": {**ENTRY, "shape": [2**62, 2**62]}}, b"0123", "promises"),
        ({"a": {**ENTRY, "data_offsets": [4, 0]}}, b"0123", "promises"),
        ({"a": {**ENTRY, "data_offsets": [0]}}, b"0123", "shape and position"),
        ({"a": {**ENTRY, "shape": [3]}}, b"0123", "promises"),
        ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [2, 6]}}, b"012345", "overlaps"),
        ({"a": {**ENTRY, "data_offsets": [2, 6]}}, b"012345", "gap"),
        ({"a": ENTRY}, b"0123456", "3 bytes more"),
        ({"a": {**ENTRY, "data_offsets": [2**62, 2**62 + 4]}}, b"0123", "cut off"),
    ],
)
def test_broken_headers_are_refused(tmp_path, build, header, data, words):
    path = build.header(tmp_path / "a.safetensors", header, data)
    with pytest.raises(UserError) as failure:
        read_header(path)
    assert words in message(failure)


@pytest.mark.parametrize("blob", [b"", b"1234", struct.pack("<Q", 2**63), struct.pack("<Q", 400) + b"{}"])
def test_lengths_are_checked_before_anything_is_read(tmp_path, blob):
    path = tmp_path / "a.safetensors"
    path.write_bytes(blob)
    with pytest.raises(UserError, match="ends inside its header"):
        read_header(path)


def test_a_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(UserError, match="git lfs pull"):
        read_header(path)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_header(tmp_path / "none.safetensors")


def shards(tmp_path, build, places=None):
    build.tensors(tmp_path / "model-1.safetensors", {"a": (2,)})
    build.tensors(tmp_path / "model-2.safetensors", {"b": (2,)})
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"} if places is None else places
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_shards_are_joined(tmp_path, build):
    shards(tmp_path, build)
    weights = read_weights(tmp_path)
    assert {tensor.name: tensor.file for tensor in weights.tensors} == {
        "a": "model-1.safetensors",
        "b": "model-2.safetensors",
    }
    assert weights.bytes == sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))


def test_a_missing_shard_is_named(tmp_path, build):
    shards(tmp_path, build)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(UserError) as failure:
        read_weights(tmp_path)
    assert "1 of the model's 2 weight files is missing: model-2.safetensors" in message(failure)


def test_a_tensor_that_the_index_misplaces_is_named(tmp_path, build):
    shards(tmp_path, build, {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"})
    with pytest.raises(UserError, match=r"c in model-2\.safetensors"):
        read_weights(tmp_path)


def test_every_broken_shard_is_told_at_once(tmp_path, build):
    shards(tmp_path, build)
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (tmp_path / name).write_bytes(b"short")
    with pytest.raises(UserError) as failure:
        read_weights(tmp_path)
    assert len(failure.value.problems) == 2


def test_a_tensor_in_two_shards_is_refused(tmp_path, build):
    shards(tmp_path, build)
    build.tensors(tmp_path / "model-2.safetensors", {"a": (2,), "b": (2,)})
    with pytest.raises(UserError, match="as well"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "..", "", "x/y", "x\\y", "a\0b"])
def test_the_index_cannot_point_outside_the_folder(tmp_path, build, name):
    shards(tmp_path, build, {"a": name})
    with pytest.raises(UserError, match="own folder"):
        read_weights(tmp_path)


@pytest.mark.parametrize("places", [[], {}, {"a": 5}, None, "x"])
def test_an_index_without_places_is_refused(tmp_path, places):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(UserError, match="weight_map"):
        read_weights(tmp_path)
