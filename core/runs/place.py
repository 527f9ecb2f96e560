"""The place of an engine process among those that share a run: torchrun's environment contract, and ours within it."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

RENDEZVOUS = "LOWRANK_RENDEZVOUS"
"""The file through which processes that our own launcher started find each other; torchrun's have an address."""
LAUNCHER = "LOWRANK_LAUNCHER"
"""Pid of our own launcher; when it is gone, its processes save and end."""

LEFT_ALONE = 75
"""Exit status of a process that could not go on because another one of its group ended: a victim, never the cause."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this is, in all and on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run's events, saved states and results."""
        return self.rank == 0


ALONE = Place()


class OthersGone(Exception):  # noqa: N818 (not an error of this process)
    """Another process of the group ended or no longer answers, so this one cannot go on either."""


def place_from(env: Mapping[str, str]) -> Place | None:
    """The place that torchrun, Slurm with its variables exported, or our own launcher gave; None without one.

    Raises:
        ValueError: a variable is no number, or they contradict each other.
    """
    if "RANK" not in env or "WORLD_SIZE" not in env:
        return None
    rank, size = int(env["RANK"]), int(env["WORLD_SIZE"])
    local_rank = int(env.get("LOCAL_RANK", rank))
    local_size = int(env.get("LOCAL_WORLD_SIZE", size))
    if not 0 <= rank < size or not 0 <= local_rank < local_size <= size:
        raise ValueError(f"process {rank} of {size}, {local_rank} of {local_size} on this machine")
    return Place(rank, size, local_rank, local_size)


def environment_of(place: Place, rendezvous: str, parent: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that our own launcher starts on this machine."""
    env = {
        **parent,
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.size),
        "LOCAL_RANK": str(place.local_rank),
        "LOCAL_WORLD_SIZE": str(place.local_size),
        RENDEZVOUS: rendezvous,
        LAUNCHER: str(os.getpid()),
    }
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:  # processes of one machine talk over it alone: no port is open to the network
        env.setdefault("GLOO_SOCKET_IFNAME", loopback)
        env.setdefault("NCCL_SOCKET_IFNAME", loopback)
    return env


def launcher_is_gone(env: Mapping[str, str]) -> bool:
    """Whether our own launcher started this process and no longer lives; Windows keeps no such record."""
    launcher = env.get(LAUNCHER, "")
    return launcher.isdigit() and sys.platform != "win32" and os.getppid() != int(launcher)
