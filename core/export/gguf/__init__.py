"""GGUF files for llama.cpp, Ollama, LM Studio and the like: models merged while they are written, and adapters."""

from core.export.gguf.lora import gguf_adapter_problems, write_gguf_adapter
from core.export.gguf.precisions import PRECISIONS, Precision, find_precision
from core.export.gguf.quantize import Availability, available_precisions
from core.export.gguf.write import GgufReport, estimate_bytes, estimate_needs, gguf_problems, write_gguf

__all__ = [
    "PRECISIONS",
    "Availability",
    "GgufReport",
    "Precision",
    "available_precisions",
    "estimate_bytes",
    "estimate_needs",
    "find_precision",
    "gguf_adapter_problems",
    "gguf_problems",
    "write_gguf",
    "write_gguf_adapter",
]
