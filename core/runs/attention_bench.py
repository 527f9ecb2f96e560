"""What ``lowrank bench attention`` measured: records that the engine writes, and others show."""

import json
from dataclasses import dataclass
from pathlib import Path

from core import paths
from core.errors import UserError, error
from core.paths import write_json
from core.records import RecordError, from_plain, to_plain

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
FUSED, PLAIN = "fused", "plain"


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to attend at one length, forward and backward of one layer.

    Attributes:
        length: tokens of the row.
        way: "fused" (what a run uses) or "plain" (every score written out).
        kernel: what the profiler saw.
        seconds: median of the repetitions; 0 where it was not run.
        peak_bytes: the most memory taken above what the inputs take, measured; 0 where it was not run.
        skipped: why it was not run; empty where it was.
    """

    length: int
    way: str
    kernel: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    skipped: str = ""

    @property
    def speed(self) -> float:
        """Tokens a second through this layer's attention, forward and backward; 0 where it was not run."""
        return self.length / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class AttentionBench:
    """A measurement, whole or as far as it came."""

    model: str
    device: str
    dtype: str
    heads: int
    kv_heads: int
    head_dim: int
    threads: int
    time: float
    cells: tuple[Cell, ...] = ()

    def cell(self, length: int, way: str) -> Cell | None:
        """The cell of a length and a way, if it was reached."""
        return next((cell for cell in self.cells if (cell.length, cell.way) == (length, way)), None)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that were reached, rising."""
        return tuple(sorted({cell.length for cell in self.cells}))


def bench_path() -> Path:
    """Where the newest measurement of this computer is kept."""
    return paths.home() / "attention-bench.json"


def save_bench(bench: AttentionBench, path: Path) -> None:
    """Writes it, in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, to_plain(bench))


def load_bench(path: Path) -> AttentionBench | None:
    """The measurement in a file; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return from_plain(AttentionBench, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecordError) as failure:
        raise UserError(
            error("", f"The measurement {path} cannot be read: {failure}.", "Measure again with “lowrank bench”.")
        ) from failure
