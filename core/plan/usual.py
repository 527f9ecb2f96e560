"""What is usual for a task, a model and its data: the numbers behind the suggestions and behind the warnings.

Where they come from: the defaults of the trainers in use (rank 8 to 64, alpha twice the rank, 1e-4 to 5e-4 for adapters
and 1e-5 to 5e-5 for every weight, one to three epochs), and

- Hu et al. 2021 (LoRA, arXiv 2106.09685), section 7.2: for short answers ranks beyond 4 to 8 gain nothing;
- Dettmers et al. 2023 (QLoRA, arXiv 2305.14314): 2e-4 for 7 and 13 billion parameters, 1e-4 for 33 and 65;
- Biderman et al. 2024 (LoRA Learns Less and Forgets Less, arXiv 2405.09673): code and new knowledge want higher ranks
  than chat, all linear layers, alpha twice the rank, and gain for about four epochs;
- Muennighoff et al. 2023 (arXiv 2305.16264): up to four readings of the same text teach almost as much as new text;
- Schulman et al. 2025 (LoRA Without Regret): adapters want ten times the rate of full fine-tuning whatever their rank,
  lose with large batches, and are as good as full fine-tuning while they have room for what the data teaches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from core.facts.types import DataFacts, LengthFacts, ModelFacts
from core.plan.shapes import shapes_of
from core.spec.run_spec import RunSpec

Task = Literal["chat", "text", "knowledge", "short", "code"]
TASKS: tuple[Task, ...] = get_args(Task)

# Up to so many trained tokens a row, an answer is a label, a number or a name.
SHORT_ANSWER = 10

FEW_ROWS = 50
"""Below this a set is hardly one: hosted trainers ask for 50 to 100 rows to see a clear change."""
SMALL_SET = 1000
"""A thousand good answers make a chat model (Zhou et al. 2023, LIMA, arXiv 2305.11206)."""
LARGE_SET = 20_000
SMALL_SET_DROPOUT = 0.05
LONG_TEXT = 5_000_000
MUCH_KNOWLEDGE = 50_000_000
BITS_PER_TOKEN, BITS_PER_PARAMETER = 1.0, 2.0
"""What a trained token teaches at most and what a parameter can hold, in bits (Schulman et al. 2025; Allen-Zhu and Li
2024, arXiv 2404.05405)."""

TINY_MODEL = 500_000_000
HUGE_MODEL = 30_000_000_000
# (tiny, usual, huge) models.
ADAPTER_RATES = (5e-4, 2e-4, 1e-4)
FULL_RATES = (5e-5, 2e-5, 1e-5)
LION_SHARE, BOLD_LION_SHARE = 0.2, 0.5
"""Of AdamW's rate: Lion wants a third to a tenth of it (Chen et al. 2023, arXiv 2302.06675); more is bold."""
RATE_BAND = (1 / 50, 5.0)
"""The rates that pass without a word, as shares of the usual one: trainers in use lie between 1/20 and 2.5 of it."""

PREFERENCE_SHARES = {"dpo": 1 / 20, "orpo": 1 / 4}
"""Of the usual rate, where preferences are learned: the papers take 1e-6 (DPO, arXiv 2305.18290, appendix B) and 5e-6
(ORPO, arXiv 2403.07691, appendix) for every weight, and adapters want ten times that."""

USUAL_RANK = 16
LEAST_RANK = 8
USUAL_SCALE = 2.0
USUAL_WARMUP = 0.05
SHORT_RUN_WARMUP = 0.1
SHORT_RUN = 100
"""Steps; in fewer the usual share would be over before Adam's averages (over about 10 and 1000 steps) say anything."""
FEW_STEPS = 8
"""Fewer steps hardly move an adapter, whose B starts at zero and moves by about the learning rate a step."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for one task.

    Attributes:
        title: the task in a few words, for a list.
        ranks: (tokens that carry loss, rank), each rank for at most so many tokens.
        rate_share: of the usual learning rate.
        batch: rows of a step when there are plenty.
    """

    title: str
    ranks: tuple[tuple[float, int], ...]
    rate_share: float
    batch: int


USUAL: Mapping[Task, Usual] = {
    "chat": Usual("Chat and instructions", ((50_000, 8), (3_000_000, 16), (30_000_000, 32), (math.inf, 64)), 1.0, 16),
    "text": Usual("Style of running text", ((200_000, 16), (5_000_000, 32), (math.inf, 64)), 0.5, 16),
    "knowledge": Usual("New knowledge", ((200_000, 32), (5_000_000, 64), (math.inf, 128)), 1.0, 16),
    "short": Usual("Classification and short answers", ((1_000_000, 8), (math.inf, 16)), 0.5, 32),
    "code": Usual("Code", ((200_000, 16), (5_000_000, 32), (30_000_000, 64), (math.inf, 128)), 1.0, 16),
}

_NO_LIMIT = 2**19


def task_of(spec: RunSpec, data: DataFacts | None) -> Task:
    """The task that the data looks like; knowledge and code look like text or chat, so only a person can name them."""
    if (data.shape if data is not None else spec.data.format) == "text":
        return "text"
    rows = data.train if data is not None else None
    if rows is not None and rows.rows > 0 and rows.supervised_tokens <= SHORT_ANSWER * rows.rows:
        return "short"
    return "chat"


def usual_rank(task: Task, rows: LengthFacts) -> int:
    """The rank with room for what so many trained tokens teach."""
    return next(rank for most, rank in USUAL[task].ranks if rows.supervised_tokens <= most)


def holds(parameters: int, rows: LengthFacts) -> bool:
    """Whether so many trained parameters have room for what the rows teach."""
    return BITS_PER_PARAMETER * parameters >= BITS_PER_TOKEN * rows.supervised_tokens


def widest_rank(model: ModelFacts | None) -> int:
    """Half of the narrowest layer, rounded down to a power of two: more rank is hardly an adapter."""
    if model is None:
        return _NO_LIMIT
    narrowest = min((min(size) for size in shapes_of(model).blocks), default=2 * _NO_LIMIT)
    return int(2 ** max(0, math.floor(math.log2(max(2, narrowest) / 2))))


def usual_alpha(method: str, rank: int) -> float:
    """Alpha with which adapters act doubled: twice the rank, or twice its root under rsLoRA (never below 1)."""
    return float(max(1, round(USUAL_SCALE * math.sqrt(rank)))) if method == "rslora" else USUAL_SCALE * rank


def scale_of(method: str, rank: int, alpha: float) -> float:
    """What an adapter's output is multiplied by: alpha/rank, under rsLoRA alpha/√rank (arXiv 2312.03732)."""
    return alpha / (math.sqrt(rank) if method == "rslora" else rank)


def by_size(model: ModelFacts | None, values: tuple[float, float, float]) -> float:
    """The value for a tiny, usual or huge model; the usual one while the model is unknown."""
    if model is None:
        return values[1]
    return values[0] if model.parameters < TINY_MODEL else values[2] if model.parameters >= HUGE_MODEL else values[1]


def objective_share(spec: RunSpec) -> float:
    """Of the usual learning rate, for what is learned by."""
    return PREFERENCE_SHARES[spec.training.preference_loss] if spec.data.train_on == "preferences" else 1.0


def usual_rate(model: ModelFacts | None, *, full: bool, optimizer: str = "adamw", share: float = 1.0) -> float:
    """The learning rate for training every weight, or adapters, of a model of this size; a share of it.

    Muon and Adafactor are set up to take steps as long as AdamW's, so only Lion wants another one.
    """
    rate = by_size(model, FULL_RATES if full else ADAPTER_RATES)
    share *= LION_SHARE if is_lion(optimizer) else 1.0
    return rate if share == 1.0 else float(f"{rate * share:.2g}")


def is_lion(optimizer: str) -> bool:
    """Whether every step moves each weight by the whole learning rate."""
    return optimizer.startswith("lion")


def usual_batch(task: Task, rows: int) -> int:
    """Rows of a step: the task's own number, fewer where an epoch would have fewer than eight steps."""
    return min(USUAL[task].batch, int(2 ** math.floor(math.log2(max(1.0, rows / FEW_STEPS)))))
