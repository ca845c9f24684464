"""Curves as SVG, small enough to be read as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 210, 34, 44
COLOURS = ("#1f5fbf", "#2a8f5b", "#8a4fbf", "#d0701f", "#c0302b")
HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    ' font-family="sans-serif" font-size="12">'
)


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    along: str  # what the x axis is
    ticks: Sequence[str]  # of the x axis, evenly spaced; a line has a point at each
    top: float  # of the y axis, which is a share and begins at 0
    steps: int
    limit: float  # a dashed line
    lines: Mapping[str, Sequence[float]]

    def svg(self) -> str:
        parts = [
            HEAD,
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{self.title}</text>',
        ]
        right = WIDTH - RIGHT
        for step in range(self.steps + 1):
            share = self.top * step / self.steps
            y = self._y(share)
            parts += [
                f'<line x1="{LEFT}" y1="{y:g}" x2="{right}" y2="{y:g}" stroke="#ddd"/>',
                f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{share:.0%}</text>',
            ]
        for index, tick in enumerate(self.ticks):
            parts.append(
                f'<text x="{self._x(index):g}" y="{HEIGHT - BOTTOM + 16}"'
                f' text-anchor="middle">{tick}</text>'
            )
        parts.append(
            f'<text x="{(LEFT + right) / 2:g}" y="{HEIGHT - 8}"'
            f' text-anchor="middle">{self.along}</text>'
        )
        y = self._y(self.limit)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:g}" x2="{right}" y2="{y:g}"'
            ' stroke="#000" stroke-dasharray="5 4"/>'
        )
        parts += self._curves()
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _curves(self) -> list[str]:
        parts = []
        least = 14.0  # between two names
        named = sorted(
            (self._y(shares[-1]), name, shares, colour)
            for (name, shares), colour in zip(self.lines.items(), COLOURS, strict=False)
        )
        beside = 0.0
        low = HEIGHT - BOTTOM - least * len(named)
        for index, (y, name, shares, colour) in enumerate(named):
            points = " ".join(
                f"{self._x(at):g},{self._y(share):.1f}" for at, share in enumerate(shares)
            )
            beside = max(beside + least, min(y, low + least * (index + 1)))
            parts += [
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
                f'<text x="{WIDTH - RIGHT + 8}" y="{beside + 4:.1f}" fill="{colour}">{name}</text>',
            ]
        return parts

    def _x(self, index: int) -> float:
        pad = 16
        wide = WIDTH - RIGHT - LEFT - 2 * pad
        return LEFT + pad + wide * index / (len(self.ticks) - 1)

    def _y(self, share: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(share, self.top) / self.top, 1)
