"""``lowrank plan``: says what a run will do and need, here or on another GPU, and what would make it fit."""

import argparse
from typing import TYPE_CHECKING

from core.cli.console import Console
from core.cli.spec_options import add_spec_arguments, read_spec_options
from core.errors import ExitCode, Problem, UserError, error

if TYPE_CHECKING:
    from core.plan.cards import Card
    from core.runs.prepare import Prepared

ALL_CARDS = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_spec_arguments(parser)
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="NAME|SIZE|all",
        help="plan for another GPU: a name (“4090”, “rtx 3060 12”), a size (“24 GB”), several with commas, or “all”; "
        "one gives its whole plan, several a table",
    )
    parser.add_argument(
        "--solve",
        action="store_true",
        help="say what makes the run fit, the largest rows, rank and batch that fit, and the smallest card that does",
    )


def perform(options: argparse.Namespace, console: Console) -> ExitCode:
    """Prints the plan and its problems, or the table of cards."""
    from core.cli.preparing import prepare_spec

    cards = _cards(options.gpu)
    if options.solve and len(cards) > 1:
        names = ", ".join(card.name for card in cards[:6])
        raise UserError(
            error("", f"“--solve” is for 1 GPU, and {len(cards)} are meant.", f"Name one of them: {names}.")
        )
    prepared = prepare_spec(read_spec_options(options, rows_needed=False), console, rows_needed=False)
    if len(cards) > 1:
        return _table(prepared, cards, console)
    return _one(prepared, cards[0] if cards else None, console, solve=options.solve)


def _cards(texts: list[str]) -> tuple["Card", ...]:
    """The cards that the options name, each once, in the order in which they were named."""
    from core.plan.cards import CARDS, find_cards

    named: dict[Card, None] = {}
    wrong: list[Problem] = []
    parts = [part.strip() for option in texts for part in option.split(",") if part.strip()]
    if texts and not parts:
        raise UserError(error("", "“--gpu” names no card.", "Write for example --gpu 4090 or --gpu “24 GB”."))
    for text in parts:
        try:
            named.update(dict.fromkeys(CARDS if text.casefold() == ALL_CARDS else find_cards(text)))
        except UserError as failure:
            wrong += failure.problems
    if wrong:
        raise UserError(*wrong)
    return tuple(named)


def _one(prepared: "Prepared", card: "Card | None", console: Console, *, solve: bool) -> ExitCode:
    """The whole plan, for this computer or for one card."""
    from core.cli.cards_report import code_on, print_card, print_verdict
    from core.cli.plan_report import exit_code_of, print_plan
    from core.cli.room_report import print_room, room_of
    from core.plan.what_if import compare, on_any_gpu, on_card, with_assumed_rows
    from core.records import to_plain
    from core.runs.prepare import plan_with_fixes
    from core.spec.codec import to_mapping

    spec, facts, planned = prepared.spec, prepared.facts, prepared.plan
    code = exit_code_of(planned)
    if card is not None:
        spec, facts = on_any_gpu(spec), on_card(facts, card)
        planned = plan_with_fixes(spec, facts)
        print_card(console, card)
    shown, assumed = with_assumed_rows(spec, facts, planned)
    print_plan(console, spec, facts, shown)
    if assumed:
        console.line()
        console.paragraph(assumed)
    if planned.problems:
        console.line()
        console.problems(planned.problems, to_errors=False)
    room = room_of(spec, facts) if solve else None
    if room is not None:
        print_room(console, room)
    if card is not None:
        there = compare(spec, facts, (card,))
        code = code_on(there)
        console.line()
        print_verdict(console, there[0])
    elif code is ExitCode.DONE:
        console.line()
        console.line(console.colour("green", "This can start."))
    console.result(
        {
            "can_start": planned.can_start and card is None,
            "exit_code": int(code),
            "problems": [to_plain(problem) for problem in planned.problems],
            "spec": to_mapping(spec, full=True),
            "facts": to_plain(facts),
            "plan": to_plain(shown),
            "assumed": assumed,
            "gpu": to_plain(card),
            "room": room.plain() if room is not None else None,
        }
    )
    return code


def _table(prepared: "Prepared", cards: tuple["Card", ...], console: Console) -> ExitCode:
    """The run on several cards."""
    from core.cli.cards_report import code_on, print_cards
    from core.cli.room_report import smallest_words
    from core.plan.what_if import compare, on_any_gpu, smallest_card, with_assumed_rows
    from core.records import to_plain
    from core.spec.codec import to_mapping

    spec, facts = on_any_gpu(prepared.spec), prepared.facts
    planned = compare(spec, facts, cards)
    code, smallest = code_on(planned), smallest_card(spec, facts)
    print_cards(console, planned)
    _, assumed = with_assumed_rows(spec, facts, prepared.plan)
    console.line()
    if assumed:
        console.paragraph(assumed)
    console.paragraph(smallest_words(smallest))
    console.result(
        {
            "exit_code": int(code),
            "problems": [],
            "spec": to_mapping(spec, full=True),
            "assumed": assumed,
            "gpus": [to_plain(one) for one in planned],
            "smallest_card": to_plain(smallest),
        }
    )
    return code
