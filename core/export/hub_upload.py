"""A folder as a repository on the Hugging Face Hub: private unless wanted otherwise, in one commit, gone on with.

Large files go first, one after another; the hub keeps what has come whole, so a second try sends only what is missing.
The commit that makes them appear is the last step, so nobody ever sees half a model.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.export.adapter import MANIFEST_FILE, last_name, public_name
from core.export.merge import MergeCancelledError
from core.export.peft_adapter import CONFIG_FILE
from core.hub.names import require_id
from core.hub.problems import HubError, Subject, refused
from core.hub.web import endpoint, require_online

_SMALL_BYTES = 1024 * 1024
_HUBS_OWN = (".gitattributes",)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404

OnProgress = Callable[[int, int], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What was sent.

    Attributes:
        repo: ``owner/name``.
        url: the page of the repository.
        private: only its owner can see it.
        bytes: size of all files.
        sent_bytes: of those, what went over the network; the rest had come in an earlier try.
        files: names in the repository.
    """

    repo: str
    url: str
    private: bool
    bytes: int
    sent_bytes: int
    files: tuple[str, ...]
    seconds: float


def upload_folder(
    folder: Path,
    repo: str,
    *,
    token: str,
    private: bool = True,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled | None = None,
) -> UploadReport:
    """Sends every file of a folder to a repository, which is made if there is none.

    Paths of this computer in an adapter's settings are replaced by public names on the way; the folder stays as it is.

    Args:
        folder: an adapter, a merged model or another export.
        repo: ``owner/name``.
        token: one that may write.
        private: whether only its owner may see a repository that is made for it. One that is there must be private too.
        on_progress: called with bytes sent and bytes in all.
        cancelled: asked between pieces; when it says True the upload stops. What has come whole is kept by the hub.

    Raises:
        UserError: there is nothing to send, or the repository holds something else.
        HubError: the hub cannot be reached, refuses, or the token may not write.
        MergeCancelledError: ``cancelled`` said so; nothing of it can be seen on the hub.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    started = time.monotonic()
    subject = _check(folder, repo, token)
    meter = _Meter(on_progress, cancelled)
    contents = _contents(folder, meter)
    api = HfApi(endpoint=subject.endpoint, token=token, library_name="lowrank-studio")
    try:
        is_private = _make_repository(api, repo, subject, contents, private=private)
        operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
        meter.begin(sum(operation.upload_info.size for operation in operations))
        for operation in operations:
            meter.check()
            api.preupload_lfs_files(repo, [operation], num_threads=1, free_memory=False)
            meter.finish(operation.upload_info.size)
        meter.check()
        api.create_commit(repo, operations, commit_message="Upload with Lowrank Studio", num_threads=1)
    except (HubError, UserError, MergeCancelledError):
        raise
    except Exception as failure:
        if meter.is_cancelled:  # the library puts what ended the reading into an error of its own
            raise MergeCancelledError("the upload was cancelled") from failure
        raise _in_words(failure, subject) from failure
    finally:
        for content in contents.values():
            if isinstance(content, _Watched):
                content.close()
    return UploadReport(
        repo=repo,
        url=subject.page,
        private=is_private,
        bytes=meter.total,
        sent_bytes=meter.sent,
        files=tuple(contents),
        seconds=time.monotonic() - started,
    )


def _check(folder: Path, repo: str, token: str) -> Subject:
    require_online()
    subject = Subject(endpoint(), model=repo, with_token=True)
    require_id(repo)
    if "/" not in repo:
        advice = f"Write owner/{repo}, with your account's or organisation's name."
        raise HubError("name", f"“{repo}” does not say whose repository it is.", advice, path="repo")
    if not token:
        page = subject.tokens_page
        advice = f"Make one with the right to write at {page} and enter it here."
        raise HubError("token", f"Uploading to {subject.host} needs a token, and there is none.", advice, page=page)
    if not folder.is_dir() or not any(path.is_file() for path in folder.rglob("*")):
        message = "There is nothing to upload: the folder does not exist or is empty."
        raise UserError(error(str(folder), message, "Choose the folder of an export."))
    return subject


class _Meter:
    """Counts what is sent, tells of it, and knows when to stop."""

    def __init__(self, on_progress: OnProgress | None, cancelled: Cancelled | None) -> None:
        self._on_progress, self._cancelled = on_progress, cancelled
        self.total, self.sent, self.is_cancelled = 0, 0, False
        self._finished = self._present = 0

    def begin(self, total: int) -> None:
        """Reading for the hashes is over; from now on what is read is sent."""
        self.total, self.sent, self._present = total, 0, 0

    def check(self) -> None:
        """Ends the work if somebody asked for that."""
        if self.is_cancelled or (self._cancelled is not None and self._cancelled()):
            self.is_cancelled = True
            raise MergeCancelledError("the upload was cancelled")

    def read(self, count: int) -> None:
        """So many more bytes of the present file have been read."""
        self.check()
        if self.total:
            self.sent += count
            self._present += count
            self._tell(self._present)

    def rewind(self) -> None:
        """What is read next is the beginning of the present file, perhaps once more."""
        self._present = 0

    def finish(self, size: int) -> None:
        """The present file is there, sent now or before."""
        self._finished += size
        self._present = 0
        self._tell(0)

    def _tell(self, more: int) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._finished + more, self.total), self.total)


class _Watched(io.BufferedReader):
    """A file that is counted while it is read."""

    def __init__(self, path: Path, meter: _Meter) -> None:
        super().__init__(io.FileIO(path))
        self._meter = meter

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(-1 if size is None else size)
        self._meter.read(len(piece))
        return piece

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if offset == 0 and whence == io.SEEK_SET:
            self._meter.rewind()
        return super().seek(offset, whence)


def _contents(folder: Path, meter: _Meter) -> dict[str, bytes | _Watched]:
    """Name in the repository -> what goes there, small files first."""
    found: dict[str, bytes | _Watched] = {}
    for path in sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size):
        name = path.relative_to(folder).as_posix()
        if name in (CONFIG_FILE, MANIFEST_FILE):
            found[name] = _made_public(path)
        elif path.stat().st_size <= _SMALL_BYTES:
            found[name] = path.read_bytes()
        else:
            found[name] = _Watched(path, meter)
    return found


def _made_public(path: Path) -> bytes:
    """An adapter's settings or origins without the paths of this computer."""
    said = json.loads(path.read_bytes())
    for key in ("base_model_name_or_path", "base_path"):
        if isinstance(said.get(key), str):
            said[key] = public_name(said[key])
    if isinstance(said.get("spec"), dict):
        said["spec"] = _bare(said["spec"])
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _bare(value: Any) -> Any:
    """Plain data in which every absolute path is only a name."""
    if isinstance(value, dict):
        return {_bare(key): _bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, str) and "\n" not in value and (value.startswith(("/", "~")) or value[1:3] in (":\\", ":/")):
        return public_name(value) or last_name(value)
    return value


def _make_repository(
    api: Any, repo: str, subject: Subject, contents: Mapping[str, bytes | _Watched], *, private: bool
) -> bool:
    """Makes the repository, or checks the one that is there; returns whether it is private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repo, files_metadata=True)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private)
        return private
    if private and not info.private:
        message = f"The repository “{repo}” is there already, and everybody can see it."
        advice = f"Choose another name, make it private at {subject.page}/settings, or upload it as public."
        raise UserError(error("repo", message, advice))
    other = [item.rfilename for item in info.siblings or () if not _is_same(item, contents)]
    if other:
        some = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
        message = f"The repository “{repo}” holds something else already ({some}); nothing is ever overwritten."
        advice = "Choose the name of a new repository, or delete those files on the hub."
        raise UserError(error("repo", message, advice))
    return bool(info.private)


def _is_same(item: Any, contents: Mapping[str, bytes | _Watched]) -> bool:
    """Whether a file on the hub is what is to be sent, or the hub's own."""
    content = contents.get(item.rfilename)
    if item.rfilename in _HUBS_OWN:
        return True
    if content is None:
        return False
    if item.lfs is not None:
        return bool(item.lfs.sha256 == _sha256(content))
    if not isinstance(content, bytes):
        return False
    return bool(item.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())


def _sha256(content: bytes | _Watched) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for piece in _pieces(content):
        digest.update(piece)
    content.seek(0)
    return digest.hexdigest()


def _pieces(file: _Watched) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_SMALL_BYTES):
        yield piece


def _in_words(failure: Exception, subject: Subject) -> Exception:
    """What the hub or the network said, as a problem; errors of our own stay what they are."""
    cause: BaseException | None = failure
    while cause is not None and getattr(cause, "response", None) is None:
        if isinstance(cause, OSError) or type(cause).__module__.startswith(
            ("httpx", "httpcore", "urllib3", "requests")
        ):
            return _unreachable(cause, subject)
        cause = cause.__cause__
    if cause is None:
        return failure
    response: Any = getattr(cause, "response", None)
    status = int(response.status_code)
    headers = {name.lower(): value for name, value in response.headers.items()}
    if status in (_FORBIDDEN, _NOT_FOUND):
        return HubError(
            "token",
            f"Your token may not write to “{subject.model}” on {subject.host}.",
            f"Make one with the right to write at {subject.tokens_page}, or choose a repository of your own account.",
            path="repo",
            page=subject.tokens_page,
        )
    if status == _UNAUTHORIZED:
        return refused(Subject(subject.endpoint, with_token=True), status, headers)
    return refused(subject, status, headers)


def _unreachable(cause: BaseException, subject: Subject) -> HubError:
    words = str(cause).strip().splitlines()
    return HubError(
        "unreachable",
        f"The connection to {subject.host} broke: {words[0] if words else type(cause).__name__}.",
        "Check the network and upload once more: what has come whole is not sent again.",
    )
