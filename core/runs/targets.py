"""Whom questions can be put to: a run's result or base, what it had learned at a saved state, or any model."""

from dataclasses import dataclass, replace
from pathlib import Path

from core.data.templates import NONE, builtin_templates
from core.errors import ExitCode, Severity, UserError, error
from core.events.types import Variant
from core.facts.hardware import read_hardware
from core.facts.locate import find_model
from core.facts.model_files import read_model
from core.facts.types import Facts
from core.paths import home
from core.plan.planner import plan
from core.plan.types import Choices
from core.runs.device_records import known_machine
from core.runs.layout import RunFolder
from core.runs.results import require_result, result_base
from core.runs.saved_states import checkpoint_path, list_checkpoints, step_of
from core.runs.store import load_plan, load_spec
from core.runs.voices import Voice
from core.spec.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class ChatTarget:
    """A model to ask, and how it is loaded.

    Attributes:
        title: what people call it: the run's name, or the model's.
        model: the folder that is loaded.
        adapter: the adapter on top of it, a folder in PEFT's format or a saved state; both variants can be asked then.
        tuned: whether somebody trained this model here; without an adapter that says which variant it is.
        whole: the adapter is a saved state of a full fine-tuning, which takes the place of the whole model.
        prompts: questions that belong to it, to begin with.
    """

    title: str
    model: Path
    adapter: Path | None
    tuned: bool
    device: str
    compute_dtype: str
    quantization: str
    threads: int
    template: str = "auto"
    double_quant: bool = True
    trust_remote_code: bool = False
    prompts: tuple[str, ...] = ()
    whole: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Who can be asked, with the model loaded once."""
        if self.adapter is not None and not self.whole:
            return ("base", "tuned")
        return ("tuned",) if self.tuned else ("base",)

    def arguments(self) -> dict[str, object]:
        """The part of an engine job's arguments that says what to load."""
        return {
            "model": str(self.model),
            "adapter": str(self.adapter) if self.adapter is not None else None,
            "device": self.device,
            "compute_dtype": self.compute_dtype,
            "quantization": self.quantization,
            "double_quant": self.double_quant,
            "threads": self.threads,
            "template": self.template,
            "trust_remote_code": self.trust_remote_code,
            "tuned": self.tuned,
            "whole": self.whole,
        }


def tuned_of_run(folder: RunFolder) -> ChatTarget:
    """What a run has made: its adapter on its base, or the whole tuned model of a full fine-tuning.

    Raises:
        UserError: the run has no result, is still going on, or its base model is gone.
    """
    require_result(folder)
    if load_spec(folder).adapter.method == "full":
        return _of_run(folder, folder.adapter, None, tuned=True)
    return _of_run(folder, result_base(folder), folder.adapter, tuned=True)


def state_of_run(folder: RunFolder, step: int) -> ChatTarget:
    """What a run had learned after a step at which it was saved; it may still be going on.

    Raises:
        UserError: there is no such saved state, or its base model is gone.
    """
    state = checkpoint_path(folder.checkpoints, step)
    if not state.is_dir():
        known = ", ".join(str(step_of(path)) for path in list_checkpoints(folder.checkpoints))
        message = f"The run “{folder.path.name}” has no checkpoint of step {step:,}."
        advice = f"There are those of the steps {known}." if known else "None is kept."
        raise UserError(error(str(folder.checkpoints), message, advice), exit_code=ExitCode.FAILED)
    whole = load_spec(folder).adapter.method == "full"
    made = _of_run(folder, result_base(folder), state, tuned=True)
    return replace(made, title=f"{folder.path.name}@{step}", whole=whole)


def as_voice(target: ChatTarget, name: str) -> Voice | None:
    """What a target adds to a base model that is loaded already; None where it needs weights of its own."""
    if target.adapter is None or target.whole:
        return None
    return Voice(name, target.title, str(target.adapter), target.template)


def base_of_run(folder: RunFolder) -> ChatTarget:
    """The model that a run began with, loaded as the run loaded it; the run need not have a result.

    Raises:
        UserError: it is nowhere to be found.
    """
    return _of_run(folder, result_base(folder), None, tuned=False)


def target_of_model(name: str) -> ChatTarget:
    """A model as it is, by name or folder, on the device and in the format that the planner would take.

    Raises:
        UserError: it is not there, or cannot be loaded here.
    """
    path = find_model(name)
    hardware, records = known_machine(read_hardware(home()))
    facts = Facts(hardware, read_model(path), records=records)
    planned = plan(RunSpec().replace("model.base", str(path)).replace("data.max_length", 128), facts)
    refused = [
        problem
        for problem in planned.problems
        if problem.severity is Severity.ERROR and problem.path.startswith("model.")
    ]
    if refused:
        raise UserError(*refused)
    return _target(path.name, path, None, planned.choices, tuned=False)


def _of_run(folder: RunFolder, model: Path, adapter: Path | None, *, tuned: bool) -> ChatTarget:
    spec = load_spec(folder)
    target = _target(folder.path.name, model, adapter, load_plan(folder).choices, tuned=tuned)
    return replace(
        target,
        template=_template(folder, spec.data.template),
        double_quant=spec.model.double_quant,
        trust_remote_code=spec.model.trust_remote_code,
        prompts=spec.training.sample_prompts,
    )


def _target(title: str, model: Path, adapter: Path | None, choices: Choices, *, tuned: bool) -> ChatTarget:
    return ChatTarget(
        title=title,
        model=model,
        adapter=adapter,
        tuned=tuned,
        device=choices.device.value,
        compute_dtype=choices.compute_dtype.value,
        quantization=choices.quantization.value,
        threads=choices.threads.value,
    )


def _template(folder: RunFolder, choice: str) -> str:
    """The template of the training; a file of the user's may have changed since, so the run's own copy of it counts."""
    is_own_file = choice not in ("auto", NONE, *builtin_templates())
    return str(folder.trained_template) if is_own_file and folder.trained_template.is_file() else choice
