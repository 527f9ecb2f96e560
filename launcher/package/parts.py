"""What goes into the package and what stays out: modules, libraries, metadata and data, as PyInstaller wants them."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from launcher.environment import ROOT

DISTRIBUTION = "lowrank-studio"

# Installed for the project, and not needed by what it does: “datasets” and its company serve benchmarks and tests.
UNUSED_DISTRIBUTIONS = frozenset(
    ("datasets", "pandas", "multiprocess", "dill", "xxhash", "python-dateutil", "pytz", "six", "tzdata", "setuptools")
)

# Imported under conditions that never hold here, by libraries that would use them if they were there.
UNUSED_MODULES = (
    "IPython", "_pytest", "cv2", "datasets", "dill", "hypothesis", "importlinter", "jax", "launcher", "librosa",
    "multiprocess", "mypy", "numba", "numpy.f2py", "pandas", "pip", "py", "pyarrow.flight",
    "pyarrow.tests", "pyqtgraph", "pytest", "ruff", "scipy", "setuptools", "sklearn",
    "studio.screenshots", "tensorboard", "tensorflow", "tkinter", "torch.test", "torch.utils.benchmark",
    "torch.utils.tensorboard", "torchaudio", "torchvision", "transformers.testing_utils", "trl",
)  # fmt: skip

# Found by names that are put together while the program runs, so that no import statement tells of them.
WHOLE_PACKAGES = (
    "core", "studio", "accelerate", "bitsandbytes", "gguf", "keyring", "peft", "safetensors", "transformers",
    "truststore", *(("liger_kernel.ops",) if find_spec("liger_kernel") else ()),
)  # fmt: skip

# Modules whose source belongs to the package: they look at their own source, or read their folder to find their parts.
WITH_SOURCE = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "triton", "liger_kernel")

# Files that libraries carry for those who build on them or test them; matched against the place in the package.
UNUSED_FILES = re.compile(
    r"^(?:torch/(?:include|share|test)/|torch/bin/(?!torch_shm_manager)"
    r"|torch/lib/.*\.(?:a|lib|cmake)$"
    r"|torch/lib/(?:libtorch_global_deps_debug|libjitbackend_test|libtorchbind_test|libbackend_with_compiler|"
    r"libaoti_custom_ops|test_)"
    r"|pyarrow/(?:include|tests|src)/|pyarrow/.*\.(?:pxd|pxi|pyx|h|hpp|cmake)$"
    r"|(?:pyarrow/)?libarrow_(?:flight|python_flight)"
    r"|pyarrow/_(?:flight|pyarrow_cpp_tests|s3fs|gcsfs|azurefs|hdfs)\."
    r"|(?:pyarrow/)?libarrow_(?:s3|gcs|azure)\."
    # the same library under the names that only a linker asks for
    r"|pyarrow/libarrow_python(?:_parquet_encryption)?\.so(?:\.\d+\.\d+\.\d+)?$"
    r"|PIL/_avif\.|(?:pillow\.libs/)?libavif"
    r"|bitsandbytes/libbitsandbytes_(?:rocm|xpu|mps|hpu)"
    r"|matplotlib/mpl-data/(?:sample_data|images|plot_directive)/"
    r"|PySide6/Qt/(?:translations|qml|lib/libQt6(?:Pdf|Qml|Quick|Virtual|WebEngine|OpenGLWidgets))"
    r"|PySide6/Qt/plugins/platforms/libq(?:eglfs|linuxfb|minimalegl|vkkhrdisplay|vnc)|.*libQt6Egl"
    r"|PySide6/Qt/plugins/platformthemes/libqgtk3"
    r"|PySide6/Qt/plugins/(?:egldeviceintegrations|networkinformation|tls|virtualkeyboard|position|qmltooling)/"
    r"|PySide6/(?:Qt|)/?plugins/imageformats/libqpdf"
    # what only Qt's part for GTK would need, which is left out
    r"|lib(?:atk|cairo(?:-gobject)?|gdk|gdk_pixbuf|gio|gmodule|gobject|gtk|harfbuzz|fribidi|graphite2|pango|pixman|thai|datrie)(?:-[\d.]+|2|cairo|ft2|_[\w]+)*"
    r"\.so[.\d]*$|lib(?:blkid|mount|selinux)\.so"
    r"|.*/tests?/|.*/__pycache__/|.*\.pyi$)"
)


def is_unused_file(place: str, cuda: str) -> bool:
    """Whether a file has no use in the package.

    Args:
        place: where it would lie in the package.
        cuda: the CUDA version that torch is built for ("12.8"); empty for the processor only.
    """
    place = place.replace("\\", "/")
    kernel = re.match(r"bitsandbytes/libbitsandbytes_cuda(\d+)\.", place)
    if kernel:
        return kernel.group(1) not in _kernels_for(cuda)
    if not cuda and re.match(r"lib(?:cu|nv)\w+\.so|nvidia/", place):  # of what bitsandbytes brings for GPUs
        return True
    about = re.match(r"([^/]+)-[^/-]+\.dist-info/", place)
    if about and _plain(about.group(1)) not in _names():
        return True  # of a library that is installed here for another purpose
    return bool(UNUSED_FILES.match(place))


@cache
def _names() -> frozenset[str]:
    return frozenset(_plain(part.metadata["Name"]) for part in distributions())


def _kernels_for(cuda: str) -> frozenset[str]:
    """The builds of bitsandbytes that serve a CUDA version: its own, or the nearest below of the same major version."""
    if not cuda:
        return frozenset()
    major, minor = (int(part) for part in cuda.split(".")[:2])
    return frozenset(f"{major}{lower}" for lower in range(minor + 1))


def is_used_module(name: str) -> bool:
    """Whether a module of `WHOLE_PACKAGES` belongs into the package."""
    return not any(name == unused or name.startswith(f"{unused}.") for unused in UNUSED_MODULES)


def distributions() -> tuple[Distribution, ...]:
    """Everything that the project needs and that is in the package, the project first; for versions and licences."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    waiting = ["liger-kernel", DISTRIBUTION]  # the former where PyTorch is built for CUDA
    while waiting:
        name = _plain(waiting.pop())
        if name in found or name in UNUSED_DISTRIBUTIONS:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another system, or one of several that would do
            continue
        for line in found[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(wanted.name)
    return tuple(found.values())


def metadata_files() -> list[tuple[str, str]]:
    """Source and folder in the package of what tells a part's version, needs, entry points and licence."""
    files = []
    for part in distributions():
        for entry in part.files or ():
            folder = entry.parent.as_posix()
            inside = entry.parts[0].endswith(".dist-info")
            # where it was installed from and what was installed says something about the machine it was built on only
            if inside and entry.name not in ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED", "uv_cache.json"):
                files.append((str(part.locate_file(entry)), folder))
    return files


def data_files(starter: Path | None) -> list[tuple[str, str]]:
    """Source and folder in the package of the project's own files; ``starter`` is the starter model's wheel."""
    files = [(str(ROOT / name), ".") for name in ("README.md", "CHANGELOG.md", "LICENSE")]
    files += _below(ROOT / "docs", lambda path: path.suffix in (".md", ".png"))
    files += _below(ROOT / "resources", lambda _: True)
    if starter is not None:
        files.append((str(starter), "resources/starter"))
    return files


def _below(folder: Path, wanted: Callable[[Path], bool]) -> Iterable[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and wanted(path):
            yield str(path), path.parent.relative_to(ROOT).as_posix()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
