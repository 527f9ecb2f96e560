"""What goes into the package: nothing that tells of the machine it was built on, and every part with its licence."""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.package import parts, sizes, slim

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("place", "cuda", "unused"),
    [
        ("torch/lib/libtorch_cpu.so", "", False),
        ("torch/lib/libprotobuf.a", "", True),
        ("torch/include/ATen/ATen.h", "", True),
        ("torch\\include\\ATen\\ATen.h", "", True),
        ("torch/test/common.py", "", True),
        ("torch/bin/test_api", "", True),
        ("torch/bin/torch_shm_manager", "", False),
        ("torch/testing/__init__.py", "", False),
        ("bitsandbytes/libbitsandbytes_cpu.so", "", False),
        ("bitsandbytes/libbitsandbytes_cuda128.so", "", True),
        ("bitsandbytes/libbitsandbytes_cuda128.so", "12.8", False),
        ("bitsandbytes/libbitsandbytes_cuda126.so", "12.8", False),
        ("bitsandbytes/libbitsandbytes_cuda130.so", "12.8", True),
        ("bitsandbytes/libbitsandbytes_cuda118.so", "12.8", True),
        ("bitsandbytes/libbitsandbytes_rocm70.so", "12.8", True),
        ("pyarrow/libarrow.so.2600", "", False),
        ("libarrow_flight.so.2600", "", True),
        ("libarrow_substrait.so.2600", "", False),
        ("pyarrow/_s3fs.cpython-311-x86_64-linux-gnu.so", "", True),
        ("pyarrow/_fs.cpython-311-x86_64-linux-gnu.so", "", False),
        ("pyarrow/libarrow_s3.so.2600", "", True),
        ("pyarrow/libarrow_python.so", "", True),
        ("pyarrow/libarrow_python.so.2600.1.0", "", True),
        ("pyarrow/libarrow_python.so.2600", "", False),
        ("PIL/_avif.cpython-311-x86_64-linux-gnu.so", "", True),
        ("pillow.libs/libavif-c6062d5f.so.16.4.2", "", True),
        ("libavif-c6062d5f.so.16.4.2", "", True),
        ("PIL/_imaging.cpython-311-x86_64-linux-gnu.so", "", False),
        ("PySide6/Qt/plugins/platformthemes/libqgtk3.so", "", True),
        ("PySide6/Qt/plugins/platformthemes/libqxdgdesktopportal.so", "", False),
        ("PySide6/Qt/plugins/platforms/libqxcb.so", "", False),
        ("PySide6/Qt/plugins/platforms/libqeglfs.so", "", True),
        ("libcairo-gobject.so.2", "", True),
        ("libcudart.so.13", "", True),
        ("libcudart.so.13", "13.0", False),
        ("libglib-2.0.so.0", "", False),
        ("libpangocairo-1.0.so.0", "", True),
        ("libharfbuzz-fb49c9fc.so.0.61450.0", "", False),
        ("pytest-9.2.0.dist-info/METADATA", "", True),
        ("datasets-5.2.0.dist-info/METADATA", "", True),
        ("pyyaml-6.0.3.dist-info/METADATA", "", False),
        ("PyYAML-6.0.3.dist-info/licenses/LICENSE", "", False),
        ("resources/data/devils-dictionary.jsonl", "", False),
    ],
)
def test_what_nobody_needs_is_left_out(place: str, cuda: str, unused: bool) -> None:
    assert parts.is_unused_file(place, cuda) is unused


def test_every_resource_and_document_goes_in() -> None:
    placed = {f"{folder}/{Path(source).name}" for source, folder in parts.data_files(None)}
    for path in (ROOT / "resources").rglob("*"):
        if path.is_file():
            assert path.relative_to(ROOT).as_posix() in placed
    assert {"./README.md", "./LICENSE", "docs/first-run.md", "docs/pictures/adapter.png"} <= placed


def test_the_starter_model_lies_where_the_program_looks_for_it(tmp_path: Path) -> None:
    from core.paths import resource

    placed = parts.data_files(tmp_path / "x.whl")
    assert (str(tmp_path / "x.whl"), resource("starter").relative_to(ROOT).as_posix()) in placed


def test_metadata_tells_versions_and_licences_and_nothing_of_this_machine() -> None:
    files = parts.metadata_files()
    names = {re.sub(r"-[^-]+\.dist-info.*", "", folder.partition("/")[0]) for _, folder in files}
    assert {"lowrank_studio", "torch", "transformers", "peft", "bitsandbytes"} <= names
    assert not {"pytest", "trl", "ruff", "datasets"} & names
    for source, _ in files:
        assert Path(source).name not in ("direct_url.json", "RECORD")
        assert str(ROOT).encode() not in Path(source).read_bytes(), source
    with_licence = {folder.partition("/")[0] for source, folder in files if "LICEN" in Path(source).name.upper()}
    assert len(with_licence) > len(names) / 2


def test_no_module_of_ours_is_left_out_that_the_program_uses() -> None:
    left_out = [name for name in parts.UNUSED_MODULES if name.partition(".")[0] in ("core", "studio")]
    assert left_out == ["studio.screenshots"], "the only module of ours that is for those who work on it"


def test_sizes_add_up(tmp_path: Path) -> None:
    for number in range(20):
        part = tmp_path / "_internal" / f"part{number}"
        part.mkdir(parents=True)
        (part / "file").write_bytes(bytes(number))
    (tmp_path / "program").write_bytes(bytes(7))
    found = sizes.sizes(tmp_path)
    assert sum(found.values()) == sum(range(20)) + 7
    assert next(iter(found)) == "part19"
    assert any(name.endswith(" others") for name in found)
    assert sizes.table(tmp_path).splitlines()[-1].endswith("all")


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("strip") is None, reason="“strip” of Linux is not here")
def test_libraries_lose_their_debug_names_and_still_load(tmp_path: Path) -> None:
    import kiwisolver._cext  # small, and built with all its names

    library = Path(str(kiwisolver._cext.__file__))
    inside = tmp_path / "_internal"
    (inside / "kiwisolver").mkdir(parents=True)
    (inside / "nvidia" / "cublas").mkdir(parents=True)
    mine, other = inside / "kiwisolver" / library.name, inside / "nvidia" / "cublas" / "libcublas.so.13"
    shutil.copy(library, mine)
    shutil.copy(library, other)
    (inside / "notes.so.txt").write_text("no library")
    (inside / "broken.so").write_bytes(b"\x7fELF and nothing more")
    saved = slim.strip_symbols(tmp_path)
    assert saved > 1_000_000
    assert mine.stat().st_size == library.stat().st_size - saved
    assert other.read_bytes() == library.read_bytes(), "NVIDIA lets nobody change its libraries"
    assert sorted(path.name for path in inside.iterdir()) == ["broken.so", "kiwisolver", "notes.so.txt", "nvidia"]
    load = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("_cext", {str(mine)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.Variable("x").name())
"""
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=False)
    assert done.stdout == "x\n", done.stderr


def test_a_library_whose_parts_are_misplaced_is_seen(tmp_path: Path) -> None:
    head = bytearray(64 + 56)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, 1)
    path = tmp_path / "x.so"
    for offset, fits in ((0x1000, True), (0x1234, False)):
        struct.pack_into("<IIQQQQQQ", head, 64, 1, 5, offset, 0x5000, 0, 16, 16, 0x1000)
        path.write_bytes(head)
        assert slim.is_in_place(path) is fits
    path.write_bytes(head[:70])
    assert not slim.is_in_place(path)
