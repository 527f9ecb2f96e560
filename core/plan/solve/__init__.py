"""What makes a run fit: `solve` ranks single changes and finds the cheapest set, `largest` asks the other way round."""

from core.plan.solve.largest import largest
from core.plan.solve.problems import is_unsolved, memory_problems, paging_problems, with_fixes
from core.plan.solve.solver import solve
from core.plan.solve.types import Offer, Solution

__all__ = [
    "Offer",
    "Solution",
    "is_unsolved",
    "largest",
    "memory_problems",
    "paging_problems",
    "solve",
    "with_fixes",
]
