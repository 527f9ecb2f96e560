"""What speaks against a folder that something is to be written into; asked before the first byte."""

import os
from pathlib import Path

from core.errors import Problem, error
from core.paths import existing_parent


def folder_problems(target: Path) -> list[Problem]:
    """Why nothing can be written into ``target``; empty where it does not exist yet or is an empty folder."""
    advice = "Choose a folder that does not exist yet."
    if target.exists() and not target.is_dir():
        return [error(str(target), "The export needs a folder, and this is a file.", advice)]
    if target.is_dir() and any(target.iterdir()):
        return [error(str(target), "The folder is not empty, and nothing is ever overwritten.", advice)]
    parent = existing_parent(target.absolute().parent)
    if not os.access(parent, os.W_OK):
        return [error(str(parent), "This folder cannot be written.", "Choose another place, or change its rights.")]
    return []
