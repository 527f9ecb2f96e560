"""What spec and facts together say about a run before it starts; each finding with its reason and what to do about it.

Every threshold says where it comes from. A fix never trades a warning for an error, and a run with usual settings gets
no warning at all.
"""

from collections.abc import Iterator

from core.errors import Problem
from core.plan.problems.adapter import adapter_problems
from core.plan.problems.case import Case
from core.plan.problems.course import course_problems
from core.plan.problems.data import data_problems
from core.plan.problems.model import missing_facts, model_problems
from core.plan.problems.rates import rate_problems
from core.plan.problems.storage import disk_problems

__all__ = ["Case", "disk_problems", "early_problems", "late_problems"]


def early_problems(case: Case) -> Iterator[Problem]:
    """What is missing, and what the model and the data call for; said before the choices' own problems."""
    yield from missing_facts(case)
    yield from model_problems(case)
    yield from data_problems(case)


def late_problems(case: Case) -> Iterator[Problem]:
    """What the settings call for: adapters, rates, the course of the run, and the disk."""
    yield from adapter_problems(case)
    yield from rate_problems(case)
    yield from course_problems(case)
    yield from disk_problems(case)
