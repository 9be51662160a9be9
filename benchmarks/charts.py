"""Line charts as SVG, with two logarithmic axes, a line for each series, and the names at the right."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from msgspec import Struct

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 48
COLOURS: Final = ("#d1495b", "#00798c", "#edae49", "#30638e", "#7a5195", "#5f8d4e", "#888888")


def chart(title: str, x: str, y: str, series: Mapping[str, Points]) -> str:
    """Return an SVG document. Points with a value of 0 or less are left out, because the axes are logarithmic."""
    series = {name: [(a, b) for a, b in points if a > 0 and b > 0] for name, points in series.items()}
    points = [point for line in series.values() for point in line]
    across = _scale([a for a, _ in points], LEFT, WIDTH - RIGHT)
    up = _scale([b for _, b in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#222">{escape(title)}</text>',
        *_grid(x, y, across, up),
    ]
    for row, (name, line) in enumerate(series.items()):
        if line:
            parts += _line(name, [(across.place(a), up.place(b)) for a, b in line], COLOURS[row % len(COLOURS)], row)
    return "\n".join([*parts, "</svg>\n"])


class _Scale(Struct, frozen=True):
    """A logarithmic axis: maps values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (self.end - self.start) * (math.log10(value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        steps = (1, 2, 5) if self.high - self.low < 3 else (1,)
        found = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in found if self.low <= math.log10(tick) <= self.high]


def _scale(values: list[float], start: float, end: float) -> _Scale:
    low, high = min(values, default=1), max(values, default=10)
    return _Scale(math.log10(low) - 0.05, math.log10(high) + 0.05, start, end)


def _grid(x: str, y: str, across: _Scale, up: _Scale) -> list[str]:
    parts = []
    for tick in across.ticks():
        at = across.place(tick)
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" fill="#555" text-anchor="middle">{tick:,g}</text>')
    for tick in up.ticks():
        at = up.place(tick)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" fill="#555" text-anchor="end">{tick:,g}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}" fill="#222">{escape(x)}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 5}" fill="#222">{escape(y)}</text>')
    return parts


def _line(name: str, points: list[tuple[float, float]], colour: str, row: int) -> list[str]:
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    dots = [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    label = f'<text x="{WIDTH - RIGHT + 14}" y="{TOP + 12 + 18 * row}" fill="{colour}">{escape(name)}</text>'
    return [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots, label]
