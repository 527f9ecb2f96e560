"""A file that is whole or absent."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Problem, error
from core.paths import existing_parent, sync_folder


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A path beside ``target``; what lies there takes its name when the block ends well, and vanishes otherwise.

    Raises:
        FileExistsError: ``target`` exists; nothing is ever overwritten.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} already exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield staging
        with staging.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(staging, target)
        sync_folder(target.parent)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def target_problems(target: Path) -> Iterator[Problem]:
    """What speaks against writing a file there."""
    if os.path.lexists(target):
        yield error(str(target), "The file already exists, and nothing is ever overwritten.", "Choose another name.")
        return
    if target.suffix != ".gguf":
        yield error(str(target), "The name of a GGUF file ends with “.gguf”.", "Choose such a name.")
    parent = existing_parent(target.absolute().parent)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        yield error(str(parent), "This folder cannot be written.", "Choose another place, or change its rights.")
