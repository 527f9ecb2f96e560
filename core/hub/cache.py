"""The standard Hugging Face cache on disk, filled so that every other tool finds what we downloaded.

Layout (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): ``blobs/DIGEST`` holds the contents,
``snapshots/COMMIT/NAME`` links to them, ``refs/BRANCH`` names a commit. A file on its way is ``DIGEST.incomplete``.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.facts.locate import cache_folder
from core.facts.model_folder import CONFIG_FILE
from core.hub.files import HubFile
from core.hub.problems import HubError, RepoKind
from core.paths import existing_parent, sync_folder, write_atomic
from core.units import MIB, format_bytes

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_DIGEST = re.compile(r"[0-9A-Za-z_-]{8,128}")
_NAME = re.compile(r"[^\\:\0-\x1f]+")
_SPARE = 64 * MIB
_COPIED = 64 * MIB
_YES = ("1", "on", "yes", "true")


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """The folder of one model or data set in the cache, which need not exist yet."""

    id: str
    kind: RepoKind = "model"

    @property
    def path(self) -> Path:
        """The folder itself."""
        return cache_folder() / f"{self.kind}s--{self.id.replace('/', '--')}"

    @property
    def lock(self) -> Path:
        """Held while one of our programs downloads into it."""
        return cache_folder() / ".locks" / self.path.name / "lowrank-download.lock"

    def blob(self, file: HubFile) -> Path:
        """Where the file's content lies."""
        return self.path / "blobs" / file.digest

    def part(self, file: HubFile) -> Path:
        """Where the file's content lies while it is on its way."""
        return self.path / "blobs" / f"{file.digest}.incomplete"

    def snapshot(self, commit: str) -> Path:
        """The folder of one revision."""
        return self.path / "snapshots" / commit

    def has(self, file: HubFile, commit: str) -> bool:
        """Whether the file is here as a whole, whoever brought it."""
        return any(size_of(path) == file.size for path in (self.blob(file), self.snapshot(commit) / file.name))

    def bytes_here(self, files: Iterable[HubFile], commit: str) -> int:
        """How much of these files is here already, beginnings included."""
        return sum(
            max(file.size, 0) if self.has(file, commit) else min(max(size_of(self.part(file)), 0), max(file.size, 0))
            for file in files
        )

    def show(self, files: Iterable[HubFile], commit: str) -> Path:
        """Makes whole files appear in the revision's folder; config.json comes last, as nothing is a model without it.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self.snapshot(commit)
        for file in sorted(files, key=lambda file: file.name == CONFIG_FILE):
            pointer = folder / file.name
            if size_of(pointer) != file.size:
                _point(pointer, self.blob(file))
        return folder

    def name_revision(self, revision: str, commit: str) -> None:
        """Writes down which commit a branch or tag means.

        Raises:
            OSError: it cannot be written.
        """
        if revision != commit:
            ref = self.path / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(ref, commit)


def require_commit(commit: str) -> str:
    """The commit, if it can be one; it becomes a folder's name.

    Raises:
        HubError: it cannot.
    """
    if not _COMMIT.fullmatch(commit):
        raise HubError(
            "answer",
            f"The hub named the commit “{commit[:80]}”, which cannot be one.",
            "Check HF_ENDPOINT if you have set it.",
        )
    return commit


def require_safe(file: HubFile) -> HubFile:
    """The file, if its name and digest can be used as names on this disk.

    Raises:
        HubError: they would leave the folder, or are none.
    """
    parts = PurePosixPath(file.name).parts
    if (
        not _NAME.fullmatch(file.name)
        or file.name.startswith("/")
        or ".." in parts
        or not parts
        or not _DIGEST.fullmatch(file.digest)
        or file.size < 0
    ):
        raise HubError(
            "answer",
            f"The hub names a file that cannot be stored: “{file.name[:80]}” with the digest “{file.digest[:80]}”.",
            "Take it from a source that you trust.",
        )
    return file


def require_space(missing: int) -> None:
    """Says so when the cache's disk is too full for so many more bytes.

    Raises:
        HubError: it is.
    """
    place = existing_parent(cache_folder())
    free = shutil.disk_usage(place).free
    if missing and missing + _SPARE > free:
        raise HubError(
            "disk",
            f"The download takes {format_bytes(missing)} more, and {format_bytes(free)} are free at {cache_folder()}.",
            "Free some space, or put the cache on another disk with the variable HF_HUB_CACHE.",
            path=str(cache_folder()),
        )


def size_of(path: Path) -> int:
    """Size of a file, links followed; -1 for none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:  # a broken link, or a folder that may not be entered: nothing that could be used
        return -1


def _point(pointer: Path, blob: Path) -> None:
    """Links ``pointer`` to ``blob``; where the system has no links, the content itself goes there."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f".{pointer.name}.{secrets.token_hex(4)}.part")
    if os.environ.get("HF_HUB_DISABLE_SYMLINKS", "").lower() not in _YES:
        try:
            temporary.symlink_to(os.path.relpath(blob, pointer.parent))
            os.replace(temporary, pointer)
        except OSError as failure:
            temporary.unlink(missing_ok=True)
            if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
        else:
            return
    # Windows without the right to make links, or a disk without them: the hub's own library moves the content, too.
    # Small ones are copied, because two of them may be the same content under two names.
    if size_of(blob) <= _COPIED:
        shutil.copyfile(blob, temporary)
        os.replace(temporary, pointer)
    else:
        os.replace(blob, pointer)
    sync_folder(pointer.parent)
