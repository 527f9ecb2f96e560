"""K-quants, which only llama.cpp can write: by its program or its library, where one of them is on this machine."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from core.errors import Problem, UserError, error
from core.export.gguf.precisions import ALL, Precision
from core.export.merge import MergeCancelledError

VARIABLE = "LOWRANK_LLAMA_CPP"
"""Environment variable: folder or file of a llama.cpp, to be taken before any other."""

_PROGRAM = "llama-quantize"
_LIBRARIES = ("libllama.so", "libllama.*.so", "libllama.so.*", "libllama.dylib", "libllama.*.dylib", "llama.dll")
_POLL_SECONDS = 0.1
_OTHER_PARAMETERS = 504
QUIET = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda _level, _text, _data: None)
"""A place for llama.cpp's own words, which would fill the log of whoever asks it."""


@dataclass(frozen=True, slots=True)
class Llama:
    """A llama.cpp on this machine that can quantize: its program, or its library."""

    path: Path
    is_program: bool


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a precision can be written here; ``reason`` says why not."""

    precision: Precision
    possible: bool
    reason: str = ""


class _Parameters(ctypes.Structure):
    """The beginning of ``llama_model_quantize_params``; the rest, which grew over the years, keeps its defaults."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("file_type", ctypes.c_int32),
        ("others", ctypes.c_byte * _OTHER_PARAMETERS),
    )


def find_llama() -> Llama | None:
    """A llama.cpp that can quantize: that of `VARIABLE`, beside this program, on the PATH, or in a package."""
    return next(_candidates(), None)


def _candidates() -> Iterator[Llama]:
    named = os.environ.get(VARIABLE, "").strip()
    places = [Path(named).expanduser()] if named else []
    places.append(Path(sys.executable).parent / "llama.cpp")
    for place in places:
        yield from _in_place(place)
    program = shutil.which(_PROGRAM)
    if program:
        yield Llama(Path(program), is_program=True)
    spec = find_spec("llama_cpp")
    if spec is not None and spec.origin:
        yield from _in_place(Path(spec.origin).parent / "lib")


def _in_place(place: Path) -> Iterator[Llama]:
    if place.is_file() and place.name.startswith("convert"):
        place = place.parent  # it names the converter, and a quantizer may lie beside it
    if place.is_file():
        yield Llama(place, is_program=place.stem == _PROGRAM)
        return
    for folder in (place, place / "bin", place / "build" / "bin", place / "lib"):
        program = shutil.which(_PROGRAM, path=str(folder))
        if program:
            yield Llama(Path(program), is_program=True)
    for folder in (place, place / "lib", place / "bin", place / "build" / "bin"):
        for pattern in _LIBRARIES:
            yield from (Llama(found, is_program=False) for found in sorted(folder.glob(pattern)))


def require_llama(precision: Precision) -> list[Problem]:
    """Why a K-quant cannot be written here; empty where it can."""
    if find_llama() is not None:
        return []
    message = f"{precision.title} can be written by llama.cpp alone, and there is none on this computer."
    advice = f"Install llama.cpp (or set {VARIABLE} to its folder), or take Q8_0, which needs nothing."
    return [error("precision", message, advice)]


def available_precisions() -> tuple[Availability, ...]:
    """Every precision, and whether it can be written on this machine."""
    reason = ""
    if find_llama() is None:
        reason = f"llama.cpp is needed for it, and there is none on this computer; {VARIABLE} can name its folder."
    return tuple(
        Availability(item, possible=False, reason=reason)
        if item.needs_llama and reason
        else Availability(item, possible=True)
        for item in ALL
    )


def quantize(source: Path, target: Path, precision: Precision, cancelled: Callable[[], bool] | None = None) -> None:
    """Has llama.cpp write a GGUF file of 16 bits in a smaller precision.

    Raises:
        UserError: there is no llama.cpp, or it refuses.
        MergeCancelledError: ``cancelled`` said so.
    """
    llama = find_llama()
    if llama is None:
        raise UserError(*require_llama(precision))
    run = _by_program if llama.is_program else _by_library
    run(llama.path, source, target, precision, cancelled or (lambda: False))
    if not target.is_file() or not target.stat().st_size:
        raise _failed(llama.path, precision, "it wrote nothing")


def _by_program(program: Path, source: Path, target: Path, precision: Precision, cancelled: Callable[[], bool]) -> None:
    command = [str(program), str(source), str(target), precision.title, str(os.cpu_count() or 1)]
    log = target.with_name(target.name + ".log")
    try:
        with log.open("wb") as told:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT)
            while process.poll() is None:
                if cancelled():
                    process.kill()
                    process.wait()
                    raise MergeCancelledError("the export was cancelled")
                threading.Event().wait(_POLL_SECONDS)
        if process.returncode:
            last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise _failed(program, precision, last[0])
    except OSError as failure:
        raise _failed(program, precision, failure.strerror or str(failure)) from failure
    finally:
        log.unlink(missing_ok=True)


def _by_library(library: Path, source: Path, target: Path, precision: Precision, cancelled: Callable[[], bool]) -> None:
    """Calls ``llama_model_quantize``. It cannot be interrupted, so a cancelled one is waited for."""
    try:
        llama = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        defaults, work = llama.llama_model_quantize_default_params, llama.llama_model_quantize
    except (OSError, AttributeError) as failure:
        raise _failed(library, precision, str(failure)) from failure
    load_backends(library.parent)
    llama.llama_log_set.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    llama.llama_log_set(QUIET, None)
    llama.llama_backend_init()
    defaults.restype = _Parameters
    parameters = defaults()
    parameters.threads = os.cpu_count() or 1
    parameters.file_type = precision.file_type
    work.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    work.restype = ctypes.c_uint32
    status = work(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    if cancelled():
        raise MergeCancelledError("the export was cancelled")
    if status:
        raise _failed(library, precision, f"it gave the status {status}")


def llama_libraries() -> Iterator[Path]:
    """Every llama.cpp library that is found, the one of `VARIABLE` first."""
    return (found.path for found in _candidates() if not found.is_program)


def load_backends(folder: Path) -> None:
    """Builds of llama.cpp with one library for each kind of processor find them only when told where."""
    for library in sorted(folder.glob("*ggml*")):
        if "ggml-" in library.name or not library.is_file():
            continue
        loader = getattr(ctypes.CDLL(str(library)), "ggml_backend_load_all_from_path", None)
        if loader is not None:
            loader(os.fsencode(folder))
            return


def _failed(llama: Path, precision: Precision, reason: str) -> UserError:
    message = f"llama.cpp ({llama.name}) could not write {precision.title}: {reason}."
    return UserError(error(str(llama), message, "Take Q8_0, or another build of llama.cpp."))
