"""Each piece of advice as a pair of runs: one that it speaks of, and one just short of it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from core.errors import Problem, Severity
from core.facts.types import DataFacts, Facts, HardwareFacts, ModelFacts
from core.plan.planner import plan
from core.spec.run_spec import RunSpec
from core.units import GIB
from tests.core.plan.invented_facts import MACHINES, MODELS, data, gpt2, gpu, lengths, machine, spec

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR
LARGE = machine(gpu("Endless", (9, 0), 4000.0), ram_gib=8000, free_gib=8000)
LARGE = dataclasses.replace(LARGE, disk_free_bytes=100_000 * GIB)
OLD = machine(gpu("Tesla T4", (7, 5), 14.6, 0.1))


def instruct(**changes: Any) -> ModelFacts:
    return dataclasses.replace(MODELS["1b"], path="/models/Some-1B-Instruct", **changes)


def gemma(**changes: Any) -> ModelFacts:
    return dataclasses.replace(MODELS["1b"], family="gemma2", **changes)


@dataclass(frozen=True)
class World:
    """A run: its settings and what is known; what is left out is usual and gives no cause for words."""

    settings: dict[str, Any] = field(default_factory=dict)
    model: ModelFacts = MODELS["1b"]
    rows: DataFacts = field(default_factory=data)
    hardware: HardwareFacts = MACHINES["rtx4090"]

    @property
    def spec(self) -> RunSpec:
        return spec(**self.settings)

    @property
    def facts(self) -> Facts:
        return Facts(self.hardware, self.model, self.rows)

    def problems(self, changed: RunSpec | None = None) -> tuple[Problem, ...]:
        return plan(changed or self.spec, self.facts).problems


@dataclass(frozen=True)
class Advice:
    """One rule: a run that it speaks of, and one just short of it."""

    path: str
    severity: Severity
    words: str
    hit: World
    near: World
    fixes: int = 1


FULL = {"adapter__method": "full", "training__learning_rate": 2e-5}
SHORT_ROWS = data(lengths(rows=4000, mean=60, longest=200))
CUT = lengths(rows=1000, mean=300, longest=2048, truncated=40, lost=9000)
CUT = dataclasses.replace(CUT, longest_uncut=2500)
HELD_3 = data(lengths(rows=100), lengths(3))

ADVICE: dict[str, Advice] = {
    "rate of full fine-tuning for adapters": Advice(
        "training.learning_rate",
        WARNING,
        "unusually low for adapters of a model of this size",
        World({"training__learning_rate": 1e-6}),
        World({"training__learning_rate": 5e-6}),
    ),
    "cycles too short to fall": Advice(
        "training.cycles",
        WARNING,
        "cycles in 9 steps are too short",
        World({"training__schedule": "cosine_restarts", "training__cycles": 3, "training__max_steps": 10}),
        World({"training__schedule": "cosine_restarts", "training__cycles": 2, "training__max_steps": 10}),
    ),
    "AdamW's rate for Lion": Advice(
        "training.learning_rate",
        WARNING,
        "is high for Lion, which moves each weight by all of it in every step",
        World({"training__optimizer": "lion", "training__learning_rate": 2e-4}),
        World({"training__optimizer": "lion", "training__learning_rate": 1e-4}),
    ),
    "B far ahead of A": Advice(
        "training.learning_rate",
        WARNING,
        "B learns at 0.0032, which is bold",
        World({"adapter__b_rate_ratio": 16.0, "training__learning_rate": 2e-4}),
        World({"adapter__b_rate_ratio": 16.0, "training__learning_rate": 6e-5}),
    ),
    "a part of a weight that has fewer directions": Advice(
        "adapter.start",
        ERROR,
        "directions and its adapter is to begin with 600",
        World({"adapter__start": "pissa", "adapter__rank": 600, "adapter__alpha": 1200.0}, hardware=LARGE),
        World({"adapter__start": "pissa", "adapter__rank": 512, "adapter__alpha": 1024.0}, hardware=LARGE),
    ),
    "a part of a head that is the embeddings": Advice(
        "adapter.start",
        ERROR,
        "Embeddings and head share one matrix",
        World({"adapter__start": "olora", "adapter__targets": ("q_proj", "lm_head")}),
        World({"adapter__start": "olora", "adapter__targets": ("q_proj", "o_proj")}),
    ),
    "a part of quantized weights": Advice(
        "adapter.start",
        ERROR,
        "are quantized already",
        World({"adapter__start": "pissa"}, instruct(prequantized="bitsandbytes 4-bit")),
        World({"adapter__start": "gaussian"}, instruct(prequantized="bitsandbytes 4-bit")),
    ),
    "Muon for adapters": Advice(
        "training.optimizer",
        INFO,
        "Muon was made for whole matrices",
        World({"training__optimizer": "muon"}),
        World({"training__optimizer": "muon", **FULL}, hardware=LARGE),
    ),
    "rate far too high": Advice(
        "training.learning_rate",
        WARNING,
        "unusually high for adapters of a model of this size",
        World({"training__learning_rate": 2e-3}),
        World({"training__learning_rate": 1e-3}),
    ),
    "rate that a tiny model bears and this one does not": Advice(
        "training.learning_rate",
        WARNING,
        "unusually high",
        World({"training__learning_rate": 2e-3}),
        World({"training__learning_rate": 2e-3}, MODELS["135m"]),
    ),
    "rate that a huge model does not bear": Advice(
        "training.learning_rate",
        WARNING,
        "unusually high",
        World({"training__learning_rate": 8e-4}, MODELS["70b"], hardware=LARGE),
        World({"training__learning_rate": 8e-4}, MODELS["8b"], hardware=LARGE),
    ),
    "rate of adapters for full fine-tuning": Advice(
        "training.learning_rate",
        WARNING,
        "unusually high for full fine-tuning",
        World({"adapter__method": "full", "training__learning_rate": 2e-4}, hardware=LARGE),
        World({"adapter__method": "full", "training__learning_rate": 1e-4}, hardware=LARGE),
    ),
    "rate made bold by alpha": Advice(
        "training.learning_rate",
        WARNING,
        "adapters that act 8-fold is as bold as 0.002",
        World({"training__learning_rate": 5e-4, "adapter__alpha": 128.0}),
        World({"training__learning_rate": 2e-4, "adapter__alpha": 128.0}),
    ),
    "rsLoRA at a rank where alpha/rank would look harmless": Advice(
        "training.learning_rate",
        WARNING,
        "adapters that act 16-fold",
        World(
            {"training__learning_rate": 4e-4}
            | {"adapter__method": "rslora", "adapter__rank": 64, "adapter__alpha": 128.0}
        ),
        World({"training__learning_rate": 4e-4, "adapter__rank": 64, "adapter__alpha": 128.0}),
    ),
    "high rate without warm-up": Advice(
        "training.warmup",
        WARNING,
        "begins at its full learning rate of 0.0006",
        World({"training__learning_rate": 6e-4, "training__warmup": 0.0}),
        World({"training__learning_rate": 4e-4, "training__warmup": 0.0}),
    ),
    "long warm-up": Advice(
        "training.warmup",
        INFO,
        "rises for 100 of 250 steps",
        World({"training__warmup": 0.4}),
        World({"training__warmup": 0.3}),
    ),
    "adapter larger than its layer": Advice(
        "adapter.rank",
        WARNING,
        "larger than the layer itself (576 × 192)",
        World({"adapter__rank": 160, "adapter__alpha": 320.0}, MODELS["135m"]),
        World({"adapter__rank": 128, "adapter__alpha": 256.0}, MODELS["135m"], data(lengths(rows=40_000))),
    ),
    "rank for far more than the data": Advice(
        "adapter.rank",
        INFO,
        "rank 8 learns them as well",
        World({"adapter__rank": 128, "adapter__alpha": 256.0}, rows=data(lengths(rows=300))),
        World({"adapter__rank": 64, "adapter__alpha": 128.0}, rows=data(lengths(rows=300))),
    ),
    "data for far more than the rank": Advice(
        "adapter.rank",
        INFO,
        "may teach more than",
        World({"adapter__rank": 2, "adapter__alpha": 4.0}, rows=data(lengths(rows=300_000))),
        World({"adapter__rank": 64, "adapter__alpha": 128.0}, rows=data(lengths(rows=300_000))),
    ),
    "a module with a rank of its own and no strength": Advice(
        "adapter.rank_pattern",
        WARNING,
        "acts 0.125-fold where the others act 2-fold",
        World({"adapter__rank_pattern": {"q_proj": 256}}),
        World({"adapter__rank_pattern": {"q_proj": 128}}),
    ),
    "attention alone": Advice(
        "adapter.targets",
        INFO,
        "Only attention gets adapters",
        World({"adapter__targets": ("attention",)}),
        World({"adapter__targets": ("attention", "down_proj")}),
    ),
    "much dropout": Advice(
        "adapter.dropout",
        WARNING,
        "Dropout zeroes 30 %",
        World({"adapter__dropout": 0.3}),
        World({"adapter__dropout": 0.2}),
    ),
    "dropout where nothing is seen twice": Advice(
        "adapter.dropout",
        INFO,
        "seen at most once",
        World({"adapter__dropout": 0.05, "training__epochs": 1.0}, rows=data(lengths(rows=25_000))),
        World({"adapter__dropout": 0.05, "training__epochs": 2.0}, rows=data(lengths(rows=25_000))),
    ),
    "embeddings and head apart": Advice(
        "adapter.modules_to_save",
        WARNING,
        "one matrix as input embeddings and as output head",
        World({"adapter__modules_to_save": ("lm_head",)}),
        World({"adapter__modules_to_save": ("lm_head",)}, MODELS["8b"], hardware=MACHINES["h100"]),
        fixes=0,
    ),
    "many rows cut": Advice(
        "data.max_length",
        WARNING,
        "40 of 1,100 rows are longer than 2,048 tokens and cut at the end; 2.70 % of all tokens are lost, the ends of",
        World(rows=data(CUT)),
        World({"data__max_length": 2560}, rows=data(CUT)),
    ),
    "a rare row cut": Advice(
        "data.max_length",
        INFO,
        "1 row is longer than 2,048 tokens",
        World(rows=data(dataclasses.replace(CUT, truncated_rows=1, lost_tokens=452))),
        World(rows=data(dataclasses.replace(CUT, truncated_rows=0, lost_tokens=0))),
    ),
    "rows longer than the model reads": Advice(
        "data.max_length",
        WARNING,
        "The longest row has 2,500 tokens, more than the model reads: split",
        World(model=dataclasses.replace(MODELS["1b"], context_length=2048), rows=data(CUT)),
        World(model=dataclasses.replace(MODELS["1b"], context_length=2048)),
        fixes=0,
    ),
    "longer rows that would not fit": Advice(
        "data.max_length",
        WARNING,
        "do not fit into memory: split them",
        World(
            model=MODELS["8b"],
            rows=data(dataclasses.replace(CUT, longest_uncut=130_000)),
            hardware=MACHINES["rtx3060"],
        ),
        World(model=MODELS["8b"], hardware=MACHINES["rtx3060"]),
        fixes=0,
    ),
    "a template that had to be guessed": Advice(
        "data.template",
        WARNING,
        "the built-in “plain” is used",
        World(model=dataclasses.replace(MODELS["1b"], template=""), rows=data(template_name="plain")),
        World(rows=data(template_name="model")),
    ),
    "turns without a template for a chat model": Advice(
        "data.template",
        WARNING,
        "joined without one",
        World({"data__template": "none"}, instruct(), data(shape="messages", template_name="none")),
        World({"data__template": "none"}, MODELS["1b"], data(shape="messages", template_name="none")),
    ),
    "another template for a chat model": Advice(
        "data.template",
        INFO,
        "“chatml” is used instead",
        World({"data__template": "chatml"}, instruct(), data(template_name="chatml")),
        World({"data__template": "chatml"}, MODELS["1b"], data(template_name="chatml")),
    ),
    "running text for a chat model": Advice(
        "model.base",
        INFO,
        "tuned to answer",
        World(model=instruct(), rows=data(shape="text")),
        World(rows=data(shape="text")),
        fixes=0,
    ),
    "few rows": Advice(
        "data.train",
        WARNING,
        "only 49 rows",
        World(rows=data(lengths(rows=49))),
        World(rows=data(lengths(rows=50))),
        fixes=0,
    ),
    "a step larger than the set": Advice(
        "training.effective_batch",
        WARNING,
        "every epoch is a single step",
        World({"training__effective_batch": 128}, rows=data(lengths(rows=100))),
        World({"training__effective_batch": 16}, rows=data(lengths(rows=100))),
    ),
    "a run of a few steps": Advice(
        "training.epochs",
        WARNING,
        "The whole run is 4 steps",
        World({"training__effective_batch": 64}, rows=data(lengths(rows=100))),
        World({"training__effective_batch": 16}, rows=data(lengths(rows=100))),
    ),
    "too many epochs": Advice(
        "training.epochs",
        WARNING,
        "seen about 17 times",
        World({"training__epochs": 17.0}),
        World({"training__epochs": 16.0}),
        fixes=2,
    ),
    "too many steps for the rows": Advice(
        "training.max_steps",
        WARNING,
        "seen about 40 times",
        World({"training__max_steps": 5000}),
        World({"training__max_steps": 2000}),
        fixes=2,
    ),
    "a validation loss of three rows": Advice(
        "data.validation_share",
        INFO,
        "Only 3 rows are measured",
        World({"data__validation_share": 0.03}, rows=HELD_3),
        World({"data__validation_share": 0.1}, rows=data(lengths(rows=93), lengths(10))),
        fixes=1,
    ),
    "stopping early by three rows": Advice(
        "training.early_stopping",
        WARNING,
        "chance decides",
        World({"data__validation_share": 0.03, "training__early_stopping": 3}, rows=HELD_3),
        World({"training__early_stopping": 3}),
        fixes=2,
    ),
    "patience longer than the run": Advice(
        "training.early_stopping",
        WARNING,
        "has only 10",
        World({"training__early_stopping": 11}),
        World({"training__early_stopping": 10}),
    ),
    "an evaluation that never comes": Advice(
        "training.evaluate_every",
        INFO,
        "ends after 250 steps",
        World({"training__evaluate_every": 251}),
        World({"training__evaluate_every": 250}),
    ),
    "a sample that never comes": Advice(
        "training.sample_every",
        INFO,
        "before the first sample",
        World({"training__sample_every": 251, "training__sample_prompts": ("Hello",)}),
        World({"training__sample_every": 250, "training__sample_prompts": ("Hello",)}),
    ),
    "evaluation beyond the training": Advice(
        "training.evaluate_every",
        WARNING,
        "take more work than the training",
        World({"training__evaluate_every": 10}, MODELS["8b"], data(lengths(9000), lengths(2000)), MACHINES["h100"]),
        World({"training__evaluate_every": 100}, MODELS["8b"], data(lengths(9000), lengths(2000)), MACHINES["h100"]),
    ),
    "a long run that is never saved": Advice(
        "training.checkpoint_minutes",
        WARNING,
        "could cost about",
        World({"training__checkpoint_minutes": 0.0}, MODELS["8b"], data(lengths(60_000))),
        World({"training__checkpoint_minutes": 0.0}, rows=data(lengths(1000))),
    ),
    "a long run that is rarely saved": Advice(
        "training.checkpoint_minutes",
        WARNING,
        "could cost about",
        World({"training__checkpoint_minutes": 90.0}, MODELS["8b"], data(lengths(60_000))),
        World({"training__checkpoint_minutes": 60.0}, MODELS["8b"], data(lengths(60_000))),
    ),
    "large states that are saved all the time": Advice(
        "training.checkpoint_minutes",
        WARNING,
        "of the time",
        World(FULL | {"training__checkpoint_minutes": 10.0}, MODELS["8b"], data(lengths(60_000)), LARGE),
        World({"training__checkpoint_minutes": 10.0}, MODELS["8b"], data(lengths(60_000)), LARGE),
    ),
    "one short row a pass": Advice(
        "data.packing",
        WARNING,
        "times as long as with packing",
        World({"data__packing": "off"}, rows=SHORT_ROWS),
        World({"data__packing": "off"}, rows=data(lengths(rows=4000, mean=900))),
    ),
    "float16 for a family that overflows": Advice(
        "model.compute_dtype",
        WARNING,
        "above 65,504",
        World(model=gemma(), hardware=OLD),
        World(model=MODELS["1b"], hardware=OLD),
    ),
    "float16 asked for on a new card": Advice(
        "model.compute_dtype",
        WARNING,
        "Compute in bfloat16",
        World({"model__compute_dtype": "fp16"}, gemma()),
        World({"model__compute_dtype": "bf16"}, gemma()),
    ),
    "4 bits that save little": Advice(
        "model.quantization",
        INFO,
        "Weights in 4 bits lower the peak",
        World({"model__quantization": "nf4"}, gpt2(), data(lengths(longest=100)), MACHINES["rtx4090"]),
        World({"model__quantization": "nf4"}, MODELS["8b"]),
    ),
    "4 bits that save nothing": Advice(
        "model.quantization",
        INFO,
        "Weights in 4 bits do not lower the peak",
        World({"model__quantization": "nf4"}, gpt2(), data(lengths(longest=100)), MACHINES["cpu24"]),
        World({"model__quantization": "nf4"}, MODELS["8b"]),
    ),
}
