"""The Linux packages: a ``.tar.zst`` that installs itself for one user, and a ``.deb`` for the whole system."""

import gzip
import hashlib
import platform
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from core import __version__
from launcher.environment import ROOT
from launcher.machine import QT_LIBRARIES, X11_LIBRARIES
from launcher.package import desktop
from launcher.package.archive import FrameWriter, Link, Source, write_ar, write_tar
from launcher.package.sizes import files_of

SCRIPTS = ("install.sh", "uninstall.sh")
_SHARED = "share"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ENTRY = tuple[Source, PurePosixPath, int]


def add_scripts(folder: Path) -> None:
    """Puts the scripts that install and uninstall, and what they hand to the desktop, beside the program."""
    for name in SCRIPTS:
        target = folder / name
        target.write_bytes((ROOT / "installers" / "linux" / name).read_bytes())
        target.chmod(0o755)
    shared = folder / _SHARED
    shared.mkdir()
    files = {
        f"{desktop.NAME}.desktop": desktop.desktop_entry(f"@FOLDER@/{desktop.NAME}"),
        f"{desktop.NAME}.svg": desktop.icon(),
        f"{desktop.NAME}.xml": desktop.mime_type(),
        **desktop.manual(__version__),
    }
    for name, text in files.items():
        (shared / name).write_text(text, "utf-8")
    (folder / "lowrank").symlink_to(desktop.NAME)


def write_archive(folder: Path, target: Path, moment: int) -> None:
    """Writes the whole folder as ``.tar.zst``, with the folder's own name at its top."""
    top = PurePosixPath(folder.name)
    entries = ((path, top / place, mode) for path, place, mode in _all_files(folder))
    with target.open("wb") as file, FrameWriter(file) as packed:
        write_tar(packed, entries, moment)


def write_deb(folder: Path, target: Path, moment: int, maintainer: str) -> None:
    """Writes the Debian package; neither root nor Debian's own tools are needed for it."""
    import pyarrow as pa

    entries = list(_system_files(folder))
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        data = Path(scratch, "data.tar.zst")
        with pa.CompressedOutputStream(str(data), "zstd") as packed:  # dpkg reads the first frame only, so it is one
            write_tar(packed, entries, moment)
        control = Path(scratch, "control.tar.gz")
        with control.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=moment) as zipped:
            write_tar(zipped, _control_files(folder, entries, maintainer), moment)
        with target.open("wb") as file:
            write_ar(file, [("debian-binary", b"2.0\n"), (control.name, control), (data.name, data)], moment)


def architecture() -> str:
    """Debian's name for this machine's processor."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def needed_packages(folder: Path) -> list[str]:
    """The Debian packages that the program needs: those libraries of Qt's that the package does not carry itself."""
    carried = {path.name for path in (folder / "_internal").iterdir()}
    wanted = {**QT_LIBRARIES, **X11_LIBRARIES}
    _, version = platform.libc_ver()
    return [f"libc6 (>= {version})", *sorted({package for name, package in wanted.items() if name not in carried})]


def _all_files(folder: Path) -> Iterator[tuple[Path, PurePosixPath, int]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path, PurePosixPath(path.relative_to(folder).as_posix()), _mode(path)


def _mode(path: Path) -> int:
    return 0o777 if path.is_symlink() else 0o755 if path.stat().st_mode & 0o100 else 0o644


def _system_files(folder: Path) -> Iterator[_ENTRY]:
    """Everything where Debian's rules want it."""
    usr = PurePosixPath("usr")
    for name in ("lowrank", desktop.NAME):
        yield Link(f"../lib/{desktop.NAME}/{desktop.NAME}"), usr / "bin" / name, 0o777
    for path, place, mode in _all_files(folder):
        if place.parts[0] not in (*SCRIPTS, _SHARED, "lowrank"):
            yield path, usr / "lib" / desktop.NAME / place, mode
    share = usr / "share"
    texts = {
        f"applications/{desktop.NAME}.desktop": desktop.desktop_entry(),
        f"icons/hicolor/scalable/apps/{desktop.NAME}.svg": desktop.icon(),
        f"mime/packages/{desktop.NAME}.xml": desktop.mime_type(),
        f"doc/{desktop.NAME}/copyright": _copyright(),
    }
    for name, text in texts.items():
        yield text.encode("utf-8"), share / name, 0o644
    for name, text in desktop.manual(__version__).items():
        yield gzip.compress(text.encode("utf-8"), mtime=0), share / "man" / "man1" / f"{name}.gz", 0o644


def _control_files(folder: Path, entries: Iterable[_ENTRY], maintainer: str) -> Iterator[_ENTRY]:
    size = sum(size for _, size in files_of(folder)) // 1024
    control = f"""\
Package: {desktop.NAME}
Version: {__version__}
Architecture: {architecture()}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {", ".join(needed_packages(folder))}
Section: science
Priority: optional
Description: fine-tune language models on your own machine
 A desktop studio and a command line for LoRA and 4-bit QLoRA: exact plans,
 runs that are never lost, exports that are compared with what was trained.
 A starter model and sample data are inside, so that the first training needs
 no network.
"""
    yield control.encode("utf-8"), PurePosixPath("control"), 0o644
    sums = "".join(f"{_md5(source)}  {place}\n" for source, place, _ in entries if not _is_link(source))
    yield sums.encode("utf-8"), PurePosixPath("md5sums"), 0o644


def _is_link(source: Source) -> bool:
    return isinstance(source, Link) or (isinstance(source, Path) and source.is_symlink())


def _md5(source: Source) -> str:
    """What dpkg compares an installed file with."""
    assert not isinstance(source, Link)
    if isinstance(source, bytes):
        return hashlib.md5(source, usedforsecurity=False).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _copyright() -> str:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    where = f"/usr/lib/{desktop.NAME}/_internal"
    return (
        f"Lowrank Studio {__version__} is licensed under the Apache License 2.0, below.\n\n"
        f"The libraries in it have licences of their own, which lie in {where}/*.dist-info, and the starter model\n"
        f"(SmolLM2-135M-Instruct, Apache-2.0) has its licence in {where}/resources/starter.\n\n{licence}"
    )
