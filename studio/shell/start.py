"""Whether Start may be pressed, and why not."""

from core.errors import Severity
from studio.state.desk import Desk
from studio.words import say, tr


def start_blocker(desk: Desk) -> str:
    """The sentence that stands beside a disabled Start; empty when the run may start."""
    session = desk.session
    if not session.spec.model.base.strip():
        return tr("Choose a base model first.")
    if session.model_problems:
        return say(session.model_problems[0].message)
    if session.model is not None and not session.model.here:
        return tr("The base model must be downloaded before the start; the Model page has the button.")
    if not session.spec.data.train:
        return tr("Choose training files first.")
    errors = [problem for problem in session.problems if problem.severity is Severity.ERROR]
    if errors and not session.is_reading:
        return say(errors[0].message)
    if session.is_reading or session.plan is None:
        return tr("Still reading…")
    if session.prepared() is None or not session.plan.can_start:
        return tr("Something is still missing; see the problems above.")
    return ""
