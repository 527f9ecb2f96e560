"""The measurement of attention as an SVG drawing that is readable on white and on black."""

from collections.abc import Callable
from html import escape
from math import log10

from core.runs.attention_bench import FUSED, PLAIN, AttentionBench, Cell
from core.units import GIB

_WIDTH, _PANEL, _TOP, _BOTTOM, _LEFT = 860, 340, 76, 320, 62
_NAMES = {FUSED: "as runs attend", PLAIN: "every score written out"}
# Colours of the light theme, and of the dark one where the viewer prefers it.
_STYLE = """<style>
svg{background:#FFFFFF} text{fill:#1B1F27;font-size:13px;font-family:system-ui,sans-serif}
.m{fill:#5A6372;font-size:12px}
.g{stroke:#E2E5EA} .fused{stroke:#3B5BDB;fill:#3B5BDB} .plain{stroke:#D55E00;fill:#D55E00}
polyline{stroke-width:2.2} text.t{font-size:15px;font-weight:600}
@media (prefers-color-scheme:dark){svg{background:#1D2026} text{fill:#E8EBF0} .m{fill:#A3ACBA} .g{stroke:#2E333D}
.fused{stroke:#7C95FF;fill:#7C95FF} .plain{stroke:#FF9A4D;fill:#FF9A4D}}
</style>"""


def draw_svg(bench: AttentionBench) -> str:
    """Speed at the left and memory at the right over the length, both on logarithmic scales."""
    heads = f"{bench.heads} heads of {bench.head_dim}, {bench.kv_heads} of keys"
    title = f"Attention of {bench.model}: {heads}, {bench.dtype}, {bench.device}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 390" role="img" aria-label="{escape(title)}">',
        _STYLE,
        f'<text class="t" x="20" y="28">{escape(title)}</text>',
    ]
    parts += _panel(bench, 0, "Tokens a second, one layer, forward and backward", lambda cell: cell.speed)
    parts += _panel(bench, _WIDTH // 2, "GiB at most, measured", lambda cell: cell.peak_bytes / GIB)
    for place, way in enumerate((FUSED, PLAIN)):
        x = 20 + 220 * place
        parts.append(f'<circle class="{way}" cx="{x + 5}" cy="372" r="5"/>')
        parts.append(f'<text x="{x + 16}" y="377">{_NAMES[way]}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(bench: AttentionBench, offset: int, title: str, value: Callable[[Cell], float]) -> list[str]:
    found = {
        way: [(cell.length, value(cell)) for cell in bench.cells if cell.way == way and value(cell) > 0]
        for way in (FUSED, PLAIN)
    }
    values = [number for points in found.values() for _, number in points]
    if not values:
        return []
    low, high = log10(min(values)) - 0.1, log10(max(values)) + 0.1
    lengths = bench.lengths
    left, right = offset + _LEFT, offset + _LEFT + _PANEL
    span = max(log10(lengths[-1]) - log10(lengths[0]), 1e-9)

    def x(length: int) -> float:
        return left + 14 + (log10(length) - log10(lengths[0])) / span * (_PANEL - 28)

    def y(number: float) -> float:
        return _BOTTOM - (log10(number) - low) / (high - low) * (_BOTTOM - _TOP)

    parts = [f'<text class="m" x="{offset + 20}" y="56">{title}</text>']
    for exponent in range(int(low) - 1, int(high) + 2):
        for step in (1, 3):
            number = step * 10.0**exponent
            if low <= log10(number) <= high:
                parts.append(f'<line class="g" x1="{left}" x2="{right}" y1="{y(number):.1f}" y2="{y(number):.1f}"/>')
                parts.append(
                    f'<text class="m" x="{left - 6}" y="{y(number) + 4:.1f}" text-anchor="end">{number:,.6g}</text>'
                )
    for length in lengths:
        words = f"{length // 1024}k" if length >= 1024 and length % 1024 == 0 else f"{length:,}"
        parts.append(f'<text class="m" x="{x(length):.1f}" y="{_BOTTOM + 20}" text-anchor="middle">{words}</text>')
    for way, points in found.items():
        line = " ".join(f"{x(length):.1f},{y(number):.1f}" for length, number in points)
        parts.append(f'<polyline class="{way}" style="fill:none" points="{line}"/>')
        parts += [
            f'<circle class="{way}" cx="{x(length):.1f}" cy="{y(number):.1f}" r="3.5"/>' for length, number in points
        ]
    return parts
