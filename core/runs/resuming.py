"""Going on with a run after something has changed: what exactly, and the user's consent to it."""

from dataclasses import dataclass
from pathlib import Path

from core.data.tokenizer import Tokenizer
from core.errors import ExitCode, UserError, error
from core.paths import write_atomic, write_json
from core.records import to_plain
from core.runs.consent import write_consent
from core.runs.identity import Change, changes, identity_of
from core.runs.layout import RunFolder
from core.runs.lock import require_free
from core.runs.prepare import OnProgress, Prepared, prepare
from core.runs.saved_states import newest_manifest
from core.runs.store import load_spec
from core.spec.codec import to_yaml
from core.spec.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class Return:
    """A run looked at again: its plan from what is there now, and how that differs from its newest saved state."""

    folder: RunFolder
    prepared: Prepared
    changes: tuple[Change, ...]

    @property
    def blocked(self) -> tuple[Change, ...]:
        """Changes that no consent helps with: the saved tensors do not fit."""
        return tuple(change for change in self.changes if change.blocks)


def look_again(folder: RunFolder, spec: RunSpec | None = None, *, on_progress: OnProgress | None = None) -> Return:
    """Reads model, data and the run's spec (or another ``spec`` for it) as they are now. Writes nothing.

    Raises:
        UserError: the spec, the model or the data cannot be used any more, or the run cannot start as it is now.
    """
    prepared = prepare(spec or load_spec(folder), on_progress=on_progress, holds_start=folder.start.exists())
    if prepared.plan.errors:
        raise UserError(*prepared.plan.errors)
    return Return(folder, prepared, _changes(folder, prepared))


def accept(seen: Return) -> None:
    """Makes the run what it is now, and records that its saved state goes on all the same.

    Raises:
        UserError: an engine works on it.
        OSError: the folder cannot be written.
    """
    folder, prepared = seen.folder, seen.prepared
    require_free(folder)
    write_consent(folder, seen.changes)  # first: without the others it means nothing
    write_atomic(folder.spec, to_yaml(prepared.spec, full=True))
    write_json(folder.facts, to_plain(prepared.facts))
    write_json(folder.plan, to_plain(prepared.plan))


def refusal(seen: Return) -> UserError:
    """Why a run with `Return.blocked` changes cannot go on."""
    named = " ".join(change.message for change in seen.blocked)
    advice = "Put back what changed, or start a new run."
    return UserError(error(str(seen.folder.path), named, advice), exit_code=ExitCode.FAILED)


def _changes(folder: RunFolder, prepared: Prepared) -> tuple[Change, ...]:
    saved = newest_manifest(folder.checkpoints)
    model = prepared.facts.model
    if saved is None or model is None:
        return ()
    tokenizer = Tokenizer.load(Path(model.path)).fingerprint
    now = identity_of(prepared.spec, prepared.facts, prepared.plan, tokenizer=tokenizer)
    return changes(saved.identity, now)
