"""Whom a person means by a name or a folder: a run, a saved state of one, an adapter, an export, or a base model."""

from dataclasses import replace
from pathlib import Path

from core.errors import UserError, error
from core.export.adapter import TEMPLATE_FILE, find_base
from core.export.peft_adapter import CONFIG_FILE
from core.runs.layout import RunFolder
from core.runs.saved_states import MANIFEST, step_of
from core.runs.store import find_run
from core.runs.targets import ChatTarget, state_of_run, target_of_model, tuned_of_run


def target_of_adapter(adapter: Path) -> ChatTarget:
    """An adapter's folder in PEFT's format, on its base model in the format that the planner would take.

    Raises:
        UserError: it is none, or its base model is nowhere to be found.
    """
    made = target_of_model(str(find_base(adapter)))
    template = adapter / TEMPLATE_FILE
    parent = adapter.resolve().parent.name
    title = f"{parent}/{adapter.name}" if parent else adapter.name
    said = str(template) if template.is_file() else "auto"
    return replace(made, title=title, adapter=adapter, tuned=True, template=said)


def find_target(name: str) -> ChatTarget:
    """Whom a person means: a run, ``RUN@STEP``, the folder of a run or adapter, or a model by name or folder.

    Raises:
        UserError: nobody is called so, or it cannot be asked.
    """
    path = Path(name).expanduser()
    if (path / CONFIG_FILE).is_file():
        own = RunFolder(path.resolve().parent)
        return tuned_of_run(own) if own.spec.is_file() else target_of_adapter(path)
    if (path / MANIFEST).is_file() and (folder := RunFolder(path.resolve().parent.parent)).spec.is_file():
        return state_of_run(folder, step_of(path))
    run, at, step = name.rpartition("@")
    if at and step.isdecimal() and not path.exists():
        return state_of_run(find_run(run), int(step))
    try:
        folder = find_run(name)
    except UserError as no_run:
        try:
            return target_of_model(name)
        except UserError as no_model:
            if path.exists():
                raise
            message = f"There is neither a run nor a model called “{name}”."
            advice = "“lowrank runs” and “lowrank models” list what there is; a folder can be named, too."
            raise UserError(error("", message, advice)) from UserError(*no_run.problems, *no_model.problems)
    return tuned_of_run(folder)
