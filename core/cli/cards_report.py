"""A run on other GPUs in words: one card, or a table of several."""

from collections.abc import Iterator, Sequence

from core.cli.console import Console
from core.errors import ExitCode
from core.plan.cards import Card
from core.plan.what_if import CardPlan, free_on
from core.units import GIB, format_bytes, format_duration, format_energy

_FITS = {
    "fits": ("green", "yes"),
    "tight": ("yellow", "tight"),
    "does_not_fit": ("red", "no"),
    "unknown": ("yellow", "?"),
}
_WEIGHTS = {"none": "full", "nf4": "4 bits", "int8": "8 bits"}
_WIDE = 92
_FOOTNOTE = (
    "Needs and Free are in GiB; Free is what driver and desktop usually leave. Again: layers that are computed again "
    "to save memory. Energy: of the card alone."
)


def code_on(planned: Sequence[CardPlan]) -> ExitCode:
    """What the command line returns: done when the run fits one of the cards, if only just."""
    if any(one.verdict in ("fits", "tight") and not one.obstacle for one in planned):
        return ExitCode.DONE
    return ExitCode.DOES_NOT_FIT if any(one.verdict == "does_not_fit" for one in planned) else ExitCode.BAD_SPEC


def print_card(console: Console, card: Card) -> None:
    """Which card a plan is for, and what it is like."""
    free, memory = format_bytes(free_on(card)), format_bytes(card.memory_bytes)
    has = {
        "float16": card.tflops > card.fp32_tflops,
        "bfloat16": card.bf16,
        "flash attention": card.flash,
        "fp8": card.fp8,
    }
    fast = ", ".join(name for name, there in has.items() if there) or "none of the 16-bit formats"
    like = ", taken as fast as the usual card of that size" if card.invented else ""
    console.paragraph(
        f"Planned for {spoken(card)}{like}: {free} of its {memory} count as free, {card.tflops:,.0f} TFLOP/s in "
        f"16 bits, {card.bandwidth / 1e9:,.0f} GB/s, {card.watts} W; fast there: {fast}."
    )
    console.line()


def spoken(card: Card) -> str:
    """How a sentence names a card."""
    return f"a card with {card.name}" if card.invented else f"the {card.name}"


def print_verdict(console: Console, planned: CardPlan) -> None:
    """The last line of a plan for one card; an obstacle stands among the plan's problems already."""
    name = spoken(planned.card)
    sentences = {
        "fits": f"This would fit {name}.",
        "tight": f"This would just fit {name}.",
        "does_not_fit": f"This would not fit {name}.",
        "unknown": f"Whether this would fit {name} is not known.",
    }
    sentence = f"This cannot run on {name}." if planned.obstacle else sentences[planned.verdict]
    console.line(console.colour("red" if planned.obstacle else _FITS[planned.verdict][0], sentence))


def print_cards(console: Console, planned: Sequence[CardPlan]) -> None:
    """A line for each card, no wider than the terminal."""
    width = max(len("Card"), *(len(one.card.name) for one in planned))
    wide = console.width >= _WIDE
    head = f"{'Card':<{width}}  {'Needs':>5}  {'Free':>5}  Fits   Weights  Again  {'Time':>10}  {'Energy':>7}"
    console.line(console.bold(head + ("  Tokens/s" if wide else "")))
    for one in planned:
        colour, word = _FITS[one.verdict]
        before = f"{one.card.name:<{width}}  {_gib(one.peak_bytes)}  {_gib(one.free_bytes)}  "
        word = "cannot" if one.obstacle else word
        fits = console.colour("red" if one.obstacle else colour, f"{word:<6}")
        console.line(f"{before}{fits} {_choices(one)}{_times(one, wide=wide)}".rstrip())
    console.line()
    for footnote in (*_obstacles(planned), _FOOTNOTE):
        console.paragraph(footnote)


def _choices(one: CardPlan) -> str:
    return f"{_WEIGHTS[one.quantization]:<7}  {one.checkpointed_layers:>5}  "


def _times(one: CardPlan, *, wide: bool) -> str:
    if one.duration is None or one.verdict == "does_not_fit" or one.obstacle:
        return ""
    text = f"{format_duration(one.duration.seconds):>10}  {format_energy(one.duration.watt_hours):>7}"
    return f"{text}  {one.duration.tokens_per_second:>8,.0f}" if wide else text


def _obstacles(planned: Sequence[CardPlan]) -> Iterator[str]:
    """Each reason why the spec cannot be had on a card, once."""
    reasons: dict[str, list[str]] = {}
    for one in planned:
        if one.obstacle:
            reason = one.obstacle.replace(one.card.driver, "the card")
            reasons.setdefault(reason, []).append(one.card.name)
    for reason, names in reasons.items():
        yield f"Cannot: {reason} ({', '.join(names)})"


def _gib(count: int) -> str:
    size = count / GIB
    return f"{size:5.1f}" if size < 999 else f"{size:5.0f}"
