"""Folders that are needed for a while: they go away afterwards, or with the next of them where somebody was killed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError, error
from core.paths import jobs_dir, write_json
from core.runs.process_tree import ProcessKey, identify, is_alive

_PREFIX = "passing-"
_OWNER = "owner.json"


@contextmanager
def passing_folder(name: str) -> Iterator[Path]:
    """An empty folder of this name among the application's jobs, for as long as the block lasts.

    It lies in one that says whose it is. Those whose process is gone are removed first: a whole model that a killed
    command has left would stay for ever.

    Raises:
        UserError: it cannot be made.
    """
    clear_passing_folders()
    around = jobs_dir() / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        around.mkdir(parents=True)
        key = identify(os.getpid())
        if key is not None:
            write_json(around / _OWNER, {"pid": key.pid, "birth": key.birth})
        (around / name).mkdir()
    except OSError as failure:
        shutil.rmtree(around, ignore_errors=True)
        message = f"The folder {around} cannot be made: {failure.strerror or failure}."
        raise UserError(error(str(around), message, "Check the disk and the folder's rights.")) from failure
    try:
        yield around / name
    finally:
        shutil.rmtree(around, ignore_errors=True)


def clear_passing_folders() -> None:
    """Removes the folders of processes that are gone."""
    for around in jobs_dir().glob(f"{_PREFIX}*"):
        try:
            told = json.loads((around / _OWNER).read_text(encoding="utf-8"))
            owner = ProcessKey(int(told["pid"]), str(told["birth"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # one that is just being made or removed
        if not is_alive(owner):
            shutil.rmtree(around, ignore_errors=True)
