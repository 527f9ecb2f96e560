"""How a run can be made to fit, and how far its settings go, in words."""

from dataclasses import dataclass
from typing import Any, get_args

from core.cli.assignments import as_assignment
from core.cli.console import Console
from core.facts.relatives import smaller_relatives
from core.facts.types import Facts
from core.plan.cards import Card
from core.plan.solve import Offer, Solution, largest, solve
from core.plan.solve.largest import What
from core.plan.what_if import on_any_gpu, smallest_card
from core.records import to_plain
from core.spec.run_spec import RunSpec
from core.units import format_bytes

_TITLE = 44
_LARGEST: dict[What, str] = {
    "max_length": "longest rows",
    "rank": "highest rank",
    "micro_batch_tokens": "most tokens a pass",
    "effective_batch": "most rows a step",
}
_PATHS: dict[What, str] = {
    "max_length": "data.max_length",
    "rank": "adapter.rank",
    "micro_batch_tokens": "training.micro_batch_tokens",
    "effective_batch": "training.effective_batch",
}


@dataclass(frozen=True, slots=True)
class Room:
    """What was found out about a spec's room."""

    solution: Solution
    largest: dict[What, int | None]
    smallest: Card | None

    def plain(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "solution": to_plain(self.solution),
            "largest": {_PATHS[what]: value for what, value in self.largest.items()},
            "smallest_card": to_plain(self.smallest),
        }


def room_of(spec: RunSpec, facts: Facts) -> Room:
    """Everything that there is to find out: takes some tens of milliseconds."""
    bases = smaller_relatives(facts.model) if facts.model is not None else ()
    values: dict[What, int | None] = {what: largest(spec, facts, what) for what in get_args(What)}
    return Room(solve(spec, facts, bases), values, smallest_card(on_any_gpu(spec), facts))


def print_room(console: Console, room: Room) -> None:
    """What makes the run fit, the largest values that fit, and the smallest card."""
    solution = room.solution
    console.line()
    console.line(console.bold("Room"))
    if solution.fits:
        console.paragraph("The run fits as it is.", "  ")
    elif solution.sentence:
        console.paragraph(solution.sentence, "  ")
    if solution.best is not None:
        console.line()
        _offer(console, solution.best, "Make it fit: ")
    if solution.offers:
        console.line()
        console.line(f"  {'Changes one by one':<{_TITLE}}  {'Peak':>9}  Fits  {'Time':>6}")
        for offer in solution.offers:
            _offer(console, offer)
    console.line()
    known = [(what, value) for what, value in room.largest.items() if value is not None]
    if known:
        console.line("  Largest that fits, everything else as it is")
        for what, value in known:
            console.line(f"    {_LARGEST[what]:<20}{value:>9,}    --set {_PATHS[what]}={value}")
    else:
        console.paragraph("No row length, rank or batch makes it fit by itself.", "  ")
    console.paragraph(smallest_words(room.smallest), "  ")


def smallest_words(card: Card | None) -> str:
    """Which card is enough."""
    if card is None:
        return "None of the cards that are known holds this run."
    return f"The smallest card that holds this run: {card.name} ({card.gigabytes:g} GB, {card.watts} W)."


def _offer(console: Console, offer: Offer, before: str = "") -> None:
    """A change with its peak and its price; what to write is on a line of its own."""
    first, *rest = _broken(f"{before}{offer.title}")
    fits = console.colour("green", "yes ") if offer.fits else console.colour("red", "no  ")
    console.line(f"  {first:<{_TITLE}}  {format_bytes(offer.peak_bytes):>9}  {fits}  {f'x{offer.slower:.2f}':>6}")
    console.lines(f"  {line}" for line in rest)
    if offer.loss:
        console.paragraph(f"costs in quality: {offer.quality}", "      ")
    options = " ".join(f"--set {as_assignment(edit)}" for edit in offer.edits)
    console.paragraph(console.bold(options), "      ")


def _broken(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, _TITLE, subsequent_indent="  ", break_long_words=False) or [""]
