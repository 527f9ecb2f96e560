"""What every trainer of the comparison is told: one set of numbers, read by each peer's script from a file.

Imported inside the peers' environments as well, so nothing but the standard library is used here.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

RANK, ALPHA = 16, 32
LEARNING_RATE = 2e-4
MAX_LENGTH = 1024
SEED = 42
ROWS_A_STEP = 10  # rows of 202 tokens in the mean, with the template: as many tokens as two packed rows of 1,024
PADDED_ROWS = 5  # rows a pass of the padded trainer; two passes a step
PACKED_ROWS = 1  # packed rows of 1,024 a pass; two passes a step


@dataclass(frozen=True, slots=True)
class Job:
    """One trainer's work.

    Attributes:
        model: folder of the base model.
        rows: the rows in the order in which ours takes them, one JSON object a line: ``input_ids`` and ``labels``.
        conversations: the same rows as conversations, for trainers that write and count their own tokens.
        steps: optimizer steps.
        result: where the `Result` is written.
        folder: an empty folder for whatever the trainer writes.
    """

    model: str
    rows: str
    conversations: str
    steps: int
    threads: int
    result: str
    folder: str

    @classmethod
    def read(cls, path: str) -> "Job":
        """The job in a file that `write` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


@dataclass(slots=True)
class StepRecord:
    """One optimizer step: its loss, what it worked on, and the clock at its end in seconds.

    ``slots`` are the places of the tensors, padding included.
    """

    loss: float
    tokens: int
    supervised: int
    slots: int
    ended: float


@dataclass(slots=True)
class Result:
    """What a trainer did.

    Attributes:
        peak_bytes: the most memory of its process that ever lay in RAM, loading included.
        versions: of the libraries that did the work.
        first: the documents of its first step, each ``[input_ids, labels]``; what its first loss is checked on.
    """

    name: str
    peak_bytes: int
    steps: list[StepRecord]
    versions: dict[str, str] = field(default_factory=dict)
    first: list[list[list[int]]] = field(default_factory=list)
    notes: str = ""

    @classmethod
    def read(cls, path: Path) -> "Result":
        """The result in a file that `write` wrote."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**plain, "steps": [StepRecord(**step) for step in plain["steps"]]})

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def peak_of(pid: int | str = "self") -> int:
    """The most memory of a process that ever lay in RAM, in bytes; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
