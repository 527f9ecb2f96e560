"""A run that was prepared some time ago, looked at again just before it begins: is all there, and does it fit now?"""

from dataclasses import replace

from core.errors import ExitCode, Problem, Severity, UserError
from core.facts.base_model import read_base_model
from core.facts.hardware import read_hardware
from core.facts.types import Facts
from core.paths import write_json
from core.plan.types import Plan
from core.records import to_plain
from core.runs.device_records import known_machine
from core.runs.layout import RunFolder
from core.runs.prepare import missing_files, plan_with_fixes
from core.runs.store import load_facts, load_plan, load_spec

_DISK = "output.folder"


def recheck(folder: RunFolder) -> Plan:
    """Plans a run again with the memory and disk space there are now, and looks whether its files are still there.

    A run that was never started takes the new plan, which may choose another way to do the same work; one that has
    begun keeps its own. What has changed inside model and data is noticed by the engine itself.

    Raises:
        UserError: something is gone, or it does not fit (`ExitCode.DOES_NOT_FIT`).
        OSError: the folder cannot be written.
    """
    spec, facts, before = load_spec(folder), load_facts(folder), load_plan(folder)
    missing = missing_files(spec)
    if missing:
        raise UserError(*missing)
    read_base_model(spec.model.base, spec.model.revision)
    hardware, records = known_machine(read_hardware(folder.path.parent))
    now = Facts(hardware, facts.model, facts.data, records)
    planned = plan_with_fixes(spec, now)
    begun = folder.events().exists()
    # The states that a begun run has saved need no more room; whoever starts it counts what it still needs.
    errors = [problem for problem in planned.errors if not (begun and problem.path == _DISK)]
    if errors:
        code = ExitCode.DOES_NOT_FIT if planned.lacks_only_room else ExitCode.BAD_SPEC
        raise UserError(*errors, exit_code=code)
    if begun:
        return before
    problems = (*planned.problems, *(problem for problem in before.problems if _is_about_rows(problem, planned)))
    fresh = replace(planned, template=before.template, problems=problems)
    write_json(folder.facts, to_plain(now))
    write_json(folder.plan, to_plain(fresh))
    return fresh


def _is_about_rows(problem: Problem, planned: Plan) -> bool:
    """What was found in the rows when they were read: the planner does not see them."""
    about_data = problem.path.startswith("data.") or ":" in problem.path
    return about_data and problem.severity is not Severity.ERROR and problem not in planned.problems
