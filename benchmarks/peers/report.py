"""What the comparison shows: speeds, ratios, the share of the arithmetic, and all loss curves in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.peers.settings import Result

COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7")  # Okabe and Ito: told apart by everyone


@dataclass(frozen=True, slots=True)
class Speed:
    """A trainer's steady steps, the first left out.

    Attributes:
        tokens, supervised: a second.
        full: the share of the tensors' places that are tokens.
        flops: a second, by the formula of `speed`.
    """

    name: str
    tokens: float
    supervised: float
    full: float
    peak_bytes: int
    flops: float


def speed(result: Result, layer_weights: int, head_weights: int) -> Speed:
    """The speed over all steps but the first, by the clock at the steps' ends.

    The arithmetic that a frozen base with adapters cannot avoid: forward 2 and the gradient of the input 2 operations
    per weight and token, and the same for the head where there is a loss; the adapters' own is left out.

    Raises:
        ValueError: fewer than two steps, or a clock that stood still.
    """
    first, *steady = result.steps
    if not steady or steady[-1].ended <= first.ended:
        raise ValueError(f"{result.name} took {len(result.steps)} steps, which is too few to time")
    seconds = steady[-1].ended - first.ended
    tokens, supervised = sum(step.tokens for step in steady), sum(step.supervised for step in steady)
    work = 4.0 * (layer_weights * tokens + head_weights * supervised)
    slots = sum(step.slots for step in steady)
    return Speed(result.name, tokens / seconds, supervised / seconds, tokens / slots, result.peak_bytes, work / seconds)


def table(speeds: Sequence[Speed], peak: float) -> str:
    """A line for each trainer in Markdown; ratios are ours over the other's: more speed and less memory win."""
    ours = next((found for found in speeds if found.name == "ours"), None)
    titles = "| trainer | tokens/s | supervised/s | share of slots that are tokens | peak MiB | share of product peak |"
    lines = [titles + " ours: speed | ours: memory |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for found in speeds:
        ratios = (
            f"{ours.supervised / found.supervised:.2f}× | {ours.peak_bytes / found.peak_bytes:.2f}×"
            if ours
            else "– | –"
        )
        lines.append(
            f"| {found.name} | {found.tokens:.0f} | {found.supervised:.0f} | {found.full:.2f} |"
            f" {found.peak_bytes >> 20:,} | {found.flops / peak:.0%} | {ratios} |"
        )
    return "\n".join(lines)


def floors(speeds: Sequence[Speed]) -> list[str]:
    """Whether each floor is reached, as sentences; those whose trainers are missing are left out."""
    by_name = {found.name: found for found in speeds}
    ours = by_name.get("ours")
    if ours is None:
        return []
    packed = [found for found in speeds if found.name.endswith("packed")]
    others = [found for found in speeds if found is not ours]
    checks = []
    if packed:
        checks.append(("supervised tokens/s over the better packed one", ours.supervised / max(
            found.supervised for found in packed), 1.8, True))  # fmt: skip
    if "TRL padded" in by_name:
        checks.append(
            ("supervised tokens/s over TRL padded", ours.supervised / by_name["TRL padded"].supervised, 6, True)
        )
    if others:
        checks.append(("peak memory over the least of them", ours.peak_bytes / min(
            found.peak_bytes for found in others), 0.8, False))  # fmt: skip
    return [
        f"{name}: {ratio:.2f} ({'at least' if more else 'at most'} {floor}:"
        f" {'reached' if (ratio >= floor if more else ratio <= floor) else 'missed'})"
        for name, ratio, floor, more in checks
    ]


def curves(results: Sequence[Result], width: int = 720, height: int = 400) -> str:
    """The loss of every trainer over the supervised tokens that it has seen, as an SVG."""
    points = {result.name: _points(result) for result in results}
    losses = [loss for line in points.values() for _, loss in line]
    low, high = min(losses), max(losses)
    span, most = (high - low) or 1.0, max(seen for line in points.values() for seen, _ in line)
    left, top, right, bottom = 56, 16, width - 16, height - 48

    def at(seen: float, loss: float) -> str:
        return f"{left + (right - left) * seen / most:.1f},{bottom - (bottom - top) * (loss - low) / span:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{left},{top}V{bottom}H{right}" fill="none" stroke="#888"/>',
    ]
    for loss in (low, (low + high) / 2, high):
        _, y = at(0, loss).split(",")
        parts.append(f'<text font-size="12" x="{left - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
    parts.append(
        f'<text font-size="12" x="{right}" y="{bottom + 18}" text-anchor="end">{most:,} supervised tokens</text>'
    )
    for place, (name, line) in enumerate(points.items()):
        colour = COLOURS[place % len(COLOURS)]
        spots = " ".join(at(*spot) for spot in line)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{spots}"/>')
        x = left + place * (right - left) / len(points)
        parts.append(f'<text font-size="12" x="{x:.0f}" y="{height - 8}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _points(result: Result) -> list[tuple[int, float]]:
    seen, line = 0, []
    for step in result.steps:
        seen += step.supervised
        line.append((seen, step.loss))
    return line
