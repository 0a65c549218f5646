"""A picture as SVG, rendered here; legible in light and dark; shape and words carry what colour repeats."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from todoku.reach.draw.picture import Line, Node, Picture
from todoku.reach.outcome import EXPLANATIONS, Code, Outcome

_WIDTH, _ROW, _BOX, _TOP, _LINE = 980, 58, 40, 92, 18
_COLUMNS = {"sources": (20, 190), "addresses": (390, 232), "backends": (790, 170)}
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1c2733 }
  .detail { font-size: 11px; fill: #5b6b7b } .head { font-size: 12px; fill: #5b6b7b; letter-spacing: .06em }
  .title { font-size: 17px; font-weight: 600 }
  .box { fill: #ffffff; stroke: #8fa0b0; stroke-width: 1.2 }
  .none .box { fill: none; stroke-dasharray: 1 4 }
  .outside .box { stroke-dasharray: 5 3 }
  .open { stroke: #15803d; stroke-width: 1.8; fill: none }
  .closed { stroke: #b91c1c; stroke-width: 1.4; stroke-dasharray: 5 4; fill: none }
  .word-open, .word-closed { font-size: 11px; paint-order: stroke; stroke: #f6f8fa; stroke-width: 4px }
  .word-open { fill: #15803d } .word-closed { fill: #b91c1c }
  .word-absent { font-size: 11px; fill: #5b6b7b; paint-order: stroke; stroke: #f6f8fa; stroke-width: 4px }
  .wall { stroke-width: 4; stroke-linecap: round; stroke-dasharray: none } .wall.absent { stroke-width: 2 }
  .cross { stroke: #b91c1c; stroke-width: 2.4 } .surprising { stroke-width: 4 }
  .cluster { fill: #e4ecf5; stroke: #9db4cc; stroke-dasharray: 2 4 }
  .page { fill: #f6f8fa } .absent { stroke: #8fa0b0; stroke-dasharray: 1 5; fill: none }
  .fence { stroke: #8fa0b0; stroke-dasharray: 2 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .detail, .head { fill: #9fb0c0 } .page { fill: #0d1520 }
    .box { fill: #16212e; stroke: #60758a } .open { stroke: #4ade80 } .closed { stroke: #f87171 }
    .word-open { fill: #4ade80 } .word-closed { fill: #f87171 }
    .word-open, .word-closed, .word-absent { stroke: #0d1520 } .word-absent { fill: #9fb0c0 }
    .cluster { fill: #16283b; stroke: #3c5670 } .cross { stroke: #f87171 }
    .word-inside { stroke: none }
  }
"""

Centre = tuple[float, float, float]
"""Left, right and middle of a box."""
Centres = Mapping[str, Centre]


def render(picture: Picture) -> str:
    """A self-contained SVG document."""
    rows = max(len(picture.sources), len(picture.addresses), len(picture.backends), 1)
    reasons = _reasons(picture.asks)
    foot = _TOP + rows * _ROW + 10
    height = foot + len(reasons) * _LINE + 34
    centres: dict[str, Centre] = {}
    boxes = [
        *_column(picture.sources, "sources", rows, centres),
        *_column(picture.addresses, "addresses", rows, centres, _absent(picture.asks)),
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
            *_cluster(picture.sources, centres),
            *lines,
            *boxes,
            *_told(reasons, foot),
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


def _cluster(sources: Sequence[Node], centres: Centres) -> list[str]:
    """A field behind the sources that are part of the cluster; the others stand outside of it."""
    inside = [centres[one.id] for one in sources if not one.group.startswith("outside")]
    if not inside or len(inside) == len(sources):
        return []
    top, bottom = inside[0][2] - _BOX / 2 - 7, inside[-1][2] + _BOX / 2 + 7
    left, right = inside[0][0] - 7, inside[0][1] + 7
    size = f'width="{right - left}" height="{bottom - top:.1f}"'
    return [f'<rect class="cluster" x="{left}" y="{top:.1f}" {size} rx="10"/>']


def _column(
    nodes: Sequence[Node],
    key: str,
    rows: int,
    centres: dict[str, Centre],
    absent: Collection[str] = (),
) -> list[str]:
    """Boxes of one column, spread over the height; fills `centres` with left, right and middle."""
    left, width = _COLUMNS[key]
    step = rows * _ROW / max(len(nodes), 1)
    parts = []
    for index, node in enumerate(nodes):
        middle = _TOP + step * (index + 0.5)
        centres[node.id] = (left, left + width, middle)
        top = middle - _BOX / 2
        kind = (
            "none"
            if node.id in absent
            else "outside"
            if node.group.startswith("outside")
            else "inside"
        )
        first = middle - 2 if node.detail else middle + 5
        parts += [
            f'<g class="{kind}"><rect class="box" x="{left}" y="{top:.1f}" width="{width}" '
            f'height="{_BOX}" rx="7"/>',
            f'<text x="{left + 12}" y="{first:.1f}">{escape(node.label)}</text>',
        ]
        if node.detail:
            places = {"outside the cluster": "outside", "inside the cluster": "in the cluster"}
            place = places.get(node.group, "")
            where = f"{node.detail} · {place}" if place else node.detail
            parts.append(
                f'<text class="detail" x="{left + 12}" y="{middle + 13:.1f}">{escape(where)}</text>'
            )
        parts.append("</g>")
    return parts


def _asks(lines: Sequence[Line], centres: Centres) -> list[str]:
    """Ways that got through, each to its address; ways that did not, one for each reason, to a barrier."""
    parts: list[str] = []
    shut: dict[tuple[str, Outcome, str, bool], list[str]] = {}
    for line in lines:
        if line.outcome is Outcome.OK:
            start, end = centres[line.start], centres[line.end]
            kind = "open surprising" if line.surprising else "open"
            parts.append(_curve(start[1], start[2], end[0], end[2], (end[0] - start[1]) / 2, kind))
        else:
            why = (line.start, line.outcome, str(line.code), line.surprising)
            shut.setdefault(why, []).append(line.end)
    return [*_barriers(shut, centres), *parts]


def _barriers(
    shut: Mapping[tuple[str, Outcome, str, bool], Sequence[str]], centres: Centres
) -> list[str]:
    """A wall before the addresses that are shut for the same reason; the ways of all sources end at it."""
    walls: dict[tuple[tuple[str, ...], Outcome, str, bool], list[str]] = {}
    for (source, outcome, code, surprising), ends in shut.items():
        walls.setdefault((tuple(ends), outcome, code, surprising), []).append(source)
    parts = []
    for (ends, outcome, _, surprising), sources in walls.items():
        for run in _neighbours(ends, centres):
            kind = "absent" if outcome is Outcome.NOT_APPLICABLE else "closed"
            word = f"{outcome} !" if surprising else str(outcome)
            parts += _wall(run, kind, word, [centres[one] for one in sources], centres)
    return parts


def _neighbours(ends: Sequence[str], centres: Centres) -> list[list[str]]:
    """The addresses in runs of boxes that stand directly below each other."""
    order = sorted((one for one in centres if one[0] == "a"), key=lambda one: centres[one][2])
    runs: list[list[str]] = []
    for position, name in enumerate(order):
        if name not in ends:
            continue
        if runs and position and order[position - 1] == runs[-1][-1]:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def _wall(
    run: Sequence[str], kind: str, word: str, sources: Sequence[Centre], centres: Centres
) -> list[str]:
    left = centres[run[0]][0]
    top, bottom = centres[run[0]][2] - _BOX / 2, centres[run[-1]][2] + _BOX / 2
    x, middle = left - 14, (top + bottom) / 2
    parts = [f'<path class="wall {kind}" d="M{x} {top:.1f}V{bottom:.1f}"/>']
    for number, source in enumerate(sources):
        y = middle + (number - (len(sources) - 1) / 2) * 11
        end = x - 16
        parts.append(_curve(source[1], source[2], end, y, (end - source[1]) / 2, kind))
        if kind == "closed":
            parts.append(f'<path class="cross" d="M{end:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>')
    said = middle - (len(sources) - 1) * 5.5 - 12
    parts.append(
        f'<text class="word-{kind}" x="{x - 8}" y="{said:.1f}" text-anchor="end">{escape(word)}</text>'
    )
    return parts


def _answers(lines: Sequence[Line], centres: Centres) -> list[str]:
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


def _absent(lines: Sequence[Line]) -> set[str]:
    """Addresses that there are not."""
    there = {line.end for line in lines if line.outcome is not Outcome.NOT_APPLICABLE}
    return {line.end for line in lines} - there


def _reasons(lines: Sequence[Line]) -> list[tuple[Outcome, Code]]:
    """Each way of not getting through with its code, once, in the order of the addresses."""
    shut = (line for line in lines if line.outcome is not Outcome.OK)
    return list(dict.fromkeys((line.outcome, line.code) for line in shut))


def _told(reasons: Sequence[tuple[Outcome, Code]], top: float) -> list[str]:
    parts = []
    for number, (outcome, code) in enumerate(reasons):
        y = top + (number + 1) * _LINE
        kind = "absent" if outcome is Outcome.NOT_APPLICABLE else "closed"
        text = f"{code}: {EXPLANATIONS[code].meaning}"
        parts.append(f'<text class="word-{kind}" x="20" y="{y}">{escape(str(outcome))}</text>')
        parts.append(f'<text class="detail" x="76" y="{y}">{escape(text)}</text>')
    return parts


def _legend(height: float) -> list[str]:
    y = height - 16
    return [
        f'<path class="open" d="M20 {y}h34"/><text class="detail" x="60" y="{y + 4}">got through</text>',
        f'<path class="closed" d="M150 {y}h34"/><text class="detail" x="190" y="{y + 4}">did not; '
        "the word says how</text>",
        f'<text class="detail" x="{_WIDTH - 20}" y="{y + 4}" text-anchor="end">'
        "dashed box: a host outside the cluster · n× answers</text>",
    ]
