"""The spec of the window as a run that waits: whether it may, and why not."""

from core.errors import Severity
from studio.state.desk import Desk
from studio.words import say, tr


def queue_blocker(desk: Desk) -> str:
    """Why the spec cannot be put into the queue now; empty when it can. Too little room is no reason: that changes."""
    session = desk.session
    if not session.spec.model.base.strip():
        return tr("Choose a base model first.")
    if not session.spec.data.train:
        return tr("Choose training files first.")
    planned = session.plan.problems if session.plan is not None else ()
    found = [*session.model_problems, *session.data_problems]
    if session.plan is not None and not session.plan.lacks_only_room:
        found += planned
    errors = [problem for problem in found if problem.severity is Severity.ERROR]
    if errors and not session.is_reading:
        return say(errors[0].message)
    return tr("Still reading…") if session.prepared() is None else ""


def add_to_queue(desk: Desk) -> None:
    """Puts the spec of the window into the queue, or says why that cannot be."""
    blocker = queue_blocker(desk)
    prepared = desk.session.prepared()
    if blocker or prepared is None:
        desk.warn(tr("This cannot be added to the queue yet."), blocker)
        return
    desk.queue.add(prepared)
