"""How the session reads facts, and what they depend on; runs in background threads."""

from dataclasses import dataclass, replace
from pathlib import Path

from core import paths
from core.data.report.types import Lengths
from core.errors import Problem
from core.facts.types import DataFacts, Facts, ModelFacts
from core.spec.run_spec import RunSpec
from studio.workers.task import Report


@dataclass(frozen=True, slots=True)
class Rows:
    """What reading the data came to; how long rows are before they are cut, of training and of validation."""

    facts: DataFacts
    problems: tuple[Problem, ...]
    template: str
    lengths: tuple[Lengths, Lengths]


def absolute(spec: RunSpec) -> RunSpec:
    """The spec with absolute paths and the commits of its data sets, as a run keeps it."""
    from core.data.hub_files import pin_hub_data
    from core.spec.codec import resolve_paths

    spec = resolve_paths(spec, Path.cwd())
    return replace(spec, data=pin_hub_data(spec.data))


def runs_folder(spec: RunSpec) -> Path:
    """Where a run of this spec goes."""
    return Path(spec.output.folder).expanduser() if spec.output.folder.strip() else paths.runs_dir()


def machine_key(spec: RunSpec) -> object:
    """All settings that the computer's facts depend on: which disk a run goes to."""
    return str(runs_folder(spec))


def model_key(spec: RunSpec) -> object:
    """All settings that the model's facts depend on."""
    return (spec.model.base.strip(), spec.model.revision.strip())


def data_key(spec: RunSpec) -> object:
    """All settings that the data's facts depend on."""
    return (spec.data, tuple(sorted(spec.data.mapping.items())), spec.training.seed)


def read_machine(spec: RunSpec) -> Facts:
    """This computer, now, and what earlier runs measured on it."""
    from core.facts.hardware import read_hardware
    from core.runs.device_records import known_machine

    hardware, records = known_machine(read_hardware(runs_folder(spec)))
    return Facts(hardware, records=records)


def read_base(spec: RunSpec) -> ModelFacts:
    """The base model, from its headers, or from the catalogue while it is not on this computer.

    Raises:
        UserError: it is not there and not in the catalogue, or cannot be used.
    """
    from core.facts.base_model import read_base_model

    return read_base_model(spec.model.base, spec.model.revision)


def read_rows(spec: RunSpec, model: ModelFacts, report: Report) -> Rows:
    """The data as tokens: counts, lengths and problems.

    Raises:
        UserError: it cannot be used.
        CancelledError: nobody wants it any more.
    """
    from core.data.dataset import load_dataset
    from core.data.lengths import count_lengths
    from core.data.templates import choose_template
    from core.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(Path(model.path))
    dataset = load_dataset(
        absolute(spec).data,
        spec.training.seed,
        model,
        tokenizer=tokenizer,
        on_progress=lambda done, total: report("Turning rows into tokens", done, total),
    )
    template = choose_template(spec.data.template, model, tokenizer)
    lengths = (count_lengths(dataset.train), count_lengths(dataset.validation))
    return Rows(dataset.facts, dataset.problems, template.source, lengths)


def without_repeats(problems: tuple[Problem, ...], *, has_model_problem: bool) -> tuple[Problem, ...]:
    """Each problem once; the plan's “no model yet” says nothing when the model itself has a problem."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for problem in problems:
        key = (problem.path, problem.message)
        repeats_model = has_model_problem and problem.path == "model.base" and bool(seen)
        if key not in seen and not repeats_model:
            seen.add(key)
            kept.append(problem)
    return tuple(kept)
