"""The names inside a run (or job) folder; nothing else in the project spells them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JobKind = Literal[
    "train",
    "sample",
    "export",
    "verify",
    "import_gguf",
    "download",
    "chat",
    "bench_attention",
    "evaluate",
    "bench_inference",
]
Request = Literal["stop", "pause", "save", "sample"]
TRASH = ".trash"
"""Where deleted runs lie, beside the others."""
REQUESTS: tuple[Request, ...] = ("stop", "pause", "save", "sample")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One folder and its well-known files. A training run has all of them, a short job only some."""

    path: Path

    @property
    def job(self) -> Path:
        """What kind of work this is and its arguments; absent in a training run."""
        return self.path / "job.json"

    @property
    def spec(self) -> Path:
        """The spec, as YAML."""
        return self.path / "spec.yaml"

    @property
    def plan(self) -> Path:
        """The plan that the engine executes."""
        return self.path / "plan.json"

    @property
    def facts(self) -> Path:
        """The facts that the plan was made from."""
        return self.path / "facts.json"

    @property
    def process(self) -> Path:
        """Pid and start time of the engine process that owns, or last owned, the folder."""
        return self.path / "process.json"

    @property
    def lock(self) -> Path:
        """Held by the engine while it lives, so that two engines never write one folder."""
        return self.path / "engine.lock"

    def events(self, rank: int = 0) -> Path:
        """The event log of a rank; rank 0's is the run's."""
        return self.path / ("events.jsonl" if rank == 0 else f"events.rank{rank}.jsonl")

    def other_rank_events(self) -> tuple[Path, ...]:
        """The event logs of ranks other than 0 that exist; usually they hold nothing but a failure."""
        return tuple(sorted(self.path.glob("events.rank*.jsonl")))

    @property
    def log(self) -> Path:
        """Everything the engine printed."""
        return self.path / "engine.log"

    @property
    def control(self) -> Path:
        """Folder of requests to the engine, one empty file each."""
        return self.path / "control"

    def request(self, name: Request) -> Path:
        """The file that stands for a request; the engine removes it when it has obeyed."""
        return self.control / name

    @property
    def chat_requests(self) -> Path:
        """Questions to a chat's engine, one line of JSON each (`core.runs.chat_protocol`)."""
        return self.path / "requests.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Saved states, one folder each, named ``step-00000120``."""
        return self.path / "checkpoints"

    @property
    def start(self) -> Path:
        """Adapters as they began, where they began as a part of the weights."""
        return self.path / "start.safetensors"

    @property
    def reference(self) -> Path:
        """How likely the model held both answers of each pair to be before it was trained to prefer one."""
        return self.path / "reference.safetensors"

    @property
    def consent(self) -> Path:
        """What has changed since a state was saved, and the user has agreed to all the same."""
        return self.path / "consent.json"

    @property
    def samples(self) -> Path:
        """Answers to the sample prompts, one JSON file per sampled step."""
        return self.path / "samples"

    @property
    def adapter(self) -> Path:
        """The finished adapter in PEFT's format, or the tuned model of a full fine-tuning."""
        return self.path / "adapter"

    @property
    def fresh_adapter(self) -> Path:
        """The same while it is being written; it takes the other's place when it is whole."""
        return self.path / "adapter.new"

    @property
    def trained_template(self) -> Path:
        """The text of the chat template that a finished adapter was trained with."""
        return self.adapter / "chat_template.jinja"

    @property
    def evaluations(self) -> Path:
        """What evaluations of the result found, one JSON file each (`core.runs.evaluations`)."""
        return self.path / "evaluations"

    @property
    def outcome(self) -> Path:
        """How the run ended, written by whoever saw it end."""
        return self.path / "outcome.json"
