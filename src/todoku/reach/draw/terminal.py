"""A report as a drawing for the terminal: the LAN first, then each address with who gets in and who does not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from todoku.reach.draw.picture import TITLES
from todoku.reach.outcome import EXPLANATIONS, Code, Outcome
from todoku.reach.report import Cell, Report
from todoku.reach.targets import Address, At, short, shown
from todoku.reach.world import Machine, World

_GREEN, _RED, _DIM = "32", "31", "2"


def lan(world: World, cidr: str, *, width: int = 80) -> list[str]:
    """The machines on their LAN and the pods inside their nodes; wraps to more rails when it gets too wide."""
    ordered = sorted(world.machines, key=lambda one: one.kind == "node")
    lines = [f"LAN {cidr}"]
    row: list[list[str]] = []
    for box in [_box(world, machine) for machine in ordered]:
        if row and sum(len(one[0]) + 2 for one in row) + len(box[0]) > width:
            lines += _rail(row)
            row = []
        row.append(box)
    return lines + _rail(row)


def _rail(boxes: Sequence[Sequence[str]]) -> list[str]:
    """Boxes side by side, hanging on a piece of the LAN's cable."""
    height = max(len(box) for box in boxes)
    filled = [[*box, *[" " * len(box[0])] * (height - len(box))] for box in boxes]
    rail = ["═"] * (sum(len(box[0]) + 2 for box in boxes) - 2)
    position = 0
    for box in boxes:
        rail[position + len(box[0]) // 2] = "╤"
        position += len(box[0]) + 2
    rows = ["  ".join(parts).rstrip() for parts in zip(*filled, strict=True)]
    return ["".join(rail), *rows]


def _box(world: World, machine: Machine) -> list[str]:
    lines = [machine.short, machine.address]
    if machine.kind == "outside":
        lines.append("outside")
    if not machine.powered:
        lines.append("switched off")
    lines += [
        f"• {short(pod['metadata']['name'])} {pod['status']['podIP']}"
        for pod in world.pods_by_address.values()
        if pod["spec"].get("nodeName") == machine.name
        and pod["metadata"]["namespace"] not in ("kube-system", "metallb-system")
    ]
    width = max(len(line) for line in lines)
    middle = (width + 2) // 2
    top = "┌" + "─" * middle + "┴" + "─" * (width + 1 - middle) + "┐"
    return [top, *(f"│ {line.ljust(width)} │" for line in lines), "└" + "─" * (width + 2) + "┘"]


def ways(report: Report, *, colour: bool = False) -> list[str]:
    """Each address of the report, who gets in and which pods answered, and who does not and why.

    Addresses of one kind that the same sources reach are drawn once.
    """
    groups: dict[tuple[object, ...], list[Address]] = {}
    for address in report.addresses:
        cells = [cell for cell in report.cells if cell.address == address]
        alike = (address.at, tuple((c.source.name, c.outcome, c.predicted.code) for c in cells))
        groups.setdefault(alike, []).append(address)
    lines: list[str] = []
    for addresses in groups.values():
        lines += _block(report, addresses, colour)
    return lines


def _block(report: Report, addresses: Sequence[Address], colour: bool) -> list[str]:
    asked = [cell for cell in report.cells if cell.address in addresses]
    lines = [_heading(addresses)]
    opened = [cell for cell in asked if cell.outcome is Outcome.OK]
    closed = [
        cell for cell in asked if cell.outcome is not Outcome.OK and cell.address == addresses[0]
    ]
    width = max((len(shown(cell.source)) for cell in asked), default=0)
    lines += _open_lines(opened, width, colour)
    closed.sort(key=lambda cell: (cell.predicted.code, cell.outcome))
    for (code, outcome), group in groupby(closed, lambda c: (c.predicted.code, c.outcome)):
        lines += _closed_lines(list(group), code, outcome, width, colour)
    return lines


def _heading(addresses: Sequence[Address]) -> str:
    """`node port :30080 on master1, worker1`, or the one address with its kind."""
    first = addresses[0]
    if len(addresses) == 1:
        shown = f"{first.host}:{first.port}" if first.host else first.label
        where = f" on {first.node.partition('.')[0]}" if first.node else ""
        return f"{TITLES[first.at]} {shown}{where}"
    if first.at is At.NODEPORT:
        nodes = ", ".join(one.node.partition(".")[0] for one in addresses)
        return f"{TITLES[first.at]} :{first.port} on {nodes}"
    return f"{TITLES[first.at]}s {', '.join(f'{one.host}:{one.port}' for one in addresses)}"


def _open_lines(cells: Sequence[Cell], width: int, colour: bool) -> list[str]:
    """Sources on the left, the pods that answered any of them on the right, joined in the middle."""
    if not cells:
        return []
    backends = sorted({name for cell in cells for name in cell.backends})
    left = [name.ljust(width) for name in dict.fromkeys(shown(cell.source) for cell in cells)]
    right = [_backend(name, cells) for name in backends] or ["answered"]
    height = max(len(left), len(right))
    lines = []
    for row in range(height):
        source = left[row] if row < len(left) else " " * width
        arrow = " ──►" if row < len(left) else "    "
        joint = _joint(row, len(left), "┬┤┘")
        fork = _joint(row, len(right), "┬├└")
        pod = f"─► {right[row]}" if row < len(right) else ""
        middle = "──" if row == 0 else "  "
        lines.append(
            _paint(f"   {source}{arrow}{joint}{middle}{fork}{pod}".rstrip(), _GREEN, colour)
        )
    return lines


def _joint(row: int, count: int, shapes: str) -> str:
    """The piece of a bracket in row `row` of `count` rows; `shapes` are its first, middle and last pieces."""
    if row >= count:
        return " "
    if count == 1:
        return "─"
    if row == 0:
        return shapes[0]
    return shapes[2] if row == count - 1 else shapes[1]


def _backend(name: str, cells: Sequence[Cell]) -> str:
    total = sum(cell.backends.get(name, 0) for cell in cells)
    return f"{short(name)} ({total} answers)"


def _closed_lines(
    cells: Sequence[Cell], code: Code, outcome: Outcome, width: int, colour: bool
) -> list[str]:
    lines = []
    for row, cell in enumerate(cells):
        bracket = _joint(row, len(cells), "┐┤┘")
        why = f" {code}" if row == len(cells) // 2 else ""
        text = f"   {shown(cell.source).ljust(width)} ──╳ {outcome} {bracket}{why}"
        lines.append(_paint(text, _RED if outcome is not Outcome.NOT_APPLICABLE else _DIM, colour))
    return lines


def meanings(report: Report) -> list[str]:
    """One line per code that closed a cell."""
    codes = dict.fromkeys(
        cell.predicted.code for cell in report.cells if cell.outcome is not Outcome.OK
    )
    return [f"{code}: {EXPLANATIONS[code].meaning}" for code in codes]


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
