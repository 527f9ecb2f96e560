"""What a dropped or chosen path is, and what the window does with it."""

from enum import StrEnum
from pathlib import Path

from core.data.folders import kind_by_name, seems_to_hold_data
from core.hub.pack.manifest import is_pack
from core.runs.layout import RunFolder

_PACKED = frozenset((".gz", ".zst"))
_SPECS = frozenset((".yaml", ".yml"))


class Kind(StrEnum):
    """The kinds of things that can be opened."""

    SPEC = "spec"
    RUN = "run"
    MODEL = "model"
    GGUF = "gguf"
    DATA = "data"
    ADAPTER = "adapter"
    PACK = "pack"
    NOTHING = "nothing"


def kind_of(path: Path) -> Kind:
    """What a path holds, by a glance at names; reading it comes later and says more."""
    if path.is_dir():
        if is_pack(path):
            return Kind.PACK
        folder = RunFolder(path)
        if folder.spec.is_file() and (folder.plan.is_file() or folder.events().is_file()):
            return Kind.RUN
        if (path / "adapter_config.json").is_file():
            return Kind.ADAPTER
        if (path / "config.json").is_file():
            return Kind.MODEL
        return Kind.DATA if seems_to_hold_data(path) else Kind.NOTHING
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        return Kind.GGUF
    if suffix in _SPECS:
        return Kind.SPEC
    return Kind.DATA if kind_by_name(path) or suffix in _PACKED else Kind.NOTHING
