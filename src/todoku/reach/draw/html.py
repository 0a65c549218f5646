"""One self-contained HTML page: the drawing, the matrix and what every code means; no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from todoku.reach.draw.picture import picture
from todoku.reach.draw.svg import render
from todoku.reach.outcome import EXPLANATIONS, Outcome
from todoku.reach.report import Cell, Report, closed_codes
from todoku.reach.table import cell_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --page: #f6f8fa; --edge: #c8d3dc; --ok: #15803d; --no: #b91c1c }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --page: #0d1520; --edge: #33455a; --ok: #4ade80; --no: #f87171 }
}
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
       color: var(--ink); background: var(--page) }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.scroll { overflow-x: auto } svg { width: 100%; height: auto }
table { border-collapse: collapse; font-size: .9rem; white-space: nowrap }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--edge); text-align: left }
.ok { color: var(--ok) } .no { color: var(--no) } dt { font-weight: 600 } dd { margin: 0 0 .8rem 1rem }
"""


def page(reports: Sequence[Report], *, title: str) -> str:
    """The whole page for one or several reports (one section each)."""
    sections = "\n".join(_section(report) for report in reports)
    cells = [cell for report in reports for cell in report.cells]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>\n{sections}\n{_codes(cells)}</body></html>\n"
    )


def _section(report: Report) -> str:
    return (
        f"<section><h2>{escape(report.title)}</h2>"
        f'<div class="scroll">{render(picture(report))}</div>'
        f'<div class="scroll">{_table(report)}</div><p>{escape(report.counts())}</p></section>'
    )


def _table(report: Report) -> str:
    head = "".join(f"<th>{escape(source.name)}</th>" for source in report.sources)
    rows = "".join(
        f"<tr><th>{escape(address.label)}</th>"
        + "".join(_td(report.cell(source, address)) for source in report.sources)
        + "</tr>"
        for address in report.addresses
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _td(cell: Cell) -> str:
    kind = "ok" if cell.outcome is Outcome.OK else "no"
    hint = escape(f"{cell.predicted.code}: {EXPLANATIONS[cell.predicted.code].meaning}")
    return f'<td class="{kind}" title="{hint}">{escape(cell_text(cell))}</td>'


def _codes(cells: Sequence[Cell]) -> str:
    codes = closed_codes(cells)
    if not codes:
        return ""
    items = "".join(
        f"<dt>{code}</dt><dd>{escape(EXPLANATIONS[code].meaning)} {escape(EXPLANATIONS[code].reason)} "
        f"{escape(EXPLANATIONS[code].remedy)}</dd>"
        for code in codes
    )
    return f"<h2>Why not</h2><dl>{items}</dl>"
