"""From a spec to everything a run needs: reads the machine, the model and the data, and makes the plan."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from core.data.dataset import load_dataset
from core.data.hub_files import find_hub_data, pin_hub_data
from core.data.source import check_file
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.errors import Problem, Severity, UserError
from core.facts.base_model import read_base_model
from core.facts.hardware import read_hardware
from core.facts.relatives import smaller_relatives
from core.facts.types import Facts, ModelFacts
from core.plan.planner import plan
from core.plan.solve import is_unsolved, solve, with_fixes
from core.plan.types import Plan
from core.runs.device_records import known_machine
from core.runs.start_from import pin_start, start_problems
from core.runs.store import runs_folder
from core.spec.codec import resolve_paths
from core.spec.hub_data import is_hub_data
from core.spec.rules import check
from core.spec.run_spec import RunSpec

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0 while unknown)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can be created; whether it may start is `Plan.can_start`.

    Attributes:
        spec: the spec as asked for, its paths absolute, data sets of the hub with the commit that is here, and the
            adapter that it goes on from as a folder.
    """

    spec: RunSpec
    facts: Facts
    plan: Plan


def prepare(
    spec: RunSpec, *, on_progress: OnProgress | None = None, rows_needed: bool = True, holds_start: bool = False
) -> Prepared:
    """Reads all facts that a spec calls for and plans the run. Writes nothing.

    A base model that is in the catalogue but not on this computer is planned as far as its shapes tell; the plan's
    problems then say that it has to be downloaded, and the run cannot start. Neither can a run without data, which is
    planned only where ``rows_needed`` is false. A run that ``holds_start`` has kept what its adapters began with, and
    needs the adapter that it went on from no longer.

    Raises:
        UserError: the spec, the model or the data cannot be used; it carries every problem found.
    """
    report = on_progress or _silence
    rows_named = rows_needed or bool(spec.data.train)
    broken = [problem for problem in check(spec) if problem.severity is Severity.ERROR]
    broken = [problem for problem in broken if rows_named or problem.path != "data.train"]
    if broken:
        raise UserError(*broken)
    spec = resolve_paths(spec, Path.cwd())
    spec = replace(spec, data=pin_hub_data(spec.data))
    spec = spec if holds_start else pin_start(spec)
    report("Looking at this computer", 0, 0)
    hardware, records = known_machine(read_hardware(runs_folder(spec)))
    report("Reading the base model’s files", 0, 0)
    model = _read_model(spec)
    if not model.here or not rows_named:
        return _without_rows(spec, Facts(hardware, model, records=records))
    report("Reading the data", 0, 0)
    tokenizer = Tokenizer.load(Path(model.path))
    dataset = load_dataset(
        spec.data,
        spec.training.seed,
        model,
        tokenizer=tokenizer,
        on_progress=lambda done, total: report("Turning rows into tokens", done, total),
    )
    facts = Facts(hardware, model, dataset.facts, records)
    template = choose_template(spec.data.template, model, tokenizer)
    planned = plan_with_fixes(spec, facts)
    start = () if holds_start else start_problems(spec, model, planned)
    problems = _without_repeats((*planned.problems, *start, *dataset.problems))
    return Prepared(spec, facts, replace(planned, template=template.source, problems=problems))


def plan_with_fixes(spec: RunSpec, facts: Facts) -> Plan:
    """The plan; where memory is short, its problem brings what makes the run fit, which takes some tens of ms."""
    planned = plan(spec, facts)
    if facts.model is None or not is_unsolved(planned.problems):
        return planned
    solution = solve(spec, facts, smaller_relatives(facts.model))
    return replace(planned, problems=with_fixes(planned.problems, solution))


def _read_model(spec: RunSpec) -> ModelFacts:
    """The model's facts; when it has a problem, the data files are looked at too, so that all is said at once."""
    try:
        return read_base_model(spec.model.base, spec.model.revision)
    except UserError as failure:
        raise UserError(*failure.problems, *missing_files(spec), exit_code=failure.exit_code) from failure


def _without_rows(spec: RunSpec, facts: Facts) -> Prepared:
    """The plan where no rows can be read: none are named, or there is no tokenizer yet to read them with."""
    planned = plan_with_fixes(spec, facts)
    return Prepared(spec, facts, replace(planned, problems=(*planned.problems, *missing_files(spec))))


def missing_files(spec: RunSpec) -> list[Problem]:
    """A problem for each data file, or data set of the hub, that a spec names and that is not here."""
    problems: list[Problem] = []
    for name in (*spec.data.train, *spec.data.validation):
        try:
            if is_hub_data(name):
                find_hub_data(name)
            else:
                check_file(Path(name))
        except UserError as failure:
            problems += failure.problems
    return problems


def _without_repeats(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for problem in problems:
        if (problem.path, problem.message) not in seen:
            seen.add((problem.path, problem.message))
            kept.append(problem)
    return tuple(kept)


def _silence(_what: str, _done: int, _total: int) -> None:
    pass
