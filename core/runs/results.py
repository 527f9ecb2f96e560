"""What exports and answers need from a run's folder: its result, and the base model that it came from."""

from pathlib import Path

from core.errors import ExitCode, Problem, UserError, error
from core.facts.locate import find_model
from core.paths import models_dir
from core.runs.layout import RunFolder
from core.runs.process_record import living_process
from core.runs.store import load_facts, load_spec


def require_result(folder: RunFolder) -> Path:
    """The folder with the run's result.

    Raises:
        UserError: the run has none yet, or an engine is about to write it.
    """
    name = folder.path.name
    if living_process(folder) is not None:
        message = f"The run “{name}” is still going on, so its result may change."
        advice = f"Wait for it, or stop it with “lowrank stop {name}”: what it has learned is saved then."
        raise UserError(error(str(folder.path), message, advice), exit_code=ExitCode.FAILED)
    if not folder.adapter.is_dir() or not any(folder.adapter.iterdir()):
        message = f"The run “{name}” has no result yet: there is no {folder.adapter}."
        advice = f"“lowrank show {name}” says how it ended; “lowrank resume {name}” goes on from its last saved state."
        raise UserError(error(str(folder.path), message, advice), exit_code=ExitCode.FAILED)
    return folder.adapter


def result_base(folder: RunFolder) -> Path:
    """The base model of a run: where it was, or a model of that name here.

    Raises:
        UserError: it is nowhere to be found.
    """
    model, asked = load_facts(folder).model, load_spec(folder).model
    if model is not None and Path(model.path).exists():
        return Path(model.path)
    where = model.path if model is not None else asked.base
    last_name = where.replace("\\", "/").rstrip("/").rpartition("/")[2]
    reasons: list[Problem] = []
    for base, revision in ((asked.base, asked.revision), (str(models_dir() / last_name), "")):
        try:
            return find_model(base, revision)
        except UserError as failure:
            reasons += failure.problems
    message = f"The base model of “{folder.path.name}” is no longer at {where}."
    advice = f"Put it back there, or put its folder into {models_dir()}, where it is found by its name."
    problem = error(str(folder.path), message, advice)
    raise UserError(problem, exit_code=ExitCode.FAILED) from UserError(*reasons)
