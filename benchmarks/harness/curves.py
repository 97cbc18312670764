"""Curves over time as an SVG picture, with nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 200, 70, 20, 30, 25
COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")

Points = Sequence[tuple[float, float]]


def picture(panels: Mapping[str, Mapping[str, Sequence[Points]]]) -> str:
    """Panels below each other: the title of each, and by name the lines that share a color."""
    names = sorted({name for lines in panels.values() for name in lines})
    colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
    end = max((x for lines in panels.values() for many in lines.values() for line in many for x, _ in line), default=1)
    parts = [_panel(number, title, lines, colors, end or 1) for number, (title, lines) in enumerate(panels.items())]
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"


def _panel(
    number: int, title: str, lines: Mapping[str, Sequence[Points]], colors: Mapping[str, str], end: float
) -> str:
    top = max((y for many in lines.values() for line in many for _, y in line), default=1) or 1
    floor = (number + 1) * HEIGHT - BOTTOM
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [f'<text x="{LEFT}" y="{number * HEIGHT + 18}" font-weight="bold">{escape(title)}</text>']
    at = LEFT + 8 * len(title) + 20
    for name in lines:
        parts.append(f'<text x="{at}" y="{number * HEIGHT + 18}" fill="{colors[name]}">{escape(name)}</text>')
        at += 8 * len(name) + 20
    for share in (0, 0.5, 1):
        y = floor - share * height
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_label(share * top)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{floor + 18}" text-anchor="end">{end / 60:.1f} min</text>')
    for name, many in lines.items():
        for line in many:
            places = " ".join(f"{LEFT + x / end * width:.1f},{floor - y / top * height:.1f}" for x, y in line)
            parts.append(f'<polyline points="{places}" fill="none" stroke="{colors[name]}"/>')
    return "\n".join(parts)


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
