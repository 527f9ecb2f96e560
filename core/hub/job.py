"""A download as an engine job: what stands in its folder, and the command that may use the network."""

import os
from collections.abc import Sequence

from core.hub.datasets import DatasetPart
from core.hub.details import ModelDetails
from core.hub.web import require_online
from core.runs.launch import LaunchCommand, engine_command
from core.runs.layout import RunFolder
from core.runs.store import create_job

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 (the name of a variable)
_TOKEN_VARIABLES = (TOKEN_VARIABLE, "HUGGING_FACE_HUB_TOKEN")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def download_arguments(found: ModelDetails, files: Sequence[str] = ()) -> dict[str, object]:
    """The arguments of the job ``download``; all wanted files where none are named. Never a token."""
    names = list(files) or [file.name for file in found.wanted]
    return {"id": found.id, "revision": found.revision, "commit": found.commit, "files": names}


def create_download(found: ModelDetails, files: Sequence[str] = ()) -> RunFolder:
    """Makes the job's folder; start it with ``Supervisor(folder, download_command(folder, token))``.

    Raises:
        UserError: the folder cannot be made.
    """
    return create_job("download", download_arguments(found, files))


def dataset_arguments(part: DatasetPart) -> dict[str, object]:
    """The arguments of the job ``download`` for a part of a data set. Never a token."""
    found = part.found
    names = [file.name for file in part.wanted]
    return {
        "kind": found.kind, "id": found.id, "revision": found.revision, "commit": found.commit, "files": names,
        "name": str(part.name),
    }  # fmt: skip


def create_dataset_download(part: DatasetPart) -> RunFolder:
    """Makes the job's folder, as `create_download` does.

    Raises:
        UserError: the folder cannot be made.
    """
    return create_job("download", dataset_arguments(part))


def download_command(folder: RunFolder, token: str = "") -> LaunchCommand:
    """The command for a download: the engine's own, but with the network, and with the token in its environment only.

    Raises:
        HubError: the user has forbidden the network for this program.
    """
    require_online()
    command = engine_command(folder)
    env = {name: value for name, value in command.env.items() if name not in (*_OFFLINE, *_TOKEN_VARIABLES)}
    if token:
        env[TOKEN_VARIABLE] = token
    return LaunchCommand(command.argv, env, command.cwd)


def take_token() -> str:
    """In the job's process: the token that came in the environment, which nothing started later shall inherit."""
    tokens = [os.environ.pop(name, "") for name in _TOKEN_VARIABLES]
    return next((token for token in tokens if token), "")
