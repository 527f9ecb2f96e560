"""requirements.lock pins everything that pyproject.toml leads to, at the versions that these tests run with."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

# torch pins what only some of its builds need, to the exact version; no constraint could do better.
PINNED_BY_TORCH = re.compile(r"(nvidia|cuda)-.*|triton.*|pytorch-triton.*")


def pins() -> dict[str, str]:
    """Package -> version, as requirements.lock says."""
    lines = [line.strip() for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): pinned for name, pinned in pairs}


def wanted() -> list[Requirement]:
    """What pyproject.toml asks for, the test tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["test"])]


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """Every package that these lead to on this system."""
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if PINNED_BY_TORCH.fullmatch(name):
            continue
        for chosen in ("", *sorted(requirement.extras)):
            if (name, chosen) not in seen:
                seen.add((name, chosen))
                waiting += [(Requirement(line), chosen) for line in distribution(name).requires or ()]
    return {name for name, _ in seen}


def test_every_line_is_a_pin_without_a_build() -> None:
    for name, pinned in pins().items():
        assert Version(pinned).local is None, f"{name}=={pinned} can only be had from one index"


def test_the_pins_are_what_pyproject_asks_for() -> None:
    pinned = pins()
    for requirement in wanted():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not pinned"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} excludes the pinned {pinned[name]}"


def test_nothing_is_left_to_chance() -> None:
    missing = closure(wanted()) - pins().keys()
    assert missing == set(), "these are installed, but not pinned"


def test_the_tests_run_with_the_pinned_versions() -> None:
    different = {}
    for name, pinned in pins().items():
        try:
            installed = Version(version(name)).public
        except PackageNotFoundError:
            continue  # another system's package
        if installed != pinned:
            different[name] = f"{installed} instead of {pinned}"
    assert different == {}


def test_nothing_is_pinned_in_vain() -> None:
    elsewhere = {"colorama", "tzdata", "liger-kernel"}  # for Windows, and for CUDA (launcher/environment.py)
    assert pins().keys() - closure(wanted()) - elsewhere == set()
