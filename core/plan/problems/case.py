"""A run as it is judged: what was asked, what is known and what was planned so far."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import Edit
from core.facts.types import DataFacts, Facts, LengthFacts, ModelFacts
from core.plan.choices import Decision, decide
from core.plan.disk import disk_of
from core.plan.types import Batch, Curve, Disk, Duration
from core.spec.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class Case:
    """All that a rule may look at; what is not known yet is None."""

    spec: RunSpec
    facts: Facts
    decision: Decision
    batch: Batch | None = None
    curve: Curve | None = None
    disk: Disk | None = None
    duration: Duration | None = None

    @property
    def model(self) -> ModelFacts | None:
        """The base model."""
        return self.facts.model

    @property
    def data(self) -> DataFacts | None:
        """The data."""
        return self.facts.data

    @property
    def rows(self) -> LengthFacts | None:
        """The rows to learn from; None while there are none."""
        rows = self.facts.data.train if self.facts.data is not None else None
        return rows if rows is not None and rows.rows > 0 else None

    @property
    def full(self) -> bool:
        """Whether every weight is trained."""
        return self.spec.adapter.method == "full"

    @property
    def epochs(self) -> float:
        """How often the run sees a row, whether epochs or steps were asked for; 0 while unknown."""
        if self.batch is None or not self.batch.rows:
            return 0.0
        if self.spec.training.max_steps > 0:
            return self.batch.steps / self.batch.steps_per_epoch
        return self.spec.training.epochs

    def with_edits(self, edits: Iterable[Edit]) -> RunSpec:
        """The spec after a fix."""
        spec = self.spec
        for edit in edits:
            spec = spec.replace(edit.path, edit.value)
        return spec

    def still_fits(self, *edits: Edit) -> bool:
        """Whether a fix leaves a run that fits as one that fits: no fix may trade a warning for an error."""
        spec = self.with_edits(edits)
        decision = decide(spec, self.facts)
        unfit = self.decision.memory.verdict in ("does_not_fit", "unknown")
        return (unfit or decision.memory.verdict != "does_not_fit") and self._has_room(spec, decision)

    def _has_room(self, spec: RunSpec, decision: Decision) -> bool:
        """Whether another spec's checkpoints and result have room on the disk, if those of this one have."""
        model, training, disk = self.model, decision.training, self.disk
        if model is None or training is None or disk is None or disk.run_bytes > disk.free_bytes:
            return True
        optimizer = decision.choices.optimizer.value
        now = disk_of(spec, model, training.targets, training.trained, optimizer, disk.free_bytes)
        return now.run_bytes <= now.free_bytes
