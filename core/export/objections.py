"""What can stand against an export besides its place: its kind, its precision, the hub."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from core.errors import ExitCode, Problem, UserError, error
from core.export.gguf import available_precisions
from core.hub.names import require_id
from core.hub.token import token_text
from core.hub.web import require_online
from core.runs.layout import RunFolder

if TYPE_CHECKING:
    from core.export.result import ExportKind, ExportOptions

T = TypeVar("T")

KIND = "kind"
PRECISION = "precision"
REPO = "repo"
TOKEN = "token"  # noqa: S105 (the path of a problem)
"""The paths of problems that another kind, precision, name or a token would mend, as `core.export.places.TARGET` is."""

ADAPTER_PRECISIONS = ("f32", "f16")
"""What an adapter can be written in: it is small, and coarser numbers would spoil it for nothing."""


class Findings:
    """Problems as they are found; the first one decides the exit code."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.exit_code = ExitCode.DONE

    def add(self, code: ExitCode, *problems: Problem) -> None:
        """Notes problems that mean ``code`` for the command line."""
        if problems and not self.problems:
            self.exit_code = code
        self.problems += problems

    def tried(self, work: Callable[[], T]) -> T | None:
        """What ``work`` gives; None if it refuses, which is noted."""
        try:
            return work()
        except UserError as refusal:
            self.add(refusal.exit_code, *refusal.problems)
            return None


def kind_problems(folder: RunFolder, writes: "ExportKind", *, whole: bool) -> Iterator[Problem]:
    """A whole model has no adapter."""
    if whole and writes in ("adapter", "gguf_adapter"):
        message = f"The run “{folder.path.name}” trained every weight, so its result is a whole model and no adapter."
        yield error(KIND, message, "Export the whole model: kind “merged”.")


def precision_problems(kind: "ExportKind", precision: str) -> Iterator[Problem]:
    """A precision that there is not, or that cannot be written on this computer."""
    if not precision:
        return
    choices = {item.precision.name: item for item in available_precisions()}
    names = ADAPTER_PRECISIONS if kind == "gguf_adapter" else tuple(choices)
    chosen = choices.get(precision)
    if chosen is None or precision not in names:
        what = "of an adapter" if kind == "gguf_adapter" and chosen is not None else "of GGUF files"
        yield error(PRECISION, f"There is no precision “{precision}” {what}.", f"Choose one of {', '.join(names)}.")
    elif not chosen.possible:
        advice = f"Choose one of {', '.join(name for name in names if choices[name].possible)}."
        yield error(PRECISION, f"{chosen.precision.title} cannot be written here: {chosen.reason}", advice)


def hub_problems(options: "ExportOptions", found: "Findings") -> Iterator[Problem]:
    """No name, no network or no token; what other modules say of them goes into ``found``."""
    repo = options.repo.strip()
    if repo.count("/") != 1:
        said = f"“{repo}” is not the name of a repository." if repo else "The repository has no name yet."
        yield error(REPO, said, "Name it as OWNER/NAME, with your own account as the owner.")
    else:
        found.tried(lambda: require_id(repo))
    found.tried(require_online)
    if not token_text():
        message = "There is no token of the Hugging Face Hub, and without one nothing can be uploaded."
        yield error(TOKEN, message, "Enter one that may write in the settings, or log in with “hf auth login”.")
