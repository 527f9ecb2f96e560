import struct
from dataclasses import replace

import pytest

from core.errors import UserError
from core.facts.gguf_header import QUANTIZATIONS, GgufArray, read_gguf_header
from core.facts.model_files import read_model


def write(tmp_path, blob):
    path = tmp_path / "m.gguf"
    path.write_bytes(blob)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_reads_every_kind_of_value(tmp_path, build, version):
    values = {"a": True, "b": 7, "c": 0.5, "d": "wörter", "e": [1, 2, 3], "f": ["x", "yy"], "g": [[1], [2, 3]]}
    header = read_gguf_header(write(tmp_path, build.gguf(values, {"t": (2, 3), "u": (4,)}, version)))
    assert header.metadata == {
        **values,
        "e": GgufArray(3, (1, 2, 3)),
        "f": GgufArray(2),
        "g": GgufArray(2),
    }
    assert [(t.name, t.shape, t.dtype, t.bytes) for t in header.tensors] == [
        ("t", (2, 3), "F32", 24),
        ("u", (4,), "F32", 16),
    ]
    assert header.tensors[1].offset % 32 == 0


def test_reads_every_scalar(tmp_path, build):
    codes = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
    blob = b"GGUF" + struct.pack("<IQQ", 3, 0, len(codes))
    for kind, code in codes.items():
        blob += build.gguf_string(f"k{kind}") + struct.pack("<I", kind) + struct.pack(code, 1)
    assert list(read_gguf_header(write(tmp_path, blob)).metadata.values()) == [1] * len(codes)


def test_the_table_of_types_is_that_of_the_reference(tmp_path):
    constants = pytest.importorskip("gguf.constants")
    known = {int(kind): (kind.name, *sizes) for kind, sizes in constants.GGML_QUANT_SIZES.items()}
    assert {kind: row for kind, row in QUANTIZATIONS.items() if kind in known} == known


def test_a_large_vocabulary_is_stepped_over(tmp_path, build):
    words = [f"word{i}" for i in range(60_000)]
    header = read_gguf_header(write(tmp_path, build.gguf({"tokens": words, "scores": list(range(60_000))}, {})))
    assert header.metadata == {"tokens": GgufArray(60_000), "scores": GgufArray(60_000)}


def start(tensors, values):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values)


KEY = struct.pack("<Q", 1) + b"k"
INFO = struct.pack("<Q", 1) + b"t"
PAD = bytes(64)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "only 0 bytes"),
        (b"GGUF", "only 4 bytes"),
        (b"PK" + bytes(40), "another kind of file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + PAD, "version 1 is not supported"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + PAD, "big-endian"),
        (start(2**60, 0) + PAD, "claims"),
        (start(0, 2**60) + PAD, "claims"),
        (start(0, 1) + struct.pack("<Q", 2**62) + PAD, "a name claims"),
        (start(0, 1) + KEY + struct.pack("<I", 99) + PAD, "unknown type 99"),
        (start(0, 1) + KEY + struct.pack("<IQ", 8, 2**63) + PAD, "ends inside"),
        (start(0, 1) + KEY + struct.pack("<IIQ", 9, 8, 2**60) + PAD, "more than the file can hold"),
        (start(0, 1) + KEY + struct.pack("<IIQ", 9, 10, 2**61) + PAD, "ends inside"),
        (start(0, 1) + KEY + struct.pack("<IIQ", 9, 8, 2) + struct.pack("<Q", 2**63) + PAD, "ends inside"),
        (start(0, 1) + KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9 + PAD, "deeply nested"),
        (start(0, 2) + (KEY + struct.pack("<IB", 0, 1)) * 2 + PAD, "twice"),
        (start(1, 0) + INFO + struct.pack("<I", 2**31) + PAD, "dimensions"),
        (start(1, 0) + INFO + struct.pack("<IQIQ", 1, 32, 77, 0) + PAD, "unknown type 77"),
        (start(1, 0) + INFO + struct.pack("<IQIQ", 1, 33, 2, 0) + PAD, "needs blocks of 32"),
        (start(1, 0) + INFO + struct.pack("<IQIQ", 1, 2**63, 0, 0) + PAD, "cut off"),
        (start(1, 0) + INFO + struct.pack("<IQIQ", 1, 1, 0, 5) + PAD, "misplaced"),
        (start(2, 0) + (INFO + struct.pack("<IQIQ", 1, 1, 0, 0)) * 2 + PAD, "name appears twice"),
    ],
)
def test_hostile_files_are_refused_in_a_sentence(tmp_path, blob, words):
    with pytest.raises(UserError) as failure:
        read_gguf_header(write(tmp_path, blob))
    assert words in str(failure.value)


@pytest.mark.parametrize("alignment", [0, 3, 2**30, "32"])
def test_a_senseless_alignment_is_refused(tmp_path, build, alignment):
    with pytest.raises(UserError, match="alignment"):
        read_gguf_header(write(tmp_path, build.gguf({"general.alignment": alignment}, {})))


def test_a_cut_file_says_how_much_is_there(tmp_path, build):
    blob = build.gguf({}, {"t": (1000,)})
    path = write(tmp_path, blob[:-1000])
    with pytest.raises(UserError, match="cut off"):
        read_gguf_header(path)


def test_a_llama_in_gguf_has_the_names_of_transformers(tmp_path, build):
    path = write(tmp_path, build.gguf(build.gguf_llama, build.gguf_llama_shapes()))
    facts = read_model(path)
    folder = build.model(
        tmp_path / "same", {**build.llama, "tie_word_embeddings": True}, build.llama_shapes(head=False)
    )
    same = read_model(folder)
    assert facts.linears == same.linears
    assert facts.parameters == same.parameters
    assert facts.linear_parameters == same.linear_parameters
    assert facts.tied_embeddings
    assert (facts.num_heads, facts.num_kv_heads, facts.head_dim, facts.context_length) == (2, 1, 4, 64)
    assert (facts.licence, facts.template, facts.template_origin) == ("apache-2.0", "{{ messages }}", "m.gguf")
    assert facts.weight_files == ("m.gguf",)
    assert facts.assumptions == ()


def test_an_output_matrix_means_that_nothing_is_tied(tmp_path, build):
    tied = read_model(write(tmp_path, build.gguf(build.gguf_llama, build.gguf_llama_shapes())))
    shapes = {**build.gguf_llama_shapes(), "output.weight": (32, 8)}
    facts = read_model(write(tmp_path, build.gguf(build.gguf_llama, shapes)))
    assert not facts.tied_embeddings
    assert facts.parameters == tied.parameters + 32 * 8
    assert facts.fingerprint != tied.fingerprint
    assert replace(facts, fingerprint="") != replace(tied, fingerprint="")


@pytest.mark.parametrize("architecture", ["clip", "bert", "", "llama\n"])
def test_architectures_that_cannot_be_read_are_named(tmp_path, build, architecture):
    with pytest.raises(UserError, match="cannot be read from a GGUF file"):
        read_model(write(tmp_path, build.gguf({"general.architecture": architecture}, {"t": (1,)})))


def test_one_part_of_a_split_model_is_refused(tmp_path, build):
    blob = build.gguf({**build.gguf_llama, "split.count": 3}, build.gguf_llama_shapes())
    with pytest.raises(UserError, match="one of 3 parts"):
        read_model(write(tmp_path, blob))


def test_metadata_that_contradicts_the_tensors_is_refused(tmp_path, build):
    blob = build.gguf({**build.gguf_llama, "llama.block_count": 5}, build.gguf_llama_shapes())
    with pytest.raises(UserError, match="says num_hidden_layers = 5, but the weights hold 2"):
        read_model(write(tmp_path, blob))
