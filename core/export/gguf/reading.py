"""A GGUF file as the gguf library reads it, once it is known to be whole."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError, error
from core.facts.gguf_header import read_gguf_header

if TYPE_CHECKING:
    from gguf import GGUFReader


def open_gguf(path: Path) -> "GGUFReader":
    """Opens a GGUF file, its tensors mapped and not read.

    The header is read by our own reader first, which knows a damaged one; the library goes on for as long as such a
    header says, and ends with whatever error comes first.

    Raises:
        UserError: the file cannot be read, is no GGUF file, or is damaged or cut off.
    """
    import gguf

    read_gguf_header(path)
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as failure:
        message = f"The GGUF file is broken: {failure}."
        raise UserError(error(str(path), message, "Download or copy the file again.")) from failure
