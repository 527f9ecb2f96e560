"""``python -m core.cli.folders``: names the data folder; with ``--delete`` takes what is ours out of it.

The scripts that uninstall the program ask this, because only the program knows which folder was chosen.
"""

import shutil
import sys
from pathlib import Path

from core.paths import chosen_home, home, place_file

OURS = (
    "attention-bench.json", "cache", "chats", "compiled", "crashes", "device-records.json", "draft.broken.yaml",
    "draft.yaml", "exports", "jobs", "models", "queue", "runs", "sweeps", "window.json", "window.lock",
)  # fmt: skip
"""All that this program makes in its data folder."""


def delete_data() -> list[Path]:
    """Deletes what this program has made, and the folder itself if nothing else lies in it; returns what stayed.

    Raises:
        OSError: something cannot be deleted.
    """
    folder = home()
    was_chosen = chosen_home() == folder
    for name in OURS:
        path = folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    left = sorted(folder.iterdir()) if folder.is_dir() else []
    if folder.is_dir() and not left:
        folder.rmdir()
    if was_chosen:
        place_file().unlink()
        if not any(place_file().parent.iterdir()):
            place_file().parent.rmdir()
    return left


def main(arguments: list[str]) -> int:
    """Prints the data folder, after deleting what is in it where that is asked for; 1 when something stays."""
    folder = home()
    if arguments == ["--delete"]:
        try:
            left = delete_data()
        except OSError as failure:
            print(f"{failure.filename or folder} could not be deleted: {failure.strerror or failure}.", file=sys.stderr)
            return 1
        if left:
            print(f"Not ours, so left in {folder}: {', '.join(path.name for path in left)}", file=sys.stderr)
    elif arguments:
        print("usage: python -m core.cli.folders [--delete]", file=sys.stderr)
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
