"""Families that are not written here, by llama.cpp's own converter where one is on this machine.

``convert_hf_to_gguf.py`` takes a whole model, so base and adapter are merged beside the target first. It runs in a
process of its own: it brings its own version of the gguf library, and what it holds goes back with it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import ExitCode, UserError, error
from core.export.companions import companion_files
from core.export.gguf.families import foreign_problems
from core.export.gguf.precisions import Precision
from core.export.gguf.quantize import VARIABLE, quantize
from core.export.gguf.staging import staged_file
from core.export.gguf.write import Cancelled, GgufReport, OnProgress
from core.export.memory import memory_problems
from core.export.merge import MergeCancelledError, Needs, merge_adapter, merge_needs, read_base_config
from core.export.tensor_files import read_model_tensors
from core.runs.child_env import child_env
from core.runs.room import room_advice, room_for
from core.units import MIB, format_bytes

_NAMES = ("convert_hf_to_gguf.py", "convert-hf-to-gguf")
_OWN = ("f32", "f16", "bf16", "q8_0")
"""Precisions that the converter writes; the others are made of 16 bits by llama.cpp's quantizer."""
_PYTHONS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe", "venv/Scripts/python.exe")
_PROCESS_BYTES = 900 * MIB
"""What its process holds with torch and transformers before the first tensor, rounded up."""
_POLL_SECONDS = 0.2
_HEADER_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Converter:
    """A converter on this machine, and how it is started."""

    path: Path
    command: tuple[str, ...]


def find_converter() -> Converter | None:
    """llama.cpp's converter: that of `VARIABLE`, beside this program, or on the PATH."""
    for path in _candidates():
        return Converter(path, (_python(path), str(path)) if path.suffix == ".py" else (str(path),))
    return None


def _candidates() -> Iterator[Path]:
    named = os.environ.get(VARIABLE, "").strip()
    places = [Path(named).expanduser()] if named else []
    places.append(Path(sys.executable).parent / "llama.cpp")
    for place in places:
        if place.name in _NAMES and place.is_file():
            yield place
        folder = place.parent if place.is_file() else place
        yield from (path for name in _NAMES for path in (folder / name, folder / "bin" / name) if path.is_file())
    yield from (Path(found) for name in _NAMES if (found := shutil.which(name)))


def _python(script: Path) -> str:
    """The Python that a script is run with: its own environment's, else ours, which has torch and transformers."""
    for name in _PYTHONS:
        if (script.parent / name).is_file():
            return str(script.parent / name)
    if getattr(sys, "frozen", False):  # our own program is no Python then
        return shutil.which("python3") or shutil.which("python") or "python3"
    return sys.executable


def serves(base: Path) -> bool:
    """Whether a model of this kind is left to the converter, and there is one.

    Raises:
        UserError: the model's config.json cannot be used.
    """
    return any(foreign_problems(read_base_config(base), base)) and find_converter() is not None


def converter_needs(base: Path, adapter: Path | None, precision: Precision) -> Needs:
    """What a conversion will take, roughly; reads headers, never weights.

    Raises:
        UserError: base and adapter do not fit together.
    """
    merge = merge_needs(base, adapter) if adapter is not None else Needs(0, 0)
    sizes = [tensor.bytes // 2 for tensor in read_model_tensors(base).values()]
    elements, largest = sum(sizes), max(sizes, default=0)
    texts = sum(path.stat().st_size for path in companion_files(base, adapter).values())
    size = round(elements * precision.bits / 8) + texts + _HEADER_BYTES
    between = 2 * elements if precision.name not in _OWN else 0
    return Needs(size, max(merge.memory, _PROCESS_BYTES + 8 * largest), merge.disk + between)


def write_by_converter(
    base: Path,
    adapter: Path | None,
    target: Path,
    precision: Precision,
    on_progress: OnProgress | None,
    cancelled: Cancelled | None,
) -> GgufReport:
    """Writes a model as one GGUF file by llama.cpp's converter; arguments as for `core.export.gguf.write_gguf`.

    Raises:
        UserError: base and adapter do not fit together, there is too little room, or the converter refuses.
        MergeCancelledError: ``cancelled`` said so; nothing is left behind.
        OSError: reading or writing failed.
    """
    started = time.monotonic()
    converter = find_converter()
    assert converter is not None, "asked before"
    needs = converter_needs(base, adapter, precision)
    _require_room(needs, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    total = needs.disk + needs.beside
    place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        model, done = base, 0
        if adapter is not None:
            tell = (lambda written, _all: on_progress(written, total)) if on_progress is not None else None
            model = place / target.stem
            done = merge_adapter(base, adapter, model, on_progress=tell, cancelled=cancelled).bytes
        with staged_file(target) as staging:
            watch = _Watch(done, total, on_progress, cancelled or (lambda: False))
            if precision.name in _OWN:
                _convert(converter, model, staging, precision.name, target.stem, watch)
            else:
                between = place / "between.gguf"
                _convert(converter, model, between, "f16", target.stem, watch)
                quantize(between, staging, precision, cancelled)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    note = f"The file was written by llama.cpp's own converter ({converter.path})."
    return GgufReport(
        target, target.stat().st_size, _tensors(target), precision.name, time.monotonic() - started, (note,)
    )


@dataclass(frozen=True, slots=True)
class _Watch:
    """Progress in bytes after ``done`` of ``total``, and the wish to stop."""

    done: int
    total: int
    on_progress: OnProgress | None
    cancelled: Callable[[], bool]

    def look(self, file: Path) -> None:
        if self.on_progress is not None and file.exists():
            self.on_progress(min(self.total, self.done + file.stat().st_size), self.total)


def _require_room(needs: Needs, target: Path) -> None:
    room = room_for(needs.disk + needs.beside, target.parent)
    problems = memory_problems(needs.memory)
    if room.missing:
        wanted, free = format_bytes(room.needed), format_bytes(room.free)
        message = f"The GGUF file and what it is made of take {wanted}, and only {free} are free here."
        problems.append(error(str(room.place), message, room_advice(room)))
    if problems:
        raise UserError(*problems, exit_code=ExitCode.DOES_NOT_FIT)


def _convert(converter: Converter, model: Path, target: Path, outtype: str, name: str, watch: _Watch) -> None:
    command = [*converter.command, str(model), "--outfile", str(target), "--outtype", outtype, "--model-name", name]
    with tempfile.TemporaryFile() as told:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT, env=child_env()
            )
        except OSError as failure:
            raise _failed(converter, failure.strerror or str(failure)) from failure
        try:
            while process.poll() is None:
                if watch.cancelled():
                    raise MergeCancelledError("the export was cancelled")
                watch.look(target)
                threading.Event().wait(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode or not target.is_file() or not target.stat().st_size:
            told.seek(0)
            lines = told.read().decode("utf-8", "replace").strip().splitlines()
            raise _failed(converter, lines[-1].strip() if lines else f"it ended with the status {process.returncode}")
    watch.look(target)


def _failed(converter: Converter, reason: str) -> UserError:
    message = f"llama.cpp's converter could not write the model: {reason.rstrip('.')}."
    advice = "Take a newer llama.cpp, or export the merged model."
    if "ModuleNotFoundError" in reason:
        advice = "Install what the converter needs, in an environment “.venv” beside it or where it is started."
    return UserError(error(str(converter.path), message, advice))


def _tensors(file: Path) -> int:
    from core.facts.gguf_header import read_gguf_header

    return len(read_gguf_header(file).tensors)
