"""Several processes that train one adapter: what they tell each other, on torch's own distributed engine.

Every process holds the whole base (replicated, in 4 bits where the plan says so) or its share of it
(`core.engine.spread`), the same masters and the same optimizer state, and takes its share of a step's rows. Before the
masters move, their gradients are summed over all processes, once a step. torch's DistributedDataParallel is not used:
it would wrap the model and sum in every backward pass unless told not to, average instead of sum, and see the 16-bit
copies instead of the float32 masters. All that is ever needed is one sum of some megabytes after the last backward pass
of a step.

Processes agree through the host (gloo) about everything that is decided outside of the gradients: requests, whether
the memory ran out somewhere, which parameters have a gradient. The sums of gradients themselves go through NCCL on
NVIDIA GPUs and give every process the same bits, so norms, clipping and skipped steps need no agreement.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch

from core.data.shares import shares
from core.data.types import EncodedRow
from core.engine.masters import Masters
from core.errors import FailureKind, JobError
from core.runs.place import RENDEZVOUS, OthersGone, Place

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others. Death is noticed at once; this is for one that hangs, and has to be longer
than anything that one process does while the others wait: answering sample prompts, saving, writing the result."""
BUCKET_ELEMENTS = 1 << 24
"""Gradients are summed in pieces of 64 MiB: large enough for full speed, small beside what a pass needs."""


class ShortElsewhere(MemoryError):  # noqa: N818 (not an error of this process)
    """The memory ran out in another process, so this one takes the step again as well."""


class Group:
    """All processes of a run, as one of them sees it.

    Attributes:
        place: which of them this is.
    """

    def __init__(self, place: Place, device: torch.device, patience: timedelta = PATIENCE) -> None:
        """Waits until all are there.

        Raises:
            OthersGone: they did not come.
        """
        import torch.distributed as dist

        self.place = place
        self._dist = dist
        backend = "gloo"
        if device.type == "cuda":
            backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
        rendezvous = os.environ.get(RENDEZVOUS)
        where = Path(rendezvous).as_uri() if rendezvous else "env://"
        with _others():
            dist.init_process_group(backend, where, rank=place.rank, world_size=place.size, timeout=patience)

    def close(self) -> None:
        """Says goodbye; nothing can be agreed on any more."""
        if self._dist.is_initialized():
            self._dist.destroy_process_group()

    def meet(self) -> None:
        """Waits until all processes are here."""
        self.sums([0.0])

    def share(self, rows: Sequence[EncodedRow]) -> list[EncodedRow]:
        """The part of ``rows`` that this process takes."""
        taken = shares([len(row) for row in rows], self.place.size)[self.place.rank]
        return [rows[index] for index in taken]

    def any_of(self, flags: Sequence[bool]) -> tuple[bool, ...]:
        """For each flag, whether it is raised in any process."""
        return tuple(count > 0 for count in self.sums([float(flag) for flag in flags]))

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over all processes, the same in all of them."""
        held = torch.tensor(numbers, dtype=torch.float64)
        with _others():
            self._dist.all_reduce(held)
        return [float(number) for number in held]

    def most(self, number: int) -> int:
        """The largest of the numbers that the processes ask with."""
        held = torch.tensor(number, dtype=torch.int64)
        with _others():
            self._dist.all_reduce(held, op=self._dist.ReduceOp.MAX)
        return int(held)

    def say_short(self) -> None:
        """Tells the others, who are on their way to `add_gradients`, that the memory of this process ran out."""
        with _others():
            self._dist.all_reduce(torch.tensor([1, 0], dtype=torch.int64))

    def add_gradients(self, masters: Masters, total: torch.Tensor, passes: int) -> int:
        """Sums the gradients and the loss of a step over all processes, in place.

        A parameter that no process has a gradient for is left without one: the optimizer must not touch it.

        Args:
            masters: with this process's gradients.
            total: this process's part of the loss, and of what is told beside it.
            passes: how many passes this process has made.

        Returns:
            How many passes all of them have made.

        Raises:
            ShortElsewhere: the memory ran out in another process; nothing was summed.
            OthersGone: another process is gone.
        """
        parameters = masters.masters
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int64)
        said = torch.tensor([0, passes], dtype=torch.int64)
        with _others():
            self._dist.all_reduce(said)
            if int(said[0]):
                raise ShortElsewhere("the memory of another process ran out")
            self._dist.all_reduce(present)
            sums = [total]
            for parameter, count in zip(parameters, present.tolist(), strict=True):
                if not count:
                    continue
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                sums.append(parameter.grad)
            for bucket in buckets(sums, BUCKET_ELEMENTS):
                self._add(bucket)
        return int(said[1])

    def require_same(self, masters: Masters) -> None:
        """Checks that all processes hold the same bits; gradients of different weights must never be summed.

        Raises:
            JobError: they do not.
        """
        sums = [master.detach().reshape(-1).view(torch.int32).sum(dtype=torch.int64) for master in masters.masters]
        low = torch.stack(sums).cpu()
        high = low.clone()
        with _others():
            self._dist.all_reduce(low, op=self._dist.ReduceOp.MIN)
            self._dist.all_reduce(high, op=self._dist.ReduceOp.MAX)
        different = [name for name, same in zip(masters.names, (low == high).tolist(), strict=True) if not same]
        if different:
            raise JobError(
                FailureKind.INTERNAL,
                f"The processes of this run no longer train the same weights: {different[0]} differs "
                f"({len(different)} of {len(masters.names)} tensors do).",
                "Resume the run; if it happens again, a GPU or its memory computes wrongly: train on fewer.",
            )

    def _add(self, bucket: Sequence[torch.Tensor]) -> None:
        if len(bucket) == 1 and bucket[0].is_contiguous():
            self._dist.all_reduce(bucket[0])
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        self._dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in bucket])
        torch._foreach_copy_(list(bucket), [part.view_as(t) for part, t in zip(parts, bucket, strict=True)])


def buckets(tensors: Sequence[torch.Tensor], limit: int) -> Iterator[list[torch.Tensor]]:
    """The tensors in order, in groups of at most ``limit`` elements; a larger one is a group of its own."""
    group: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if group and size + tensor.numel() > limit:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += tensor.numel()
    if group:
        yield group


def lost_others(error: BaseException) -> bool:
    """Whether an error of torch's own talk between processes, as in gathering a layer, means that one is gone."""
    import torch.distributed as dist

    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "/gloo/" in str(error))


@contextmanager
def _others() -> Iterator[None]:
    """Whatever goes wrong while processes talk means that one of them is gone: torch has no error of its own for it."""
    try:
        yield
    except RuntimeError as failure:
        raise OthersGone(str(failure)) from failure
