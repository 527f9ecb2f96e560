"""What exports and samples need from a run's folder: its result, and the base model that it came from."""

from pathlib import Path

from core.errors import ExitCode, UserError, error
from core.runs.layout import RunFolder


def require_result(folder: RunFolder) -> Path:
    """The folder with the run's result.

    Raises:
        UserError: the run has none yet, or an engine is about to write it.
    """
    from core.runs.process_record import living_process

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
    """The base model of a run: where it was, or where the result's own record finds it now.

    Raises:
        UserError: it is nowhere to be found.
    """
    from core.export.adapter import find_base
    from core.export.peft_adapter import CONFIG_FILE
    from core.runs.store import load_facts

    model = load_facts(folder).model
    if model is not None and Path(model.path).exists():
        return Path(model.path)
    if (folder.adapter / CONFIG_FILE).is_file():
        return find_base(folder.adapter)
    where = model.path if model is not None else "an unknown place"
    message = f"The base model of “{folder.path.name}” is no longer at {where}."
    raise UserError(error(str(folder.path), message, "Put it back there."), exit_code=ExitCode.FAILED)
