"""The engine jobs behind an export of the window: writing, checking, uploading. Run in the threads that follow them."""

from typing import TYPE_CHECKING

from studio.state.export_facts import CheckReport

if TYPE_CHECKING:
    from core.export.result import ExportPlan
    from core.runs.supervisor import Supervisor


def write_job(plan: "ExportPlan") -> "Supervisor":
    """Writes what the plan says, if that is no copy.

    Raises:
        UserError: something stands against it, or the job's folder cannot be made.
    """
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    plan.require()
    return Supervisor(create_job("export", plan.arguments))


def verify_job(plan: "ExportPlan") -> "Supervisor":
    """Checks what was written, in a process that knows nothing of the one that wrote it.

    Raises:
        UserError: the job's folder cannot be made.
    """
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    arguments = plan.verify_arguments
    assert arguments is not None, "there is nothing to compare with"
    return Supervisor(create_job("verify", arguments))


def upload_job(plan: "ExportPlan") -> "Supervisor":
    """Takes what was written to the hub.

    Raises:
        UserError: the network is forbidden, or the job's folder cannot be made.
    """
    from core.hub.job import download_command
    from core.hub.token import token_text
    from core.runs.store import create_job
    from core.runs.supervisor import Supervisor

    folder = create_job("export", plan.upload_arguments)
    return Supervisor(folder, download_command(folder, token_text()))


def report_of(plan: "ExportPlan") -> CheckReport:
    """What the check of an export has found."""
    from core.export.verification import read_verification

    found = read_verification(plan.target)
    if found is None:
        return CheckReport(problem="The report could not be kept beside the export.")
    return CheckReport(found.checks, notes=found.notes, read_by=found.read_by)
