"""Plans a changed spec as far as memory goes, and remembers what changes rarely: what is trained of the model."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from core.errors import Edit, Problem, Severity, UserError
from core.facts.types import Facts, ModelFacts
from core.plan.choices import Decision, Training, beside_of, memory_for, training_of
from core.plan.ground import DTYPE_BYTES, Ground, ground_of
from core.plan.search import Settings, search
from core.plan.types import Memory
from core.spec.rules import check
from core.spec.run_spec import RunSpec


@dataclass(frozen=True)
class Trial:
    """A spec and the memory that its run would take on the facts it was tried with.

    Attributes:
        decided: the memory where it is known already; it is made when somebody asks for it otherwise.
    """

    spec: RunSpec
    facts: Facts
    ground: Ground
    settings: Settings
    training: Training
    decided: Memory | None = None

    @cached_property
    def memory(self) -> Memory:
        """The peak as the plan will say it, with what the run does beside its steps."""
        if self.decided is not None:
            return self.decided
        beside = beside_of(self.spec, self.facts, self.settings, packing=self.ground.packing.value)
        return memory_for(self.ground, self.settings, self.model, beside)

    @property
    def peak(self) -> int:
        """Bytes of the peak."""
        return self.memory.peak_bytes

    @property
    def fits(self) -> bool:
        """Whether the plan's verdict is that it fits, and not only hardly."""
        # Where a step alone takes too much, nobody has to look at the other moments of the run.
        return self.settings.fits and self.memory.verdict == "fits"

    @property
    def model(self) -> ModelFacts:
        """The base model of the run."""
        assert self.facts.model is not None, "nothing is tried without a model"
        return self.facts.model


def edited(spec: RunSpec, edits: Iterable[Edit]) -> RunSpec:
    """The spec with some settings changed."""
    changed: dict[str, dict[str, object]] = {}
    for edit in edits:
        section, _, name = edit.path.partition(".")
        changed.setdefault(section, {})[name] = edit.value
    sections = {section: dataclasses.replace(getattr(spec, section), **values) for section, values in changed.items()}
    return dataclasses.replace(spec, **sections)


class Trials:
    """Tries changed specs on one set of facts.

    Specs that meet an error which the first one did not have are refused: an offer must never break something else.
    ``thorough`` asks every rule; without it only the machine and the model's modules are asked, which is quick and
    enough for changes that no rule minds.
    """

    def __init__(self, spec: RunSpec, facts: Facts, decision: Decision, *, thorough: bool) -> None:
        model, training = facts.model, decision.training
        assert model is not None, "nothing is tried without a model"
        assert training is not None, "nothing is tried without targets"
        self._thorough = thorough
        self._old_errors = _paths(check(spec)) if thorough else frozenset()
        self.first = Trial(spec, facts, decision.ground, decision.settings, training, decision.memory)
        self._known: dict[tuple[RunSpec, int], Trial | None] = {(spec, id(model)): self.first}

    def take(self, spec: RunSpec, facts: Facts | None = None) -> Trial | None:
        """The trial of a spec on the first facts or on others, with another model; None where it is refused."""
        facts = facts or self.first.facts
        key = (spec, id(facts.model))
        if key not in self._known:
            self._known[key] = self._take(spec, facts)
        return self._known[key]

    def _take(self, spec: RunSpec, facts: Facts) -> Trial | None:
        model = facts.model
        assert model is not None, "nothing is tried without a model"
        if spec.adapter.method == "full" and spec.model.quantization in ("nf4", "int8"):
            return None
        if self._thorough and _paths(check(spec)) - self._old_errors:
            return None
        ground = ground_of(spec, facts)
        if ground.problems and _paths(ground.problems) - _paths(self.first.ground.problems):
            return None
        try:
            training = training_of(spec, model)
        except UserError:
            return None
        decided = _decided(spec, ground, model)
        settings = search(decided, facts, ground, training.trained)
        if not settings.fits and decided is not spec:
            # Where nothing fits the planner takes what needs least, and unpacking 4-bit weights can need more.
            settings = search(spec, facts, ground, training.trained)
        return Trial(spec, facts, ground, settings, training)


def _decided(spec: RunSpec, ground: Ground, model: ModelFacts) -> RunSpec:
    """The spec with 4-bit weights where the planner would come to them anyway, which saves weighing full ones."""
    quantizable = spec.adapter.method != "full" and not model.prequantized
    too_large = model.parameters * DTYPE_BYTES[ground.dtype.value] > ground.free_bytes
    if spec.model.quantization == "auto" and quantizable and too_large:
        return spec.replace("model.quantization", "nf4")
    return spec


def _paths(problems: Iterable[Problem]) -> frozenset[str]:
    return frozenset(problem.path for problem in problems if problem.severity is Severity.ERROR)
