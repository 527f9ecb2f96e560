"""Requests to an engine: empty files in the run folder, placed by anybody, taken by the engine between steps."""

from contextlib import suppress

from core.runs.layout import REQUESTS, Request, RunFolder


def place_request(folder: RunFolder, name: Request) -> None:
    """Asks the engine of a folder for something; asking twice is asking once.

    Raises:
        OSError: the file cannot be made.
    """
    folder.control.mkdir(exist_ok=True)
    folder.request(name).touch()


def pending_requests(folder: RunFolder) -> tuple[Request, ...]:
    """What has been asked and not yet been obeyed."""
    return tuple(name for name in REQUESTS if folder.request(name).exists())


def take_request(folder: RunFolder, name: Request) -> bool:
    """The engine's side: whether something was asked, which counts as heard from now on.

    A file that cannot be removed (on Windows while somebody looks at it) is reported again the next time.
    """
    path = folder.request(name)
    if not path.exists():
        return False
    with suppress(PermissionError):
        path.unlink(missing_ok=True)
    return True


def clear_requests(folder: RunFolder) -> None:
    """Forgets requests that were meant for an engine that is no more.

    Raises:
        OSError: a file cannot be removed.
    """
    for name in REQUESTS:
        folder.request(name).unlink(missing_ok=True)
