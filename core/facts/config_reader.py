"""Reads single numbers out of a config.json that somebody else wrote, and refuses those that make no sense."""

from collections.abc import Mapping
from typing import Any

from core.errors import Problem, error

MAX_NUMBER = 2**40


class ConfigReader:
    """Looks settings up by all their names, those of the text part first, and collects what makes no sense.

    Attributes:
        problems: what was refused so far.
        keys: the first of a number's names -> what the file calls it, for the numbers that it states.
    """

    def __init__(self, raw: Mapping[str, Any], path: str) -> None:
        nested = raw.get("text_config")
        self.nested: Mapping[str, Any] = nested if isinstance(nested, Mapping) else {}
        self.values = {**raw, **self.nested}
        self.path = path
        self.problems: list[Problem] = []
        self.keys: dict[str, str] = {}

    def count(self, *names: str, least: int = 0, most: int = MAX_NUMBER) -> int:
        """The whole number under the first of the names that is stated; 0 where none is, or each layer has its own."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if isinstance(value, list | Mapping):
                return 0  # one value for each layer: there is no single number to report
            self.keys[names[0]] = self.key(name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                self.refuse(f"The config says {self.key(name)} = {str(value)[:40]}, which is not a sensible number.")
                return 0
            return value
        return 0

    def share(self, default: float, *names: str) -> float:
        """The number from 0 to 1, 1 left out, under the first of the names that is stated."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                self.refuse(f"The config says {self.key(name)} = {str(value)[:40]}, which is no share from 0 to 1.")
                return 0.0
            return float(value)
        return default

    def measure(self, most: float, *names: str) -> None:
        """Refuses what is no number above 0, at most ``most``."""
        for name in names:
            value = self.values.get(name)
            if value is not None and not is_measure(value, most):
                self.refuse(f"The config says {self.key(name)} = {str(value)[:40]}, which is not a sensible number.")

    def key(self, name: str) -> str:
        """What the file calls a setting, with the part of the file that it stands in."""
        return f"text_config.{name}" if self.nested.get(name) is not None else name

    def refuse(self, message: str) -> None:
        """Notes what makes no sense; the same thing once."""
        problem = error(self.path, message, "Take config.json from the model's source again.")
        if problem not in self.problems:
            self.problems.append(problem)


def is_measure(value: object, most: float) -> bool:
    """Whether it is a number above 0 and at most ``most``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most
