"""Training a finished run further: more steps on the same state, with a learning rate that is written down."""

from dataclasses import dataclass, replace

from core.errors import ExitCode, UserError, error
from core.plan.schedule import rate_when_longer
from core.runs.layout import RunFolder
from core.runs.outcome import read_outcome
from core.runs.prepare import OnProgress
from core.runs.process_record import living_process
from core.runs.resuming import Return, accept, look_again
from core.runs.saved_states import newest_manifest
from core.runs.store import load_plan, load_spec
from core.spec.extensions import Leg, with_extension
from core.spec.run_spec import RunSpec
from core.spec.sections import Schedule

_MEANT = ("training.max_steps", "training.extensions", "chosen.steps")


@dataclass(frozen=True, slots=True)
class Extension:
    """What an extension will do.

    Attributes:
        start: steps that are done.
        steps: steps that there will be in all.
        seen: the run as it will be.
    """

    start: int
    steps: int
    seen: Return

    @property
    def unmeant(self) -> tuple[str, ...]:
        """What else has changed since the run ended, a sentence each."""
        return tuple(change.message for change in self.seen.changes if change.path not in _MEANT)


def plan_extension(
    folder: RunFolder,
    *,
    steps: int = 0,
    epochs: float = 0.0,
    rate: float = 0.0,
    schedule: Schedule | None = None,
    on_progress: OnProgress | None = None,
) -> Extension:
    """Looks at a run that has ended, and plans more of it. Writes nothing.

    Args:
        folder: the run.
        steps: how many steps more; 0 takes ``epochs``.
        epochs: how many epochs more.
        rate: the learning rate that the extension begins at; 0 takes the one that the schedule would have here, had
            the run been planned that long from the start (at least a tenth of the full rate).
        schedule: what the learning rate does from there on; None keeps the run's.
        on_progress: see `core.runs.prepare.prepare`.

    Raises:
        UserError: the run has not ended well, has no saved state, or cannot start as it is now.
    """
    name = folder.path.name
    saved, outcome = newest_manifest(folder.checkpoints), read_outcome(folder)
    if living_process(folder) is not None or outcome is None or outcome.kind != "completed":
        message = f"The run “{name}” is not complete yet."
        raise _refused(folder, message, f"“lowrank resume {name}” goes on with it; extend it when it is.")
    if saved is None:
        raise _refused(folder, f"The run “{name}” has no saved state to go on from.", "Start a new run.")
    spec, batch = load_spec(folder), load_plan(folder).batch
    more = steps or round(epochs * (batch.steps_per_epoch if batch else 0))
    if more < 1:
        raise _refused(folder, "An extension takes one step at least.", "Say how many steps or epochs more.")
    done = saved.counters.step
    wanted = longer(spec, done, more, rate=rate, schedule=schedule)
    return Extension(done, done + more, look_again(folder, wanted, on_progress=on_progress))


def longer(spec: RunSpec, done: int, more: int, *, rate: float = 0.0, schedule: Schedule | None = None) -> RunSpec:
    """The spec of a run of ``done`` steps that takes ``more``; the others as `plan_extension` has them."""
    training = replace(spec.training, schedule=schedule or spec.training.schedule)
    begin = rate or float(f"{rate_when_longer(training, done, done + more):.6g}")
    other = schedule if schedule != spec.training.schedule else None
    wanted = spec.replace("training.max_steps", done + more)
    return wanted.replace("training.extensions", with_extension(spec.training.extensions, Leg(done, begin, other)))


def extend(extension: Extension) -> None:
    """Makes the run a longer one; starting its engine trains what is new.

    Raises:
        UserError: an engine works on it.
        OSError: the folder cannot be written.
    """
    accept(extension.seen)


def _refused(folder: RunFolder, message: str, advice: str) -> UserError:
    return UserError(error(str(folder.path), message, advice), exit_code=ExitCode.FAILED)
