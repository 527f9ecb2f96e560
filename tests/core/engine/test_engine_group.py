"""What processes tell each other: two real ones, over gloo, that find each other through a file."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from core.runs.place import RENDEZVOUS, OthersGone, Place

pytestmark = pytest.mark.torch


class Trained:
    """What a group asks of `core.engine.masters.Masters`."""

    def __init__(self, values: list[float]) -> None:
        import torch

        self.names = [f"part {index}" for index in range(len(values))]
        self.masters = [torch.nn.Parameter(torch.full((2, 3), value)) for value in values]


def talk(rank: int, rendezvous: str, said: Any) -> None:
    """One of two processes; what it sees goes into ``said``."""
    import os

    import torch

    from core.engine.distributed import Group, ShortElsewhere
    from core.errors import JobError

    os.environ[RENDEZVOUS] = rendezvous
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    group = Group(Place(rank, 2, rank, 2), torch.device("cpu"))
    seen: dict[str, Any] = {"any": group.any_of([rank == 1, False]), "sums": group.sums([1.0 + rank])}
    trained: Any = Trained([1.0, 2.0, 3.0])
    trained.masters[rank].grad = torch.full((2, 3), 10.0 + rank)  # the third has no gradient anywhere
    total = torch.tensor(0.5 + rank)
    seen["passes"] = group.add_gradients(trained, total, 3)
    seen["total"] = float(total)
    seen["gradients"] = [None if one.grad is None else float(one.grad[0, 0]) for one in trained.masters]
    try:
        if rank:
            group.say_short()
        else:
            group.add_gradients(trained, total, 1)
    except ShortElsewhere:
        seen["short"] = float(total)  # nothing was added
    group.require_same(trained)
    try:
        group.require_same(Trained([1.0, 2.0 + rank / 2**20, 3.0]))
    except JobError as failure:
        seen["different"] = failure.failure.message
    if rank:
        said.put((rank, seen))
        said.close()
        said.join_thread()
        os._exit(1)  # dies without a goodbye
    try:
        group.meet()
    except OthersGone:
        seen["alone"] = True
    said.put((rank, seen))


def test_two_processes_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    processes = [context.Process(target=talk, args=(rank, str(tmp_path / "meet"), said)) for rank in range(2)]
    for process in processes:
        process.start()
    seen = dict(said.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
    assert processes[0].exitcode == 0
    for rank in range(2):
        assert seen[rank]["any"] == (True, False)
        assert seen[rank]["sums"] == [3.0]
        assert (seen[rank]["passes"], seen[rank]["total"]) == (6, 2.0)
        assert seen[rank]["gradients"] == [10.0, 11.0, None]
        assert "part 1 differs (1 of 3 tensors do)" in seen[rank]["different"]
    assert seen[0]["short"] == 2.0
    assert seen[0]["alone"]


def test_gradients_are_summed_in_bounded_pieces() -> None:
    import torch

    from core.engine.distributed import buckets

    tensors = [torch.zeros(size) for size in (3, 4, 20, 1, 1)]
    assert [[t.numel() for t in group] for group in buckets(tensors, 8)] == [[3, 4], [20], [1, 1]]
