"""A picture as SVG, rendered here; legible in light and dark; shape and words carry what colour repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from todoku.reach.draw.picture import Line, Node, Picture
from todoku.reach.outcome import Outcome

_WIDTH, _ROW, _BOX, _TOP = 980, 58, 40, 92
_COLUMNS = {"sources": (20, 190), "addresses": (395, 215), "backends": (790, 170)}
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1c2733 }
  .detail { font-size: 11px; fill: #5b6b7b } .head { font-size: 12px; fill: #5b6b7b; letter-spacing: .06em }
  .title { font-size: 17px; font-weight: 600 }
  .box { fill: #ffffff; stroke: #8fa0b0; stroke-width: 1.2 }
  .outside .box { stroke-dasharray: 5 3 }
  .open { stroke: #15803d; stroke-width: 1.8; fill: none }
  .closed { stroke: #b91c1c; stroke-width: 1.4; stroke-dasharray: 5 4; fill: none }
  .word-open, .word-closed { font-size: 11px; paint-order: stroke; stroke: #f6f8fa; stroke-width: 4px }
  .word-open { fill: #15803d } .word-closed { fill: #b91c1c }
  .page { fill: #f6f8fa } .absent { stroke: #8fa0b0; stroke-dasharray: 1 5; fill: none }
  .fence { stroke: #8fa0b0; stroke-dasharray: 2 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .detail, .head { fill: #9fb0c0 } .page { fill: #0d1520 }
    .box { fill: #16212e; stroke: #60758a } .open { stroke: #4ade80 } .closed { stroke: #f87171 }
    .word-open { fill: #4ade80 } .word-closed { fill: #f87171 }
    .word-open, .word-closed { stroke: #0d1520 }
  }
"""


def render(picture: Picture) -> str:
    """A self-contained SVG document."""
    rows = max(len(picture.sources), len(picture.addresses), len(picture.backends), 1)
    height = _TOP + rows * _ROW + 34
    centres: dict[str, tuple[float, float, float]] = {}
    boxes = [
        *_column(picture.sources, "sources", rows, centres),
        *_column(picture.addresses, "addresses", rows, centres),
        *_column(picture.backends, "backends", rows, centres),
    ]
    drawn = [*_asks(picture.asks, centres), *_answers(picture.answers, centres)]
    lines = sorted(drawn, key=lambda part: part.startswith("<text"))  # words above all lines
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
            f'aria-label="{escape(picture.title)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
            f'<text class="title" x="20" y="34">{escape(picture.title)}</text>',
            *_heads(),
            *lines,
            *boxes,
            *_legend(height),
            "</svg>",
            "",
        ]
    )


def _heads() -> list[str]:
    names = {"sources": "ASKING FROM", "addresses": "THIS ADDRESS", "backends": "ANSWERED BY"}
    return [
        f'<text class="head" x="{_COLUMNS[key][0]}" y="68">{name}</text>'
        for key, name in names.items()
    ]


def _column(
    nodes: Sequence[Node], key: str, rows: int, centres: dict[str, tuple[float, float, float]]
) -> list[str]:
    """Boxes of one column, spread over the height; fills `centres` with left, right and middle."""
    left, width = _COLUMNS[key]
    step = rows * _ROW / max(len(nodes), 1)
    parts = []
    for index, node in enumerate(nodes):
        middle = _TOP + step * (index + 0.5)
        centres[node.id] = (left, left + width, middle)
        top = middle - _BOX / 2
        kind = "outside" if node.group.startswith("outside") else "inside"
        first = middle - 2 if node.detail else middle + 5
        parts += [
            f'<g class="{kind}"><rect class="box" x="{left}" y="{top:.1f}" width="{width}" '
            f'height="{_BOX}" rx="7"/>',
            f'<text x="{left + 12}" y="{first:.1f}">{escape(node.label)}</text>',
        ]
        if node.detail:
            where = f"{node.detail} · outside" if kind == "outside" else node.detail
            parts.append(
                f'<text class="detail" x="{left + 12}" y="{middle + 13:.1f}">{escape(where)}</text>'
            )
        parts.append("</g>")
    return parts


def _asks(lines: Sequence[Line], centres: Mapping[str, tuple[float, float, float]]) -> list[str]:
    parts = []
    for line in sorted(lines, key=lambda one: one.outcome is Outcome.OK):
        start, end = centres[line.start], centres[line.end]
        x1, y1, x2, y2 = start[1], start[2], end[0], end[2]
        bend = (x2 - x1) / 2
        if line.outcome is Outcome.OK:
            parts.append(_curve(x1, y1, x2, y2, bend, "open"))
            continue
        kind = "absent" if line.outcome is Outcome.NOT_APPLICABLE else "closed"
        # A closed way stops short of the address, with a cross and the word.
        stop = x1 + (x2 - x1) * 0.45
        y = y1 + (y2 - y1) * 0.3
        parts.append(_curve(x1, y1, stop, y, (stop - x1) / 2, kind))
        if kind == "closed":
            parts.append(
                f'<path class="closed" style="stroke-dasharray:none" '
                f'd="M{stop - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
            )
        word = f"{line.outcome}{' !' if line.surprising else ''}"
        parts.append(f'<text class="word-closed" x="{stop + 8:.1f}" y="{y + 4:.1f}">{word}</text>')
    return parts


def _answers(lines: Sequence[Line], centres: Mapping[str, tuple[float, float, float]]) -> list[str]:
    parts = []
    for line in lines:
        start, end = centres[line.start], centres[line.end]
        x1, y1, x2, y2 = start[1], start[2], end[0], end[2]
        parts.append(_curve(x1, y1, x2, y2, (x2 - x1) / 2, "open"))
    totals: dict[str, int] = {}
    for line in lines:
        totals[line.end] = totals.get(line.end, 0) + line.count
    for name, total in totals.items():
        left, _, middle = centres[name]
        parts.append(
            f'<text class="word-open" x="{left - 6}" y="{middle - 6:.1f}" text-anchor="end">{total}×</text>'
        )
    return parts


def _curve(x1: float, y1: float, x2: float, y2: float, bend: float, kind: str) -> str:
    return (
        f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} '
        f'{x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'
    )


def _legend(height: float) -> list[str]:
    y = height - 16
    return [
        f'<path class="open" d="M20 {y}h34"/><text class="detail" x="60" y="{y + 4}">got through</text>',
        f'<path class="closed" d="M150 {y}h34"/><text class="detail" x="190" y="{y + 4}">did not; '
        "the word says how</text>",
        f'<text class="detail" x="{_WIDTH - 20}" y="{y + 4}" text-anchor="end">'
        "dashed box: a host outside the cluster · n× answers</text>",
    ]
