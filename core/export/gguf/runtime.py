"""A small client of llama.cpp's library, so that what was written can be asked in the program it is meant for.

Through its C interface (llama.h) and without its headers: structures that are handed over whole are kept as bytes, and
the few numbers that are set in them are recognised by their documented defaults. A library in which they are not found
is refused instead of being used wrongly.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from core.errors import UserError, error
from core.export.gguf.quantize import QUIET, llama_libraries, load_backends

if TYPE_CHECKING:
    import numpy as np

_STRUCT_BYTES = 512
"""More than any of the structures has; what is beyond its end is not looked at."""
_MOST_PIECE_BYTES = 4096


class _Opaque(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_byte * _STRUCT_BYTES),)


class _Batch(ctypes.Structure):
    """``llama_batch``: the same since 2023."""

    _fields_ = (
        ("count", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embedding", ctypes.POINTER(ctypes.c_float)),
        ("position", ctypes.POINTER(ctypes.c_int32)),
        ("sequences", ctypes.POINTER(ctypes.c_int32)),
        ("sequence", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("wanted", ctypes.POINTER(ctypes.c_int8)),
    )


def find_runtime() -> Path | None:
    """A llama.cpp library on this machine that can run models."""
    for library in llama_libraries():
        return library
    spec = find_spec("xllamacpp")
    if spec is not None and spec.origin:
        found = sorted(Path(spec.origin).parent.glob("xllamacpp*.so"))
        return found[0] if found else None
    return None


class LlamaModel:
    """One GGUF file in llama.cpp, on the processor; a context manager, because its memory is not Python's."""

    def __init__(self, library: Path, model: Path, *, context: int = 512, threads: int = 1) -> None:
        """Loads a model.

        Args:
            library: a llama.cpp library, see `find_runtime`.
            model: a GGUF file.
            context: the most tokens that are asked at once.
            threads: how many threads compute; llama.cpp's own default of more than there are cores is very slow.

        Raises:
            UserError: the library is of an unknown kind, or cannot load the file.
        """
        self._file = model
        self._library = library
        self._model = self._context = None
        self._lib = self._open(library)
        self._model = self._lib.llama_model_load_from_file(os.fsencode(model), self._on_processor())
        if not self._model:
            message = "llama.cpp cannot load the file."
            raise UserError(error(str(model), message, "Export it again; an older llama.cpp may not know the family."))
        self._context = self._lib.llama_init_from_model(self._model, self._of_size(context, threads))
        if not self._context:
            self.close()
            raise UserError(error(str(model), "llama.cpp has no memory for a context.", "Close other programs."))
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self.size = int(self._lib.llama_vocab_n_tokens(self._vocab))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the memory back."""
        if self._context:
            self._lib.llama_free(self._context)
        if self._model:
            self._lib.llama_model_free(self._model)
        self._context = self._model = None

    # --- what it is asked

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text; with ``special``, names of control tokens in it are those tokens. Nothing is added."""
        blob = text.encode("utf-8")
        room = len(blob) + 8
        found = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(self._vocab, blob, len(blob), found, room, False, special)  # noqa: FBT003 - C
        if count < 0:
            raise ValueError(f"llama.cpp wants room for {-count} tokens of {len(blob)} bytes")
        return list(found[:count])

    def logits(self, ids: Sequence[int]) -> "np.ndarray[Any, Any]":
        """The logits behind each of the tokens, asked as one text: (tokens, vocabulary) in float32."""
        import numpy as np

        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)  # noqa: FBT003 - C
        batch = self._lib.llama_batch_init(len(ids), 0, 1)
        try:
            batch.count = len(ids)
            for place, number in enumerate(ids):
                batch.token[place], batch.position[place] = number, place
                batch.sequences[place], batch.sequence[place][0], batch.wanted[place] = 1, 0, 1
            status = self._lib.llama_decode(self._context, batch)
            if status:
                raise ValueError(f"llama_decode gave the status {status}")
            rows = [self._lib.llama_get_logits_ith(self._context, place) for place in range(len(ids))]
            return np.stack([np.ctypeslib.as_array(row, (self.size,)).copy() for row in rows])
        finally:
            self._lib.llama_batch_free(batch)

    def greedy(self, ids: Sequence[int], most: int) -> list[int]:
        """The likeliest tokens after ``ids``, up to an end token (which is not among them) or ``most``."""
        told, found = list(ids), []
        for _ in range(most):
            number = int(self.logits(told)[-1].argmax())
            if self.ends(number):
                break
            found.append(number)
            told.append(number)
        return found

    def ends(self, number: int) -> bool:
        """Whether a token ends an answer."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, number))

    def template(self) -> str:
        """The chat template of the file; empty for none."""
        found = self._lib.llama_model_chat_template(self._model, None)
        return found.decode("utf-8") if found else ""

    def add_adapter(self, adapter: Path, scale: float = 1.0) -> None:
        """Lets a LoRA in a GGUF file change the answers from here on.

        Raises:
            UserError: llama.cpp does not take it.
        """
        found = self._lib.llama_adapter_lora_init(self._model, os.fsencode(adapter))
        if not found:
            raise UserError(error(str(adapter), "llama.cpp does not take the adapter.", "Export it again."))
        if hasattr(self._lib, "llama_set_adapters_lora"):
            adapters, scales = (ctypes.c_void_p * 1)(found), (ctypes.c_float * 1)(scale)
            status = self._lib.llama_set_adapters_lora(self._context, adapters, 1, scales)
        else:
            status = self._lib.llama_set_adapter_lora(self._context, found, ctypes.c_float(scale))
        if status:
            raise UserError(
                error(str(adapter), "llama.cpp cannot use the adapter with this model.", "Export it again.")
            )

    # --- the library

    def _open(self, path: Path) -> Any:
        try:
            found = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            declare(found)
        except (OSError, AttributeError) as failure:
            message = f"This is no llama.cpp library that can be used here: {failure}."
            raise UserError(error(str(path), message, "Install a newer llama.cpp.")) from failure
        found.llama_log_set(QUIET, None)
        load_backends(path.parent)
        found.llama_backend_init()
        return found

    def _on_processor(self) -> _Opaque:
        parameters: _Opaque = self._lib.llama_model_default_params()
        return parameters

    def _of_size(self, context: int, threads: int) -> _Opaque:
        """``llama_context_params`` for so many tokens; its first numbers are n_ctx, n_batch, n_ubatch and n_seq_max."""
        parameters: _Opaque = self._lib.llama_context_default_params()
        raw = bytearray(parameters.bytes)
        if struct.unpack_from("<3I", raw) != (512, 2048, 512) or 4 not in struct.unpack_from("<8i", raw, 12):
            message = "The library keeps its settings in another order than is known here."
            raise UserError(error(str(self._library), message, "Take a llama.cpp of 2024 to 2026."))
        struct.pack_into("<3I", raw, 0, context, context, context)
        for place in range(12, 44, 4):
            if (
                struct.unpack_from("<i", raw, place)[0] == 4
            ):  # GGML_DEFAULT_N_THREADS, once for text and once for answers
                struct.pack_into("<i", raw, place, threads)
        return _Opaque.from_buffer_copy(raw)


def declare(lib: Any) -> None:
    """Tells ctypes what the functions take and give (llama.h).

    Raises:
        AttributeError: the library has not all of them.
    """
    pointer, number, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
    ids = ctypes.POINTER(number)
    for name, given, result in (
        ("llama_backend_init", [], None),
        ("llama_log_set", [pointer, pointer], None),
        ("llama_model_default_params", [], _Opaque),
        ("llama_context_default_params", [], _Opaque),
        ("llama_model_load_from_file", [text, _Opaque], pointer),
        ("llama_init_from_model", [pointer, _Opaque], pointer),
        ("llama_model_get_vocab", [pointer], pointer),
        ("llama_vocab_n_tokens", [pointer], number),
        ("llama_vocab_is_eog", [pointer, number], ctypes.c_bool),
        ("llama_tokenize", [pointer, text, number, ids, number, ctypes.c_bool, ctypes.c_bool], number),
        ("llama_model_chat_template", [pointer, text], text),
        ("llama_get_memory", [pointer], pointer),
        ("llama_memory_clear", [pointer, ctypes.c_bool], None),
        ("llama_batch_init", [number, number, number], _Batch),
        ("llama_batch_free", [_Batch], None),
        ("llama_decode", [pointer, _Batch], number),
        ("llama_get_logits_ith", [pointer, number], ctypes.POINTER(ctypes.c_float)),
        ("llama_adapter_lora_init", [pointer, text], pointer),
        ("llama_free", [pointer], None),
        ("llama_model_free", [pointer], None),
    ):
        function = getattr(lib, name)
        function.argtypes, function.restype = given, result
    for name in ("llama_set_adapters_lora", "llama_set_adapter_lora"):
        if hasattr(lib, name):
            getattr(lib, name).argtypes = (
                [pointer, ctypes.POINTER(pointer), ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)]
                if name.endswith("adapters_lora")
                else [pointer, pointer, ctypes.c_float]
            )
            getattr(lib, name).restype = number
